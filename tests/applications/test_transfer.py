"""Transfer: both procedures against formulas written out, and how far apart two sources are said to be."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from stylegraft.applications.latents import of_seeds
from stylegraft.applications.transfer import carried, gap, transfer_domain, transfer_styles
from stylegraft.checkpoints import Source, base_digest
from stylegraft.domains import Domain
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

from ..toys import ARCHITECTURES, domain_of, toy


def sibling_of(parent: Generator, size: float = 0.05) -> Generator:
    """The parent after a little fine-tuning of everything, its mapping included."""
    sibling = copy.deepcopy(parent)
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in sibling.parameters():
            parameter.add_(size * parameter.square().mean().sqrt() * torch.randn_like(parameter))
    return sibling


def source(generator: Generator, name: str = "toy") -> Source:
    return Source(name, generator, None, {"licence": "none"})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_styles_come_from_the_parent_and_the_sibling_only_draws_them(architecture: str):
    parent = toy(architecture)
    sibling, domain, latents = sibling_of(parent), domain_of(parent, "stylespace"), of_seeds(parent, range(3))
    found = transfer_styles(parent, domain, latents, 0.85)
    for layer in parent.layers:
        name = f"synthesis.{layer.name}.affine"
        weight, bias = parent.get_parameter(f"{name}.weight"), parent.get_parameter(f"{name}.bias")
        delta = domain.deltas[f"{name}.bias"][0].parts["D"]
        gains = parent.gains[f"{name}.weight"], parent.gains[f"{name}.bias"]
        expected = latents.ws[:, layer.row] @ (weight * gains[0]).T + (bias + 0.85 * delta) * gains[1]
        torch.testing.assert_close(found.styles[layer.name], expected, atol=1e-5, rtol=1e-4)
    images = sibling(styles=found.styles).image
    with torch.no_grad():
        for name, parameter in sibling.named_parameters():
            if name.startswith("mapping.") or ".affine." in name:
                parameter.zero_()
    assert torch.equal(sibling(styles=found.styles).image, images)


def test_codes_in_s_are_shifted_by_as_much():
    parent = toy("stylegan2")
    domain, latents = domain_of(parent, "affine"), of_seeds(parent, range(2))
    of_rows = transfer_styles(parent, domain, latents, 0.5).styles
    plain = parent.synthesis.styles(latents.ws)
    moved = {layer: s + 1 for layer, s in plain.items()}
    inverted = type(latents)(latents.ws, latents.names, moved)
    for layer, s in transfer_styles(parent, domain, inverted, 0.5).styles.items():
        torch.testing.assert_close(s, of_rows[layer] + 1, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "space", ["stylespace", "affine-light+", "singular-values", "rank-1", "style-mult", "full"]
)
def test_deltas_are_those_of_the_parent_added_to_the_sibling(space: str, tmp_path: Path):
    parent = toy("stylegan2")
    sibling, domain = sibling_of(parent), domain_of(parent, space)
    moved = transfer_domain(domain, source(parent), source(sibling, "sib"), 0.5)
    there, own = dict(sibling.named_parameters()), dict(parent.named_parameters())
    found = moved.effective(sibling)
    for name, theta in domain.effective(parent).items():
        if name in own:
            expected = there[name] + 0.5 * (theta - own[name])
            torch.testing.assert_close(found[name], expected, atol=1e-5, rtol=1e-4)
    moved.save(tmp_path / "new.safetensors")
    loaded = Domain.load(tmp_path / "new.safetensors", sibling)
    assert (loaded.base["name"], loaded.base["sha256"]) == ("sib", base_digest(sibling))
    assert loaded.config["transferred"]["from"] == domain.base
    with pytest.raises(StylegraftError, match="stands on the base 'sib'"):
        loaded.check(parent)


def test_what_does_not_read_the_base_stays_as_small_as_it_was():
    parent = toy("stylegan2")
    domain = domain_of(parent, "affine-light+")
    moved = transfer_domain(domain, source(parent), source(sibling_of(parent)))
    assert moved.count == domain.count
    assert {t.form for terms in moved.deltas.values() for t in terms} == {"lowrank", "box"}


def test_the_gap_is_the_relative_distance_of_each_group():
    parent = toy("mobile")
    assert set(gap(parent, parent).groups.values()) == {0.0}
    sibling = copy.deepcopy(parent)
    with torch.no_grad():
        for name, parameter in sibling.named_parameters():
            if name.startswith("mapping."):
                parameter.mul_(1.25)
    found = gap(parent, sibling)
    assert found.groups.pop("mapping") == pytest.approx(0.25, rel=1e-5)
    assert set(found.groups.values()) == {0.0}
    assert gap(parent, sibling_of(parent, 0.05)).verdict == "close"
    assert gap(parent, sibling_of(parent, 0.7)).verdict == "far"
    assert gap(parent, toy("mobile", seed=1)).verdict == "unrelated"


def test_noise_strengths_alone_make_no_source_far():
    parent = toy("stylegan2")
    sibling = copy.deepcopy(parent)
    with torch.no_grad():
        for name, parameter in sibling.named_parameters():
            if "noise_strength" in name:
                parameter.add_(10)
    found = gap(parent, sibling)
    assert found.groups["noise"] > 1
    assert found.verdict == "close"


def test_what_cannot_be_transferred_is_refused_by_name():
    parent = toy("stylegan2")
    domain = domain_of(parent, "stylespace")
    with pytest.raises(
        StylegraftError, match=r"stylegan2-16px-\w+ and mobile-16px-\w+ are other architectures"
    ):
        transfer_domain(domain, source(parent), source(toy("mobile")))
    with pytest.raises(StylegraftError, match="nothing to transfer"):
        transfer_domain(domain, source(parent), source(copy.deepcopy(parent)))
    with pytest.raises(StylegraftError, match="stands on the base"):
        transfer_domain(domain, source(toy("stylegan2", 1)), source(sibling_of(parent)))
    kernels = domain_of(parent, "synthesis")
    assert carried(kernels) == 0
    with pytest.raises(StylegraftError, match="use `deltas`"):
        transfer_styles(parent, kernels, of_seeds(parent, range(2)))
    assert carried(domain) == 1
    assert 0 < carried(domain_of(parent, "affine-light+")) < 1
