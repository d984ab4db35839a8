"""What the objectives of a step may look at: paired forward passes, each computed at most once and only if
asked.

An objective is a row (who it teaches, what it needs, weight, period) and a function of `Views`. The source
and the adapted generator of a pair see the same latents and the same noise. All draws are keyed by (seed,
step, stream, sample).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from stylegraft.adaptation import sampling
from stylegraft.adaptation.augment import augment
from stylegraft.adaptation.exits import exit_of, patch_tap
from stylegraft.adaptation.projected import Judge
from stylegraft.adaptation.recipes import Recipe
from stylegraft.domains.apply import Adapted
from stylegraft.domains.deltas import effective
from stylegraft.networks.generator import Generator, Noise, Output

if TYPE_CHECKING:
    from stylegraft.adaptation.state import State

NEEDS = ("fake", "real", "real_fake_logits", "anchored_pair", "free_pair", "paths", "discriminator_features")


def no_taps(views: Views) -> tuple[str, ...]:
    """An objective that looks at no feature map of the generators."""
    return ()


@dataclass(frozen=True)
class Objective:
    """One term: weight * loss, taught to its owner every `every` steps.

    A lazy term has a phase and an optimiser step of its own, and is multiplied by `every`. `taps` names the
    feature maps that it will read from the pairs of this step.
    """

    name: str
    owner: Literal["G", "D"]
    loss: Callable[[Views], Tensor]
    needs: tuple[str, ...] = ()
    weight: float = 1.0
    every: int = 1
    lazy: bool = False
    taps: Callable[[Views], tuple[str, ...]] = no_taps

    def __post_init__(self) -> None:
        assert set(self.needs) <= set(NEEDS), f"{self.name}: unknown view in {self.needs}"

    @property
    def scale(self) -> float:
        """What the loss is multiplied by."""
        return self.weight * self.every if self.lazy else self.weight


class Pair(NamedTuple):
    """The adapted generator's output and the source's, at the same latents and noise."""

    target: Output
    source: Output


class Views:
    """The forward passes of one phase of one step, for the objectives that act in it.

    In a phase of D the generators run without a graph; in a phase of G the graph reaches the deltas. Asking
    for a view that no acting objective declared is a programming error. part: (k, n), the k-th of n parts of the
    batch, see `sampling.Keyed`; `signs`: the mean sign of D on the real images it has seen, one entry a pass.
    """

    def __init__(self, state: State, acting: Sequence[Objective], part: tuple[int, int] = (0, 1)) -> None:
        self.state, self.acting = state, acting
        self.recipe: Recipe = state.recipe
        self.generator: Generator = state.generator
        self.discriminator: Judge = state.discriminator
        self.owner = acting[0].owner
        phase = acting[0].name if acting[0].lazy else self.owner
        self.keyed = sampling.Keyed(state.seed, state.step, self.recipe.batch, state.device, phase, part)
        self.signs: list[Tensor] = []
        self.needs = {need for objective in acting for need in objective.needs}
        turn = state.step // acting[0].every if acting[0].lazy else state.step
        # Lazy phases take their exit in turns of their own: R1's period is a multiple of the anchors', and
        # R1 would never reach the patch exit otherwise.
        self.exit = exit_of(turn, self.recipe.cdc, self.recipe.anchor_period)

    # Generators
    # ------------------------------------------------------------------------------------------------

    @cached_property
    def student(self) -> Adapted:
        """The adapted generator as it stands; its effective parameters are computed once a phase."""
        with torch.set_grad_enabled(self.owner == "G"):
            return Adapted(self.generator, effective(self.state.deltas, self.state.base))

    @cached_property
    def latents(self) -> sampling.Latents:
        """The adversarial term's latents: near the anchors on an anchor step, free and style-mixed
        otherwise.
        """
        recipe = self.recipe
        if recipe.cdc and self.exit == "image":
            assert self.state.anchors is not None
            return sampling.near_anchors(self.keyed, "z", self.state.anchors, recipe.anchor_sigma)
        return sampling.mixed(self.keyed, "z", self.generator, recipe.mixing)

    @cached_property
    def fake(self) -> Tensor:
        """Adapted images [B, C, R, R] of `latents`, with random noise."""
        self._declared("fake")
        with torch.set_grad_enabled(self.owner == "G"):
            ws = self.latents.ws(self.student)
            return self.student(ws=ws, noise=self._random_noise("noise")).image

    @cached_property
    def anchored_pair(self) -> Pair:
        """Both generators at the z of `latents`, unmixed, with the anchor noise; taps as the objectives
        name them.
        """
        self._declared("anchored_pair")
        return self._pair(self.latents.z, self.generator.noise("const"), self._taps("anchored_pair"))

    @cached_property
    def free_pair(self) -> Pair:
        """Both generators at fresh unmixed z, with the same random noise; taps as the objectives name them."""
        self._declared("free_pair")
        z = sampling.free(self.keyed, "pair.z", self.generator.z_dim)
        return self._pair(z, self._random_noise("pair.noise"), self._taps("free_pair"))

    @cached_property
    def paths(self) -> tuple[Tensor, Tensor]:
        """W+ rows that carry a gradient [B/2, num_ws, w_dim] and their images, style-mixed, with random noise."""
        self._declared("paths")
        latents = sampling.mixed(self.keyed, "z", self.generator, self.recipe.mixing, self.half)
        ws = latents.ws(self.student)
        if not ws.requires_grad:  # the mapping does not move
            ws.requires_grad_()
        return ws, self.student(ws=ws, noise=self._random_noise("noise", self.half)).image

    @property
    def half(self) -> int:
        """Samples of the path-length phase, all parts together."""
        return max(1, self.recipe.batch // 2)

    def _pair(self, z: Tensor, noise: Noise, taps: tuple[str, ...]) -> Pair:
        with torch.no_grad():
            source = self.generator(z, noise=noise, taps=taps)
        with torch.set_grad_enabled(self.owner == "G"):
            target = self.student(z, noise=noise, taps=taps)
        return Pair(target, source)

    def _random_noise(self, stream: str, count: int | None = None) -> Noise:
        return sampling.random_noise(self.keyed, stream, self.generator.noise_shapes, count)

    def _taps(self, view: str) -> tuple[str, ...]:
        return tuple(sorted({tap for term in self.acting if view in term.needs for tap in term.taps(self)}))

    # Discriminator ------------------------------------------------------------

    @cached_property
    def real(self) -> Tensor:
        """This step's training images [B, C, R, R] in [-1, 1], each mirrored or not."""
        self._declared("real")
        state = self.state
        order = sampling.data_order(state.seed, state.step, self.recipe.batch, len(state.images))
        places = self.keyed.indices()
        images = state.images[[order[i] for i in places]]
        return sampling.mirror(images, state.seed, state.step, places) if self.recipe.xflip else images

    @cached_property
    def real_fake_logits(self) -> tuple[Tensor, Tensor]:
        """D on fake and real in one pass; its signs on real images are what ADA watches."""
        self._declared("real_fake_logits")
        images = torch.cat((self.augmented(self.fake, "fake"), self.augmented(self.real, "real")))
        fake, real = self.judge(images, halves=2).chunk(2)
        self.observe_real(real)
        return fake, real

    def discriminator_features(self, tap: str) -> tuple[Tensor, Tensor, Tensor]:
        """One tap of D on the target and source images of `free_pair` and on real images.

        A pair is augmented alike, so that nothing but the domain tells its two images apart.
        """
        self._declared("discriminator_features")
        target, source = self.free_pair
        images = (
            self.augmented(target.image, "pair"),
            self.augmented(source.image, "pair"),
            self.augmented(self.real, "real"),
        )
        features = self.discriminator(torch.cat(images), taps=(tap,), stop=tap).taps[tap]
        a, b, c = features.split([len(image) for image in images])
        return a, b, c

    def logits(self, images: Tensor, stream: str) -> Tensor:
        """D's judgement of augmented images: [B, 1], or [B, 1, r, r] at the patch exit."""
        return self.judge(self.augmented(images, stream))

    def judge(self, images: Tensor, halves: int = 1) -> Tensor:
        """D's logits at this phase's exit, images as they are."""
        if self.exit == "image":
            return self.discriminator(images, halves=halves).logits
        assert self.state.patch is not None
        tap = patch_tap(self.generator.resolution)
        return self.state.patch(self.discriminator(images, taps=(tap,), stop=tap).taps[tap])

    def augmented(self, images: Tensor, stream: str) -> Tensor:
        """ADA's transforms with its current probability; the images themselves at 0."""
        p = self.state.ada.p if self.state.ada else 0.0
        if p == 0:
            return images
        return augment(images, p, self.keyed.samples(f"augment.{stream}"), self.recipe.augment)

    def observe_real(self, logits: Tensor) -> None:
        """Let ADA and the statistics see D's logits on real images."""
        self.signs.append(logits.detach().sign().mean())
        if self.state.ada:
            self.state.ada.observe(logits)

    def running_path_mean(self, mean: Tensor) -> Tensor:
        """Move the running mean of path lengths towards this step's, which stays in the graph; return it."""
        state = self.state
        old = mean.detach() if state.path_mean < 0 else state.path_mean
        new = old.lerp(mean, self.recipe.pl_decay)
        state.path_mean = new.detach()
        return new

    def _declared(self, view: str) -> None:
        if view not in self.needs:
            names = ", ".join(term.name for term in self.acting)
            raise RuntimeError(f"the objectives {names} did not declare that they need {view!r}")
