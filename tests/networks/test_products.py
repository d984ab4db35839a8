"""Every way to a convolution's three products gives the same ones, to any order, and is taken where it should be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from tests.cores import AVX512
from torch.autograd import gradcheck, gradgradcheck

from stylegraft.networks import ops, products, winograd
from stylegraft.networks.products import Bounds, Geometry, Ways

from .conftest import normal

ALWAYS = Bounds(0, 0)
TILES, PATCHES = Ways(ALWAYS, ALWAYS), Ways(kernel_patches=ALWAYS)
PLAIN = Geometry((1, 1), (1, 1), 1)


def theirs(x, w, y, geometry):
    """The three products by PyTorch, in float64."""
    x, w, y = x.double(), w.double(), y.double()
    with products.going(products.THEIRS):
        return (
            products.correlate(x, w, geometry),
            products.transpose(y, w, geometry, x.shape[2:]),
            products.kernel(x, y, geometry, w.shape),
        )


def drawn(b, i, o, height, width, dtype=torch.float64):
    shapes = (b, i, height, width), (o, i, 3, 3), (b, o, height, width)
    return [ops.channels_last(normal(*shape, seed=k).to(dtype)) for k, shape in enumerate(shapes)]


def worst(ours, exact):
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, exact, strict=True))


@pytest.mark.parametrize(("outputs", "points"), [(2, (0, 1, -1)), (4, winograd.POINTS), (3, (0, 2, -3, 5))])
def test_toom_cook_is_a_filter_exactly(outputs, points):
    points = [Fraction(p) for p in points]
    a, g, b = winograd.toom_cook(points, outputs)
    taps = len(points) + 2 - outputs
    kernel = [Fraction(3 * k - 4, k + 2) for k in range(taps)]
    seen = [Fraction(k * k - 5, 7) for k in range(len(points) + 1)]

    def times(m, v):
        return [sum(p * q for p, q in zip(row, v, strict=True)) for row in m]

    found = times(a, [p * q for p, q in zip(times(g, kernel), times(b, seen), strict=True)])
    assert found == [sum(kernel[k] * seen[n + k] for k in range(taps)) for n in range(outputs)]


@pytest.mark.parametrize("chunk", [1 << 22, 36 * 7 * 3, 36 * 7 * 9, 1])
@pytest.mark.parametrize("size", [(2, 5, 7, 8, 12), (3, 3, 2, 4, 4)])
def test_tiles_are_the_same_products(size, chunk, monkeypatch):
    """Of whole batches, images, rows of tiles and single ones."""
    monkeypatch.setattr(winograd, "CHUNK", chunk)
    x, w, y = drawn(*size)
    ours = winograd.correlate(x, w), winograd.transpose(y, w), winograd.kernel(x, y)
    assert worst(ours, theirs(x, w, y, PLAIN)) < 1e-13


@pytest.mark.parametrize("chunk", [1 << 22, 200, 1])
@pytest.mark.parametrize(
    ("x", "w", "stride", "padding"),
    [
        ((2, 3, 7, 9), (4, 3, 3, 3), 2, 0),
        ((1, 2, 6, 8), (3, 2, 3, 3), 2, 0),
        ((2, 3, 5, 4), (2, 3, 3, 3), 1, 1),
        ((2, 3, 6, 5), (2, 3, 4, 2), 2, 1),
    ],
)
def test_patches_give_the_same_kernel(x, w, stride, padding, chunk, monkeypatch):
    monkeypatch.setattr(winograd, "CHUNK", chunk)
    x, w = normal(*x), normal(*w, seed=1)
    geometry = Geometry((stride, stride), (padding, padding), 1)
    y = normal(*F.conv2d(x, w, stride=stride, padding=padding).shape, seed=2)
    ours = products.kernel_by_patches(x, y, geometry, w.shape)
    assert worst([ours], theirs(x, w, y, geometry)[2:]) < 1e-13


def test_single_precision_errs_by_a_few_roundings():
    """How far in units of a direct convolution's error depends on the core: 1 to 2 on AVX2, 3 to 7 on AVX-512."""
    x, w, y = drawn(2, 96, 80, 16, 16, torch.float32)
    exact = theirs(x, w, y, PLAIN)
    tiles = winograd.correlate(x, w), winograd.transpose(y, w), winograd.kernel(x, y)
    with products.going(products.THEIRS):
        direct = (
            products.correlate(x, w, PLAIN),
            products.transpose(y, w, PLAIN, x.shape[2:]),
            products.kernel(x, y, PLAIN, w.shape),
        )
    for a, b, e in zip(tiles, direct, exact, strict=True):
        assert (a - e).norm() < 3e-6 * e.norm()
        assert (b - e).norm() < 3e-6 * e.norm()
        assert AVX512 or (a - e).norm() < 3 * (b - e).norm()


