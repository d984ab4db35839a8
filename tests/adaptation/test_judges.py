"""What a policy lets the discriminator learn, and that its deltas are deltas."""

from __future__ import annotations

import pytest
import torch

from stylegraft.adaptation import judges
from stylegraft.adaptation.judges import adapted, forms_of
from stylegraft.adaptation.keeping import pack, unpack
from stylegraft.adaptation.loop import train
from stylegraft.domains import deltas
from stylegraft.domains.deltas import effective
from stylegraft.errors import StylegraftError

from .toys import after, fresh, pictures, toy

ADAM = "rank1(b*.conv*, b*.skip) + b*.conv*, b*.skip + head"


def D():
    judge = toy().discriminator
    assert judge is not None
    return judge


def forms(policy: str) -> dict[str, str]:
    return {name: " ".join(spec.form for spec in specs) for name, specs in forms_of(D(), policy).items()}


def test_all_is_every_parameter_in_the_network_s_order():
    assert list(forms("all").items()) == [(name, "dense") for name, _ in D().named_parameters()]


@pytest.mark.parametrize(
    ("policy", "starts"),
    [
        ("upto-8", ("b8.", "b4.")),
        ("upto-4", ("b4.",)),
        ("upto-16", ("b16.", "b8.", "b4.")),
        ("head", ("b4.",)),
        ("b16, head", ("b16.", "b4.")),
        ("b*.conv*", ("b16.conv", "b8.conv")),
        ("b16.skip + head", ("b16.skip", "b4.")),
    ],
)
def test_groups_wildcards_and_resolutions(policy: str, starts: tuple[str, ...]):
    assert list(forms(policy)) == [name for name, _ in D().named_parameters() if name.startswith(starts)]


def test_a_form_takes_what_it_fits():
    assert forms("singular(all)") == {n: "singular" for n, p in D().named_parameters() if p.ndim > 1}


def test_terms_add_up_and_biases_move_freely():
    found = forms(ADAM)
    assert found["b16.conv0.weight"] == found["b8.skip.weight"] == "rank1 dense"
    assert found["b16.conv0.bias"] == found["b4.fc.weight"] == "dense"
    assert not any("fromrgb" in name for name in found)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("haed", r"no group 'haed' \(did you mean 'head'\?\)"),
        ("b16.conv7", r"no group 'b16.conv7' \(did you mean 'b16.conv\d'\?\)"),
        ("head, b99*", "no group 'b99"),
        ("singulr(all)", r"no form 'singulr' \(did you mean 'singular'\?\)"),
        ("singular(heda)", r"no group 'heda' \(did you mean 'head'\?\)"),
        ("lowrank(all)", "the form lowrank takes a rank, as in lowrank:4"),
        ("rank1:3(all)", "the form rank1 takes no rank"),
        ("lowrank:2(all) + lowrank:3(head)", "gets the form lowrank in two ways"),
        ("box(b16.fromrgb.bias)", "no group"),
        ("upto-big", "expected upto-R, e.g. upto-16"),
        ("", "no group ''"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_nearest_name(policy: str, said: str):
    with pytest.raises(StylegraftError, match=said):
        forms_of(D(), policy)


def test_a_term_that_leaves_nothing_to_learn_is_refused():
    class Biases(torch.nn.Module):
        groups = {"head": ("bias",)}

        def __init__(self):
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(3))

    with pytest.raises(StylegraftError, match=r"singular\(head\) leaves nothing to learn"):
        forms_of(Biases(), "singular(head)")  # pyright: ignore


@pytest.mark.parametrize("policy", ["singular(all)", ADAM, "lowrank:2(all)"])
def test_zero_deltas_are_the_source_s_discriminator_bit_for_bit(policy: str):
    state = fresh("tgan", "affine", discriminator=policy)
    assert state.judge_deltas
    images = pictures().float()[:4] / 127.5 - 1
    with torch.no_grad():
        judge = adapted(state.discriminator, state.judge_deltas, state.judge_base)
        assert torch.equal(judge(images).logits, D()(images).logits)


@pytest.mark.parametrize("policy", ["singular(all)", ADAM])
def test_deltas_learn_and_the_parameters_below_them_do_not(policy: str):
    state = after(1, "tgan", "affine", discriminator=policy)
    begun = fresh("tgan", "affine", discriminator=policy).learners["D"]
    learnt = {name for name, leaf in state.learners["D"].items() if not torch.equal(leaf, begun[name])}
    assert len(learnt) > 0.5 * len(begun)
    for name in state.judge_deltas:
        assert torch.equal(state.discriminator.get_parameter(name), D().get_parameter(name))
    images = pictures().float()[:4] / 127.5 - 1
    judge = adapted(state.discriminator, state.judge_deltas, state.judge_base)
    assert not torch.equal(judge(images).logits, D()(images).logits)


def test_r1_through_deltas_is_r1_of_the_effective_network():
    """First-order and second-order gradients are those of a network that holds the moved values itself."""
    state = after(2, "tgan", "affine", discriminator="singular(all)")
    d = {name: leaf.detach().clone().requires_grad_() for name, leaf in state.learners["D"].items()}
    name = "b8.conv0.weight"
    leaf = d[f"D.{name}|singular|d"]
    terms = {
        parameter: (deltas.Delta(1.0, "singular", {"d": d[f"D.{parameter}|singular|d"]}),)
        for parameter in state.judge_deltas
    }
    x = (pictures().float()[:4] / 127.5 - 1).requires_grad_()

    def penalty(judge) -> torch.Tensor:
        (slope,) = torch.autograd.grad(judge(x).logits.sum(), x, create_graph=True)
        return slope.square().sum()

    (through,) = torch.autograd.grad(penalty(adapted(state.discriminator, terms, state.judge_base)), leaf)
    values = {k: v.detach().requires_grad_() for k, v in effective(terms, state.judge_base).items()}
    whole = judges.AdaptedJudge(state.discriminator, values)
    (slope,) = torch.autograd.grad(penalty(whole), values[name])
    u, _, vt = torch.linalg.svd(state.judge_base[name].flatten(1).double(), full_matrices=False)
    expected = torch.einsum("or,om,rm->r", u, slope.flatten(1).double(), vt)
    assert torch.allclose(through.double(), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_a_run_with_deltas_in_d_goes_on_bit_for_bit():
    changes = {"discriminator": ADAM, "augment": "bgc", "ada_kimg": 0.02}
    whole, kept = fresh("tgan", "singular-values", **changes), {}
    for stats in train(whole, 4):
        if stats["step"] == 1:
            tensors, numbers = pack(whole)
            kept = {name: tensor.clone() for name, tensor in tensors.items()}, dict(numbers)
    resumed = fresh("tgan", "singular-values", **changes)
    unpack(resumed, *kept)
    for _ in train(resumed, 4):
        pass
    (mine, numbers), (theirs, others) = pack(whole), pack(resumed)
    assert numbers == others
    assert numbers["ada"]["p"] > 0
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


def test_singular_vectors_are_computed_once_a_parameter(monkeypatch: pytest.MonkeyPatch):
    counted: list[int] = []
    function = deltas._singular_vectors
    monkeypatch.setattr(deltas, "_singular_vectors", lambda theta: counted.append(1) or function(theta))
    state = after(3, "fsgan", "singular-values")
    assert len(counted) == len(state.deltas) + len(state.judge_deltas)
