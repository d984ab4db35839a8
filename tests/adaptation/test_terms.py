"""The terms on features and images are what their papers say: against loops over numpy in float64."""

from __future__ import annotations

import copy
import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation import sampling
from stylegraft.adaptation.exits import EXITS, head_features
from stylegraft.adaptation.keeping import pack
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.objectives import check, objectives
from stylegraft.adaptation.objectives.cdc import distance_consistency, sample_taps
from stylegraft.adaptation.objectives.dcl import (
    cl1,
    discriminator_contrast,
    discriminator_taps,
    generator_taps,
)
from stylegraft.adaptation.objectives.feature_matching import feature_matching
from stylegraft.adaptation.objectives.rssa import disturbance_correlation, self_correlation
from stylegraft.adaptation.objectives.structure import structure
from stylegraft.adaptation.objectives.weditgan import perpendicular
from stylegraft.adaptation.recipes import PAPER, recipe
from stylegraft.adaptation.views import Views
from stylegraft.errors import StylegraftError
from stylegraft.networks.discriminator import Discriminator

from .toys import RECIPES, after, fresh, small, toy

Array = Any


def maps(n: int, seed: int, channels: int = 3, side: int = 4) -> Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(seed)).double()


def cosine(a: Array, b: Array) -> float:
    return float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b))


def softmax(x: list[float]) -> Array:
    e = np.exp(np.array(x) - max(x))
    return e / e.sum()


def views_of(state: Any, owner: str) -> Views:
    """The views of a step's main phase."""
    return Views(state, [term for term in objectives(state.recipe) if term.owner == owner and not term.lazy])


def term_of(state: Any, name: str, owner: str) -> Any:
    return next(term for term in objectives(state.recipe) if (term.name, term.owner) == (name, owner))


def leaves_of(node: Any) -> set[Any]:
    """The leaves of a graph that would take a gradient."""
    seen, todo = set(), [node]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [after for after, _ in node.next_functions]
    return {node for node in seen if hasattr(node, "variable")}


# CDC: Ojha et al. 2021


def kl_of_relations(target: list[Array], source: list[Array]) -> float:
    """Mean over i of KL(p_s || p_t) with the taps of sample i."""
    total = 0.0
    for i, (t, s) in enumerate(zip(target, source, strict=True)):
        p, q = (softmax([cosine(x[i], x[j]) for j in range(len(x)) if j != i]) for x in (s, t))
        total += float((p * np.log(p / q)).sum())
    return total / len(target)


@pytest.mark.parametrize("n", [3, 4, 6])
def test_distance_consistency_is_the_equation(n: int):
    """A mean over the batch, so that its weight means the same whatever the size of the batch."""
    target = [maps(n, i, channels=2 + i) for i in range(n)]  # each sample has a tap of its own
    source = [maps(n, 10 + i, channels=2 + i) for i in range(n)]
    expected = kl_of_relations([t.numpy() for t in target], [s.numpy() for s in source])
    assert float(distance_consistency(target, source)) == pytest.approx(expected, rel=1e-9)


def test_distance_consistency_is_zero_for_alike_relations_and_for_two():
    s = [maps(4, i) for i in range(4)]
    assert float(distance_consistency(s, s)) == pytest.approx(0, abs=1e-12)
    assert float(distance_consistency([3 * x for x in s], s)) == pytest.approx(
        0, abs=1e-12
    )  # scale is not seen
    two = [maps(2, 0)] * 2, [maps(2, 1)] * 2
    assert float(distance_consistency(*two)) == pytest.approx(0, abs=1e-12)


def test_distance_consistency_does_not_see_the_order_of_the_batch():
    t, s, order = maps(4, 0), maps(4, 1), [2, 0, 3, 1]
    mixed = distance_consistency([t[order]] * 4, [s[order]] * 4)
    assert float(mixed) == pytest.approx(float(distance_consistency([t] * 4, [s] * 4)), rel=1e-9)


def test_cdc_s_default_is_the_published_weight_on_the_published_reduction():
    """The released code: 1000 times the mean over all 4 x 3 entries p (log p - log q)."""
    t, s = maps(4, 0), maps(4, 1)
    entries = kl_of_relations([t.numpy()] * 4, [s.numpy()] * 4) * 4 / 12
    assert PAPER["cdc"].dist * float(distance_consistency([t] * 4, [s] * 4)) == pytest.approx(1000 * entries)


