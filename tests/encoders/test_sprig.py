"""sprig: its promises as a guide, and that its gradient leads to what a sentence says, as another network judges."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegraft.encoders.guides import Guide, Patchwise, load_guide
from stylegraft.encoders.sprig import SEEN, Projection, Sprig, load_sprig, moments
from stylegraft.errors import StylegraftError
from stylegraft.sources import load_source

PROBE = Path(__file__).parents[2] / "benchmarks" / "style_probe.py"


@pytest.fixture(scope="module")
def sprig() -> Sprig:
    try:
        return load_sprig()
    except StylegraftError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def probe() -> Any:
    spec = importlib.util.spec_from_file_location("style_probe", PROBE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        return module.Probe()
    except StylegraftError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def faces() -> Tensor:
    generator = load_source("faces-64").generator
    z = torch.randn(4, generator.z_dim, generator=torch.Generator().manual_seed(7))
    w = torch.lerp(generator.mapping.w_avg, generator.mapping(z), 0.8)
    with torch.no_grad():
        return generator(ws=w[:, None].expand(-1, generator.num_ws, -1)).image


def test_a_projection_standardises_first() -> None:
    torch.manual_seed(0)
    net = Projection(5)
    net.mean.normal_()
    net.scale.uniform_(0.5, 2)
    x = torch.randn(3, 5)
    hidden = F.gelu(((x - net.mean) * net.scale) @ net.hidden.weight.T + net.hidden.bias)
    assert torch.allclose(net(x), hidden @ net.out.weight.T + net.out.bias, atol=1e-6)


def test_moments_are_means_and_deviations_and_a_flat_map_has_a_gradient() -> None:
    x = torch.full((1, 2, 4, 4), 0.3, requires_grad=True)
    mean, deviation = moments(x)
    deviation.sum().backward()
    assert mean.tolist() == [pytest.approx([0.3, 0.3])]
    assert x.grad is not None and torch.isfinite(x.grad).all()
    y = torch.randn(2, 3, 8, 8)
    assert torch.allclose(moments(y)[1], y.flatten(2).std(2, correction=0), atol=1e-3)


def test_it_is_a_guide_with_places(sprig: Sprig, faces: Tensor) -> None:
    assert isinstance(sprig, Guide) and isinstance(sprig, Patchwise)
    found = sprig.encode_image(faces)
    assert found.shape == (4, sprig.dim) == (4, 256)
    assert torch.allclose(sprig.encode_image(faces[:1]), found[:1], atol=1e-3)
    assert torch.allclose(sprig.image(torch.zeros(1, SEEN)), sprig.image(torch.zeros(2, SEEN))[1:], atol=1e-5)
    assert not any(p.requires_grad for p in sprig.parameters())
    assert load_guide("sprig", half=True).encode_image(faces).dtype == torch.float32
    tokens = sprig.tokens(faces)
    assert tokens.shape == (4, 256, 40)
    other = faces.clone()
    other[:, :, :8, :8] = 1  # the upper left corner: its first tokens change most
    change = (sprig.tokens(other) - tokens).norm(dim=2).mean(0).view(16, 16)
    assert change[:4, :4].mean() > 5 * change[8:, 8:].mean()


def test_sentences_find_what_they_name_among_filters_it_knows(sprig: Sprig, faces: Tensor) -> None:
    from stylegraft.data import filters
    from stylegraft.data.pixels import to_float, to_uint8

    looks = {
        "a photo of a face": faces,
        "a pencil drawing of a face": to_float(filters.apply("pencil", to_uint8(faces))),
        "a face as a screen print": to_float(filters.apply("palette", to_uint8(faces))),
        "somebody, out of focus": F.avg_pool2d(F.pad(faces, (3, 3, 3, 3), mode="reflect"), 7, 1),
    }
    texts = F.normalize(sprig.encode_text(list(looks)), dim=1)
    for i, images in enumerate(looks.values()):
        scores = F.normalize(sprig.encode_image(images), dim=1) @ texts.T
        assert (scores.argmax(1) == i).float().mean() >= 0.75


def recoloured(faces: Tensor) -> tuple[list[Tensor], Callable[[], Tensor]]:
    """A linear map of each picture's colours: free pixels would find a network's blind spots instead."""
    mix = torch.eye(3).repeat(len(faces), 1, 1).requires_grad_()
    shift = torch.zeros(len(faces), 3, 1, 1, requires_grad=True)
    return [mix, shift], lambda: (torch.einsum("bij,bjhw->bihw", mix, faces) + shift).clamp(-1, 1)


@pytest.mark.parametrize(("wanted", "other"), [("green", "red"), ("red", "green")])
def test_its_gradient_leads_to_a_sentence_and_away_from_another(
    sprig: Sprig, probe: Any, faces: Tensor, wanted: str, other: str
) -> None:
    """Twenty steps on the colours of two faces; VGG16's probe is the judge, with the guide's own score beside it."""
    texts = [f"a {wanted} tinted photo of a face", f"a {other} tinted photo of a face"]
    target, away = F.normalize(sprig.encode_text(texts), dim=1)
    faces = faces[:2]
    free, draw = recoloured(faces)
    optimiser = torch.optim.Adam(free, 0.05)
    scores = list[float]()
    for _ in range(20):
        unit = F.normalize(sprig.encode_image(draw()), dim=1)
        loss = 1 - (unit @ target).mean()
        scores.append((unit @ away).mean().item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert scores[-1] < scores[0] + 0.05
    with torch.no_grad():
        before, after = probe(faces)["tint"], probe(draw())["tint"]
    names = probe.heads["tint"]
    assert before[:, names.index(wanted)].mean() < 0.1
    assert (after.argmax(1) == names.index(wanted)).all()
    assert after[:, names.index(other)].mean() < 0.1
