"""Every form is theta + Delta, starts at exactly nothing, and adds up as Deltas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylegraft.domains.deltas import FORMS, Delta, FormSpec, check_parts, effective, effective_delta, moved
from stylegraft.errors import StylegraftError

SPECS = [
    ("dense", (4, 3, 3, 3)),
    ("dense", (5,)),
    ("dense", ()),
    ("lowrank:2", (6, 7)),
    ("box", (4, 3, 3, 3)),
    ("box", (4, 3, 1, 1)),
    ("scale", (4, 3, 3, 3)),
    ("scale", (5, 4)),
    ("scale", (5,)),
    ("scale", ()),
    ("scale-in", (4, 3, 3, 3)),
    ("scale-in", (5, 4)),
    ("rank1", (4, 3, 3, 3)),
    ("rank1", (5, 4)),
    ("singular", (4, 3, 3, 3)),
    ("singular", (5, 4)),
    ("singular", (4, 1, 3, 3)),
]


@pytest.mark.parametrize(("spec", "shape"), SPECS)
def test_a_fresh_delta_is_bit_equal_to_the_base_even_at_minus_zero(spec: str, shape: tuple[int, ...]) -> None:
    theta = torch.randn(shape)
    theta.view(-1)[0] = -0.0
    form = FormSpec.parse(spec)
    delta = Delta(1.0, form.form, form.init(shape, torch.Generator().manual_seed(0)))
    result = moved(theta, [delta, delta.scaled(-0.3)])
    assert torch.equal(result.view(torch.int32), theta.view(torch.int32))


@pytest.mark.parametrize(("spec", "shape"), SPECS)
def test_the_table_agrees_with_itself(spec: str, shape: tuple[int, ...]) -> None:
    form = FormSpec.parse(spec)
    parts = form.init(shape)
    delta = Delta(1.0, form.form, parts)
    assert delta.spec == form
    assert tuple(parts) == FORMS[form.form].names
    assert form.count(shape) == delta.count == sum(part.numel() for part in parts.values())
    check_parts("p", delta, shape)


def explicit(form: str, p: dict[str, np.ndarray], theta: np.ndarray) -> np.ndarray:
    """The equation of each form, channel by channel."""
    flat = theta.reshape(len(theta), -1) if theta.ndim else theta.reshape(1, 1)
    if form == "dense":
        return theta + p["D"]
    if form == "box":
        return theta + p["D"]
    if form == "lowrank":
        return theta + (p["U"] @ p["V"]).reshape(theta.shape)
    if form == "scale":
        return (flat * (1 + p["d"].reshape(-1, 1))).reshape(theta.shape)
    if form == "scale-in":
        return np.stack([theta[:, i] * (1 + d) for i, d in enumerate(p["d"])], 1)
    if form == "rank1":
        return np.stack([t * (1 + u * p["v"]) for t, u in zip(flat, p["u"], strict=True)]).reshape(
            theta.shape
        )
    assert form == "singular"
    u, s, vt = np.linalg.svd(flat, full_matrices=False)
    return (u @ np.diag(s + p["d"]) @ vt).reshape(theta.shape)


@pytest.mark.parametrize(("spec", "shape"), SPECS)
def test_each_form_is_its_equation(spec: str, shape: tuple[int, ...]) -> None:
    form = FormSpec.parse(spec)
    theta = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    parts = {name: torch.randn(p.shape, dtype=torch.float64) for name, p in form.init(shape).items()}
    expected = explicit(form.form, {name: p.numpy() for name, p in parts.items()}, theta.numpy())
    found = moved(theta, [Delta(1.0, form.form, parts)])
    torch.testing.assert_close(found, torch.from_numpy(np.asarray(expected)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("spec", "shape"), SPECS)
def test_each_form_is_differentiable_to_second_order(spec: str, shape: tuple[int, ...]) -> None:
    form = FormSpec.parse(spec)
    theta = torch.randn(shape, dtype=torch.float64)
    names = FORMS[form.form].names
    parts = [torch.randn(form.parts(shape)[n], dtype=torch.float64, requires_grad=True) for n in names]

    def value(*parts: torch.Tensor) -> torch.Tensor:
        return moved(theta, [Delta(1.0, form.form, dict(zip(names, parts, strict=True)))]).square()

    assert torch.autograd.gradcheck(value, parts)
    assert torch.autograd.gradgradcheck(value, parts)


def test_the_forms_that_read_the_base_say_so() -> None:
    for spec, shape in SPECS:
        form = FormSpec.parse(spec)
        parts = {name: torch.randn(p.shape) for name, p in form.init(shape).items()}
        delta = FORMS[form.form].delta
        same = torch.equal(delta(parts, torch.randn(shape)), delta(parts, torch.randn(shape)))
        assert same != FORMS[form.form].reads_base, spec


def test_modulation_and_offsets_add_on_one_parameter() -> None:
    """AdAM: theta (1 + u v^T) + D, both from the base's theta."""
    theta, u, v, d = torch.randn(4, 3, 3, 3), torch.randn(4), torch.randn(27), torch.randn(4, 3, 3, 3)
    terms = [Delta(1.0, "rank1", {"u": u, "v": v}), Delta(1.0, "dense", {"D": d})]
    expected = theta * (1 + torch.outer(u, v).view(4, 3, 3, 3)) + d
    torch.testing.assert_close(moved(theta, terms), expected)