def taps_of(views: Views) -> list[str]:
    """Of each sample."""
    taps, which = sample_taps(views)
    return [taps[k] for k in which.tolist()]


def test_cdc_draws_a_tap_for_each_sample_and_never_a_4x4_one():
    state, seen, apart = fresh("cdc"), set(), 0
    for state.step in range(40):
        taps = taps_of(views_of(state, "G"))
        assert len(taps) == 4
        seen |= set(taps)
        apart += len(set(taps)) > 1
    assert seen == {"b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"}
    assert apart > 30


def test_cdc_is_what_its_parts_say_on_a_step():
    state = fresh("cdc", "full")
    for _ in train(state, 2):
        pass
    views, term = views_of(state, "G"), term_of(state, "dist", "G")
    found = float(term.loss(views).detach())
    pair, taps = views.free_pair, taps_of(views)
    target, source = ([output.taps[tap].detach().double().numpy() for tap in taps] for output in pair)
    assert found == pytest.approx(kl_of_relations(target, source), rel=1e-3, abs=1e-7)
    assert found > 0
    assert float(next(train(fresh("cdc", "full"), 1))["G/dist"]) == pytest.approx(0, abs=1e-6)


# DCL: each unsettled choice is a field


def test_cl1_without_its_positive_is_the_equation_and_can_be_negative():
    t, s, tau = maps(4, 0), maps(4, 1), 0.07
    f = [[math.exp(cosine(a, b) / tau) for b in s.numpy()] for a in t.numpy()]
    expected = np.mean([-math.log(f[i][i] / sum(f[i][j] for j in range(4) if j != i)) for i in range(4)])
    assert float(cl1(t, s, tau, positive=False)) == pytest.approx(expected, rel=1e-9)
    assert float(cl1(s, s, tau, positive=False)) < 0 < float(cl1(s, s, tau))


def test_taps_of_each_block_are_summed():
    state = fresh("dcl", cl_taps="each")
    of_g, of_d = views_of(state, "G"), views_of(state, "D")
    assert generator_taps(of_g) == ("b8.conv1", "b16.conv1")
    assert discriminator_taps(of_d) == ("b16.conv1", "b8.conv1")
    pair = of_g.free_pair
    parts = [cl1(pair.target.taps[tap], pair.source.taps[tap], 0.07) for tap in generator_taps(of_g)]
    assert float(term_of(state, "cl1", "G").loss(of_g).detach()) == pytest.approx(
        float(torch.stack(parts).sum().detach()), rel=1e-6
    )


@pytest.mark.parametrize(("negatives", "count"), [("real", 4), ("shots", 10)])
def test_cl2_looks_at_the_step_s_images_or_at_all_shots(negatives: str, count: int):
    state = fresh("dcl", cl2_negatives=negatives)
    views = views_of(state, "D")
    others = views.real if negatives == "real" else views.shots
    assert len(others) == count
    (tap,) = discriminator_taps(views)
    judge = copy.deepcopy(state.discriminator).double()
    images = (views.free_pair.target.image, views.free_pair.source.image, others)
    t, s, x = (judge(image.double(), taps=(tap,), stop=tap).taps[tap].detach().numpy() for image in images)
    terms = []
    for i in range(4):
        positive = math.exp(cosine(t[i], s[i]) / 0.07)
        terms.append(-math.log(positive / (positive + sum(math.exp(cosine(t[i], r) / 0.07) for r in x))))
    assert float(discriminator_contrast(views).detach()) == pytest.approx(np.mean(terms), rel=1e-4)


def test_cl2_against_other_source_images_needs_no_real_ones():
    state = fresh("dcl", cl2_negatives="source")
    assert "real" not in term_of(state, "cl2", "D").needs
    views = views_of(state, "D")
    (tap,) = discriminator_taps(views)
    (t, s) = (
        state.discriminator(output.image, taps=(tap,)).taps[tap]
        for output in (views.free_pair.target, views.free_pair.source)
    )
    assert float(discriminator_contrast(views).detach()) == pytest.approx(float(cl1(t, s).detach()), rel=1e-4)


