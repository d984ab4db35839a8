"""A run in memory: what is fixed (source, recipe, images, seed), what changes with every step, and how it
is kept.

Leaves are the parts of the space's deltas; the source generator is never written to. The discriminator is a
copy of the source's, or random where the source has none.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from stylegraft.adaptation import judges
from stylegraft.adaptation.adam import Adam
from stylegraft.adaptation.controller import AdaController, controller
from stylegraft.adaptation.exits import PatchHead, patch_tap
from stylegraft.adaptation.frozen import Frozen, frozen_blocks
from stylegraft.adaptation.guidance import Coder, Guides, check_guides, load_coder, load_perceptual
from stylegraft.adaptation.objectives import bsa, check
from stylegraft.adaptation.projected import Judge, load_projected
from stylegraft.adaptation.rates import judge_rate, learning_rate
from stylegraft.adaptation.recipes import Recipe, fit
from stylegraft.adaptation.request import Request
from stylegraft.adaptation.sampling import anchor_points, seed_of
from stylegraft.adaptation.world import ALONE, World
from stylegraft.checkpoints.source import Source
from stylegraft.domains import spaces
from stylegraft.domains.deltas import Delta, leaves_of, refilled
from stylegraft.domains.domain import base_tensors
from stylegraft.domains.expression import find_space
from stylegraft.domains.hypernet import Hypernet, added
from stylegraft.encoders.lpips import LPIPS
from stylegraft.encoders.vgg16 import VGG16Trunk
from stylegraft.errors import StylegraftError
from stylegraft.networks.discriminator import Discriminator, build_discriminator
from stylegraft.networks.generator import Generator, mean_w

MOST = 100_000  # numbers that a hypernetwork may give

Deltas = dict[str, tuple[Delta, ...]]
Embedded = dict[
    tuple[str | int, ...], list[Tensor]
]  # (phase, seed, step, *samples) -> of each guide [B, dim]; ("words", guide, templates, text) -> what it reads [dim]


def unheard(what: str, done: int, count: int) -> None:
    """For whom nobody listens to."""


@dataclass
class State:
    """The first half is fixed for a run, the second half changes. Tensors live on `device`.

    recipe: settled for this source and these images (`recipes.fit`).
    """

    recipe: Recipe
    generator: Generator
    base: dict[str, Tensor]
    deltas: Deltas
    images: Tensor
    keep: float | None  # share of the style offsets that a sparse space keeps
    seed: int
    device: torch.device
    leaves: dict[str, Tensor]  # of the deltas, by name
    hypernet: Hypernet | None  # learns in their place, and gives each sentence its own
    learners: dict[str, dict[str, Tensor]]  # owner "G" or "D" -> name -> what its optimiser moves
    judge_deltas: Deltas  # of those parameters of D that do not move freely
    judge_base: dict[str, Tensor]  # their values in the source
    begun: dict[str, dict[str, Tensor]]  # the learners before the first step, where a stage goes back to them
    anchors: Tensor | None  # [anchors, z_dim], with CDC
    latents: Tensor | None  # [N, z_dim], one a training image, learners of G but no part of the domain (BSA)
    eye: VGG16Trunk | None  # what BSA compares images in
    source_discriminator: (
        Judge | None
    )  # the source's D as it was, where a term looks at it (MaskedD, JoJoGAN)
    request: Request  # a sentence, if there is one
    guides: Guides  # what reads it and looks at images, each with its weight
    coder: Coder | None  # the source's inversion encoder (DiFa)
    perceptual: LPIPS | None  # where pictures are inverted
    embedded: Embedded | None  # the source's side of guided pairs, where runs of the same draws share it

    step: int
    row: int  # steps in a row, up to this one, that have left out an update
    ema: dict[str, Tensor]
    discriminator: Judge
    patch: PatchHead | None
    optimizers: dict[str, torch.optim.Adam]
    ada: AdaController | None
    path_mean: Tensor  # below zero: not yet measured
    real_sign: Tensor
    fisher: dict[str, Tensor]  # of the source's parameters, for EWC; empty until it is estimated
    filters: dict[
        str, Tensor
    ]  # "G/parameter" -> [O] state of each filter (`partition`); empty: all are tuned
    found: dict[str, Tensor]  # what guided terms look at (`guidance`); empty until it is found
    recall: dict[str, Tensor]  # what a term remembers of earlier steps: DiFa's window, NADA's rows

    # Called while something is found out before a step: what (of Fisher information "G" or "D"), how much is done, of
    # how much. It may raise, and the step has not begun then.
    between: Callable[[str, int, int], None] = unheard
    world: World = ALONE  # the processes that share the run

    @property
    def end(self) -> int:
        """The step at which the run is done: the warm-up, then the recipe's steps."""
        return self.recipe.warmup + self.recipe.steps

    @property
    def judge(self) -> Judge | judges.AdaptedJudge:
        """D as it stands, its deltas in place."""
        return judges.adapted(self.discriminator, self.judge_deltas, self.judge_base)

    @cached_property
    def mean_w(self) -> Tensor:
        """Mean w of the source over the latents of `networks.generator.mean_w`: [w_dim], float64."""
        return mean_w(self.generator, device=self.device)

    @cached_property
    def frozen(self) -> Frozen | None:
        """D's first blocks, where they never learn, with what they have made of the training images so far; None where
        D sees none of them as it is.
        """
        if self.recipe.mask or (self.ada and self.ada.lasting):
            return None
        return frozen_blocks(self.discriminator, self.learners["D"], len(self.images))

    def averaged(self, sentence: int = 0) -> Deltas:
        """The deltas of the averaged generator, copied to the CPU: what previews and the domain file show. Learners of
        G without an average, such as BSA's latents, are no part of them.

        Deltas that share a leaf share its copy. Where a hypernetwork learns, they are those of one of its sentences.
        """
        return self._copied(self.ema, sentence)

    def trained(self) -> Deltas:
        """The same of the generator that learns, before averaging."""
        return self._copied({name: self.learners["G"][name].detach() for name in self.ema})

    def given(self, direction: Tensor, values: Mapping[str, Tensor] | None = None) -> Deltas:
        """The deltas that the hypernetwork gives for a direction [dim] of the first guide; values: in place of its own
        parameters, by their names among the learners.
        """
        assert self.hypernet is not None
        numbers = self.hypernet.of(direction, values)
        return refilled(self.deltas, added(self.leaves, numbers))

    def _copied(self, values: Mapping[str, Tensor], sentence: int = 0) -> Deltas:
        if self.hypernet is None:
            leaves = values
        elif self.found:
            with torch.no_grad():
                leaves = leaves_of(self.given(self.found["direction/0"][sentence], values))
        else:  # before the first step, when it gives nothing
            leaves = {name: leaf.detach() for name, leaf in self.leaves.items()}
        return refilled(self.deltas, {name: leaf.cpu().clone() for name, leaf in leaves.items()})