def test_a_singular_delta_of_a_layout_is_that_of_the_other() -> None:
    theta, d = torch.randn(4, 3, 3, 3), {"d": torch.randn(4)}
    other = theta.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        moved(theta, [Delta(1.0, "singular", d)]),
        moved(other, [Delta(1.0, "singular", d)]),
        rtol=1e-5,
        atol=1e-5,
    )


def test_low_rank_starts_with_unit_rows_and_zero_columns() -> None:
    parts = FormSpec("lowrank", 5).init((7, 64), torch.Generator().manual_seed(1))
    assert parts["U"].shape == (7, 5)
    assert not parts["U"].any()
    torch.testing.assert_close(parts["V"].norm(dim=1), torch.ones(5))
    assert abs(parts["V"].mean()) < 0.02
    assert parts["V"].std() == pytest.approx(64**-0.5, rel=0.2)


def test_mixing_two_low_rank_deltas_adds_their_products() -> None:
    theta = torch.randn(6, 7)
    u1, v1, u2, v2 = torch.randn(6, 2), torch.randn(2, 7), torch.randn(6, 3), torch.randn(3, 7)
    total = effective_delta(
        [Delta(0.5, "lowrank", {"U": u1, "V": v1}), Delta(-2.0, "lowrank", {"U": u2, "V": v2})], theta
    )
    torch.testing.assert_close(total, 0.5 * u1 @ v1 - 2.0 * u2 @ v2)


def test_box_adds_one_number_to_all_taps_of_a_kernel() -> None:
    theta, d = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 1, 1)
    result = moved(theta, [Delta(1.0, "box", {"D": d})])
    torch.testing.assert_close(result, theta + d.expand(4, 3, 3, 3))


def test_forms_of_different_kinds_meet_on_one_parameter() -> None:
    theta = torch.randn(6, 7)
    d, u, v = torch.randn(6, 7), torch.randn(6, 2), torch.randn(2, 7)
    terms = [Delta(2.0, "dense", {"D": d}), Delta(0.5, "lowrank", {"U": u, "V": v})]
    torch.testing.assert_close(moved(theta, terms), theta + 2 * d + 0.5 * u @ v)


def test_gradients_reach_parts_that_are_zero() -> None:
    theta = torch.randn(6, 7)
    parts = FormSpec("lowrank", 2).init((6, 7), torch.Generator().manual_seed(0))
    parts = {name: part.requires_grad_() for name, part in parts.items()}
    dense = {"D": torch.zeros(3, requires_grad=True)}
    values = effective(
        {"a": [Delta(1.0, "lowrank", parts)], "b": [Delta(1.0, "dense", dense)]},
        {"a": theta, "b": torch.randn(3)},
    )
    (values["a"].square().sum() + values["b"].square().sum()).backward()
    assert parts["U"].grad is not None
    assert parts["U"].grad.abs().min() > 0
    assert dense["D"].grad is not None
    assert dense["D"].grad.abs().min() > 0


@pytest.mark.parametrize("trained", [False, True])
def test_the_result_has_the_dtype_and_memory_layout_of_the_base(trained: bool) -> None:
    theta = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    delta = Delta(1.0, "dense", {"D": torch.ones(4, 3, 3, 3, requires_grad=trained)})
    for layout in (torch.contiguous_format, torch.channels_last):
        result = moved(theta.contiguous(memory_format=layout), [delta])
        assert result.dtype == torch.float64
        assert result.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(("spec", "shape"), [("box", (3, 4)), ("lowrank:5", (3,)), ("lowrank", (3, 4))])
def test_a_form_that_does_not_fit_the_parameter_is_refused(spec: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(StylegraftError, match="does not fit a parameter of shape"):
        FormSpec.parse(spec).parts(shape)


def test_an_unknown_form_is_refused_with_the_known_ones() -> None:
    with pytest.raises(StylegraftError, match="form 'sparse' is unknown; known forms: dense, lowrank, box"):
        FormSpec.parse("sparse:3")


def test_parts_of_the_wrong_shape_are_refused_by_name() -> None:
    with pytest.raises(StylegraftError, match=r"p\|dense\|D has shape \[3\], expected \[4\]"):
        check_parts("p", Delta(1.0, "dense", {"D": torch.zeros(3)}), (4,))
