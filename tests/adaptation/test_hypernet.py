"""The hypernetwork: its losses are their equations, its draws are as it says, and what it gives is what it drew."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stylegraft.adaptation import guidance
from stylegraft.adaptation.hypernet import asked, domains_of, mixed, near, shares_of
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.objectives import hdn, objectives
from stylegraft.adaptation.plan import describe
from stylegraft.adaptation.recipes import PAPER, recipe
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.sampling import Keyed
from stylegraft.adaptation.views import Views
from stylegraft.domains.domain import Domain
from stylegraft.domains.hypernet import Hypernet, Hypernetwork, added
from stylegraft.errors import StylegraftError

from .toys import GUIDES, SENTENCES, ToyGuide, fresh, small, toy

GUIDE = GUIDES[0][0]


def learnt(out: Path | None = None, **changes: Any):
    """A run of four steps."""
    own = small("hypernet", **{"steps": 4, "ema_kimg": 0.0, **changes})
    return adapt(toy(), texts=SENTENCES, recipe=own, guides=GUIDES, space="stylespace", out=out, quiet=True)


def units(*shape: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(shape, generator=rng).double(), dim=-1)


def keyed(count: int = 4, step: int = 0) -> Keyed:
    return Keyed(0, step, count, torch.device("cpu"), "G")


# What it learns with


def test_the_direction_between_domains_is_the_equation():
    t, d = units(3, 2, 5, seed=0), units(3, 5, seed=1)
    a, b = t.numpy(), d.numpy()

    def cosine(x: Any, y: Any) -> float:
        return float(x @ y / np.sqrt(x @ x) / np.sqrt(y @ y))

    losses = [
        1 - cosine(a[i, k] - a[j, k], b[i] - b[j]) for i, j in combinations(range(3), 2) for k in range(2)
    ]
    assert float(hdn.between(t, d)) == pytest.approx(np.mean(losses), rel=1e-12)


def test_angles_are_kept_within_a_domain_and_not_between_domains():
    state = fresh("hypernet", "stylespace", indomain=1.0)
    state.found = guidance.prepare(state)
    assert state.hypernet is not None
    with torch.no_grad():
        state.hypernet.head.bias.add_(0.3 * torch.randn(64, generator=torch.Generator().manual_seed(0)))
    views = Views(state, objectives(state.recipe))
    expected = 0.0
    for (_, weight), (t, s) in zip(GUIDES, views.embedded, strict=True):
        for a, b in zip(t.detach().split(2), s.split(2), strict=True):
            expected += weight / 4 * float((b[0] @ b[1] - a[0] @ a[1]).square())
    assert float(hdn.kept_angles(views).detach()) == pytest.approx(expected, rel=1e-4)


def test_all_sentences_of_a_step_are_drawn_on_the_same_latents():
    """Where it gives nothing yet, every sentence's images are the source's."""
    state = fresh("hypernet", "stylespace")
    state.found = guidance.prepare(state)
    target, source = Views(state, objectives(state.recipe)).guided_pair
    assert torch.equal(target.image, source.image.repeat(4, 1, 1, 1))


def test_mixtures_keep_to_the_hull_and_their_length():
    shares = torch.cat([shares_of(keyed(step=step), 2.0) for step in range(400)])
    assert torch.allclose(shares.sum(1), torch.ones(1600)) and bool((shares >= 0).all())
    # Dirichlet(1/2 each of 4): variance (1/4) (3/4) / (2 + 1)
    assert float(shares.mean()) == pytest.approx(1 / 4, abs=1e-6)
    assert float(shares.var()) == pytest.approx(3 / 48, rel=0.1)
    rows = 0.8 * units(4, 6, seed=0).float()
    found = mixed(rows, shares[:4])
    assert torch.allclose(found.norm(dim=1), torch.full((4,), 0.8))
    expected = torch.nn.functional.normalize(shares[:4] @ rows, dim=1)
    assert torch.allclose(torch.nn.functional.normalize(found, dim=1), expected, atol=1e-6)


def test_what_is_drawn_lies_in_the_cone():
    rows = 0.8 * units(64, 6, seed=0).float()
    found = near(keyed(64), rows, 0.9)
    cosines = torch.cosine_similarity(found, rows)
    assert 0.9 - 1e-5 <= float(cosines.min()) < 0.93 and 0.98 < float(cosines.max()) <= 1 + 1e-6
    assert torch.allclose(found.norm(dim=1), torch.full((64,), 0.8))


def test_a_step_takes_its_sentences_in_turn_and_reads_the_first_guide():
    state = fresh("hypernet", "stylespace", hull=0.0, cone=1.0, domains=5)
    state.found = guidance.prepare(state)
    found = asked(state, keyed())
    for i in range(2):
        rows, all_ = found[f"wanted/{i}"], state.found[f"wanted/{i}"]
        assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, all_.tolist())), "each once"
        assert torch.allclose(found[f"direction/{i}"], rows - state.found[f"start/{i}"])
    state.recipe = small("hypernet", hull=0.0, cone=0.5, domains=5)
    drawn = asked(state, keyed())
    assert not torch.equal(drawn["wanted/0"], found["wanted/0"])
    assert torch.equal(drawn["wanted/1"], found["wanted/1"])


def test_parts_of_a_step_are_the_whole_step():
    whole, parts = (fresh("hypernet", "stylespace", micro=micro, batch=4) for micro in (0, 2))
    for a, b in zip(train(whole, 3), train(parts, 3), strict=True):
        for key in ("G/direction", "G/near", "G/tt_direction"):
            assert a[key] == pytest.approx(b[key], rel=1e-3, abs=1e-5), key


# What it is


def test_fresh_it_gives_the_source_and_its_gradients_reach_every_layer_in_two_steps():
    state = fresh("hypernet", "stylespace")
    begun = {name: leaf.detach().clone() for name, leaf in state.learners["G"].items()}
    assert all(not bool(part.any()) for part in added(state.leaves, torch.zeros(64)).values())
    for _ in train(state, 2):
        pass
    assert all(not torch.equal(leaf, begun[name]) for name, leaf in state.learners["G"].items())


def test_a_domain_does_not_depend_on_what_else_is_asked_for():
    net = Hypernet(6, 10, 16, 2)
    torch.nn.init.normal_(net.head.weight)
    rows = units(5, 6, seed=0).float()
    assert torch.allclose(net(rows)[2], net.of(rows[2]), atol=1e-5)
    assert torch.allclose(net.of(7 * rows[2]), net.of(rows[2]), atol=1e-5), "the length means nothing"


def test_the_domain_of_a_sentence_draws_what_the_hypernetwork_drew():
    """A step's images of a sentence are those of the domain that it gives for that sentence afterwards."""
    changes: dict[str, Any] = {"hull": 0.0, "cone": 1.0, "ema_kimg": 0.0}
    state = fresh("hypernet", "stylespace", **changes)
    for _ in train(state, 4):
        pass
    hypernet = learnt(**changes).hypernet
    assert hypernet is not None
    views = Views(state, objectives(state.recipe))
    rows = state.found["wanted/0"].tolist()
    texts = [SENTENCES[rows.index(row)] for row in views.asked["wanted/0"].tolist()]
    domains = domains_of(hypernet, toy().generator, texts, GUIDE)
    assert len(set(texts)) == 4
    again = [views._guided(domain.on(toy().generator)).image for domain in domains]
    drawn = views.guided_pair.target.image.detach()
    assert torch.allclose(torch.cat(again), drawn, atol=1e-5)
    assert not torch.allclose(again[0], again[1], atol=1e-3)


