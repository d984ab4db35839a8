"""The studio draws what the library draws for the same settings, and of a page's requests only the newest."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegraft import Domain, load_source
from stylegraft.adaptation.sampling import Draws
from stylegraft.applications import Latents, edited, of_seeds, sefa, translate_codes
from stylegraft.data.pixels import to_uint8
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import blend_noise
from stylegraft.studio.canvas import STANDARD, Canvas, blocks
from stylegraft.studio.drawing import FRAME
from stylegraft.studio.request import picture
from stylegraft.studio.turns import Superseded, Turns
from stylegraft.studio.workspace import Workspace

ASKED = {"source": "toy.safetensors", "seeds": [3, 1, 4, 1]}
MIX = {"domains": ["a.safetensors", "b.safetensors"], "amounts": [0.6, -0.4]}


@pytest.fixture(scope="module")
def place(toy_workspace: Path):
    """The canvas, the source, and the two domains."""
    source = load_source(toy_workspace / "toy.safetensors")
    domains = [Domain.load(toy_workspace / f"{name}.safetensors") for name in "ab"]
    return Canvas(Workspace(toy_workspace)), source, domains


def near(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Within one level of 255, for a batch of another shape rounds otherwise; most are equal."""
    gap = (found.int() - to_uint8(wanted).int()).abs()
    return found.shape == wanted.shape and bool(gap.max() <= 1) and float((gap > 0).float().mean()) < 0.01


def z_of(source, seeds) -> torch.Tensor:
    return Draws(seeds).normal(source.generator.z_dim)


@pytest.mark.parametrize("psi", [0.7, 1.0, 0.0])
def test_a_source_is_drawn_as_sample_draws_it(place, psi: float):
    canvas, source, _ = place
    with torch.inference_mode():
        wanted = source.generator(z_of(source, ASKED["seeds"]), psi=psi).image
    assert torch.equal(canvas.draw(picture({**ASKED, "psi": psi})), to_uint8(wanted))


@pytest.mark.parametrize(
    "strengths", [{}, {"fine": 0.0, "coarse": 0.5}, {"middle": 1.5, "8": 0.2, "mapping": 0.0}]
)
def test_a_mix_is_the_library_s_own_mix_at_its_strengths(place, strengths: dict[str, float]):
    canvas, source, (a, b) = place
    mix = a * 0.6 + b * -0.4
    factors = {int(k) if k.isdecimal() else k: v for k, v in strengths.items()}
    with torch.inference_mode():
        adapted = source.with_domain(mix.shaped(factors) if factors else mix).generator
        wanted = adapted(z_of(source, ASKED["seeds"]), psi=0.7).image
    asked = picture({**ASKED, **MIX, "strengths": strengths})
    assert near(canvas.draw(asked), wanted)
    saved = canvas.mixed(asked)
    with torch.inference_mode():
        assert near(
            canvas.draw(asked),
            source.with_domain(saved).generator(z_of(source, ASKED["seeds"]), psi=0.7).image,
        )


def test_blocks_of_a_domain_add_up_to_it(place):
    _, _, (_, b) = place
    parts = blocks(b)
    assert set(parts) == {0, 4, 8, 16}
    assert {name for part in parts.values() for name in part.deltas} == set(b.deltas)


def test_styles_are_steps_along_sefa_also_at_truncation_zero(place):
    canvas, source, _ = place
    directions = sefa(source.generator, 8, samples=STANDARD)
    for psi in (0.7, 0.0):
        codes = edited(
            source.generator,
            of_seeds(source.generator, ASKED["seeds"], psi),
            [(directions[0], 1.5), (directions[2], -1)],
        )
        with torch.inference_mode():
            wanted = source.generator(ws=codes.ws).image
        assert near(canvas.draw(picture({**ASKED, "psi": psi, "edits": {"0": 1.5, "2": -1}})), wanted)


