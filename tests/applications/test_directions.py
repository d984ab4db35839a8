"""Directions are the closed forms of their papers, know their unit, and survive their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cores import AVX512
from torch import Tensor

from stylegraft.applications.directions import (
    Direction,
    channel,
    channel_spread,
    ganspace,
    rows_between,
    sefa,
    w_of_seeds,
)
from stylegraft.applications.labels import (
    attribute_channels,
    boundary,
    chance,
    channels_direction,
    ends,
    score,
    tell_apart,
)
from stylegraft.applications.latents import of_seeds
from stylegraft.errors import StylegraftError
from stylegraft.metrics.features import levels

from ..toys import ARCHITECTURES, toy

SAMPLES = 2000


class Means:
    """An encoder: the mean of each channel."""

    name, digest, dim = "means", "0", 3

    def preprocess(self, images: Tensor) -> Tensor:
        return images

    def encode(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


@pytest.fixture(params=ARCHITECTURES)
def generator(request: pytest.FixtureRequest):
    return toy(request.param)


def unit(step: Tensor) -> np.ndarray:
    """A step [1, w_dim] at length 1."""
    row = step[0].double().numpy()
    return row / np.linalg.norm(row)


def runtime_matrix(generator, layer: str) -> np.ndarray:
    """What a layer's affine map does to the unit vectors of w, minus what it does to zero."""
    affine = generator.synthesis.get_submodule(f"{layer}.affine")
    rows = affine(torch.eye(generator.w_dim)) - affine(torch.zeros(1, generator.w_dim))
    return rows.T.double().numpy()


def test_sefa_is_the_singular_vectors_of_what_the_layers_do_to_w(generator):
    matrix = np.concatenate([runtime_matrix(generator, layer.name) for layer in generator.layers])
    _, values, vectors = np.linalg.svd(matrix)
    found = sefa(generator, 4, samples=SAMPLES)
    for i, direction in enumerate(found):
        assert abs(unit(direction.ws) @ vectors[i]) == pytest.approx(1, abs=1e-4)
        assert direction.info["eigenvalue"] == pytest.approx(values[i] ** 2, rel=1e-4)
        assert direction.info["share"] == pytest.approx(values[i] ** 2 / (values**2).sum(), rel=1e-4)
    moved = [np.linalg.norm(matrix @ unit(direction.ws)) for direction in found]
    assert moved == sorted(moved, reverse=True)


def test_sefa_on_rows_sees_and_moves_these_rows_alone(generator):
    rows = [0, 1]
    read = [layer.name for layer in generator.layers if layer.row in rows]
    _, _, vectors = np.linalg.svd(np.concatenate([runtime_matrix(generator, name) for name in read]))
    (first,) = sefa(generator, 1, rows, samples=SAMPLES)
    assert first.ws.shape == (generator.num_ws, generator.w_dim)
    assert abs(unit(first.ws) @ vectors[0]) == pytest.approx(1, abs=1e-4)
    assert not first.ws[2:].any()


def test_a_step_of_any_direction_of_w_is_one_standard_deviation(generator):
    w = w_of_seeds(generator, SAMPLES)
    for direction in (*sefa(generator, 3, samples=SAMPLES), *ganspace(generator, 3, samples=SAMPLES)):
        along = w @ torch.from_numpy(unit(direction.ws))
        assert float(direction.ws.norm()) == pytest.approx(float(along.std()), rel=1e-4)
        assert direction.info["std"] == pytest.approx(float(along.std()), rel=1e-4)


def test_ganspace_is_the_singular_vectors_of_the_centred_codes(generator):
    w = w_of_seeds(generator, SAMPLES).numpy()
    _, values, vectors = np.linalg.svd(w - w.mean(0), full_matrices=False)
    variances = values**2 / (SAMPLES - 1)
    for i, direction in enumerate(ganspace(generator, 3, samples=SAMPLES)):
        assert abs(unit(direction.ws) @ vectors[i]) == pytest.approx(1, abs=1e-4)
        assert direction.info["std"] ** 2 == pytest.approx(variances[i], rel=1e-4)
        assert direction.info["share"] == pytest.approx(variances[i] / variances.sum(), rel=1e-4)


def test_ganspace_of_a_linear_mapping_is_the_covariance_that_it_makes(monkeypatch: pytest.MonkeyPatch):
    """w = M z has the covariance M M^T: orthogonal columns of M are the components, their lengths the deviations."""
    generator = toy("stylegan2")
    basis, _ = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(3)))
    lengths = torch.tensor([8.0, 5, 3, 2, 1, 0.5, 0.2, 0.1])
    monkeypatch.setattr(generator.mapping, "forward", lambda z, c=None: z @ (basis * lengths).T)
    for i, direction in enumerate(ganspace(generator, 3, samples=10_000)):
        assert abs(unit(direction.ws) @ basis[:, i].double().numpy()) > 0.999
        assert direction.info["std"] == pytest.approx(float(lengths[i]), rel=0.03)