def begin(
    source: Source,
    images: Tensor,
    recipe: Recipe,
    space: str,
    *,
    seed: int = 0,
    device: str = "cpu",
    request: Request = Request(),  # noqa: B008
    guides: Guides = (),
    perceptual: LPIPS | None = None,
    embedded: Embedded | None = None,
) -> State:
    """The state before the first step; images [N, C, R, R] in [-1, 1], N = 0 with a sentence alone. The same arguments
    give the same state, bit for bit. perceptual: what inverts pictures; None loads it where the recipe does.
    embedded: what runs of the same source, recipe, seed and guides share, filled by the first.

    Raises StylegraftError for a conditional source, images that do not fit it, an unknown space, group or
    transform, a guided recipe without a guide, and a guide without what the recipe asks of it.
    """
    generator = source.generator.to(device).eval().requires_grad_(False)
    if generator.c_dim:
        raise StylegraftError(
            f"source {source.name!r} is conditional ({generator.c_dim} classes); adapt takes those without"
        )
    shape = (generator.img_channels, generator.resolution, generator.resolution)
    if images.ndim != 4 or tuple(images.shape[1:]) != shape or not (len(images) or request.sentences):
        raise StylegraftError(
            f"training images of shape {list(images.shape)}, expected [N, *{list(shape)}] with N >= 1"
        )
    check(recipe, generator)
    check_guides(recipe, guides)
    recipe = fit(recipe, len(images), judged=source.discriminator is not None)
    rng = torch.Generator().manual_seed(seed_of(seed, 0, "deltas", 0))
    deltas, leaves = on_device(spaces.start(space, generator, rng), device)
    discriminator = trained_copy(source, seed, recipe).to(device)
    learns, judge_deltas = judges.split(
        discriminator, judges.forms_of(discriminator, recipe.discriminator), rng, device
    )
    hypernet = hypernet_of(recipe, leaves, guides, seed, device)
    own = leaves if hypernet is None else hypernet.named()
    learners = {"G": own, "D": {f"D.{name}": tensor for name, tensor in learns.items()}}
    patch = None
    if recipe.cdc and isinstance(discriminator, Discriminator):
        patch = patch_head(discriminator, seed).to(device)
    if patch is not None:
        learners["D"] |= {f"patch.{name}": p for name, p in patch.named_parameters()}
    latents = bsa.first_latents(recipe, len(images), generator.z_dim, seed)
    if latents is not None:
        latents = latents.to(device).requires_grad_()
        learners["G"] = own | {bsa.LATENTS: latents}
    return State(
        recipe=recipe,
        generator=generator,
        base={name: tensor.detach() for name, tensor in base_tensors(generator).items()},
        deltas=deltas,
        images=images.to(device),
        keep=find_space(space).keep,
        leaves=leaves,
        hypernet=hypernet,
        seed=seed,
        device=torch.device(device),
        learners=learners,
        judge_deltas=judge_deltas,
        judge_base={n: p.detach() for n, p in discriminator.named_parameters() if n in judge_deltas},
        begun=begun(learners, source.discriminator is not None and recipe.judge == "stylegan2")
        if recipe.lead_reset
        else {},
        latents=latents,
        eye=bsa.load_eye(recipe, device),
        source_discriminator=copy.deepcopy(discriminator) if recipe.dist_d or recipe.jojo else None,
        request=request,
        guides=guides,
        coder=load_coder(recipe, generator),
        perceptual=perceptual or load_perceptual(recipe, device),
        embedded=embedded,
        anchors=anchor_points(seed, recipe.anchors, generator.z_dim).to(device) if recipe.cdc else None,
        step=0,
        row=0,
        ema={name: leaf.detach().clone() for name, leaf in own.items()},
        discriminator=discriminator,
        patch=patch,
        optimizers={
            "G": adam(
                own,
                learning_rate(recipe, space),
                recipe.pl_every if recipe.adv and recipe.pl_weight else 0,
                {} if latents is None else {bsa.LATENTS: latents},
                recipe.bsa_lr,
                (recipe.beta1, recipe.beta2),
            ),
            "D": adam(
                {name: leaf for name, leaf in learners["D"].items() if "|" not in name},
                recipe.lr_d,
                recipe.r1_every if recipe.r1_gamma else 0,
                {name: leaf for name, leaf in learners["D"].items() if "|" in name},
                judge_rate(recipe, judges.forms_that_learn(learners["D"])),
                (0.0, recipe.beta2),
            ),
        },
        ada=controller(recipe),
        path_mean=torch.tensor(-1.0, device=device),
        real_sign=torch.tensor(0.0, device=device),
        fisher={},
        filters={},
        found={},
        recall={},
    )