def test_cl2_reaches_g_only_where_the_recipe_says():
    owners = [(t.owner, t.weight) for t in objectives(small("dcl", cl2_to_g=True)) if t.name == "cl2"]
    assert owners == [("D", 0.5), ("G", 0.5)]
    state = fresh("dcl", "full", cl2_to_g=True)
    for stats in train(state, 2):
        assert "G/cl2" in stats and "D/cl2" in stats
    state.discriminator.requires_grad_(False)
    leaves = list(state.learners["G"].values())
    slopes = torch.autograd.grad(
        term_of(state, "cl2", "G").loss(views_of(state, "G")), leaves, allow_unused=True
    )
    assert any(slope is not None and slope.any() for slope in slopes)


def test_contrasts_may_look_near_the_anchors():
    state = fresh("dcl", cl_latents="anchors", anchor_sigma=0.0)
    views = views_of(state, "G")
    term_of(state, "cl1", "G").loss(views)
    assert state.anchors is not None
    anchors = [
        state.generator(z[None], noise=views._random_noise("anchor.noise", 1)).image for z in state.anchors
    ]
    first = views.anchor_pair.source.image[0]
    assert any(torch.allclose(first, image[0], atol=1e-5) for image in anchors)
    with pytest.raises(
        StylegraftError,
        match="cl_latents is anchors, which does nothing without cdc: expected cl_latents=free",
    ):
        recipe("dcl", cl_latents="anchors", cdc=False)


def test_no_contrast_teaches_the_other_network():
    for owner, name in (("G", "cl1"), ("G", "dist"), ("D", "cl2"), ("D", "dist")):
        method = {"cl1": "dcl", "cl2": "dcl", "dist": "maskedd"}[name]
        state = fresh(method, "full")
        state.discriminator.requires_grad_(owner == "D")
        loss = term_of(state, name, owner).loss(views_of(state, owner))
        own, other = (list(state.learners[o].values()) for o in (owner, "DG"[owner == "D"]))
        reached = {node.variable for node in leaves_of(loss.grad_fn)}
        assert reached & set(own), (owner, name)
        assert not reached & set(other), (owner, name)


# FixNoise: what is matched, where, and at which noise


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["b4.conv1", "b8.conv1", "b16.conv1"]),
        ({"fm_layers": "8..16"}, ["b8.conv1", "b16.conv1"]),
        ({"fm_layers": "8"}, ["b8.conv1"]),
        ({"fm_match": "rgb"}, ["b4.rgb", "b8.rgb", "b16.rgb"]),
        ({"fm_match": "image"}, ["image"]),
        ({"fm_match": "all", "fm_layers": "8..16"}, ["b8.conv1", "b16.conv1", "b8.rgb", "b16.rgb", "image"]),
    ],
)
def test_fixnoise_matches_what_the_recipe_names(changes: dict, expected: list[str]):
    state = fresh("fixnoise", "full", **changes)
    for _ in train(state, 1):
        pass
    views = views_of(state, "G")
    found = float(term_of(state, "fm", "G").loss(views).detach())
    student, source = views.student, state.generator
    taps = tuple(name for name in expected if name != "image")
    target, of_source = (
        network(views.latents.z, noise=state.generator.noise("const"), taps=taps)
        for network in (student, source)
    )
    pairs = [
        (target.image, of_source.image) if name == "image" else (target.taps[name], of_source.taps[name])
        for name in expected
    ]
    assert found > 0
    assert found == pytest.approx(float(feature_matching(*zip(*pairs)).detach()), rel=1e-6)


def test_fixnoise_s_ablations_match_at_other_noise():
    for kind in ("anchor", "random", "none"):
        state = fresh("fixnoise", fm_noise=kind)
        views = views_of(state, "G")
        noise = views._random_noise("fm.noise") if kind == "random" else {"anchor": "const"}.get(kind, kind)
        assert torch.equal(
            views.anchored_pair.source.image, state.generator(views.latents.z, noise=noise).image
        )