@pytest.mark.parametrize(("amount", "blend"), [(0.0, "linear"), (0.3, "linear"), (1.0, "slerp"), (0.5, "vp")])
def test_noise_is_blended_as_control_blends_it(place, amount: float, blend: str):
    canvas, source, _ = place
    own = source.generator.noise("const")
    drawn = source.generator.noise("random", 1, torch.Generator().manual_seed(9))
    with torch.inference_mode():
        maps = blend_noise(own, drawn, amount, blend)
        wanted = source.generator(z_of(source, ASKED["seeds"]), psi=0.7, noise=maps).image
    asked = {**ASKED, "noise": "random", "noise_amount": amount, "noise_seed": 9, "blend": blend}
    assert near(canvas.draw(picture(asked)), wanted)


def test_codes_of_a_file_are_drawn_in_a_mix(place, workspace: Path):
    _, source, (a, _) = place
    of_seeds(source.generator, [5, 6]).save(workspace / "codes.safetensors", source.generator)
    canvas = Canvas(Workspace(workspace))
    found = canvas.draw(
        picture(
            {
                "source": "toy.safetensors",
                "codes": "codes.safetensors",
                "domains": ["a.safetensors"],
                "amounts": [0.5],
            }
        )
    )
    latents = Latents.load(workspace / "codes.safetensors", source.generator)
    assert near(found, translate_codes(source.generator, a, latents, [0.5], how="strength")[:, 0])


def test_pieces_of_a_picture_and_the_png_are_the_picture(place):
    canvas, _, _ = place
    asked = picture({**ASKED, **MIX})
    whole = canvas.draw(asked)
    for first, count in ((0, 1), (1, 3)):
        png, _ = canvas.png(asked, first, count)
        pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(png))))
        tiles = pixels.reshape(16, count, 16, 3).permute(1, 3, 0, 2)
        assert (tiles.int() - whole[first : first + count].int()).abs().max() <= 1


