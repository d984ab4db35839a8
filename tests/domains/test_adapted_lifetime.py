"""A phase's effective parameters are freed as it ends, not when the garbage collector next looks."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch

from stylegraft.adaptation.loop import train
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.state import begin
from stylegraft.checkpoints import Source
from stylegraft.domains import Adapted, Domain
from stylegraft.networks.generator import Generator


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_dropping_a_domain_frees_its_tensors(
    generator: Generator, make_domain: Callable[..., Domain]
) -> None:
    adapted = make_domain(generator, "full").on(generator)
    seen = [weakref.ref(adapted), *map(weakref.ref, adapted.effective.values())]
    adapted.synthesis(adapted.synthesis.styles(adapted.ws(torch.randn(2, 8))), {})
    del adapted
    assert not any(ref() is not None for ref in seen)


@pytest.mark.parametrize("name", ["tgan", "fixnoise", "dcl"])
def test_no_adapted_generator_outlives_its_phase(
    generator: Generator, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most one at a time: each is gone before the next phase of the step makes its own."""
    made: list[weakref.ref[Adapted]] = []
    plain = Adapted.__init__

    def watched(self: Adapted, *args) -> None:
        assert all(ref() is None for ref in made), "one of an earlier phase is still alive"
        plain(self, *args)
        made.append(weakref.ref(self))

    monkeypatch.setattr(Adapted, "__init__", watched)
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    state = begin(
        Source("toy", generator, None, {}), images, recipe(name, batch=2, warmup=0, warmup_scratch=0), "full"
    )
    for _ in train(state, 5):  # every phase, path length twice
        assert all(ref() is None for ref in made)
    assert len(made) >= 10