def begun(learners: Mapping[str, Mapping[str, Tensor]], judged: bool) -> dict[str, dict[str, Tensor]]:
    """Copies of what a phase can go back to: G's learners, and those of a D that is the source's own (`judged`)."""
    owned = {"G": learners["G"], "D": learners["D"] if judged else {}}
    return {
        owner: {name: leaf.detach().clone() for name, leaf in own.items() if not name.startswith("patch.")}
        for owner, own in owned.items()
    }


def on_device(deltas: Mapping[str, tuple[Delta, ...]], device: str) -> tuple[Deltas, dict[str, Tensor]]:
    """Fresh deltas as leaves that require a gradient, and the same leaves by name `parameter|form|part`.

    A tensor that several deltas share is one leaf, under the name where it is first met.
    """
    leaves = {name: tensor.to(device).requires_grad_() for name, tensor in leaves_of(deltas).items()}
    return refilled(deltas, leaves), leaves


def hypernet_of(
    recipe: Recipe, leaves: Mapping[str, Tensor], guides: Guides, seed: int, device: str
) -> Hypernet | None:
    """The recipe's hypernetwork, if it has one, which gives these leaves; they themselves stay as they are then.

    Raises StylegraftError for a space of too many numbers.
    """
    if not recipe.domains:
        return None
    count = sum(leaf.numel() for leaf in leaves.values())
    if count > MOST:
        raise StylegraftError(
            f"recipe {recipe.name}: this space moves {count:,} numbers, and a hypernetwork gives each of them for every"
            f" sentence; expected a space of at most {MOST:,}, such as --space stylespace"
        )
    for leaf in leaves.values():
        leaf.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, 0, "hypernet", 0))
        return Hypernet(guides[0][0].dim, count, recipe.width, recipe.depth).to(device)


