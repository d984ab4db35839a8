"""In 16 bits the networks are the same networks: near in value and slope, no larger than float16, float32 outside."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from tests.cores import AVX512
from torch import Tensor
from torch.nn.functional import cosine_similarity, softplus

from stylegraft.errors import StylegraftError
from stylegraft.networks import ops
from stylegraft.networks.discriminator import Discriminator, build_discriminator
from stylegraft.networks.generator import Generator, build_generator
from stylegraft.networks.precision import PRECISIONS, computing, half_blocks

from .test_recompute import generator as toy
from .test_recompute import kept_bytes

WIDTHS = {"channel_base": 128, "channel_max": 8}
EPSILON = {"bf16": 2.0**-8, "fp16": 2.0**-11}  # of rounding to nearest
HALVES = tuple(EPSILON)


@cache
def networks() -> tuple[Generator, Discriminator]:
    g = toy("stylegan2")
    return g, build_discriminator({"resolution": 16, **WIDTHS})


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@cache
def found(precision: str) -> dict[str, Tensor]:
    """The image, D's last map in 16 bits, and as one vector each the gradients of a step's four phases."""
    g, d = networks()
    theta, phi = list(g.parameters()), list(d.parameters())
    ws, images = draw(4, g.num_ws, 8).requires_grad_(), draw(4, 3, 16, 16).requires_grad_()

    def gradient(loss: Tensor, of: list) -> Tensor:
        grads = torch.autograd.grad(loss, of, allow_unused=True, retain_graph=True)
        assert all(grad is None or grad.dtype == torch.float32 for grad in grads)
        return torch.cat([grad.flatten() for grad in grads if grad is not None])

    with computing(precision):
        image, (logits, taps) = g(ws=ws).image, d(images, taps=("b8.conv1",))
        judged = d(image).logits
        assert logits is not None and judged is not None
        (jacobian,) = torch.autograd.grad((image * draw(4, 3, 16, 16) / 16).sum(), ws, create_graph=True)
        lengths = jacobian.square().sum(2).mean(1).sqrt()
        (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return {
            "image": image.detach(),
            "map": taps["b8.conv1"].detach(),
            "G": gradient(softplus(-judged).mean(), theta),
            "PL": gradient((lengths - 1).square().mean(), theta),
            "D": gradient(softplus(-logits).mean(), phi),
            "R1": gradient(slope.square().sum((1, 2, 3)).mean(), phi),
        }


def error(a: Tensor, b: Tensor) -> float:
    """The distance of a to b over the length of b."""
    return float((a - b).detach().norm() / b.detach().norm())


@pytest.mark.parametrize("precision", HALVES)
def test_images_and_maps_are_float32s_to_a_few_roundings(precision: str):
    for name in ("image", "map"):
        assert 0 < error(found(precision)[name], found("fp32")[name]) < 4 * EPSILON[precision], name


@pytest.mark.parametrize("precision", HALVES)
def test_gradients_of_all_phases_are_finite_and_point_where_float32s_do(precision: str):
    """A sign that rounding turns changes a slope of a leaky ReLU: their number grows as epsilon, a norm as its root."""
    for phase in ("G", "PL", "D", "R1"):
        here, there = found(precision)[phase], found("fp32")[phase]
        assert here.isfinite().all()
        assert float(cosine_similarity(here, there, dim=0)) > 0.99, phase
        assert error(here, there) < (3 if AVX512 else 2) * EPSILON[precision] ** 0.5, phase


def test_float32_is_what_it_was_before_and_after():
    g, d = networks()
    ws = draw(2, g.num_ws, 8)
    before = g(ws=ws).image
    with computing("bf16"):
        other = g(ws=ws).image
    for precision in ("fp32", "tf32"):
        with computing(precision):
            assert torch.equal(g(ws=ws).image, before)
    assert torch.equal(g(ws=ws).image, before)
    assert not torch.equal(other, before)


@pytest.mark.parametrize("precision", HALVES)
def test_the_four_highest_resolutions_compute_so_and_all_that_comes_out_is_float32(precision: str):
    sizes = {"resolution": 128, "channel_base": 128, "channel_max": 4}
    g = build_generator({"architecture": "stylegan2", "z_dim": 8, "w_dim": 8, "mapping_layers": 1, **sizes})
    d = build_discriminator(sizes)
    seen: dict[str, set[torch.dtype]] = {}

    def note(name: str):
        return lambda module, given, out: seen.setdefault(name, set()).add(out.dtype)

    layers = [*g.synthesis.named_modules(), *d.named_modules()]
    for name, module in layers:
        if name.endswith(
            (".conv0", ".conv1", ".fromrgb", ".torgb", ".skip", ".affine", ".conv", ".fc", ".out")
        ):
            module.register_forward_hook(note(name))
    with computing(precision), torch.no_grad():
        output = g(draw(1, 8), taps=g.tap_names)
        judged = d(output.image, taps=d.tap_names)
        low = d.lower(output.image, 32)
        assert judged.logits is not None
        assert torch.equal(d(low, start=32).logits, judged.logits)
    assert half_blocks(128) == (128, 64, 32, 16)
    for name, dtypes in seen.items():
        high = int(name.partition(".")[0].removeprefix("b")) in half_blocks(128)
        kept = name.endswith((".torgb", ".affine"))  # the running image, and the styles
        assert dtypes == {torch.float32 if kept or not high else PRECISIONS[precision]}, name
    assert len(seen) > 40
    results = [output.image, *output.taps.values(), judged.logits, *judged.taps.values(), low]
    assert {one.dtype for one in results} == {torch.float32}


def test_no_network_has_more_than_four_such_resolutions_nor_one_of_4_px():
    assert half_blocks(1024) == (1024, 512, 256, 128)
    assert half_blocks(256) == (256, 128, 64, 32)
    assert half_blocks(16) == (16, 8)


def test_large_styles_and_kernels_and_those_of_zero_are_no_matter_to_fp16(monkeypatch: pytest.MonkeyPatch):
    g = toy("stylegan2")
    with torch.no_grad():
        g.get_parameter("synthesis.b16.conv1.weight").mul_(1e5)
        g.get_parameter("synthesis.b16.conv1.weight")[0] = 0  # as pruning leaves it
        styles = {name: s * 1e4 for name, s in g.synthesis.styles(draw(4, g.num_ws, 8)).items()}
    whole = g(styles=styles).image
    with computing("fp16"):
        image = g(styles=styles).image
        silent = g(styles={name: s * 0 for name, s in styles.items()}).image
    assert error(image, whole) < 4 * EPSILON["fp16"]
    assert silent.isfinite().all()
    monkeypatch.setattr(ops, "prenormalised", lambda *given: given)
    with computing("fp16"):
        assert not g(styles=styles).image.isfinite().all()


def test_maps_too_large_for_fp16_are_held_and_those_of_a_clamped_network_by_its_clamp():
    for clamp, most in ((None, ops.BOUND), (256, 256)):
        config = {"architecture": "stylegan2", "resolution": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}
        torch.manual_seed(0)
        g = build_generator({**config, **WIDTHS, "conv_clamp": clamp})
        with torch.no_grad():
            g.get_parameter("synthesis.b8.conv1.bias").fill_(1e5)
            g.get_parameter("synthesis.b4.conv1.bias").fill_(1e5)
        with computing("fp16"):
            output = g(draw(2, 8), taps=("b4.conv1", "b8.conv1"))
            assert output.image.isfinite().all()
            assert float(output.taps["b8.conv1"].detach().abs().max()) == most
            assert (float(output.taps["b4.conv1"].detach().abs().max()) > 9e4) == (clamp is None)
            (slope,) = torch.autograd.grad(output.image.sum(), g.get_parameter("synthesis.b16.conv1.bias"))
            assert slope.isfinite().all()


@pytest.mark.parametrize("precision", HALVES)
def test_one_picture_at_a_time_is_the_same_picture(precision: str, monkeypatch: pytest.MonkeyPatch):
    """Without gradients large maps have a kernel for each sample, which is demodulated before it is rounded."""
    g, _ = networks()
    monkeypatch.setattr(ops, "LARGE", 8 * 16**2)
    with torch.no_grad(), computing(precision):
        image = g(ws=draw(4, g.num_ws, 8)).image
    assert error(image, found("fp32")["image"]) < 4 * EPSILON[precision]


@pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
def test_every_architecture_computes_so(architecture: str):
    torch.manual_seed(0)
    sizes = {"resolution": 16, **WIDTHS}
    d = build_discriminator({**sizes, "architecture": architecture})
    config = {
        "architecture": "stylegan2",
        "variant": architecture,
        "z_dim": 8,
        "w_dim": 8,
        "mapping_layers": 2,
    }
    g = build_generator({**config, **sizes})
    z, x = draw(4, 8), draw(4, 3, 16, 16)
    image, judged = g(z).image, d(x, taps=("b8.conv1",)).taps["b8.conv1"]
    for precision in HALVES:
        with computing(precision):
            assert error(g(z).image, image) < 4 * EPSILON[precision]
            assert error(d(x, taps=("b8.conv1",)).taps["b8.conv1"], judged) < 4 * EPSILON[precision]


def test_autograd_keeps_two_thirds_or_less():
    g, d = networks()
    z, x = draw(8, 8), draw(8, 3, 16, 16)
    for forward in (lambda: g(z).image.sum(), lambda: d(x).logits.sum()):
        whole = kept_bytes(forward, False)
        with computing("bf16"):
            assert kept_bytes(forward, False) < whole * 2 / 3


def test_a_frozen_weight_is_rounded_once():
    w = draw(3, 2, 3, 3)
    assert ops.scaled(w, 2.0, torch.bfloat16) is ops.scaled(w, 2.0, torch.bfloat16)
    assert torch.equal(ops.scaled(w, 2.0, torch.bfloat16), (w * 2).bfloat16())
    assert ops.scaled(w, 1.0, torch.float32) is w


def test_tf32_is_switched_on_for_the_time_and_off_again():
    switches = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # pyright: ignore
    before = [one.fp32_precision for one in switches]
    with pytest.raises(KeyError), computing("tf32"):
        assert [one.fp32_precision for one in switches] == ["tf32", "tf32"]
        raise KeyError
    assert [one.fp32_precision for one in switches] == before
    with computing("bf16"):
        assert [one.fp32_precision for one in switches] == before


def test_what_cannot_be_is_refused():
    with (
        pytest.raises(
            StylegraftError, match=r"precision 'bf61' \(did you mean 'bf16'\?\); expected fp32, tf32, "
        ),
        computing("bf61"),
    ):
        pass
    with (
        pytest.raises(StylegraftError, match="no layers that compute in 16 bits; expected"),
        computing("fp16"),
    ):
        toy("mobile")(draw(1, 8))
