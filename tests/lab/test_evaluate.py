"""`evaluate` gives the numbers that its metrics give alone, names every count, and says what it did not measure."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stylegraft.adaptation.previews import render
from stylegraft.adaptation.sight import latents
from stylegraft.checkpoints import Source, assets, load
from stylegraft.data.images import ImageSet
from stylegraft.data.pixels import to_uint8
from stylegraft.encoders import load_encoder
from stylegraft.encoders.guides import encode_texts
from stylegraft.encoders.random_tiny import RandomTiny
from stylegraft.encoders.table import INCEPTION_FILE
from stylegraft.errors import StylegraftError
from stylegraft.lab.evaluate import Evaluation, EvaluationSettings, evaluate, plain
from stylegraft.lab.evaluation_page import write_page
from stylegraft.lab.measures import METRICS
from stylegraft.lab.page import read_data
from stylegraft.lab.panel import At
from stylegraft.metrics import features, fid, kid
from stylegraft.metrics.correspondence import correspondence
from stylegraft.metrics.coverage import prdc
from stylegraft.metrics.diversity import intra_lpips
from stylegraft.metrics.memorisation import memorisation
from stylegraft.metrics.similarity import similarity

COUNT, FEW = 48, 20


class Pixels:
    """Squared difference of the pixels, whatever their number."""

    name, digest = "pixels", "0"

    def embed(self, images: Tensor) -> list[Tensor]:
        return [images / images[0].numel() ** 0.5]


def pictures(count: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 4, 4, generator=rng) ** 0.5
    return (torch.nn.functional.interpolate(small, (16, 16), mode="bilinear") * 255).to(torch.uint8)


def image_set(images: Tensor) -> ImageSet:
    count = len(images)
    return ImageSet(images, tuple(map(str, range(count))), ("as given",) * count, (), ())


@pytest.fixture(scope="module")
def source(toy_file: Path) -> Source:
    return load(toy_file)


@pytest.fixture(scope="module")
def target(source: Source) -> Source:
    """The source with other colours, as learnt by fixnoise."""
    generator = copy.deepcopy(source.generator)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("torgb.bias"):
                parameter += torch.tensor([0.4, -0.2, 0.1])
            if name.endswith("noise_strength"):
                parameter += 0.3
    return Source(source.name, generator, None, {"domain": {"recipe": "fixnoise"}})


@pytest.fixture(scope="module")
def whole(source: Source, target: Source) -> Evaluation:
    shots = pictures(3, 5)
    reference = image_set(torch.cat((pictures(60, 6), shots[1:2])))
    return evaluate(
        target,
        source,
        reference,
        shots,
        EvaluationSettings(COUNT, FEW),
        encoders=[load_encoder("random-tiny")],
        lpips=Pixels(),
    )


def numbers(found: Evaluation) -> dict[str, float | None]:
    return {row.name: row.value for row in found.rows}


def test_every_metric_gives_what_it_gives_alone(source: Source, target: Source, whole: Evaluation):
    z = latents(0, "evaluate", COUNT).normal(source.generator.z_dim)
    images = to_uint8(render(target.generator, z, psi=1.0))
    before = to_uint8(render(source.generator, z[:FEW], psi=1.0))
    shots, reference = pictures(3, 5), pictures(60, 6)
    encoder = load_encoder("random-tiny")
    fake, real = features(encoder, images), features(encoder, reference)
    found = numbers(whole)
    close = {"rel": 1e-5, "abs": 1e-9}
    assert found["fid-random-tiny"] == pytest.approx(fid(real, fake), **close)
    assert found["kid-random-tiny"] == pytest.approx(kid(fake, real).mean, **close)
    for name, value in prdc(real, fake)._asdict().items():
        assert found[f"{name}-random-tiny"] == pytest.approx(value)
    cosines = similarity(fake, features(encoder, shots))
    assert found["quality-random-tiny"] == pytest.approx(cosines.quality, **close)
    assert found["diversity-random-tiny"] == pytest.approx(cosines.diversity, **close)
    pixels = Pixels()
    near = memorisation(images[:FEW], shots, reference, pixels)
    assert found["memorised-pixels@64"] == near.share
    assert found["memorised-pixels@64-nearest"] == near.share_nearest
    large = At(pixels, 256)
    apart = correspondence(before, images[:FEW], large).mean
    assert found["correspondence-pixels@256"] == pytest.approx(apart, **close)
    assert found[f"intra-pixels@256/{FEW}"] == pytest.approx(
        intra_lpips(images[:FEW], shots, large).mean, **close
    )
    assert 0 <= (found["p_target-random-tiny"] or -1) <= 1
    assert (found["ppl-w-end-pixels"] or 0) > 0
    assert {row.name for row in whole.rows if row.value is None} == set()


def test_counts_and_floor_stand_beside_the_numbers(whole: Evaluation):
    rows = {row.name: row for row in whole.rows}
    for name in ("fid-random-tiny", "kid-random-tiny", "density-random-tiny", "fid-infinity-random-tiny"):
        assert (rows[name].generated, rows[name].real) == (COUNT, 60)
    assert rows["fid-random-tiny"].floor is not None
    assert rows["kid-random-tiny"].note.endswith("48 generated images, fewer than 50: a guess")
    assert rows["kid-random-tiny"].floor == pytest.approx(
        0, abs=3 * (rows["kid-random-tiny"].spread or 0) + 1e-3
    )
    assert rows["correspondence-pixels@256"].generated == FEW
    assert rows[f"intra-pixels@256/{FEW}"].real == 3
    assert sum(rows[f"intra-pixels@256/{FEW}"].more["clusters"]) == FEW


def test_a_training_image_in_the_reference_is_left_out_and_it_says_so(whole: Evaluation):
    assert whole.about["reference"]["shots_excluded"] == 1
    assert any("1 images of the reference are training images" in note for note in whole.notes)
    assert any("48 images instead of 5000" in note for note in whole.notes)


def test_the_same_call_gives_the_same_numbers_and_another_seed_others(source: Source, target: Source):
    def call(seed: int) -> dict[str, float | None]:
        chosen = EvaluationSettings(16, 16, seed=seed, metrics=("fid", "kid"))
        reference = image_set(pictures(50, 6))
        return numbers(
            evaluate(
                target,
                source,
                reference,
                None,
                chosen,
                encoders=[load_encoder("random-tiny")],
                lpips=Pixels(),
            )
        )

    assert call(0) == call(0) != call(1)


def test_of_a_source_without_shots_it_says_what_is_missing(source: Source):
    encoder = load_encoder("random-tiny")
    found = evaluate(
        source,
        None,
        image_set(pictures(9, 6)),
        None,
        EvaluationSettings(8, 8),
        encoders=[encoder],
        lpips=Pixels(),
    )
    why = {row.name: row.note for row in found.rows if row.value is None}
    assert why.keys() == {
        "fid-infinity", "kid", "p_target", "similarity", "intra-lpips", "correspondence", "memorised", "degree",
    }  # fmt: skip
    assert why["kid"] == "9 reference images, expected at least 50"
    assert "40 or more" in why["fid-infinity"]
    assert "MODEL is a source itself" in why["p_target"] == why["correspondence"]
    assert "--shots FOLDER" in why["intra-lpips"] == why["memorised"]


class Reader(RandomTiny):
    """The random encoder, which reads too: letters to numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "reader"

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([[float(text.count(chr(65 + i))) for i in range(64)] for text in texts])