def trained_copy(source: Source, seed: int, recipe: Recipe) -> Judge:
    """The recipe's judge: a copy of the source's discriminator, a random one of the generator's size, or heads on
    VGG16; frozen until a phase thaws it.
    """
    if recipe.judge == "projected":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed, 0, "discriminator", 0))
            projected = load_projected(source.generator.resolution, source.generator.img_channels)
        return projected.eval().requires_grad_(False)
    if source.discriminator is not None:
        discriminator = copy.deepcopy(source.discriminator)
    else:
        g = source.generator
        small = g.resolution <= 128
        widths = {"channel_base": 32 * g.resolution, "channel_max": 256} if small else {"channel_base": 16384}
        config = {
            "resolution": g.resolution,
            "img_channels": g.img_channels,
            "architecture": "resnet",
            **widths,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed, 0, "discriminator", 0))
            discriminator = build_discriminator(config)
    if discriminator.b4.group_size > 1:
        discriminator.b4.group_size = mbstd_group(recipe.at_once, recipe.mbstd)
    return discriminator.eval().requires_grad_(False)


def mbstd_group(batch: int, wanted: int) -> int:
    """The largest group of minibatch-std up to `wanted` that divides the batch; the whole batch where only
    1 would.
    """
    return max((g for g in range(2, wanted + 1) if batch % g == 0), default=max(batch, 2))


def patch_head(discriminator: Discriminator, seed: int) -> PatchHead:
    """A random patch head on its tap of this discriminator; raises StylegraftError where the network has no
    such tap.
    """
    tap = patch_tap(discriminator.resolution)
    if tap not in discriminator.tap_names:
        raise StylegraftError(
            f"cdc needs the discriminator's tap {tap!r}; it has {', '.join(discriminator.tap_names)}"
        )
    channels = len(discriminator.get_parameter(f"{tap}.weight"))
    return PatchHead(channels, torch.Generator().manual_seed(seed_of(seed, 0, "patch", 0))).requires_grad_(
        False
    )


def adam(
    parameters: Mapping[str, Tensor],
    lr: float,
    lazy_every: int,
    others: Mapping[str, Tensor] | None = None,
    lr_others: float = 0.0,
    betas: tuple[float, float] = (0.0, 0.99),
) -> torch.optim.Adam:
    """Fused Adam with StyleGAN2's correction for lazy regularisation: c = k / (k + 1), lr * c, betas^c.

    (Karras et al. 2020, appendix B: k + 1 optimiser steps in k iterations.) others: learners with a rate of their own.
    """
    c = lazy_every / (lazy_every + 1) if lazy_every else 1.0
    sets = [(parameters, lr)] + ([(others, lr_others)] if others else [])
    groups = [{"params": list(own.values()), "lr": rate * c} for own, rate in sets]
    optimizer = Adam(groups, betas=(betas[0] ** c, betas[1] ** c), eps=1e-8, fused=True)
    for group in optimizer.param_groups:
        group["full_lr"] = group["lr"]
    return optimizer