def test_a_direction_points_the_same_way_each_time(generator):
    for direction in (*sefa(generator, 3, samples=SAMPLES), *ganspace(generator, 3, samples=SAMPLES)):
        row = direction.ws[0]
        assert row[row.abs().argmax()] > 0


def test_rows_by_resolution_are_those_of_the_convolutions():
    assert rows_between(toy("stylegan2"), 4, 4) == [0]
    assert rows_between(toy("stylegan2"), 8, 16) == [1, 2, 3, 4, 5]  # the last one is the last toRGB's alone
    mobile = toy("mobile")
    assert rows_between(mobile, 4, 4) == [0]
    assert rows_between(mobile, 4, 1024) == list(range(mobile.num_ws))
    assert rows_between(mobile, 512, 1024) == []


def test_a_channel_moves_one_style_by_the_unit_that_was_asked_for(generator):
    layer = generator.layers[1]
    raw, std = channel(generator, layer.name, 3), channel(generator, layer.name, 3, std=True)
    styles = generator.synthesis.styles(of_seeds(generator, range(1024), 1.0).ws)[layer.name]
    assert raw.styles[layer.name].tolist() == [float(i == 3) for i in range(layer.channels)]
    assert float(std.styles[layer.name][3]) == pytest.approx(float(styles[:, 3].std()), rel=1e-5)
    assert channel_spread(generator)[layer.name].shape == (layer.channels,)


@pytest.mark.parametrize(
    ("layer", "index", "said"),
    [("b8.cony1", 0, "did you mean 'b8.conv1'"), ("b8.conv1", 8, "channels 0 to 7")],
)
def test_a_channel_that_is_not_there_is_named(layer: str, index: int, said: str):
    with pytest.raises(StylegraftError, match=said):
        channel(toy("stylegan2"), layer, index)


# From labels


def labelled(count: int = 600, flip: float = 0.05) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, labels by a hidden plane with a few wrong ones, and the plane's normal."""
    rng = torch.Generator().manual_seed(5)
    normal = torch.nn.functional.normalize(torch.randn(8, generator=rng, dtype=torch.float64), dim=0)
    codes = torch.randn(count, 8, generator=rng)
    labels = (codes.double() @ normal > 0).double()
    wrong = torch.rand(count, generator=rng) < flip
    return codes, torch.where(wrong, 1 - labels, labels), normal


def test_a_boundary_recovers_the_normal_of_the_plane_that_labelled_the_codes():
    codes, labels, normal = labelled()
    found = boundary(toy("stylegan2"), codes, labels, "smile")
    assert unit(found.ws) @ normal.numpy() > 0.95
    assert found.info["accuracy"] > 0.85
    assert (found.name, found.info["codes"]) == ("smile", 600)


def test_scores_are_labels_by_their_ends():
    codes, _, normal = labelled()
    found = boundary(toy("stylegan2"), codes, codes.double() @ normal)
    assert unit(found.ws) @ normal.numpy() > 0.95
    low, high = ends(torch.arange(30.0))
    assert sorted(low.tolist()) == list(range(10))
    assert sorted(high.tolist()) == list(range(20, 30))


def test_rows_of_w_plus_get_a_step_of_their_own():
    generator = toy("stylegan2")
    rng = torch.Generator().manual_seed(6)
    ws = torch.randn(400, generator.num_ws, 8, generator=rng)
    found = boundary(generator, ws, (ws[:, 2, 0] > 0).double())
    assert found.ws.shape == (generator.num_ws, 8)
    share = found.ws[2, 0] / found.ws.norm()
    assert share > 0.9
    along = ws.flatten(1) @ torch.nn.functional.normalize(found.ws.flatten(), dim=0)
    assert float(found.ws.norm()) == pytest.approx(float(along.std()), rel=1e-4)


def test_labels_that_no_plane_parts_are_refused():
    codes, _, _ = labelled(60)
    labels = (torch.rand(60, generator=torch.Generator().manual_seed(1)) > 0.5).double()
    with pytest.raises(StylegraftError, match="no plane parts the codes"):
        boundary(toy("stylegan2"), codes, labels)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([1.0] * 12, "all of one value"),
        ([0.0] * 9 + [1.0] * 3, "9 low and 3 high"),
        ([0.0, 1, 2, 3], "1 low"),
    ],
)
def test_too_few_labels_are_refused(labels: list[float], said: str):
    with pytest.raises(StylegraftError, match=said):
        ends(torch.tensor(labels))


def test_guessing_reaches_less_the_more_pictures_there_are():
    assert chance(5, 5) == pytest.approx(0.5 + 2 * (0.1 * 0.25) ** 0.5)
    assert chance(1000, 1000) == 0.6