def test_of_a_sentence_quality_is_the_cosine_to_its_words(source: Source, target: Source):
    toy, blind = Reader(), load_encoder("random-tiny")
    learnt = {"recipe": "nada", "changes": {"templates": "a"}, "target": {"text": "pencil"}}
    worded = Source(target.name, target.generator, None, {"domain": learnt})
    none, chosen = pictures(1, 5)[:0], EvaluationSettings(8, 8, metrics=("similarity",))
    found = evaluate(worded, source, None, none, chosen, encoders=[toy, blind], lpips=Pixels())
    z = latents(0, "evaluate", 8).normal(source.generator.z_dim)
    fake = features(toy, to_uint8(render(target.generator, z, psi=1.0)))
    alone = similarity(fake, encode_texts(toy, ["pencil"], "a"))
    assert alone.quality != similarity(fake, encode_texts(toy, ["pencil"], "plain")).quality
    values = numbers(found)
    assert values["quality-reader"] == pytest.approx(alone.quality, rel=1e-5)
    assert values["diversity-reader"] == pytest.approx(alone.diversity, rel=1e-5)
    (row,) = [row for row in found.rows if row.value is None]
    assert (
        row.note == "random-tiny reads no sentences; expected --encoder clip or siglip or sprig"
        and found.told
    )
    with pytest.raises(StylegraftError, match="no encoder reads 'pencil'; expected --encoder clip"):
        evaluate(worded, source, None, none, chosen, encoders=[blind], lpips=Pixels())
    everything = EvaluationSettings(8, 8)
    found = evaluate(
        worded, source, image_set(pictures(9, 6)), none, everything, encoders=[toy], lpips=Pixels()
    )
    why = {row.name: row.note for row in found.rows if row.value is None}
    assert why["intra-lpips"] == why["memorised"] == "needs training images, and 'pencil' has none"
    assert found.told["shots"] is None