def test_a_network_without_running_images_is_refused_by_name():
    mobile = toy("mobile").generator
    with pytest.raises(
        StylegraftError, match="fm_match=all: this mobile generator has no running images.*=feature"
    ) as said:
        check(small("fixnoise", fm_match="all"), mobile)
    assert len(str(said.value)) < 120
    with pytest.raises(
        StylegraftError,
        match=r"^this mobile generator has no running images; --set structure=0 goes without$",
    ):
        check(small("freezesg"), mobile)
    with pytest.raises(
        StylegraftError,
        match="structure_levels=9: this stylegan2 generator has 3 running images; expected at most",
    ):
        check(small("freezesg", structure_levels=9), toy().generator)
    with pytest.raises(StylegraftError, match=r"fm_layers=64\.\.256: no block of this generator; it has b4"):
        check(small("fixnoise", fm_layers="64..256"), toy().generator)
    with pytest.raises(
        StylegraftError, match=r"resolutions '8-64': expected all, or resolutions such as 8\.\.64"
    ):
        recipe("fixnoise", fm_layers="8-64")
    with pytest.raises(StylegraftError, match="fm_match is 'rgbb' \\(did you mean"):
        recipe("fixnoise", fm_match="rgbb")
    for name in RECIPES:
        if name != "freezesg":
            check(recipe(name), mobile)


# Structure: Back 2021


def test_structure_is_the_sum_of_mean_squares():
    t, s = ([maps(2, seed + r, side=r).numpy() for r in (4, 8)] for seed in (0, 20))
    expected = sum(((a - b) ** 2).mean() for a, b in zip(t, s, strict=True))
    found = structure([torch.tensor(a) for a in t], [torch.tensor(b) for b in s])
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_freezesg_looks_at_the_lowest_running_images():
    state = fresh("freezesg")
    assert set(views_of(state, "G").free_pair.target.taps) == {"b4.rgb", "b8.rgb"}
    assert next(train(state, 1))["G/structure"] == 0


# RSSA: Xiao et al. 2022


def unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=0, keepdims=True)


