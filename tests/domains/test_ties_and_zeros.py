"""One vector over several parameters is one vector, in training and in the file; zeros are not stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stylegraft.adaptation.state import on_device
from stylegraft.domains import Delta, Domain, count, prune, start
from stylegraft.domains.domain import base_tensors
from stylegraft.domains.packing import INDEX, MOST, VALUE
from stylegraft.domains.pruning import largest
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator, build_generator

from ..toys import parts_of
from .test_domain_file import contents, refused, rewrite

Make = Callable[..., Domain]
LAYER = "synthesis.b8.conv0.affine"
BASE = {
    "fingerprint": "stylegan2-1024px-000000000000",
    "name": "ffhq",
    "licence": "y" * 60,
    "sha256": "0" * 64,
}


# -- ties


@pytest.mark.parametrize("space", ["style-mult", "style-linear", "hdn-before", "w-offset", "w-offset@res"])
def test_a_shared_vector_is_one_leaf_and_counts_once(generator: Generator, space: str) -> None:
    deltas = start(space, generator)
    placed, leaves = on_device(deltas, "cpu")
    assert sum(leaf.numel() for leaf in leaves.values()) == count(space, generator) == Domain(placed).count
    assert {id(leaf) for leaf in leaves.values()} == {id(part) for part in parts_of(placed)}


def test_a_style_factor_multiplies_the_style(generator: Generator, make_domain: Make) -> None:
    """s (1 + d) for style-mult, and + shift for style-linear, in each layer."""
    ws = torch.randn(3, generator.num_ws, generator.w_dim)
    styles = generator.synthesis.styles(ws)
    for space in ("style-mult", "style-linear"):
        domain = make_domain(generator, space)
        found = domain.on(generator).synthesis.styles(ws)
        for layer in generator.layers:
            name = f"synthesis.{layer.name}.affine.bias"
            scale, *rest = domain.deltas[name]
            expected = styles[layer.name] * (1 + scale.parts["d"])
            for shift in rest:
                expected = expected + shift.parts["D"] * generator.gains[name]
            torch.testing.assert_close(found[layer.name], expected, rtol=1e-4, atol=1e-5)


def test_a_shared_vector_is_stored_once_and_stays_shared(
    stylegan2: Generator, make_domain: Make, tmp_path: Path
) -> None:
    domain = make_domain(stylegan2, "style-mult")
    domain.save(tmp_path / "d.safetensors")
    tensors, metadata = contents(tmp_path / "d.safetensors")
    assert len(tensors) == len(stylegan2.layers)
    assert [f"{LAYER}.bias|scale|d", f"{LAYER}.weight|scale|d"] in json.loads(metadata["config"])["ties"]
    loaded = Domain.load(tmp_path / "d.safetensors", stylegan2)
    assert "ties" not in loaded.config
    assert loaded.deltas[f"{LAYER}.bias"][0].parts["d"] is loaded.deltas[f"{LAYER}.weight"][0].parts["d"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_ties_survive_strength_mixing_and_half_precision(
    stylegan2: Generator, make_domain: Make, tmp_path: Path, dtype: torch.dtype
) -> None:
    a, b = make_domain(stylegan2, "style-linear", seed=1), make_domain(stylegan2, "w-offset", seed=2)
    mix = a * 0.5 + b * 2.0 + a * 0.25
    assert mix.count == a.count + b.count
    mix.save(tmp_path / "mix.safetensors", dtype)
    loaded = Domain.load(tmp_path / "mix.safetensors", stylegan2)
    assert loaded.count == mix.count
    expected, found = mix.effective(stylegan2), loaded.effective(stylegan2)
    for name, value in expected.items():
        if dtype == torch.float32:
            assert torch.equal(found[name], value)
        torch.testing.assert_close(found[name], value, rtol=1e-2, atol=1e-2)
    loaded.save(tmp_path / "again.safetensors", dtype)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "mix.safetensors").read_bytes()


def in_config(key: str, value: Any) -> Callable[[dict[str, Any], dict[str, str]], None]:
    def change(tensors: dict[str, Any], metadata: dict[str, str]) -> None:
        metadata["config"] = json.dumps({**json.loads(metadata["config"]), key: value})

    return change


BIAS, WEIGHT = f"{LAYER}.bias|scale|d", f"{LAYER}.weight|scale|d"
LISTS = "its ties should be lists of at least two tensor names"


@pytest.mark.parametrize(
    ("ties", "message"),
    [
        ({}, LISTS),
        ([BIAS], LISTS),
        ([[BIAS]], LISTS),
        ([[BIAS, 1]], LISTS),
        ([["nothing", WEIGHT]], "a tie to 'nothing', which the file does not hold"),
        ([[WEIGHT, f"{LAYER}.x|scale|d"]], "a tie to .*weight.scale.d', which the file does not hold"),
        ([[BIAS, WEIGHT], [BIAS, WEIGHT]], "is tied to .* and stands in the file twice"),
        ([[BIAS, BIAS]], "is tied to .* and stands in the file twice"),
        ([[BIAS, "x"]], "tensor 'x' is not named <parameter>.<form>.<part>"),
        ([[BIAS, f"{LAYER}.weight|scale|e"]], "part 'd' is missing"),
        ([[BIAS, f"{LAYER}.weight|sparse|d"]], "form 'sparse' is unknown"),
    ],
)
def test_a_corrupt_tie_is_refused(
    stylegan2: Generator, make_domain: Make, tmp_path: Path, ties: Any, message: str
) -> None:
    path = tmp_path / "d.safetensors"
    make_domain(stylegan2, "style-mult").save(path)
    rewrite(path, in_config("ties", ties))
    refused(path, message)


def test_a_tie_of_another_shape_or_to_another_parameter_is_refused(
    stylegan2: Generator, make_domain: Make, tmp_path: Path
) -> None:
    path = tmp_path / "d.safetensors"
    make_domain(stylegan2, "stylespace").save(path)
    first = f"{LAYER}.bias|dense|D"
    rewrite(path, in_config("ties", [[first, f"{LAYER}.weight|dense|D"]]))
    refused(path, "has shape .8., expected .8, 8.", stylegan2)
    rewrite(path, in_config("ties", [[first, "synthesis.b8.conv7.weight|dense|D"]]))
    refused(path, "which stylegan2-16px-.* does not have", stylegan2)


# -- offsets of W+


@pytest.mark.parametrize("space", ["w-offset", "w-offset@res"])
def test_an_offset_of_w_plus_moves_the_rows_and_is_folded_exactly(
    generator: Generator, make_domain: Make, space: str
) -> None:
    domain = make_domain(generator, space) + make_domain(generator, "affine", seed=1) * 0.1
    ws = torch.randn(3, generator.num_ws, generator.w_dim)
    affine = make_domain(generator, "affine", seed=1) * 0.1
    by_hand = {}
    for layer in generator.layers:
        offset = domain.deltas[f"synthesis.{layer.name}.w_offset"][0].parts["D"]
        moved = ws.clone()
        moved[:, layer.row] += offset
        by_hand[layer.name] = affine.on(generator).synthesis.styles(moved)[layer.name]
    merged = domain.merge(generator)
    assert not any(bool(buffer.any()) for buffer in merged.movable_buffers().values())
    merged.require_ordinary("merging")
    for found in (domain.on(generator).synthesis.styles(ws), merged.synthesis.styles(ws)):
        for name, style in by_hand.items():
            torch.testing.assert_close(found[name], style, rtol=1e-5, atol=1e-5)
    assert not any(bool(buffer.any()) for buffer in generator.movable_buffers().values())


def test_layers_of_one_row_or_resolution_share_their_offset(stylegan2: Generator) -> None:
    for space, field in (("w-offset", "row"), ("w-offset@res", "resolution")):
        deltas, met = start(space, stylegan2), {}
        for layer in stylegan2.layers:
            part = deltas[f"synthesis.{layer.name}.w_offset"][0].parts["D"]
            assert met.setdefault(getattr(layer, field), part) is part
        assert len({id(part) for part in met.values()}) == len(met)


# -- zeros


def directions() -> Domain:
    """A StyleSpace direction of the convolutions at 1024 px: 6,048 numbers."""
    with torch.device("meta"):
        network = build_generator({"architecture": "stylegan2", "resolution": 1024})
    rng = torch.Generator().manual_seed(0)
    deltas = {
        f"synthesis.{layer.name}.affine.bias": (
            Delta(1.0, "dense", {"D": torch.randn(layer.channels, generator=rng)}),
        )
        for layer in network.layers
        if layer.kind == "conv"
    }
    return Domain(deltas, {"space": "stylespace-sparse", "recipe": "dcl", "seed": 0}, BASE)


def test_a_fifth_of_the_offsets_is_a_file_under_10_kb(tmp_path: Path) -> None:
    whole = directions()
    sparse = prune(whole, 0.2)
    values = torch.cat([part for part in parts_of(sparse.deltas)])
    assert (values.numel(), int((values != 0).sum())) == (6048, 1210)
    everything = torch.cat(parts_of(whole.deltas)).abs()
    assert values[values != 0].abs().min() >= everything[values == 0].max()
    assert torch.equal(values[values != 0], torch.cat(parts_of(whole.deltas))[values != 0])
    sparse.save(tmp_path / "d.safetensors")
    assert (tmp_path / "d.safetensors").stat().st_size < 10_000
    loaded = Domain.load(tmp_path / "d.safetensors")
    assert loaded.config == {**whole.config, "keep": 0.2}
    assert loaded.deltas.keys() == sparse.deltas.keys()
    for name, (term,) in loaded.deltas.items():
        assert torch.equal(term.parts["D"], sparse.deltas[name][0].parts["D"])
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "d.safetensors").read_bytes()
    sparse.save(tmp_path / "half.safetensors", torch.float16)
    assert (tmp_path / "half.safetensors").stat().st_size < 7_000
    assert Domain.load(tmp_path / "half.safetensors").count == 6048


def test_pruning_a_mix_ranks_what_the_mix_does(stylegan2: Generator, make_domain: Make) -> None:
    mix = (
        make_domain(stylegan2, "stylespace", seed=1) * 0.6
        + make_domain(stylegan2, "stylespace", seed=2) * 0.4
    )
    pruned, base = prune(mix, 0.25), base_tensors(stylegan2)
    moved = {name: value - base[name] for name, value in mix.effective(stylegan2).items()}
    masks = largest(moved, 0.25)
    for name, value in pruned.effective(stylegan2).items():
        torch.testing.assert_close(value - base[name], moved[name] * masks[name])
    assert sum(int(mask.sum()) for mask in masks.values()) == count("stylespace", stylegan2) // 4


@pytest.mark.parametrize(("keep", "kept"), [(0.0, 0), (0.3, 3), (0.7, 7), (0.9, 9), (1.0, 10)])
def test_exactly_the_share_is_kept_also_among_equals(keep: float, kept: int) -> None:
    masks = largest({"a": torch.ones(4), "b": -torch.ones(6)}, keep)
    assert sum(int(mask.sum()) for mask in masks.values()) == kept


def test_what_is_no_style_offset_is_not_pruned(stylegan2: Generator, make_domain: Make) -> None:
    for space in ("affine", "style-mult", "w-offset"):
        with pytest.raises(
            StylegraftError, match="pruning ranks additive style offsets alone, and the domain moves"
        ):
            prune(make_domain(stylegan2, space), 0.2)
    with pytest.raises(StylegraftError, match="expected a share from 0 to 1"):
        prune(make_domain(stylegan2, "stylespace"), 1.2)


def test_large_indices_are_exact(tmp_path: Path) -> None:
    values = torch.zeros(3, 100_000)
    values[2, 99_999], values[0, 1] = 5.0, -2.0
    Domain({"a": (Delta(1.0, "dense", {"D": values}),)}, {}, BASE).save(tmp_path / "d.safetensors")
    assert (tmp_path / "d.safetensors").stat().st_size < 1000
    assert torch.equal(Domain.load(tmp_path / "d.safetensors").deltas["a"][0].parts["D"], values)


SPARSE = "its sparse tensors should be lists of a name, a shape and a count"
NAME = "synthesis.b4.conv1.affine.bias|dense|D"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_config("sparse", {}), SPARSE),
        (in_config("sparse", [[NAME, [8]]]), SPARSE),
        (in_config("sparse", [[NAME, [-8], 1]]), SPARSE),
        (in_config("sparse", [[NAME, [8.0], 1]]), SPARSE),
        (in_config("sparse", [[NAME, [True], 1]]), SPARSE),
        (in_config("sparse", [[7, [8], 2]]), SPARSE),
        (in_config("sparse", [[NAME, [MOST, 2], 2]]), "sparse tensors of .* numbers, the limit is"),
        (in_config("sparse", [[NAME, [8], 3]]), r"have the shapes \[2\] and \[2\], its config expects 3 numbers"),
        (in_config("sparse", []), "its config expects 0 numbers"),
        (in_config("sparse", [[NAME, [8], 1], [NAME, [8], 1]]), "is sparse and stands in the file twice"),
        (in_config("sparse", [[NAME, [6], 2]]), "its indices should rise within 6 numbers"),
        (lambda t, _: t[INDEX].copy_(torch.tensor([7, 2])), "its indices should rise within 8 numbers"),
        (lambda t, _: t[INDEX].copy_(torch.tensor([2, 2])), "its indices should rise within 8 numbers"),
        (lambda t, _: t[INDEX].copy_(torch.tensor([-1, 2])), "its indices should rise within 8 numbers"),
        (lambda t, _: t[INDEX].copy_(torch.tensor([0.5, 2])), "its indices should rise within 8 numbers"),
        (lambda t, _: t.pop(VALUE), r"have the shapes \[2\] and \[0\]"),
        (lambda t, _: t.update({NAME: torch.zeros(8)}), "is sparse and stands in the file twice"),
    ],
)  # fmt: skip
def test_a_corrupt_sparse_tensor_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "d.safetensors"
    offsets = torch.tensor([0, 0, 1.0, 0, 0, 0, 0, 2.0])
    Domain({NAME.split("|")[0]: (Delta(1.0, "dense", {"D": offsets}),)}, {"a": 1}, BASE).save(path)
    assert torch.equal(next(iter(Domain.load(path).deltas.values()))[0].parts["D"], offsets)
    rewrite(path, change)
    refused(path, message)


def test_the_names_of_the_file_are_reserved(tmp_path: Path) -> None:
    delta = {"a": (Delta(1.0, "dense", {"D": torch.ones(1)}),)}
    for name in ("coefficients", "ties", "sparse"):
        with pytest.raises(StylegraftError, match=f"'{name}' is reserved"):
            Domain(delta, {name: []}, {}).save(tmp_path / "d.safetensors")