def test_one_shot_has_no_clusters_and_noise_is_no_control_of_other_recipes(source: Source, target: Source):
    other = Source(target.name, target.generator, None, {"domain": {"recipe": "dcl"}})
    settings = EvaluationSettings(8, 8, metrics=("degree",))
    reference = image_set(pictures(9, 6))
    found = evaluate(other, source, reference, pictures(1, 5), settings, encoders=[], lpips=Pixels())
    assert [row.name for row in found.rows] == [
        "degree-pixels@64", *(f"degree-pixels@64-{n}" for n in ("rising", "spearman", "smoothness")),
    ]  # fmt: skip
    assert found.bench.curve is not None  # asked for by name
    still = evaluate(source, source, reference, None, settings, encoders=[], lpips=Pixels())
    assert (still.rows[-1].value, still.rows[-1].note) == (None, "noise moves nothing")
    everything = evaluate(
        other, source, reference, pictures(1, 5), EvaluationSettings(8, 8), encoders=[], lpips=Pixels()
    )
    why = {row.name: row.note for row in everything.rows}
    assert "one cluster" in why["intra-lpips"]
    assert why["fid"] == "no encoder to look through"
    assert "where fixnoise has made it one" in next(r.note for r in everything.rows if r.name == "degree")


def test_images_that_nobody_looks_at_are_not_drawn(source: Source):
    found = evaluate(
        source,
        None,
        image_set(pictures(9, 6)),
        pictures(3, 5),
        EvaluationSettings(40, 8),
        encoders=[],
        lpips=Pixels(),
    )
    assert found.bench.count == len(found.bench.images) == 8
    seen = evaluate(
        source, None, image_set(pictures(9, 6)), pictures(3, 5), EvaluationSettings(40, 8),
        encoders=[load_encoder("random-tiny")], lpips=Pixels(),
    )  # fmt: skip
    assert (seen.bench.count, len(seen.bench.images)) == (40, 8)


