"""Text-driven and one-shot recipes: each loss is its equation, pairs share their draws, what is asked for is kept."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylegraft.adaptation import guidance, many, rows
from stylegraft.adaptation.checks import CHOICES
from stylegraft.adaptation.keeping import pack
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.many import adapt_many
from stylegraft.adaptation.objectives import difa, hdn, jojogan, mtg, nada, objectives
from stylegraft.adaptation.plan import describe
from stylegraft.adaptation.rates import learning_rate
from stylegraft.adaptation.recipes import PAPER, recipe
from stylegraft.adaptation.request import Request, ask, default_recipe
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.state import State, begin
from stylegraft.adaptation.views import Views
from stylegraft.adaptation.world import World
from stylegraft.checkpoints import Source
from stylegraft.data.pixels import to_uint8
from stylegraft.domains import Domain
from stylegraft.encoders import guides as encoders
from stylegraft.encoders.guides import encode_texts
from stylegraft.encoders.prompts import TEMPLATES
from stylegraft.errors import StylegraftError

from .toys import GUIDED, GUIDES, Pixels, ToyGuide, fresh, pictures, small, toy

Array = Any


def values(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def units(*shape: int, seed: int) -> Tensor:
    return torch.nn.functional.normalize(values(*shape, seed=seed), dim=-1)


def cosine(a: Array, b: Array) -> float:
    return float(np.dot(a, b) / np.sqrt(np.dot(a, a)) / np.sqrt(np.dot(b, b)))


def views_of(state: State) -> Views:
    return Views(state, objectives(state.recipe))


def prepared(name: str, space: str = "stylespace", **changes: Any) -> State:
    state = fresh(name, space, **changes)
    state.found = guidance.prepare(state)
    return state


def steps(state: State, count: int) -> State:
    for _ in train(state, count):
        pass
    return state


# Each loss, against loops over numpy in float64


def test_the_direction_is_the_equation():
    t, s, d = units(3, 5, seed=0), units(3, 5, seed=1), values(1, 5, seed=2)
    a, b, c = t.numpy(), s.numpy(), d.numpy()
    expected = np.mean([1 - cosine(a[i] - b[i], c[0]) for i in range(3)])
    assert float(nada.direction(t, s, d)) == pytest.approx(expected, rel=1e-12)
    assert float(nada.direction(t, s, 7 * d)) == pytest.approx(expected, rel=1e-12), (
        "its length means nothing"
    )


def test_where_every_run_starts_the_direction_has_a_slope_and_it_is_finite():
    s, d = units(1, 5, seed=0), units(1, 5, seed=1)
    t = s.clone().requires_grad_()
    loss = nada.direction(t, s, d)
    (slope,) = torch.autograd.grad(loss, t)
    assert float(loss.detach()) == 1
    assert torch.allclose(slope, -d / nada.FLOOR)


def test_the_global_term_is_the_cosine_to_the_sentence_itself():
    state = prepared("nada", near=1.0)
    (term,) = [term for term in objectives(state.recipe) if term.name == "near"]
    views, expected = views_of(state), 0.0
    for i, (guide, weight) in enumerate(GUIDES):
        wanted = encode_texts(guide, ["pencil"], state.recipe.templates)[0].numpy()
        found = views.embedded[i][0].detach().numpy()
        expected += weight * np.mean([1 - cosine(row, wanted) for row in found])
    assert float(term.loss(views).detach()) == pytest.approx(expected, rel=1e-5)
    assert recipe("nada", near=1.0).reads and recipe("nada", near=1.0, direction=0.0).reads


def test_the_angles_are_the_equation():
    t, s = units(4, 5, seed=0), units(4, 5, seed=1)
    a, b = t.numpy(), s.numpy()
    pairs = [(np.dot(b[i], b[j]) - np.dot(a[i], a[j])) ** 2 for i, j in combinations(range(4), 2)]
    assert float(hdn.angles(t, s)) == pytest.approx(2 / (4 * 3) * sum(pairs), rel=1e-12)
    assert float(hdn.angles(t, t)) == 0


def test_the_within_domain_term_is_the_equation():
    t, s, b, a = (units(3, 5, seed=seed) for seed in range(4))
    expected = np.mean(
        [1 - cosine(x - y, z - w) for x, y, z, w in zip(*(u.numpy() for u in (t, b, s, a)), strict=True)]
    )
    assert float(mtg.within(t, s, b, a)) == pytest.approx(expected, rel=1e-12)


def test_the_distance_in_d_is_the_equation():
    made, wanted = ([values(2, 3 + i, 4, 4, seed=10 * s + i) for i in range(3)] for s in range(2))
    expected = np.mean([np.mean(np.abs(a.numpy() - b.numpy())) for a, b in zip(made, wanted, strict=True)])
    assert float(jojogan.features_distance(made, wanted)) == pytest.approx(expected, rel=1e-12)


def test_the_attentive_style_is_the_equation():
    t, r = values(2, 4, 3, seed=0), values(2, 5, 3, seed=1)
    expected = []
    for x, y in zip(t.numpy(), r.numpy(), strict=True):
        cost = np.array([[1 - cosine(a, b) for b in y] for a in x])
        expected.append(max(np.mean([min(row) for row in cost]), np.mean([min(row) for row in cost.T])))
    assert float(difa.relaxed_emd(t, r)) == pytest.approx(np.mean(expected), rel=1e-12)
    assert float(difa.relaxed_emd(t, t.flip(1))) == pytest.approx(0, abs=1e-12), "places do not matter"


def test_the_selective_consistency_is_the_equation():
    past, t, s = values(6, 10, seed=0), values(3, 10, seed=1), values(3, 10, seed=2)
    sizes = np.abs(past.numpy().mean(0))
    mask = np.array([float(size in sorted(sizes)[:6]) for size in sizes])
    assert difa.held(past, 0.6).tolist() == mask.tolist()
    expected = np.mean(
        [[abs(m * (a - b)) for m, a, b in zip(mask, x, y)] for x, y in zip(t.numpy(), s.numpy())]
    )
    assert float(difa.agreement(t, s, difa.held(past, 0.6))) == pytest.approx(expected, rel=1e-12)
    assert [difa.ramp(step, 50, 300) for step in (0, 50, 175, 300, 400)] == [0, 0, 0.5, 1, 1]


# Pairs, and what is found before the first step


@pytest.mark.parametrize("space", ["stylespace", "full"])
def test_a_pair_shares_latents_crossover_and_noise(space: str):
    """Where the domain does nothing yet, both images are the same; mixing included."""
    state = prepared("nada", space, mixing=1.0)
    target, source = views_of(state).guided_pair
    assert torch.equal(target.image.detach(), source.image)
    again, other = prepared("nada", space, mixing=0.0), prepared("nada", space, mixing=1.0)
    other.step = 1
    for one in (again, other):
        assert not torch.equal(views_of(one).guided_pair.source.image, source.image)


def test_the_direction_of_a_sentence_is_the_mean_over_templates():
    state = prepared("nada", templates="imagenet")
    for i, (guide, _) in enumerate(state.guides):
        rows = [
            torch.nn.functional.normalize(guide.encode_text([frame.replace("{}", word)]), dim=1)[0]
            for word in ("pencil", "photo")
            for frame in TEMPLATES["imagenet"]
        ]
        half = len(rows) // 2
        expected = torch.stack(rows[:half]).mean(0) - torch.stack(rows[half:]).mean(0)
        assert torch.allclose(state.found[f"direction/{i}"][0], expected, atol=1e-6)
    assert set(CHOICES["templates"]) == TEMPLATES.keys()


def test_the_direction_of_a_set_of_pictures_begins_at_the_mean_of_the_source():
    images = pictures().float() / 127.5 - 1
    state = begin(toy(), images, small("nada", source_samples=11), "stylespace", guides=GUIDES[:1])
    state.found = guidance.prepare(state)
    guide = GUIDES[0][0]
    mean = guidance.mean_of_samples(state, guide)
    assert torch.allclose(
        state.found["direction/0"][0], guidance.embed(guide, images).mean(0) - mean, atol=1e-6
    )
    assert float(mean.norm()) < 0.999, "a mean of unit rows, not normalised again"


def test_the_mean_of_the_source_is_found_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(guidance, "means_folder", lambda: tmp_path / "means")
    state, guide = fresh("difa", "stylespace", source_samples=9), ToyGuide(5)
    first = guidance.source_mean(state, guide)
    asked = []
    monkeypatch.setattr(guidance, "mean_of_samples", lambda *args: asked.append(args) or torch.zeros(16))
    assert torch.equal(guidance.source_mean(state, guide), first)
    assert not asked
    guidance.source_mean(state, ToyGuide(6))
    assert len(asked) == 1, "of another guide it is another"
    (path,) = [one for one in (tmp_path / "means").iterdir() if ToyGuide(5).digest[:16] in one.name][:1]
    path.write_bytes(b"damaged")
    guidance.source_mean(state, guide)
    assert len(asked) == 2


def test_a_mixture_keeps_the_reference_s_coarse_rows_and_draws_the_others(monkeypatch: pytest.MonkeyPatch):
    state, seen = prepared("jojogan", jojo_rows=2), list[Tensor]()
    views = views_of(state)
    student = views.student
    monkeypatch.setattr(
        views,
        "student",
        type("Spy", (), {"__call__": lambda self, **k: seen.append(k["ws"]) or student(**k)})(),
    )
    monkeypatch.setattr(
        views.student.__class__, "__getattr__", lambda self, name: getattr(student, name), False
    )
    _, references = views.mixture
    picked = views._picked()
    assert torch.equal(references, state.images[picked])
    (ws,) = seen
    assert torch.equal(ws[:, :2], state.found["ws"][picked][:, :2])
    assert all(torch.equal(ws[:, 2], ws[:, k]) for k in range(2, ws.shape[1])), "one random w for all others"
    assert not torch.allclose(ws[:, 2], state.found["ws"][picked][:, 2])


def test_several_references_take_turns():
    state = prepared("mtg")
    assert len(state.images) == 2
    views = views_of(state)
    for kind in ("wanted", "inverse", "direction"):
        assert torch.equal(views.found(kind, 0), state.found[f"{kind}/0"][views._picked()])
    assert views.referred[1] == [0, 1]


def test_an_inverse_is_the_source_s_image_of_its_code():
    state = prepared("mtg")
    again = state.generator(ws=state.found["ws"], noise="const").image
    assert torch.allclose(state.found["inverse/1"], guidance.embed(GUIDES[1][0], again), atol=1e-6)
    assert torch.allclose(state.found["direction/1"], state.found["wanted/1"] - state.found["inverse/1"])


def test_guides_count_by_their_weights():
    both, first, second = prepared("hdn", "full"), prepared("hdn", "full"), prepared("hdn", "full")
    for state, kept in ((first, 0), (second, 1)):
        state.guides = (GUIDES[kept],)
        state.found = {f"{kind}/0": both.found[f"{kind}/{kept}"] for kind in ("direction", "wanted")}
    for state in (both, first, second):
        with torch.no_grad():
            for leaf in state.learners["G"].values():
                leaf.add_(0.01)
    for term in objectives(both.recipe):
        a, b, c = (float(term.loss(views_of(state)).detach()) for state in (both, first, second))
        assert a == pytest.approx(b + c, rel=1e-5), term.name  # the weight is in the guide's own entry


def test_guides_see_a_reduced_image(monkeypatch: pytest.MonkeyPatch):
    state, seen = fresh("difa", "stylespace", loss_resolution=8), set()
    look = ToyGuide.preprocess
    monkeypatch.setattr(
        ToyGuide, "preprocess", lambda self, images: seen.add(images.shape[-1]) or look(self, images)
    )
    steps(state, 1)
    assert seen == {8}


def test_guides_see_no_more_than_a_file_shows():
    """What lies beyond white is white to a guide, and going further there has no slope."""
    guide = ToyGuide(5)
    images = (2 * pictures(2).float() / 127.5 - 2).requires_grad_()
    found = guidance.embed(guide, images)
    assert torch.allclose(found, guidance.embed(guide, images.detach().clamp(-1, 1)), atol=1e-6)
    (slope,) = torch.autograd.grad(found[:, 0].sum(), images)
    beyond = images.detach().abs() > 1
    assert 0.2 < float(beyond.float().mean()) < 0.8
    assert not slope[beyond].any() and slope[~beyond].any()


# Adaptive layers


@pytest.mark.parametrize("row", [0, 1, 3])
def test_the_choice_of_layers_picks_the_row_that_matters(row: int):
    """In a source where one row of W+ alone reaches the image, it is chosen, and what reads it learns."""
    source = toy()
    generator = copy.deepcopy(source.generator)
    for layer in generator.layers:
        if layer.row != row:
            generator.get_parameter(f"synthesis.{layer.name}.affine.weight").data.zero_()
    images = pictures(2).float()[:0]
    own = small("nada", choose_rows=1)
    state = begin(
        Source("one row", generator, source.discriminator), images, own, "stylespace",
        request=Request("pencil"), guides=GUIDES,
    )  # fmt: skip
    before = {name: leaf.detach().clone() for name, leaf in state.learners["G"].items()}
    steps(state, 1)
    assert state.recall["rows"].tolist() == [row]
    moved = {name for name, leaf in state.learners["G"].items() if not torch.equal(leaf, before[name])}
    expected = {
        f"synthesis.{layer.name}.affine.bias|dense|D" for layer in generator.layers if layer.row == row
    }
    assert moved == expected and expected


def test_the_score_of_a_row_is_its_mean_gradient():
    state = prepared("nada", choose_rows=2)
    found = rows.scores(state)
    keyed = rows.sampling.Keyed(0, 0, 8, torch.device("cpu"), "rows")
    z = rows.sampling.free(keyed, "z", 8)
    noise = rows.sampling.random_noise(keyed, "noise", state.generator.noise_shapes)
    ws = state.generator.mapping(z)[:, None].repeat(1, state.generator.num_ws, 1).requires_grad_()
    image = state.generator(ws=ws, noise=noise).image
    loss: Any = 0
    for guide, weight in GUIDES:
        wanted = encode_texts(guide, ["pencil"], state.recipe.templates)[0]
        loss = (
            loss
            + weight
            * (1 - torch.cosine_similarity(guide.encode_image(image.clamp(-1, 1)), wanted[None])).sum()
        )
    (gradient,) = torch.autograd.grad(loss, ws)
    assert torch.allclose(found, gradient.abs().mean((0, 2)), rtol=1e-3)
    assert rows.choose(state).tolist() == sorted(found.topk(2).indices.tolist())


def test_a_space_without_rows_cannot_choose_among_them():
    with pytest.raises(
        StylegraftError, match="'mapping', choose_rows=2: nothing in this space belongs to a row"
    ):
        adapt(toy(), text="pencil", guides=GUIDES, recipe=small("nada", choose_rows=2), space="mapping")


# Runs


@pytest.mark.parametrize("name", GUIDED)
def test_a_run_lowers_its_loss(name: str):
    state = fresh(name, "stylespace", lr=0.0005)
    terms = {f"G/{term.name}": term.scale for term in objectives(state.recipe) if term.name != "scc"}
    losses = [sum(scale * one[key] for key, scale in terms.items()) for one in train(state, 48)]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:2])


def test_pictures_come_towards_the_sentence_and_leave_the_other():
    """Sixteen faces that the run may have drawn nothing of, before and after it, in the first guide."""
    guide = GUIDES[0][0]
    wanted, left = encode_texts(guide, ["pencil", "photo"], "a")
    z = torch.randn(16, 8, generator=torch.Generator().manual_seed(3))
    own = small("nada", steps=40, lr=0.005, batch=4, templates="a")
    run = adapt(toy(), text="pencil", guides=GUIDES[:1], recipe=own, space="full", quiet=True)
    with torch.no_grad():
        before, after = (
            guidance.embed(guide, g(z).image) for g in (toy().generator, run.domain.merge(toy().generator))
        )
    for text, sign in ((wanted, 1), (left, -1)):
        moved = torch.cosine_similarity(after, text[None]) - torch.cosine_similarity(before, text[None])
        assert (sign * moved > 0).float().mean() > 0.9


def test_parts_of_a_step_are_the_whole_step():
    whole, parts = (fresh("difa", "stylespace", micro=micro, scc_window=1) for micro in (0, 2))
    for a, b in zip(train(whole, 4), train(parts, 4), strict=True):
        for key in ("G/direction", "G/attentive", "G/scc"):
            assert a[key] == pytest.approx(b[key], rel=1e-3, abs=1e-6), key
    assert torch.allclose(whole.recall["scc"], parts.recall["scc"], atol=1e-4)
    assert whole.recall.keys() == parts.recall.keys() == {"scc"}


def test_the_consistency_looks_back_over_its_window():
    state = fresh("difa", "stylespace", scc_window=3)
    steps(state, 5)
    assert state.recall["scc"].shape[0] == 3
    assert state.coder is None
    taps = difa.maps(state.generator, 3)
    assert taps == ("b4.conv1", "b8.conv0", "b8.conv1")
    assert state.recall["scc"].shape[1] == 24


@pytest.mark.parametrize(
    ("asked", "own"),
    [({"text": "pencil"}, small("nada", steps=4, choose_rows=2)), ({}, small("difa", steps=4))],
    ids=["text", "picture"],
)
def test_a_stopped_run_goes_on_bit_for_bit_without_looking_again(
    asked: dict[str, Any], own: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    images = () if asked else (pictures(1),)
    whole = adapt(toy(), *images, **asked, guides=GUIDES, recipe=own, space="stylespace", quiet=True)
    for count in (2, 4):
        run = adapt(
            toy(), *images, **asked, guides=GUIDES, recipe=own, space="stylespace", steps=count,
            out=tmp_path / "run", quiet=True,
        )  # fmt: skip
        monkeypatch.setattr("stylegraft.adaptation.stages.prepare", None)
    for name, terms in whole.domain.deltas.items():
        assert all(
            torch.equal(a.parts["D"], b.parts["D"])
            for a, b in zip(terms, run.domain.deltas[name], strict=True)
        )


@pytest.mark.parametrize("name", ["nada", "difa"])
def test_many_at_once_are_the_runs_on_their_own_and_the_source_is_looked_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told: dict[str, Any] = {
        "guides": GUIDES,
        "recipe": small(name, steps=2),
        "space": "stylespace",
        "quiet": True,
    }
    requests: list[str | Path] = ["pencil", "oil painting"]
    if name == "difa":
        requests = [tmp_path / "a.png", tmp_path / "b.png"]
        for path, picture in zip(requests, to_uint8(pictures(2)), strict=True):
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path)
    looked = list[int]()
    pass_ = Views._guided_source.func
    seen = cached_property(lambda views: looked.append(views.state.step) or pass_(views))
    seen.__set_name__(Views, "_guided_source")
    monkeypatch.setattr(Views, "_guided_source", seen)
    done = adapt_many(toy(), requests, out=tmp_path / "many", **told)
    assert looked == ([0, 1] if name == "nada" else [0, 1, 0, 1]), "DiFa's codes are of the source's own maps"
    assert [run.folder for run in done] == [
        tmp_path / "many" / Request(str(one)).name for one in requests
    ] or name == "difa"
    for run, one in zip(done, requests, strict=True):
        alone = adapt(toy(), **({"text": one} if name == "nada" else {"image": one}), **told)
        assert run.folder is not None and (run.folder / "domain.safetensors").is_file()
        for parameter, terms in alone.domain.deltas.items():
            assert torch.equal(terms[0].parts["D"], run.domain.deltas[parameter][0].parts["D"])


def test_a_run_says_what_it_was_asked_and_is_refused_under_other_words(tmp_path: Path):
    told: dict[str, Any] = {"recipe": small("nada", steps=1), "space": "stylespace", "quiet": True}
    told["out"] = tmp_path / "run"
    adapt(toy(), text="pencil drawing", guides=GUIDES, **told)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    domain = Domain.load(tmp_path / "run" / "domain.safetensors")
    for one in (config, domain.config):
        assert (one["target"]["text"], one["target"]["from_text"]) == ("pencil drawing", "photo")
        assert one["guides"][1] == {"name": "toy", "digest": ToyGuide(1).digest, "weight": 0.5}
    for changes, said in (
        ({"text": "oil"}, "target.text = 'pencil drawing', the command now asks for 'oil'"),
        ({"text": "pencil drawing", "from_text": "face"}, "target.from_text = 'photo'.* 'face'"),
        (
            {"text": "pencil drawing", "guides": GUIDES[:1]},
            "guides = 'toy 000000000000=1, toy .*=0.5', the .* 'toy",
        ),
    ):
        with pytest.raises(StylegraftError, match=said):
            adapt(toy(), **{"guides": GUIDES, **changes}, **told)


def test_nobody_plays_and_jojogan_s_d_is_frozen():
    state = prepared("jojogan")
    judge = state.source_discriminator
    assert judge is not None
    first = {name: p.clone() for name, p in judge.named_parameters()}
    stats = list(train(state, 2))
    assert {key for one in stats for key in one if key[:2] in ("G/", "D/")} == {"G/jojo", "G/grad"}
    assert all(torch.equal(p, first[name]) for name, p in judge.named_parameters())
    assert not any(name.startswith("D/") for name in pack(state)[0])


def test_the_plan_says_who_guides_and_where_to():
    lines = "\n".join(describe(fresh("nada", "stylespace"), "stylespace"))
    assert (
        "guided by toy (000000000000, weight 1), toy (000000000000, weight 0.5) towards 'pencil', away from"
        in lines
    )
    assert "no images, batch 4" in lines and "D: none" in lines
    assert "inverted into W+, 2 steps" in "\n".join(describe(fresh("mtg", "stylespace"), "stylespace"))
    assert "both generators' own maps" in "\n".join(describe(fresh("difa", "stylespace"), "stylespace"))
    assert "from the nearest of 4 samples" in "\n".join(describe(fresh("mtg", "stylespace"), "stylespace"))
    told: dict[str, Any] = {
        "guides": GUIDES[:1],  # the second has a digest that begins alike, and so the same file
        "recipe": small("difa", steps=1, source_samples=5),
        "quiet": True,
    }
    ahead = "in which references and the source are looked at"
    plan = adapt(toy(), pictures(1), dry_run=True, **told).plan
    assert plan is not None and ahead in plan.text
    adapt(toy(), pictures(1), **told)
    plan = adapt(toy(), pictures(1), dry_run=True, **told).plan
    assert plan is not None and ahead not in plan.text, "the source's mean is in the cache by then"


def test_rates_are_those_of_styledomain_by_space():
    paper = {name: recipe(name, preset="paper") for name in GUIDED}
    for name in ("nada", "mtg", "jojogan"):
        assert learning_rate(paper[name], "full") == pytest.approx(0.002)
        assert learning_rate(paper[name], paper[name].space) == pytest.approx(0.05)
    rates = [learning_rate(paper["difa"], space) for space in ("full", "stylespace-conv", "hdn")]
    assert rates == pytest.approx([0.002, 0.08, 0.02])
    assert learning_rate(paper["hdn"], "hdn") == pytest.approx(0.1)
    assert [(paper[n].batch, paper[n].steps, paper[n].lr_warmup) for n in GUIDED[:5]] == [
        (4, 250, 0), (4, 250, 25), (4, 250, 20), (2, 301, 30), (4, 300, 0),
    ]  # fmt: skip
    assert {paper[n].space for n in GUIDED[:4]} == {"stylespace-conv"}, "toRGB is never offset in this half"
    assert (paper["mtg"].direction, paper["mtg"].within, paper["mtg"].ref_clip) == (1, 0.5, 30)
    assert (paper["mtg"].ref_l2, paper["mtg"].ref_lpips) == (10, 10)


# What is refused


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("dcl", {"text": "pencil"}, "recipe dcl needs pictures and cannot use --text .* --recipe nada or hdn"),
        ("mtg", {"text": "pencil"}, "recipe mtg needs pictures and cannot use --text"),
        ("nada", {}, "nothing says what to adapt to; expected one of TARGET"),
        ("nada", {"text": "a", "pictures": "b"}, "found TARGET and --text; expected one of"),
        ("nada", {"text": " "}, "--text: is empty"),
        ("nada", {"text": "!!!"}, "--text '!!!': says nothing; expected some words"),
        ("nada", {"text": "oil", "from_text": "?"}, "--from-text '[?]': says nothing"),
        ("nada", {"text": "Photo"}, "--text 'Photo': the source is that already; .*, or another --from-text"),
        ("jojogan", {"text": "oil"}, "cannot use --text 'oil'; expected --recipe nada or hdn$"),
        ("dcl", {"image": "x", "guides": ""}, "recipe dcl looks through no guide"),
        ("nada", {"pictures": "x", "from_text": "photo"}, "--from-text 'photo': says what the source is beside --text"),
        ("jojogan", {"image": "x", "guides": "clip"}, "recipe jojogan looks through no guide"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(name: str, given: dict[str, Any], said: str):
    with pytest.raises(StylegraftError, match=said):
        ask(recipe(name), **given)


def test_the_method_follows_what_is_given():
    assert [default_recipe(*one) for one in (("x", None), (None, "x.png"), (None, None))] == [
        "nada",
        "difa",
        "dcl",
    ]
    assert [name for name in PAPER if recipe(name).reads] == ["nada", "hdn", "hypernet"]
    assert Request("Pencil drawing, old!").name == "pencil-drawing-old"


def test_without_a_guide_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def none() -> str:
        raise StylegraftError("no encoder that reads sentences is here. To get one of them: clip: ...")

    monkeypatch.setattr("stylegraft.adaptation.inputs.guide_in_reach", none)
    with pytest.raises(StylegraftError, match="To get one of them"):
        adapt(toy(), text="pencil", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(
        StylegraftError, match="nada looks through a guide and none is given; expected --guide"
    ):
        begin(toy(), pictures().float()[:0], small("nada"), "stylespace", request=Request("pencil"))


class Brief(ToyGuide):
    """Reads short sentences alone, and counts what it reads."""

    read = 0

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        if any("long" in text for text in texts):
            raise StylegraftError("'a long...: 99 tokens, brief reads 77")
        self.read += len(texts)
        return super().encode_text(texts)


def test_a_sentence_that_no_guide_reads_is_refused_before_anything_is_written(tmp_path: Path):
    guide = Brief()
    settings = {"guides": ((guide, 1.0),), "recipe": small("nada", steps=1, templates="plain"), "quiet": True}
    for dry in (True, False):
        with pytest.raises(StylegraftError, match="99 tokens"):
            adapt(toy(), text="a long sentence", out=tmp_path / "run", dry_run=dry, **settings)
    with pytest.raises(StylegraftError, match="99 tokens"):
        adapt_many(toy(), ["ink", "a long sentence"], out=tmp_path / "many", **settings)
    assert not list(tmp_path.iterdir())
    guide.read = 0
    adapt_many(toy(), ["ink", "oil"], out=tmp_path / "many", **settings)
    assert guide.read == 3, "each sentence and the source once"
    adapt_many(toy(), ["ink", "oil"], out=tmp_path / "many", **settings)
    assert guide.read == 3, "a run that is continued reads nothing again"


def test_the_guides_of_many_are_on_the_gpu_of_their_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []
    monkeypatch.setattr(many, "join", lambda device: World(1, 2, f"{device}:1"))
    monkeypatch.setattr(many, "open_guides", lambda row, guides, device: asked.append(device) or GUIDES)
    monkeypatch.setattr(many, "adapt", lambda source, **told: asked.append(told["device"]))
    recipe = small("nada", steps=1, templates="plain")
    many.adapt_many(toy(), ["ink"], out=tmp_path, recipe=recipe, device="cuda")
    assert asked == ["cuda:1", "cuda"], "each run joins by itself, and is refused a numbered one"


def test_an_empty_name_is_no_guide(tmp_path: Path):
    with pytest.raises(StylegraftError, match="no guide is named; expected one or several of clip"):
        adapt(toy(), text="pencil", guides="", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_of_many_runs_the_first_alone_says_what_the_source_has_to_say(tmp_path: Path, capsys):
    source = Source("told", toy().generator, toy().discriminator, {"notes": ["its pictures are private"]})
    recipe = small("nada", steps=1, templates="plain")
    adapt_many(source, ["ink", "oil"], out=tmp_path, guides=GUIDES, recipe=recipe)
    assert capsys.readouterr().err.count("its pictures are private") == 1


def test_of_our_small_guide_the_run_says_that_it_knows_few_words():
    state = fresh("nada", "stylespace")
    assert "vocabulary" not in "\n".join(describe(state, "stylespace"))
    guide = ToyGuide()
    guide.name = "sprig"
    state.guides = ((guide, 1.0),)
    assert "sprig knows a small vocabulary" in "\n".join(describe(state, "stylespace"))


def test_what_a_recipe_needs_of_its_surroundings_is_named():
    blind = type("Blind", (), {"name": "blind", "digest": "0" * 64, "dim": 4})()
    images = pictures(1).float() / 127.5 - 1
    with pytest.raises(StylegraftError, match="blind tells nothing of places .* --set attentive=0"):
        begin(toy(), images, small("difa"), "stylespace", guides=((blind, 1.0),))  # type: ignore[arg-type]
    lonely = Source("lonely", toy().generator, None)
    with pytest.raises(StylegraftError, match="jojogan: JoJoGAN compares in the source's own discriminator"):
        begin(lonely, images, small("jojogan"), "stylespace", perceptual=Pixels())  # type: ignore[arg-type]
    with pytest.raises(StylegraftError, match="image: holds 2 pictures; expected one"):
        adapt(toy(), image=pictures(2), guides=GUIDES, recipe=small("difa"))
    with pytest.raises(StylegraftError, match="choose_rows is 2 and adv 1"):
        recipe("tgan", choose_rows=2, direction=1.0)
    assert isinstance(GUIDES[0][0], encoders.Patchwise)