@pytest.mark.parametrize("ways", [TILES, PATCHES], ids=["tiles", "patches"])
def test_any_order_of_derivative(ways):
    x, w = normal(1, 1, 4, 4).requires_grad_(), normal(2, 1, 3, 3, seed=1).requires_grad_()
    with products.going(ways):
        assert gradcheck(lambda x, w: ops.conv2d(x, w, padding=1), (x, w))
        assert gradgradcheck(lambda x, w: ops.conv2d(x, w, padding=1), (x, w), fast_mode=True)
        if ways is PATCHES:
            assert gradgradcheck(lambda x, w: ops.conv2d(x, w, stride=2), (x, w), fast_mode=True)


def taken(monkeypatch, ways, x, w, **options):
    """Which of our ways a convolution's forward and backward pass goes."""
    seen = []
    for module, name in (
        (winograd, "correlate"),
        (winograd, "transpose"),
        (winograd, "kernel"),
        (products, "kernel_by_patches"),
    ):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, n=name, real=real: seen.append(n) or real(*args))
    with products.going(ways):
        x, w = x.requires_grad_(), w.requires_grad_()
        ops.conv2d(x, w, **options).sum().backward()
    return seen


def test_a_way_is_taken_from_its_bounds_on(monkeypatch):
    x, w = normal(2, 8, 4, 4), normal(6, 8, 3, 3)
    tiles = ["correlate", "transpose", "kernel"]
    of = {"padding": 1}
    assert taken(monkeypatch, Ways(Bounds(6, 32), Bounds(6, 32)), x, w, **of) == tiles
    assert taken(monkeypatch, Ways(Bounds(7, 32), Bounds(6, 33), ALWAYS), x, w, **of) == ["kernel_by_patches"]
    assert taken(monkeypatch, Ways(Bounds(6, 33), Bounds(7, 32), Bounds(7, 0)), x, w, **of) == []
    assert taken(monkeypatch, products.THEIRS, x, w, **of) == []


def test_what_tiles_do_not_know_goes_another_way(monkeypatch):
    both = Ways(ALWAYS, ALWAYS, ALWAYS)
    w = normal(2, 2, 3, 3, seed=1)
    assert taken(monkeypatch, both, normal(1, 2, 6, 4), w, padding=1) == [
        "kernel_by_patches"
    ]  # not tiles of 4
    assert taken(monkeypatch, both, normal(1, 2, 9, 9), w, stride=2) == ["kernel_by_patches"]
    assert taken(monkeypatch, both, normal(1, 2, 4, 4), normal(2, 1, 3, 3), padding=1, groups=2) == []
    assert taken(monkeypatch, both, normal(1, 2, 4, 4).bfloat16(), w.bfloat16(), padding=1) == []
    with products.going(both):
        elsewhere = products.kernel(*normal(2, 1, 2, 4, 4).to("meta"), PLAIN, w.shape)
    assert elsewhere.is_meta
    assert elsewhere.shape == w.shape