def test_without_lpips_the_line_that_gets_it_is_the_reason(
    source: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("STYLEGRAFT_CACHE", str(tmp_path))
    monkeypatch.delenv("STYLEGRAFT_LPIPS", raising=False)
    monkeypatch.setattr(assets, "_installed", lambda name: None)
    settings = EvaluationSettings(8, 8)
    found = evaluate(source, None, image_set(pictures(9, 6)), None, settings, encoders=[])
    why = {row.name: row.note for row in found.rows}
    assert "stylegraft assets get lpips" in why["ppl"]
    with pytest.raises(StylegraftError, match=r"--metrics ppl: .*stylegraft assets get lpips"):
        asked = EvaluationSettings(8, 8, metrics=("ppl",))
        evaluate(source, None, image_set(pictures(9, 6)), None, asked, encoders=[])


def test_encoders_that_are_missing_or_cannot_be_loaded_are_rows_that_say_why(
    source: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("STYLEGRAFT_CACHE", str(tmp_path))
    for name in ("lpips", "effnet", "inception", "clip"):
        monkeypatch.delenv(assets.variable(name), raising=False)
    monkeypatch.setattr(assets, "_installed", lambda name: None)
    (tmp_path / INCEPTION_FILE).write_bytes(b"<html>not found</html>")
    (tmp_path / "clip").mkdir()
    found = evaluate(source, None, image_set(pictures(60, 6)), pictures(3, 5), EvaluationSettings(8, 8))
    why = {row.name: row.note for row in found.rows}
    assert not any(row.value for row in found.rows)
    for name in ("fid", "kid", "prdc", "similarity", "p_target-effnet-lite0"):
        assert why[name].startswith(
            "evaluate looks through effnet-lite0 or vgg16, whose weights are not here"
        )
    assert "the FID of papers: " in why["fid-inception"] and "SHA-256" in why["fid-inception"]
    assert "quality-clip" in why
    assert "stylegraft assets get lpips" in why["intra-lpips"]


def test_a_named_metric_that_cannot_apply_is_refused_before_anything_is_drawn(
    source: Source, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("stylegraft.lab.bench.render", None)
    for name, why in (("p_target", "MODEL is a source itself"), ("kid", "expected at least 50")):
        asked = EvaluationSettings(8, 8, metrics=("fid", name))
        with pytest.raises(StylegraftError, match=f"--metrics {name}: .*{why}"):
            evaluate(
                source, None, image_set(pictures(9, 6)), None, asked, encoders=[load_encoder("random-tiny")],
                lpips=Pixels(),
            )  # fmt: skip


def test_result_and_page_hold_it_all(whole: Evaluation, tmp_path: Path):
    whole.write(tmp_path)
    told = json.loads((tmp_path / "result.json").read_text())
    assert {row["name"] for row in told["metrics"]} == {row.name for row in whole.rows}
    assert told["encoders"]["random-tiny"] == load_encoder("random-tiny").digest
    assert told["settings"]["seed"] == 0
    assert told["versions"]["torch"] == str(torch.__version__)
    assert told["model"]["domain"]["recipe"] == "fixnoise"
    page = write_page(whole, tmp_path, "toy").read_text()
    for part in ("fid-random-tiny", "From the source to the target", "nearest to a training image", "<svg"):
        assert part in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert read_data(tmp_path / "report.html")["metrics"] == told["metrics"]
    assert {p.name for p in tmp_path.iterdir()} == {
        "result.json", "report.html", "pictures.png", "nearest.png", "degree.png",
    }  # fmt: skip


def test_numbers_that_are_none_are_null_in_json():
    assert plain({"a": (1, math.nan), "b": [math.inf, "x"]}) == {"a": [1, None], "b": [None, "x"]}


def test_what_means_nothing_is_refused(source: Source):
    shots = pictures(3, 5)
    with pytest.raises(StylegraftError, match="all 3 images are training images"):
        evaluate(source, None, image_set(shots), shots, EvaluationSettings(8, 8), encoders=[], lpips=Pixels())
    with pytest.raises(StylegraftError, match="--count 1"):
        evaluate(source, None, image_set(shots), None, EvaluationSettings(1), encoders=[], lpips=Pixels())


def test_the_verb_knows_every_metric():
    from typing import get_args

    from stylegraft.cli.evaluate import Name

    assert get_args(Name) == tuple(METRICS)