def test_sentences_have_domains_of_their_own_that_are_domains_like_any_other(tmp_path: Path):
    learnt(tmp_path / "run")
    one, other, again = domains_of(tmp_path / "run", toy().generator, ["pencil", "stone", "pencil"], GUIDE)
    a, b, c = (domain.on(toy().generator).effective for domain in (one, other, again))
    assert all(torch.equal(a[name], c[name]) for name in a)
    assert any(not torch.allclose(a[name], b[name]) for name in a)
    one.save(tmp_path / "one.safetensors")
    assert (tmp_path / "one.safetensors").stat().st_size < 8192
    half = Domain.load(tmp_path / "one.safetensors", toy().generator) * 0.5 + other * 0.5
    name = next(iter(a))
    assert torch.allclose(half.on(toy().generator).effective[name], (a[name] + b[name]) / 2, atol=1e-6)
    assert one.config["target"] == {"name": "pencil", "text": "pencil", "from_text": "photo"}


@pytest.mark.parametrize("space", ["affine-light+", "hdn-before", "stylespace-sparse", "full"])
def test_what_a_space_starts_from_and_ends_with_is_there(space: str):
    """Ranks that start at random, tied leaves, sparse offsets, a mapping that moves: as the run's own domain."""
    own = small("hypernet", steps=2, ema_kimg=0.0)
    run = adapt(toy(), texts=SENTENCES, recipe=own, guides=GUIDES, space=space, quiet=True)
    assert run.hypernet is not None
    (domain,) = domains_of(run.hypernet, toy().generator, SENTENCES[:1], GUIDE)
    assert domain.deltas.keys() == run.domain.deltas.keys() and domain.count == run.domain.count
    for name, terms in run.domain.deltas.items():
        for mine, found in zip(terms, domain.deltas[name], strict=True):
            assert all(torch.allclose(part, found.parts[key], atol=1e-6) for key, part in mine.parts.items())