def self_correlation_by_loops(t: Array, s: Array) -> float:
    """One tap [B, C, r, r]: the mean over the quarters, plus the centre."""
    side = t.shape[2] // 2
    half = side // 2

    def window(x: Array, top: int, left: int) -> Array:
        x = unit(x)
        pooled = np.array(
            [
                [x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2)) for j in range(side)]
                for i in range(side)
            ]
        )
        places = [pooled[top + i, left + j] for i in range(half) for j in range(half)]
        return np.array([[a @ b for b in places] for a in places])

    def smooth(top: int, left: int) -> float:
        d = np.abs(np.array([window(a, top, left) - window(b, top, left) for a, b in zip(t, s, strict=True)]))
        return float(np.where(d < 1, d**2 / 2, d - 0.5).mean())

    quarters = [smooth(top, left) for top in (0, half) for left in (0, half)]
    return float(np.mean(quarters)) + smooth(half - half // 2, half - half // 2)


def test_self_correlation_is_the_equation():
    pairs = [(maps(2, 0, side=8), maps(2, 1, side=8)), (maps(2, 2, 5, 16), maps(2, 3, 5, 16))]
    expected = sum(self_correlation_by_loops(t.numpy(), s.numpy()) for t, s in pairs)
    found = self_correlation([t for t, _ in pairs], [s for _, s in pairs])
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_self_correlation_sees_neither_the_scale_of_a_place_nor_a_common_turn_of_channels():
    t, s = maps(2, 0, side=8), maps(2, 1, side=8)
    loss = float(self_correlation([t], [s]))
    scale = 0.1 + maps(2, 5, 1, 8).abs()
    assert float(self_correlation([t * scale], [s])) == pytest.approx(loss, rel=1e-9)
    turn = torch.linalg.qr(maps(1, 6, 1, 3)[0, 0])[0]
    assert float(self_correlation([torch.einsum("oc,bcij->boij", turn, s)], [s])) == pytest.approx(
        0, abs=1e-12
    )
    twice = self_correlation([torch.cat((t, t))], [torch.cat((s, s))])
    assert float(twice) == pytest.approx(loss, rel=1e-9)  # a mean over the batch


def disturbance_by_loops(t: Array, s: Array, cells: int) -> float:
    side = t.shape[2] // cells
    rows = []
    for a, b in combinations(range(len(t)), 2):
        for top in range(0, t.shape[2], side):
            for left in range(0, t.shape[2], side):
                places = [(top + i, left + j) for i in range(side) for j in range(side)]
                for u in places:
                    p, q = (
                        softmax(
                            [float(unit(x[a])[:, u[0], u[1]] @ unit(x[b])[:, v[0], v[1]]) for v in places]
                        )
                        for x in (t, s)
                    )
                    rows.append(np.abs(p - q).sum())
    return float(np.mean(rows))


def test_disturbance_correlation_is_the_equation(monkeypatch: pytest.MonkeyPatch):
    pairs = [(maps(3, 0), maps(3, 1)), (maps(3, 2, 5, 8), maps(3, 3, 5, 8))]
    targets, sources = [t for t, _ in pairs], [s for _, s in pairs]
    whole = sum(disturbance_by_loops(t.numpy(), s.numpy(), 1) for t, s in pairs)
    assert float(disturbance_correlation(targets, sources)) == pytest.approx(whole, rel=1e-9)
    monkeypatch.setattr("stylegraft.adaptation.objectives.rssa.WHOLE", 4)  # the second map in 4 x 4 windows
    cut = sum(disturbance_by_loops(t.numpy(), s.numpy(), c) for (t, s), c in zip(pairs, (1, 4), strict=True))
    assert float(disturbance_correlation(targets, sources)) == pytest.approx(cut, rel=1e-9)
    assert float(disturbance_correlation(sources, sources)) == 0


def test_disturbed_latents_are_near_each_other_and_new_each_step():
    keyed = [sampling.Keyed(0, step, 4, torch.device("cpu"), "G") for step in (0, 1)]
    z, later = (sampling.disturbed(k, "z", 512, 0.15).z for k in keyed)
    base = keyed[0].shared("z.base").normal(512)
    own = sampling.free(keyed[0], "z", 512)
    assert torch.allclose(z, 0.85 * base + 0.15 * own)
    assert F.cosine_similarity(z[0], z[1], dim=0) > 0.9 > F.cosine_similarity(z[0], later[0], dim=0)
    half = sampling.Keyed(0, 0, 4, torch.device("cpu"), "G", (1, 2))
    assert torch.equal(sampling.disturbed(half, "z", 512, 0.15).z, z[1::2])


def test_rssa_takes_its_turns_and_starts_at_zero():
    stats = list(train(fresh("rssa", "full"), 7))
    assert [step for step, one in enumerate(stats) if "G/cross_corr" in one] == [0, 6]
    assert stats[0]["G/cross_corr"] == stats[0]["G/self_corr"] == 0
    assert stats[6]["G/cross_corr"] > 0 and stats[6]["G/self_corr"] > 0
    term = term_of(fresh("rssa"), "cross_corr", "G")
    assert (term.scale, term.every) == (0.4, 6)


# MaskedD: Zhu et al. 2022


def test_a_mask_hides_its_share_and_keeps_the_mean():
    keyed = sampling.Keyed(0, 0, 4, torch.device("cpu"), "D")
    mask = sampling.kept(keyed, "mask.fake", 128, 0.75)
    assert mask.shape == (1, 128)
    assert int((mask == 0).sum()) == 96
    assert float(mask.mean()) == pytest.approx(1)
    assert not torch.equal(mask, sampling.kept(keyed, "mask.real", 128, 0.75))


def test_the_image_exit_judges_what_is_not_hidden():
    state = fresh("maskedd")
    judge, images = state.discriminator, state.images[:4]
    assert isinstance(judge, Discriminator)
    plain = judge(images).logits
    ones = torch.ones(4, head_features(judge))
    assert torch.equal(EXITS["image"](judge, None, images, 1, ones), plain)
    mask = sampling.kept(
        sampling.Keyed(0, 0, 4, torch.device("cpu")), "m", head_features(judge), 0.75
    ).repeat(4, 1)
    features: dict[str, Any] = {}
    hook = judge.b4.conv.register_forward_hook(lambda _, __, y: features.update(x=y))
    judge(images)
    hook.remove()
    expected = judge.b4.out(judge.b4.fc(features["x"].flatten(1) * mask))
    assert torch.allclose(EXITS["image"](judge, None, images, 1, mask), expected, atol=1e-6)
    assert torch.equal(judge(images).logits, plain)  # nothing of it stays


def test_maskedd_hides_at_the_image_exit_alone():
    masked, plain = fresh("maskedd"), fresh("maskedd", mask=0.0)
    for step, alike in ((0, False), (1, True)):
        masked.step = plain.step = step
        ours, theirs = (views_of(s, "D").logits(s.images[:4], "fake") for s in (masked, plain))
        assert torch.equal(ours, theirs) == alike


def test_maskedd_s_d_is_held_to_the_source_s():
    state = fresh("maskedd", "full")
    assert float(next(train(state, 1))["D/dist"]) == pytest.approx(0, abs=1e-6)
    assert state.source_discriminator is not None
    frozen = copy.deepcopy(state.source_discriminator)
    for stats in train(state, 8):  # after which it is more than rounding
        assert stats["D/dist"] > 0
    for mine, theirs in zip(frozen.parameters(), state.source_discriminator.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    views, term = views_of(state, "D"), term_of(state, "dist", "D")
    found = float(term.loss(views).detach())
    target, source = views.free_pair
    judges = (state.discriminator, target.image), (state.source_discriminator, source.image)
    t, s = (
        judge(image, taps=("b8.conv1",)).taps["b8.conv1"].detach().double().numpy() for judge, image in judges
    )
    assert found == pytest.approx(kl_of_relations([t] * 4, [s] * 4), rel=1e-3, abs=1e-8)


# WeditGAN: Duan et al. 2024


def test_perpendicular_is_the_equation():
    rng = np.random.default_rng(0)
    ws, d = rng.standard_normal((3, 5, 8)), rng.standard_normal((5, 8))
    total = 0.0
    for i in range(3):
        for k in range(5):
            total += float((ws[i, k] - ws[(i + 1) % 3, k]) @ d[k]) ** 2 / 3
    assert float(perpendicular(torch.tensor(d), torch.tensor(ws))) == pytest.approx(total, rel=1e-9)


def test_perpendicular_is_zero_for_no_offset_and_for_one_the_source_never_varies_in():
    ws = torch.tensor(np.random.default_rng(0).standard_normal((3, 5, 8)))
    ws[..., 0] = 1.5
    offset = torch.zeros(5, 8).double()
    assert float(perpendicular(offset, ws)) == 0
    offset[:, 0] = 2
    assert float(perpendicular(offset, ws)) == 0


def test_weditgan_s_offsets_are_those_that_the_layers_read():
    state = fresh("weditgan", "w-offset@res", perp=1.0)
    assert float(next(train(state, 1))["G/perp"]) == 0
    views = views_of(state, "G")
    found = float(term_of(state, "perp", "G").loss(views).detach())
    w = state.generator.mapping(views.latents.z).double().numpy()
    total = 0.0
    for layer in state.generator.layers:
        d = views.student.effective[f"synthesis.{layer.name}.w_offset"].detach().double().numpy()
        total += sum(float((w[i] - w[(i + 1) % 4]) @ d) ** 2 for i in range(4)) / 4
    assert found > 0
    assert found == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "off"),
    [
        ("cdc", {"dist": 0, "cdc": False}),
        ("rssa", {"self_corr": 0, "cross_corr": 0, "cdc": False}),
        ("maskedd", {"mask": 0, "dist": 0, "dist_d": 0, "cdc": False}),
        ("freezesg", {"structure": 0, "augment": "none", "ada_kimg": 500, "discriminator": "all"}),
        ("weditgan", {"perp": 0, "augment": "none", "ada_kimg": 500}),
    ],
)
def test_without_its_terms_a_method_is_tgan_bit_for_bit(name: str, off: dict):
    plain, other = after(3, "tgan", "full"), after(3, name, "full", **off)
    mine, theirs = pack(plain)[0], pack(other)[0]
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


# What a batch must hold


@pytest.mark.parametrize(
    ("name", "batch", "why"),
    [
        ("cdc", 2, "dist is 333.333 and batch is 2: CDC compares .* batch of at least 3, or dist=0"),
        ("maskedd", 2, "batch of at least 3"),
        ("rssa", 1, "cross_corr is 0.4 and batch is 1: RSSA compares"),
    ],
)
def test_a_batch_too_small_for_a_term_is_refused(name: str, batch: int, why: str):
    with pytest.raises(StylegraftError, match=why):
        recipe(name, batch=batch)
