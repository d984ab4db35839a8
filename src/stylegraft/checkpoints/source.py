"""A pretrained source: a generator, its discriminator if the file had one, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from stylegraft.errors import StylegraftError
from stylegraft.networks.discriminator import Discriminator
from stylegraft.networks.generator import Generator

if TYPE_CHECKING:
    import torch


class Graftable(Protocol):
    """What `with_domain` needs of a domain (the class itself lives a floor above)."""

    @property
    def config(self) -> dict[str, Any]:
        """What the domain is made of, JSON-able."""
        ...

    def merge(self, generator: Generator, *, transfer: bool = False) -> Generator:
        """The domain folded into a copy of `generator`."""
        ...


@dataclass(frozen=True)
class Source:
    """name: how the user calls it; info: name, licence, card and whatever else the file says, JSON-able."""

    name: str
    generator: Generator
    discriminator: Discriminator | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def with_domain(self, domain: Graftable, *, transfer: bool = False) -> Source:
        """This source with `domain` folded into a copy of its generator; the discriminator stays as it is.

        Raises StylegraftError when the domain was learnt on another base, unless `transfer`, and for what is no domain.
        """
        if not hasattr(domain, "merge"):
            raise StylegraftError(
                f"with_domain: found {type(domain).__name__}, expected a Domain: run.domain, or Domain.load(path)"
            )
        generator = domain.merge(self.generator, transfer=transfer)
        info = {**self.info, "domain": domain.config}
        if note := domain.config.get("note"):
            info["notes"] = [*self.info.get("notes", ()), note]
        return Source(self.name, generator, self.discriminator, info)

    def to(self, device: torch.device | str) -> Source:
        """Move both networks to `device` (in place, as `Module.to`) and return this source."""
        self.generator.to(device)
        if self.discriminator is not None:
            self.discriminator.to(device)
        return self