def plain(levels: Tensor) -> Tensor:
    """Plain pictures [N, 3, 8, 8], uint8."""
    return levels.clamp(0, 255).round().to(torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()


def test_a_probe_of_two_folders_scores_the_faces_of_a_source():
    """Bright and dark pictures: the score of a sample follows its brightness."""
    rng = torch.Generator().manual_seed(2)
    bright, dark = (plain(mean + 30 * torch.randn(12, generator=rng)) for mean in (180.0, 70.0))
    probe = tell_apart(Means(), bright, dark)
    generator = toy("stylegan2")
    counted = []
    w, scores = score(
        generator, Means(), probe, 70, progress=lambda done, total: counted.append((done, total))
    )
    assert counted[-1] == (70, 70)
    expected = of_seeds(generator, range(70), 0.7).ws[:, 0]  # in batches of another size
    torch.testing.assert_close(w, expected, rtol=1e-5, atol=1e-6)
    assert AVX512 or torch.equal(w, expected)
    means = levels(generator(w=w).image).double().mean((2, 3))
    assert torch.allclose(scores, means @ probe.head.weight + probe.head.bias, atol=0.02)


def test_two_folders_of_the_same_are_refused():
    rng = torch.Generator().manual_seed(3)
    one, other = (plain(128 + 40 * torch.randn(20, generator=rng)) for _ in range(2))
    with pytest.raises(StylegraftError, match="cannot be told apart"):
        tell_apart(Means(), one, other)
    with pytest.raises(StylegraftError, match="3 pictures without"):
        tell_apart(Means(), one, other[:3])


def test_the_channels_of_an_attribute_are_those_that_differ(generator):
    """Labels by one channel put that channel first, and its direction moves it by its deviation."""
    w = w_of_seeds(generator, 300).float()
    layer = generator.layers[2]
    styles = generator.synthesis.styles(w[:, None].expand(-1, generator.num_ws, -1))[layer.name]
    found = attribute_channels(generator, w, styles[:, 1], 5)
    low, high = ends(styles[:, 1])
    apart = float((styles[high, 1].mean() - styles[low, 1].mean()) / channel_spread(generator)[layer.name][1])
    (own,) = [each for each in found if (each.layer, each.index) == (layer.name, 1)]
    assert own.difference == pytest.approx(apart, rel=1e-4)
    assert [abs(each.difference) for each in found] == sorted(
        (abs(each.difference) for each in found), reverse=True
    )
    step = channels_direction(generator, found[:2], "more")
    first = found[0]
    sign = 1 if first.difference > 0 else -1
    spread = channel_spread(generator)[first.layer][first.index]
    assert float(step.styles[first.layer][first.index]) == pytest.approx(sign * float(spread), rel=1e-5)
    assert sum(int((s != 0).sum()) for s in step.styles.values()) == 2


# The file


def every_kind(generator) -> list[Direction]:
    return [
        ganspace(generator, 1, samples=100)[0],
        sefa(generator, 1, [0, 2], samples=100)[0],
        channel(generator, generator.layers[0].name, 2),
    ]


@pytest.mark.parametrize("kind", range(3))
def test_a_direction_comes_back_from_its_file(generator, kind: int, tmp_path: Path):
    direction, path = every_kind(generator)[kind], tmp_path / "d.safetensors"
    direction.save(path, generator)
    back = Direction.load(path, generator)
    assert (back.name, back.kind, back.info) == (direction.name, direction.kind, direction.info)
    assert (back.ws is None) == (direction.ws is None)
    assert back.ws is None or torch.equal(back.ws, direction.ws)
    assert back.styles.keys() == direction.styles.keys()
    assert all(torch.equal(step, direction.styles[layer]) for layer, step in back.styles.items())
    again = tmp_path / "again.safetensors"
    back.save(again, generator)
    assert again.read_bytes() == path.read_bytes()


def test_a_direction_of_another_generator_or_a_damaged_one_is_refused(generator, tmp_path: Path):
    path = tmp_path / "d.safetensors"
    every_kind(generator)[0].save(path, generator)
    with pytest.raises(StylegraftError, match=r"d\.safetensors: direction of the generator of sha256"):
        Direction.load(path, toy("stylegan2", seed=9))
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 0x40
    path.write_bytes(bytes(raw))
    with pytest.raises(StylegraftError, match="digest mismatch"):
        Direction.load(path, generator)
    of_seeds(generator, [0]).save(path, generator)
    with pytest.raises(StylegraftError, match="a stylegraft-latents file, expected a stylegraft-direction"):
        Direction.load(path, generator)


def test_a_direction_of_other_shapes_is_refused(generator, tmp_path: Path):
    path = tmp_path / "d.safetensors"
    Direction("odd", "boundary", torch.zeros(2, 5)).save(path, generator)
    with pytest.raises(StylegraftError, match=r"damaged direction: \[2, 5\]"):
        Direction.load(path, generator)
    Direction("odd", "channel", styles={"b8.conv1": torch.zeros(3)}).save(path, generator)
    with pytest.raises(StylegraftError, match="other layers"):
        Direction.load(path, generator)
    with pytest.raises(StylegraftError, match="NaN"):
        Direction("odd", "boundary", torch.full((1, 8), float("nan"))).save(path, generator)