def test_a_domain_that_was_written_anew_is_read_anew(workspace: Path):
    canvas, asked = (
        Canvas(Workspace(workspace)),
        picture({**ASKED, "domains": ["a.safetensors"], "amounts": [1]}),
    )
    before, _ = canvas.png(asked, 0, 4)
    (Domain.load(workspace / "a.safetensors") * 0.1).save(workspace / "a.safetensors")
    assert canvas.png(asked, 0, 4)[0] != before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"psi": "much"}, "psi 'much': expected a finite number"),
        ({"psi": float("nan")}, "finite"),
        ({"seeds": [-1]}, "seeds: expected whole numbers"),
        ({"seeds": list(range(65))}, "at most 64"),
        ({"seeds": []}, "no face was asked for"),
        ({"domains": ["a.safetensors"]}, "1 domains with 0 amounts"),
        ({"domains": ["../x"], "amounts": [1]}, "not a name inside the workspace"),
        ({"domains": ["none.safetensors"], "amounts": [1]}, "no such file"),
        ({"domains": ["a.safetensors"], "amounts": [1], "strengths": {"fein": 1}}, "level 'fein' is unknown"),
        ({"strengths": {"5": 1}}, "expected the resolution of a block"),
        ({"noise": "loud"}, "expected const, random, none"),
        ({"source": "faces-46"}, "no such file"),
        ({"edits": {"99": 1}}, "expected 0 to 31"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_says_why(place, change: dict[str, object], words: str):
    canvas, _, _ = place
    with pytest.raises(StylegraftError, match=words):
        canvas.draw(picture({**ASKED, **change}))


def test_requests_of_the_page_that_were_overtaken_are_not_drawn():
    drawn, gate, begun = [], threading.Event(), threading.Event()

    async def scene():
        turns = Turns()

        def slow():
            begun.set()
            gate.wait(5)
            drawn.append("first")
            return "first"

        first = asyncio.create_task(turns.take("page", 1, slow))
        await asyncio.to_thread(begun.wait, 5)
        later = [
            asyncio.create_task(turns.take("page", n, lambda n=n: drawn.append(n) or n)) for n in (2, 3, 4, 4)
        ]
        other = asyncio.create_task(turns.take("other", 1, lambda: drawn.append("other")))
        await asyncio.sleep(0.05)
        gate.set()
        found = await asyncio.gather(first, *later, other, return_exceptions=True)
        with pytest.raises(Superseded):
            await turns.take("page", 3, lambda: drawn.append("stale"))
        turns.close()
        return found

    found = asyncio.run(scene())
    assert found[0] == "first" and isinstance(found[1], Superseded) and isinstance(found[2], Superseded)
    assert found[3:5] == [4, 4] and drawn == ["first", 4, 4, "other"]


def test_the_app_draws_saves_and_explains(client, workspace: Path):
    answer = client.post("/api/draw", json={**ASKED, **MIX, "page": "p", "number": 7, "first": 0, "count": 2})
    assert answer.headers["content-type"] == "image/png" and answer.headers["x-number"] == "7"
    assert Image.open(io.BytesIO(answer.content)).size == (32, 16)
    assert client.post("/api/draw", json={**ASKED, "page": "p", "number": 6}).status_code == 409
    assert client.post("/api/mix", json={**ASKED, **MIX, "name": "both"}).json() == {
        "path": "both.safetensors"
    }
    assert [m["coefficient"] for m in Domain.load(workspace / "both.safetensors").config["mix"]] == [
        0.6,
        -0.4,
    ]
    for name, words in (("both", "is there already"), ("../x", "expected a name"), ("", "expected a name")):
        answer = client.post("/api/mix", json={**ASKED, **MIX, "name": name})
        assert answer.status_code == 400 and words in answer.json()["error"]
    taps = client.post("/api/taps", json={**ASKED, **MIX}).json()
    assert [t["size"] for t in taps] == sorted(t["size"] for t in taps) and taps[0]["image"].startswith(
        "data:image/png"
    )
    facts = client.get("/api/facts", params={"path": "b.safetensors"}).json()
    assert facts["check"].startswith("toy.safetensors: the very weights") and set(facts["groups"]) == {
        "mapping",
        "b4",
        "b8",
        "b16",
    }
    found = client.post("/api/delete", json={"path": "both.safetensors"}).json()
    assert (workspace / found["to"]).is_file() and not (workspace / "both.safetensors").exists()


def frames(data: bytes) -> list[Image.Image]:
    """The strips of a stream."""
    found = []
    while data:
        size, milliseconds = FRAME.unpack(data[: FRAME.size])
        assert milliseconds >= 0
        found.append(Image.open(io.BytesIO(data[FRAME.size : FRAME.size + size])))
        data = data[FRAME.size + size :]
    return found


def test_a_stream_of_faces_is_the_picture_and_says_at_once_what_is_wrong(client, place):
    asked = {**ASKED, **MIX, "seeds": list(range(11))}
    answer = client.post("/api/faces", json={**asked, "page": "s", "number": 4})
    strips = [np.array(image).reshape(16, -1, 16, 3) for image in frames(answer.content)]
    tiles = torch.from_numpy(np.concatenate(strips, 1)).permute(1, 3, 0, 2)
    assert (tiles.int() - place[0].draw(picture(asked)).int()).abs().max() <= 1
    assert client.post("/api/faces", json={**asked, "page": "s", "number": 3}).status_code == 409
    for change, words in (({"seeds": []}, "no face was asked for"), ({"psi": "much"}, "finite number")):
        answer = client.post("/api/faces", json={**asked, **change, "page": "s", "number": 5})
        assert answer.status_code == 400 and words in answer.json()["error"]


@pytest.mark.parametrize("change", [{}, MIX, {"noise": "random"}, {"edits": {"0": 1.5}, **MIX}])
def test_threads_beside_each_other_draw_what_one_alone_draws(toy_workspace: Path, change: dict[str, object]):
    canvas = Canvas(Workspace(toy_workspace), lanes=3)
    for i in range(4):
        asked = picture({**ASKED, "seeds": list(range(8)), **change, "psi": 0.5 + 0.1 * i})
        pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(canvas.png(asked, 0, 8)[0]))))
        tiles = pixels.reshape(16, 8, 16, 3).permute(1, 3, 0, 2)
        assert (tiles.int() - canvas.draw(asked).int()).abs().max() <= 1