# Runs


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path):
    whole = learnt(ema_kimg=0.02)
    for steps in (2, 4):
        run = learnt(tmp_path / "run", steps=steps, ema_kimg=0.02)
    assert whole.hypernet and run.hypernet
    for name, tensor in whole.hypernet.tensors.items():
        assert torch.equal(tensor, run.hypernet.tensors[name]), name
    kept = Hypernetwork.load(tmp_path / "run")
    assert all(torch.equal(tensor, kept.tensors[name]) for name, tensor in whole.hypernet.tensors.items())
    assert kept.config["texts"] == list(SENTENCES) and kept.config["steps"] == 4
    with pytest.raises(StylegraftError, match="target.texts"):
        own = small("hypernet", steps=4, ema_kimg=0.02)
        adapt(
            toy(),
            texts=SENTENCES[:4],
            recipe=own,
            guides=GUIDES,
            space="stylespace",
            out=tmp_path / "run",
            quiet=True,
        )


def test_the_plan_counts_both_the_space_and_the_network():
    text = "\n".join(describe(fresh("hypernet", "stylespace"), "stylespace"))
    assert "space stylespace moves 64 numbers" in text and "a hypernetwork of " in text
    assert "5 sentences, batch 2" in text


def test_another_guide_another_base_and_a_damaged_file_are_refused(tmp_path: Path):
    learnt(tmp_path / "run")
    with pytest.raises(StylegraftError, match="reads through toy .*, and this guide is another one"):
        domains_of(tmp_path / "run", toy().generator, ["pencil"], ToyGuide(1))
    with pytest.raises(StylegraftError, match="stands on the base 'toy-stylegan2'"):
        domains_of(tmp_path / "run", toy("mobile").generator, ["pencil"], GUIDE)
    with pytest.raises(StylegraftError, match="the source is that already"):
        domains_of(tmp_path / "run", toy().generator, ["photo"], GUIDE)
    path = tmp_path / "run" / "hypernet.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StylegraftError, match="digest mismatch"):
        Hypernetwork.load(path)
    with pytest.raises(StylegraftError, match="expected a stylegraft-hypernet file"):
        Hypernetwork.load(tmp_path / "run" / "domain.safetensors")


@pytest.mark.parametrize(
    ("asked_for", "said"),
    [
        ({"text": "pencil"}, "found --text, expected --texts FILE"),
        ({}, "found none, expected --texts FILE"),
        ({"texts": ["pencil", "oil"]}, "found 2 sentences and domains is 4; expected .* --set domains=2"),
        ({"texts": ["oil", "Oil!", "a", "b"]}, "would both be the domain oil"),
        ({"texts": SENTENCES, "floor": 0.8}, "judges one domain, and a hypernetwork gives many"),
        ({"texts": SENTENCES, "recipe": "nada"}, "recipe nada learns one domain a run and 5 texts are given"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said_at_once(asked_for: dict[str, Any], said: str):
    with pytest.raises(StylegraftError, match=said):
        adapt(toy(), **{"recipe": "hypernet", "guides": GUIDES, **asked_for})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scc": 1.0}, "a hypernetwork, .* expected scc=0, or domains=0"),
        ({"choose_rows": 2}, "expected choose_rows=0, or domains=0"),
        ({"fm": 1.0}, "expected fm=0, or domains=0"),
        ({"attentive": 1.0}, "expected no term that looks at pictures"),
        ({"domains": 1}, "tt_direction is 0.4 and domains 1: it compares two domains"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes: dict[str, Any], said: str):
    with pytest.raises(StylegraftError, match=said):
        recipe("hypernet", **changes)


def test_without_a_hypernetwork_its_fields_do_nothing_and_that_is_said():
    with pytest.raises(StylegraftError, match="cone is 0.9, which does nothing without domains"):
        recipe("nada", cone=0.9)
    assert [term.name for term in objectives(recipe("hypernet", domains=0))] == ["direction", "near"]


def test_a_space_of_too_many_numbers_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stylegraft.adaptation.state.MOST", 63)
    with pytest.raises(StylegraftError, match="moves 64 numbers, .* at most 63, such as --space stylespace"):
        learnt()
    assert PAPER["hypernet"].space == "stylespace-conv"