def test_a_recorded_graph_holds_plain_convolutions():
    x, w = normal(1, 2, 8, 8), normal(2, 2, 3, 3, seed=1)
    with products.going(TILES), torch.no_grad():
        graph = torch.jit.trace(lambda x: ops.conv2d(x, w, padding=1), x, check_trace=False).inlined_graph
    kinds = [node.kind() for node in graph.nodes()]
    assert sum("conv" in kind for kind in kinds) == 1
    assert not any("bmm" in kind for kind in kinds)


def test_a_compiler_reads_no_context_variable(monkeypatch):
    """It cannot."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.delattr(products, "_WAYS")
    assert products.now() == products.THEIRS


class Other(torch.Tensor):
    """As a fake tensor, which says that it is on a CPU."""


def test_tensors_without_values_leave_nothing_in_scratch_that_others_use():
    x, w = normal(1, 2, 4, 4), normal(2, 2, 3, 3, seed=1)
    with products.going(TILES), torch.no_grad(), winograd.anew():
        other = ops.conv2d(x.as_subclass(Other), w, padding=1)
        assert not winograd._kept.maps
        meta = ops.conv2d(x.to("meta"), w.to("meta"), padding=1)
        with torch.device("meta"):  # nor does a default device
            y = ops.conv2d(x, w, padding=1)
    assert meta.is_meta
    assert meta.shape == y.shape
    assert worst([y, other], [F.conv2d(x, w, padding=1)] * 2) < 1e-13


@pytest.mark.parametrize("chunk", [1 << 22, 36 * 7 * 3])
def test_without_values_as_much_scratch_is_held_as_with_them(chunk, monkeypatch):
    """So that a forecast of memory counts it."""
    monkeypatch.setattr(winograd, "CHUNK", chunk)

    def held(device):
        x, w, y = (t.to(device) for t in drawn(3, 5, 7, 12, 8))
        with winograd.anew():
            made = winograd.correlate(x, w), winograd.transpose(y, w), winograd.kernel(x, y)
            sizes = {name: kept.nbytes for (name, *_), kept in winograd._kept.maps.items()}
        return sizes, [one.shape for one in made]

    assert held("meta") == held("cpu")


def test_what_scratch_holds_is_never_read():
    x, w, y = drawn(2, 3, 5, 8, 4)

    def found():
        return winograd.correlate(x, w), winograd.transpose(y, w), winograd.kernel(x, y)

    with winograd.anew():
        first = found()
        for kept in winograd._kept.maps.values():
            kept.fill_(torch.nan)
        assert all(torch.equal(a, b) for a, b in zip(first, found(), strict=True))


@pytest.mark.parametrize("ways", [TILES, PATCHES], ids=["tiles", "patches"])
def test_a_result_may_be_written_in_place(ways):
    """As bias and activation do; autograd refuses that of a view."""
    x, w = normal(1, 2, 4, 4).requires_grad_(), normal(2, 2, 3, 3, seed=1).requires_grad_()
    with products.going(ways):
        y = ops.conv2d(x, w, padding=1)
        slopes = torch.autograd.grad(y.add_(1).square().sum(), (x, w), create_graph=True)
        sum(slope.mul_(2).square().sum() for slope in slopes).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_a_result_outlives_the_next_call():
    """Scratch memory is written over; what is handed out is not of it."""
    x, w, y = drawn(2, 4, 4, 8, 8)
    products_ = [
        lambda: winograd.correlate(x, w),
        lambda: winograd.transpose(y, w),
        lambda: winograd.kernel(x, y),
    ]
    with torch.inference_mode():  # what it leaves behind serves training too
        first = [one() for one in products_]
    kept = [one.clone() for one in first]
    x, w, y = (t + 1 for t in (x, w, y))
    for one in products_:
        one()
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))


def test_threads_do_not_share_scratch():
    sets = [[t * k for t in drawn(2, 4, 6, 8, 8)] for k in range(1, 5)]

    exacts = [theirs(*one, PLAIN) for one in sets]

    def checked(pair):
        (x, w, y), (c, _, k) = pair
        return max(worst([winograd.correlate(x, w), winograd.kernel(x, y)], [c, k]) for _ in range(40))

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(checked, zip(sets, exacts, strict=True))) < 1e-13
