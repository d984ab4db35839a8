"""What moved where, told of domains whose parts are known, and distances with closed forms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stylegraft.adaptation.sight import latents
from stylegraft.checkpoints import Source, describe_base
from stylegraft.domains import Delta, Domain, start
from stylegraft.errors import StylegraftError
from stylegraft.lab import anatomy_page, anatomy_study, domain_similarity, page
from stylegraft.lab.anatomy import anatomy, members_of, numbers_of, parts_of, sizes
from stylegraft.lab.results import Row, groups
from stylegraft.metrics.features import features
from stylegraft.networks import ops
from stylegraft.networks.generator import Generator

from .eyes import Eye, smooth, source
from .test_compare_results import cell, result


def generator() -> Generator:
    return source().generator


def domain(deltas: dict[str, Tensor]) -> Domain:
    return Domain(
        {name: (Delta(1.0, "dense", {"D": d}),) for name, d in deltas.items()}, {}, describe_base(source())
    )


def trained(space: str, seed: int = 0, scale: float = 0.3) -> Domain:
    rng = torch.Generator().manual_seed(seed)
    deltas = start(space, generator(), rng)
    for part in {
        id(p): p for terms in deltas.values() for term in terms for p in term.parts.values()
    }.values():
        part.normal_(std=scale, generator=rng)
    return Domain(deltas, {"space": space}, describe_base(source()))


def z(count: int = 6) -> Tensor:
    return latents(0, "test", count).normal(generator().z_dim)


# Parts
# --------------------------------------------------------------------------------------------


def test_everything_that_can_move_is_in_one_part_that_space_takes_by_name():
    part_of = parts_of(generator())
    assert set(part_of) >= {name for name, _ in generator().named_parameters()}
    assert {"mapping", "const@4", "noise@8", "affine@16", "torgb@4", "gain@8", "offset@8", "miner"} <= set(
        part_of.values()
    )
    for part in sorted(
        set(part_of.values()) - {"mapping"}
    ):  # the mapping has w_avg beside what a space moves
        assert set(start(part, generator())) == {name for name, own in part_of.items() if own == part}


def test_a_domain_that_moves_affine_8_shows_there_and_nowhere_else():
    found = anatomy(trained("affine@8"), generator(), Eye(), z())
    (part,) = found.parts
    assert (part.name, part.share, part.numbers) == ("affine@8", 1.0, trained("affine@8").count)
    assert part.alone == part.without == found.whole > 0
    groups, columns, values = found.grid("alone")
    assert (groups, columns, values) == (["affine"], ["8"], [[found.whole]])


def test_numbers_are_the_files_and_tied_ones_count_once():
    both = trained("affine-light+@8 + offset by row")
    counts = numbers_of(both)
    assert sum(counts.values()) == both.count
    assert set(members_of(both, generator())) >= {"affine@4", "conv@8", "torgb@8", "offset@16"}


@pytest.mark.parametrize(
    "space", ["singular(conv@8.kernel)", "lowrank:2(conv@8.kernel)", "scale(conv@8.kernel)"]
)
def test_sizes_are_of_the_effective_delta_whatever_its_form(space: str):
    one = trained(space)
    values, base = one.effective(generator()), dict(generator().named_parameters())
    moved = torch.cat([(values[name].double() - base[name].double()).flatten() for name in values])
    still = torch.cat([base[name].double().flatten() for name in values])
    rms, relative = sizes(one, generator())["conv@8"]
    assert rms == pytest.approx(float(moved.square().mean().sqrt()), rel=1e-5)
    assert relative == pytest.approx(float(moved.norm() / still.norm()), rel=1e-5)
    half, _ = sizes(one * 0.5, generator())["conv@8"]
    assert half == pytest.approx(rms / 2)


def test_what_is_zero_in_the_base_has_no_relative_size():
    rms, relative = sizes(trained("offset@8"), generator())["offset@8"]
    assert rms > 0 and relative is None


# Effects
# --------------------------------------------------------------------------------------------


@pytest.fixture
def dim(monkeypatch: pytest.MonkeyPatch) -> Source:
    """The toy with an image so faint that no clamp acts on it: linear in the biases of toRGB."""
    faint = source().with_domain(domain({"synthesis.b4.torgb.bias": torch.zeros(3)}))
    with torch.no_grad():
        for name, parameter in faint.generator.named_parameters():
            if ".torgb." in name and ".affine." not in name:
                parameter.mul_(0.02)
    return faint


def test_on_a_linear_toy_a_part_alone_and_left_out_are_its_closed_form(dim: Source):
    d = {
        r: torch.tensor(values)
        for r, values in ((4, (0.3, -0.2, 0.1)), (8, (0.0, 0.4, 0.2)), (16, (0.25, 0.1, -0.4)))
    }
    moved = domain({f"synthesis.b{r}.torgb.bias": one for r, one in d.items()})
    moved = replace(moved, base=describe_base(dim))
    found = anatomy(moved, dim.generator, Eye(), z())
    f = dim.generator.synthesis.get_buffer("f")
    maps = {}
    for r, bias in d.items():
        image = bias[None, :, None, None].expand(1, 3, r, r)
        while image.shape[-1] < 16:
            image = ops.upsample2d(image, f)
        maps[r] = image
    eye = Eye()
    for part, r in zip(found.parts, d, strict=True):
        wanted = float(eye.embed(maps[r])[0].square().sum())
        assert part.name == f"torgb@{r}"
        assert part.alone == pytest.approx(wanted, rel=0.05)  # images are rounded to 256 levels
        assert part.without == pytest.approx(wanted, rel=0.05)
    assert found.parts[-1].alone == pytest.approx(float(d[16].square().mean()), rel=0.05)
    assert found.whole == pytest.approx(
        float(eye.embed(maps[4] + maps[8] + maps[16])[0].square().sum()), rel=0.05
    )
    assert sum(part.alone for part in found.parts) != pytest.approx(found.whole, rel=0.05), (
        "they do not add up"
    )


def test_a_conditional_source_and_another_base_are_refused():
    with pytest.raises(StylegraftError, match="stands on the base"):
        anatomy(replace(trained("affine@8"), base={"sha256": "0" * 64}), generator(), Eye(), z())
    labelled = generator()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StylegraftError, match="conditional source"):
        patch.setattr(labelled, "c_dim", 3)
        anatomy(trained("affine@8"), labelled, Eye(), z())


# Similarity
# --------------------------------------------------------------------------------------------


def test_a_domain_is_itself_and_opposite_to_its_negative():
    one, other = trained("affine-light+@8", 1), trained("conv@16", 2)
    found = domain_similarity.delta_cosines([one, one * 0.5, -one, other], generator())
    whole = torch.tensor(found["all"])
    expected = torch.tensor([[1, 1, -1, 0], [1, 1, -1, 0], [-1, -1, 1, 0], [0, 0, 0, 1]]).float()
    assert torch.allclose(whole, expected, atol=1e-6)
    assert found["conv@8"][0][:3] == pytest.approx([1, 1, -1])
    assert found["conv@8"][0][3] is None and found["conv@16"][3] == [None, None, None, pytest.approx(1)]
    assert next(iter(found)) == "all" and {"affine", "conv", "torgb"} <= set(found)


def test_deltas_are_compared_as_the_network_multiplies_them():
    names = ("synthesis.b8.conv1.affine.weight", "synthesis.b8.conv1.affine.bias")
    gains = torch.tensor([generator().gains[name] for name in names]).double()
    parameters = dict(generator().named_parameters())
    rng = torch.Generator().manual_seed(0)
    pair = [{name: torch.randn(parameters[name].shape, generator=rng) for name in names} for _ in range(2)]
    flat = [
        torch.cat([one[n].flatten().double() * g for n, g in zip(names, gains, strict=True)]) for one in pair
    ]
    wanted = float(flat[0] @ flat[1] / flat[0].norm() / flat[1].norm())
    found = domain_similarity.delta_cosines([domain(one) for one in pair], generator())
    assert found["all"][0][1] == pytest.approx(wanted)
    assert gains[0] != gains[1]


def test_shifts_point_where_the_mean_feature_goes():
    rng = torch.Generator().manual_seed(0)
    still = torch.randn(50, 3, generator=rng)
    x, y = torch.tensor([1.0, 0, 0]), torch.tensor([0, 2.0, 0])
    found = domain_similarity.shift_cosines(
        still, [still + x, still - 3 * x, still + y, still + x + y / 2, still]
    )
    assert torch.tensor([row[:4] for row in found[:4]]).numpy() == pytest.approx(
        torch.tensor(
            [
                [1, -1, 0, 0.5**0.5],
                [-1, 1, 0, -(0.5**0.5)],
                [0, 0, 1, 0.5**0.5],
                [0.5**0.5, -(0.5**0.5), 0.5**0.5, 1],
            ]
        ).numpy(),
        abs=1e-5,
    )
    assert found[4] == [None] * 5


def test_what_has_not_moved_is_at_no_distance_and_what_has_is_further():
    domains = {
        "still": trained("affine@8", scale=0.0),
        "near": trained("affine@8"),
        "far": trained("full", scale=2.0),
    }
    found = domain_similarity.domain_similarity(domains, generator(), Eye(), count=60)
    still, near, far = found.distances
    assert abs(still.kid) < still.spread < far.kid and abs(near.kid) < far.kid
    assert still.fid < near.fid < far.fid
    assert str(far).startswith("kid-toy ") and "(60 and 60 images)" in str(far)
    assert found.deltas["all"][0] == [None, None, None]
    few = domain_similarity.domain_similarity({"near": domains["near"]}, generator(), Eye(), count=49)
    assert str(few.distances[0]).endswith("(49 and 49 images, fewer than 50: a guess)")


# On the disk
# --------------------------------------------------------------------------------------------


def test_the_page_has_a_heat_map_of_every_domain_and_its_numbers(tmp_path: Path):
    domains = {"a": trained("affine"), "b": trained("stylespace", 3)}
    found = {name: anatomy(one, generator(), Eye(), z(2)) for name, one in domains.items()}
    similarity = domain_similarity.domain_similarity(domains, generator(), Eye(), count=8)
    anatomy_page.write(found, similarity, domains, generator(), tmp_path, {"seed": 0})
    told = json.loads((tmp_path / "anatomy.json").read_text())
    assert told == page.read_data(tmp_path / "anatomy.html")
    parts = told["domains"]["a"]["parts"]
    assert [part["name"] for part in parts] == ["affine@4", "affine@8", "affine@16"]
    assert sum(part["share"] for part in parts) == pytest.approx(1)
    html = (tmp_path / "anatomy.html").read_text()
    for words in (
        "size of the delta, relative to the base, %",
        "effect alone, toy",
        "effect when left out, toy",
        "How alike they are",
        "deltas of affine@8",
    ):
        assert words in html
    assert html.count("affine, 8: ") >= 6, "a hover text a cell, of three maps and two domains"
    assert (tmp_path / "a.png").is_file()


# A study
# --------------------------------------------------------------------------------------------


def test_a_study_is_read_by_the_measured_distance_of_its_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(anatomy_study, "load_source", lambda name, device: source())
    names = {"near": source_like(40), "far": smooth(40)}
    rows = []
    for label, images in names.items():
        put(tmp_path / "targets" / f"{label}-16-0", images)
        for space, share in (("full", 0.9), ("stylespace", 0.8 if label == "near" else 0.4)):
            told = result((0.1, 0.2, 0.3, 0.1 + share * 0.8), shots={"pool": f"{label}-16-0"})
            one = cell(space=space)
            rows.append(Row(replace(one, target=replace(one.target, label=label)), "done", "", told))
    rows.append(Row(replace(cell(), target=replace(cell().target, label="later")), "not measured"))
    found = anatomy_study.study_anatomy(rows, tmp_path, Eye(), count=40)
    assert [one.target for one in found.far] == ["near", "far"] and found.waiting == ["later"]
    seen = domain_similarity.source_features(generator(), Eye(), 40)
    wanted = domain_similarity.distance("toy", seen, features(Eye(), names["far"]))
    assert found.far[1].distance.fid == pytest.approx(wanted.fid) and found.far[1].by == "reference"
    assert "a guess" in str(found.far[1])
    ways = {(g.target, g.space): one.value for g in found.groups if (one := anatomy_study.way(g))}
    assert ways == pytest.approx(
        {("near", "full"): 0.9, ("near", "stylespace"): 0.8, ("far", "full"): 0.9, ("far", "stylespace"): 0.4}
    )
    anatomy_study.write("toy", found, tmp_path)
    told = json.loads((tmp_path / "anatomy.json").read_text())
    assert told["groups"][3]["way"]["value"] == pytest.approx(0.4)
    html = (tmp_path / "anatomy.html").read_text()
    for words in (
        "way from p(source) to p(real): dcl, 10 shots",
        "stylespace on far: 0.400",
        "kid-toy of the target",
    ):
        assert words in html
    assert "for no run is done: later" in html


def test_a_space_has_one_colour_in_all_charts():
    away = domain_similarity.SourceDistance("toy", 0.1, 0.0, 1.0, 50, 50)
    rows = []
    for space, quality in (("mapping", (0.1, 0.1, 0.2, 0.2)), ("full", (0.1, 0.3, 0.7, 0.9))):
        one = cell(space=space)
        rows.append(Row(replace(one, target=replace(one.target, label="t")), "done", "", result(quality)))
    own = tuple(groups(rows))
    found = anatomy_study.StudyAnatomy(
        (anatomy_study.Far(own[0].source, "t", "reference", away),), own, "toy"
    )
    drawn = anatomy_study.charts(found)
    assert "mapping on t" in drawn["way"] and "full on t" in drawn["way"]
    assert "mapping on t" not in drawn["at 0.5"], "it never comes to half of the way"
    assert 'class="dot c1"' in drawn["at 0.5"] and 'class="dot c0"' not in drawn["at 0.5"]


def source_like(count: int) -> Tensor:
    from stylegraft.adaptation.sight import draw

    return draw(generator(), latents(5, "other", count).normal(generator().z_dim))


def put(folder: Path, images: Tensor) -> None:
    """A prepared target whose reference these are."""
    from PIL import Image

    for part in ("pool", "reference"):
        (folder / part).mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / "reference" / f"{i:06d}.png")
    (folder / "made.json").write_text(json.dumps({"pool": 0, "reference": len(images), "notes": []}))
