"""What the objectives of a step may look at: paired forward passes, each computed at most once and only if
asked.

An objective is a row (who it teaches, what it needs, weight, period) and a function of `Views`. The source
and the adapted generator of a pair see the same latents and the same noise. All draws are keyed by (seed,
step, stream, sample).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from stylegraft.adaptation import sampling
from stylegraft.adaptation.augment import augmented
from stylegraft.adaptation.controller import signs_of
from stylegraft.adaptation.exits import EXITS, exit_of, head_features
from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.guidance import embed, embed_once
from stylegraft.adaptation.hypernet import asked
from stylegraft.adaptation.judges import AdaptedJudge
from stylegraft.adaptation.objective import Objective
from stylegraft.adaptation.projected import Judge
from stylegraft.adaptation.tape import Tape, Untaped
from stylegraft.adaptation.world import Share
from stylegraft.domains.apply import Adapted
from stylegraft.domains.deltas import effective
from stylegraft.networks import ops
from stylegraft.networks.generator import Generator, Noise, Output

if TYPE_CHECKING:
    from stylegraft.adaptation.state import State

DISTURBANCE = 0.15  # share of each sample's own latent in `disturbed_pair` (RSSA's 0.85 / 0.15)


def exit_at(recipe: Recipe, acting: Sequence[Objective], step: int) -> str:
    """The exit of D that a phase uses in a step."""
    # Lazy phases take theirs in turns of their own: R1's period is a multiple of the anchors', and R1 would never reach
    # the patch exit otherwise.
    turn = step // acting[0].every if acting[0].lazy else step
    return exit_of(turn, recipe.cdc, recipe.anchor_period)


class Pair(NamedTuple):
    """The adapted generator's output and the source's, at the same latents and noise."""

    target: Output
    source: Output


class Views:
    """The forward passes of one phase of one step, for the objectives that act in it.

    In a phase of D the generators run without a graph; in a phase of G the graph reaches the deltas. Asking
    for a view that no acting objective declared is a programming error. part: (k, n), the k-th of n parts of the
    batch, see `sampling.Keyed`; share: which samples of it are this process's, all the views hold; `keyed` draws for
    these, `compared` for the whole part. `signs`: of D on the real images it has seen, [B], one entry a pass.
    """

    def __init__(
        self,
        state: State,
        acting: Sequence[Objective],
        part: tuple[int, int] = (0, 1),
        share: Share = Share(),  # noqa: B008
        tape: Tape | None = None,
    ) -> None:
        self.state, self.acting = state, acting
        self.recipe: Recipe = state.recipe
        self.generator: Generator = state.generator
        self.owner = acting[0].owner
        phase = acting[0].name if acting[0].lazy else self.owner
        self.compared = sampling.Keyed(
            state.seed, state.step, self.recipe.batch, state.device, phase, part, tape
        )
        self.share, self.keyed = share, replace(self.compared, part=share.own(part))
        self.signs: list[Tensor] = []
        self.needs = {need for objective in acting for need in objective.needs}
        self.exit = exit_at(self.recipe, acting, state.step)

    # Generators
    # ------------------------------------------------------------------------------------------------

    @cached_property
    def student(self) -> Adapted:
        """The adapted generator as it stands; its effective parameters are computed once a phase."""
        with torch.set_grad_enabled(self.owner == "G"):
            return Adapted(self.generator, effective(self.state.deltas, self.state.base))

    @cached_property
    def asked(self) -> dict[str, Tensor]:
        """What this step's sentences ask for, where a hypernetwork learns (`hypernet.asked`)."""
        return asked(self.state, self.keyed)

    @cached_property
    def students(self) -> list[Adapted]:
        """The student, or with a hypernetwork the one of each sentence of this step."""
        if self.state.hypernet is None:
            return [self.student]
        with torch.set_grad_enabled(self.owner == "G"):
            given = [self.state.given(row) for row in self.asked["direction/0"]]
            return [Adapted(self.generator, effective(deltas, self.state.base)) for deltas in given]

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
        """Both generators at the z of `latents`, unmixed, with the anchor noise (or what `fm_noise` says);
        taps as the objectives name them, in all pairs.
        """
        noise: Noise = {
            "anchor": lambda: self.generator.noise("const"),
            "random": lambda: self._random_noise("fm.noise"),
            "none": lambda: self.generator.noise("none"),
        }[self.recipe.fm_noise]()
        return self._pair("anchored_pair", self.latents.z, noise)

    @cached_property
    def free_pair(self) -> Pair:
        """Both generators at fresh unmixed z, with the same random noise."""
        z = sampling.free(self.keyed, "pair.z", self.generator.z_dim)
        return self._pair("free_pair", z, self._random_noise("pair.noise"))

    @cached_property
    def anchor_pair(self) -> Pair:
        """Both generators near CDC's anchors, with the same random noise."""
        assert self.state.anchors is not None
        latents = sampling.near_anchors(self.keyed, "anchor.z", self.state.anchors, self.recipe.anchor_sigma)
        return self._pair("anchor_pair", latents.z, self._random_noise("anchor.noise"))

    @cached_property
    def disturbed_pair(self) -> Pair:
        """Both generators at disturbances of one latent, with the anchor noise: images of one structure."""
        z = sampling.disturbed(self.keyed, "disturbed.z", self.generator.z_dim, DISTURBANCE).z
        return self._pair("disturbed_pair", z, self.generator.noise("const"))

    @cached_property
    def guided_pair(self) -> Pair:
        """Both generators at the same style-mixed latents, with the same crossover and random noise: where the mapping
        does not move, at the same w. With a hypernetwork the target's are those of each sentence, one after the other.
        """
        return Pair(self._guided_target, self._guided_source)

    @cached_property
    def _guided_target(self) -> Output:
        with torch.set_grad_enabled(self.owner == "G"):
            outputs = [self._guided(student) for student in self.students]
        taps = {tap: torch.cat([one.taps[tap] for one in outputs]) for tap in outputs[0].taps}
        return Output(torch.cat([one.image for one in outputs]), taps)

    @cached_property
    def _guided_source(self) -> Output:
        with torch.no_grad():
            return self._guided(self.generator)

    def _guided(self, network: Generator | Adapted) -> Output:
        self._declared("guided_pair")
        ws = sampling.mixed(self.keyed, "guided.z", self.generator, self.recipe.mixing).ws(network)
        return network(ws=ws, noise=self._random_noise("guided.noise"), taps=self._taps("guided_pair"))

    @cached_property
    def embedded(self) -> list[tuple[Tensor, Tensor]]:
        """For each guide the unit embeddings [B, dim] of the images of `guided_pair`: the student's, the source's, with
        a hypernetwork once for each sentence.
        """
        self._declared("embedded")
        known = embed_once(self.state, self.keyed, lambda: self._guided_source.image)
        moved, side = self._guided_target.image, self.recipe.loss_resolution
        known = [one.repeat(len(self.students), 1) for one in known]
        return [(embed(g, moved, side), one) for (g, _), one in zip(self.state.guides, known, strict=True)]

    def over_guides(self, loss: Callable[[int], Tensor]) -> Tensor:
        """The sum over guides of a loss, asked for by the guide's number, times the guide's weight: a scalar."""
        return torch.stack([weight * loss(i) for i, (_, weight) in enumerate(self.state.guides)]).sum()

    def found(self, kind: str, guide: int) -> Tensor:
        """What `guidance.prepare` found for a guide, one row a sample: that of the training image which its turn it is,
        or the only one; with a hypernetwork what each image's sentence asks for.
        """
        if self.state.hypernet is not None:
            return self.asked[f"{kind}/{guide}"].repeat_interleave(len(self.keyed.indices()), 0)
        rows = self.state.found[f"{kind}/{guide}"]
        return (
            rows[self._picked()] if len(rows) > 1 else rows.expand(len(self.keyed.indices()), *rows.shape[1:])
        )

    @cached_property
    def referred(self) -> tuple[Tensor, list[int]]:
        """The student's images of the references' own codes, with its own noise, and which references: those whose turn
        it is, each once. They are few, and every process draws them all.
        """
        self._declared("referred")
        which = sorted(set(self._picked(self.compared)))
        with torch.set_grad_enabled(self.owner == "G"):
            return self.student(
                ws=self.state.found["ws"][which], noise=self.generator.noise("const")
            ).image, which

    @cached_property
    def mixture(self) -> tuple[Tensor, Tensor]:
        """The student's images of references whose finer rows of W+ are (1 - alpha) the reference's and alpha random
        ones, with random noise; and these references: both [B, C, R, R].
        """
        self._declared("mixture")
        recipe, picked = self.recipe, self._picked()
        z = sampling.free(self.keyed, "mixture.z", self.generator.z_dim)
        with torch.set_grad_enabled(self.owner == "G"):
            ws = sampling.Latents(z).ws(self.student)
            own, kept = self.state.found["ws"][picked], recipe.jojo_rows
            ws = torch.cat((own[:, :kept], torch.lerp(own, ws, recipe.jojo_alpha)[:, kept:]), dim=1)
            image = self.student(ws=ws, noise=self._random_noise("mixture.noise")).image
        return image, self.state.images[picked]

    @cached_property
    def rows(self) -> tuple[Tensor, Tensor]:
        """What each of the K layers reads, [B, K, w_dim], in the student and in the source: its row of W+ at the
        unmixed z of `latents`, and the offset that the domain adds to it.
        """
        self._declared("rows")
        unmixed = sampling.Latents(self.latents.z)
        layers = self.generator.layers
        read = [layer.row for layer in layers]
        with torch.no_grad():
            source = unmixed.ws(self.generator)[:, read]
        with torch.set_grad_enabled(self.owner == "G"):
            offsets = (self.student.effective.get(f"synthesis.{layer.name}.w_offset") for layer in layers)
            zero = source.new_zeros(self.generator.w_dim)
            moved = torch.stack([zero if offset is None else offset for offset in offsets])
            return unmixed.ws(self.student)[:, read] + moved, source

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
        return self.recipe.samples(lazy_pl=True)

    def _pair(self, view: str, z: Tensor, noise: Noise) -> Pair:
        self._declared(view)
        taps = self._taps(view)
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
    def discriminator(self) -> Judge | AdaptedJudge:
        """D as it stands; its effective parameters, where it has deltas, are computed once a phase."""
        with torch.set_grad_enabled(self.owner == "D"):
            return self.state.judge

    @cached_property
    def drift(self) -> dict[str, Tensor]:
        """{parameter: how far G has moved it from the source, in stored units}."""
        self._declared("drift")
        state, moved = self.state, self.student.effective
        return {name: moved[name] - state.base[name] for name in state.deltas}

    @cached_property
    def real(self) -> Tensor:
        """This step's training images [B, C, R, R] in [-1, 1], each mirrored or not."""
        self._declared("real")
        return sampling.shown(self.keyed, self.state.images, self.recipe.xflip)

    def _shown(self) -> list[tuple[int, bool]]:
        """Of each image of `real` its number among the training images, and whether it is mirrored."""
        turned = sampling.mirrored(self.state.seed, self.state.step, self.keyed.indices()).tolist()
        return [(i, self.recipe.xflip and one) for i, one in zip(self._picked(), turned, strict=True)]

    def _picked(self, keyed: sampling.Keyed | None = None) -> list[int]:
        """Which training images this part of the step sees."""
        if self.keyed.tape is not None:
            raise Untaped("training images by number")
        return sampling.picked(keyed or self.keyed, len(self.state.images))

    @cached_property
    def fitted(self) -> tuple[Tensor, Tensor]:
        """Adapted images at the jittered latents of this step's training images, with random noise, and these images as
        they are: both [B, C, R, R].
        """
        self._declared("fitted")
        state, picked = self.state, self._picked()
        assert state.latents is not None
        jitter = self.keyed.samples("fitted.jitter").normal(self.generator.z_dim)
        z = ops.normalise(state.latents[picked]) + self.recipe.bsa_jitter * jitter
        return self.student(z, noise=self._random_noise("fitted.noise")).image, state.images[picked]

    @property
    def shots(self) -> Tensor:
        """All training images [N, C, R, R] in [-1, 1], as they are."""
        self._declared("shots")
        return self.state.images

    @cached_property
    def real_fake_logits(self) -> tuple[Tensor, Tensor]:
        """D on fake and real in one pass (an AVX2 core: no gain); its signs on real images are what ADA watches."""
        self._declared("real_fake_logits")
        fakes, reals = self.augmented(self.fake, "fake"), self.augmented(self.real, "real")
        plain = reals is self.real and self.exit == "image" and not self.recipe.mask
        if plain and self.keyed.tape is None and (frozen := self.state.frozen):
            maps = frozen.maps(fakes, self.state.images, self._shown())
            logits = self.discriminator(maps, halves=2, start=frozen.start).logits
        else:
            logits = self.judge(torch.cat((fakes, reals)), "fake", "real")
        fake, real = logits.chunk(2)
        self.observe_real(real)
        return fake, real

    def discriminator_features(
        self, taps: Sequence[str], *images: Tensor, source: bool = False
    ) -> list[tuple[Tensor, ...]]:
        """For each tap of D its maps [B, C, r, r] of each of these sets of images, all in one pass, as they
        are; `source`: of the source's own D, which learns nothing.
        """
        self._declared("discriminator_features")
        judge = self.state.source_discriminator if source else self.discriminator
        assert judge is not None
        last = max(taps, key=judge.tap_names.index)
        maps = judge(torch.cat(images), taps=tuple(taps), stop=last).taps
        sizes = [len(one) for one in images]
        return [maps[tap].split(sizes) for tap in taps]

    def logits(self, images: Tensor, stream: str) -> Tensor:
        """D's judgement of augmented images: [B, 1], or [B, 1, r, r] at the patch exit."""
        return self.judge(self.augmented(images, stream), stream)

    def judge(self, images: Tensor, *streams: str) -> Tensor:
        """D's logits at this phase's exit, images as they are: one batch for each stream, one after the other."""
        mask = None
        if self.recipe.mask:
            size, each = head_features(self.discriminator), len(images) // len(streams)
            masks = [sampling.kept(self.keyed, f"mask.{name}", size, self.recipe.mask) for name in streams]
            mask = torch.cat(masks).repeat_interleave(each, dim=0)
        return EXITS[self.exit](self.discriminator, self.state.patch, images, len(streams), mask)

    def augmented(self, images: Tensor, stream: str, whole: bool = False) -> Tensor:
        """ADA's transforms with its current probability; the images themselves at 0. `whole`: images that are no
        part of the batch, such as `shots`.
        """
        keyed = replace(self.keyed, batch=len(images), part=(0, 1)) if whole else self.keyed
        return augmented(images, self.state.ada, keyed, stream, self.recipe.augment)

    def observe_real(self, logits: Tensor) -> None:
        """Let ADA and the statistics see D's logits on real images."""
        self.signs.append(signs_of(logits))

    def running_path_mean(self, mean: Tensor) -> Tensor:
        """Move the running mean of path lengths towards this step's, which stays in the graph; return it."""
        state = self.state
        old = torch.where(state.path_mean < 0, mean.detach(), state.path_mean)
        new = old.lerp(mean, self.recipe.pl_decay)
        state.path_mean = new.detach()
        return new

    def _declared(self, view: str) -> None:
        if view not in self.needs:
            names = ", ".join(term.name for term in self.acting)
            raise RuntimeError(f"the objectives {names} did not declare that they need {view!r}")
