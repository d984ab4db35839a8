"""What a recipe may say: every field with its default, what it means and where that comes from.

The rows are in `recipes`, what is refused in `checks`. No torch is imported here, so a mistyped field is refused at
once.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from stylegraft.errors import StylegraftError, nearest


def term(
    weight: float = 0.0,
    *,
    looks: bool = False,
    guided: bool = False,
    inverts: bool = False,
    least: int = 1,
    why: str = "",
) -> float:
    """A weight of a term that asks more than a number: looks: at the training images, so that G can learn from it
    alone; guided: through a guide; inverts: the training images' own codes in the source; least: images in memory at
    once, and why it takes so many.
    """
    told = {"looks": looks, "guided": guided, "inverts": inverts, "least": least, "why": why}
    return dataclasses.field(default=weight, metadata=told)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what one training step does; the defaults are the few-shot family's shared
    base.

    That base (Ojha et al. 2021 and its descendants) is StyleGAN2 at 256 px, batch 4.
    """

    name: str
    """Method, as in the table."""
    paper: str
    """First author, title, venue."""
    preset: str = "paper"
    """`paper` or `scaled`: where the numbers below come from."""
    space: str = "full"
    """What moves in the generator, unless `--space` says otherwise."""
    discriminator: str = "all"
    """What moves in the discriminator: `all`, `upto-R` (blocks of resolution <= R, and the head), or group
    names joined by commas.
    """
    steps: int = 3000
    """Steps in which the generator learns, after the warm-up; schedules do not depend on it."""
    warmup: int = 0
    """Steps before them, in which only the discriminator learns."""
    warmup_scratch: int = 1000
    """The least warm-up where the source has no discriminator and one is trained from random weights."""
    batch: int = 4
    """Images a step."""
    judge: str = "stylegan2"
    """The discriminator: `stylegan2`, the source's own (or one of random weights), or `projected`, small heads on
    frozen VGG16 features, for sources that have none (`stylegraft assets get lpips`; no patch exit, R1 or warm-up).
    """
    micro: int = 0
    """Images in memory at once: a step is done in parts of so many, whose gradients add up; 0: the whole batch. The
    parts are the groups of minibatch-std, and terms that compare images of a batch (cl1, cl2) compare within a part.
    """
    recompute: bool = False
    """Gradient checkpointing: each layer of G and D keeps its input alone and is computed again in the backward pass;
    about a third more time, less than half the memory of the maps.
    """
    precision: str = "fp32"
    """What a step computes in: `fp32`; with --device cuda also `tf32` (products rounded to TF32), or `bf16` or `fp16`
    in the four highest resolutions of a StyleGAN2's G and D, and float32 in all else.
    """
    mbstd: int = 4
    """Group size of the minibatch standard deviation, at least 2: discriminators have an input for it."""
    lr: float = 0.002
    """Adam step of the generator in the space `full`; other spaces multiply it (`SPACE_LR`)."""
    lr_d: float = 0.002
    """Adam step of the discriminator."""
    lr_warmup: int = 0
    """Steps, from the generator's first one on, in which its Adam step rises linearly to its full size; 0: none."""
    beta1: float = 0.0
    """Adam's decay of the mean of G's gradients: 0 in a game."""
    beta2: float = 0.99
    """Adam's decay of the mean of their squares, of G and of D."""
    adv: float = term(1.0, looks=True)
    """Weight of the adversarial game in what G learns; 0: no game, the discriminator neither learns nor is asked."""
    r1_gamma: float = 10.0
    """Weight of R1 (gamma / 2 times the squared gradient); 0 is off."""
    r1_every: int = 16
    """Steps between two R1 steps, whose loss is multiplied by as many."""
    pl_weight: float = 2.0
    """Weight of the path-length penalty; 0 is off."""
    pl_every: int = 4
    """Steps between two path-length steps, whose loss is multiplied by as many."""
    pl_decay: float = 0.01
    """Decay of the running mean of path lengths."""
    mixing: float = 0.9
    """Probability of style mixing (the same for the whole batch)."""
    ema_kimg: float = 1.25
    """Half life of the averaged generator, in thousand images."""
    xflip: bool = True
    """Mirror each training image with probability 1/2."""
    augment: str = "none"
    """What the discriminator sees augmented, with probability p: `none`, or the transforms in use, such as `bgc` (ADA's
    default) or `diffaugment` (`transforms.SETS`).
    """
    ada_mode: str = "adaptive"
    """How p moves: `adaptive` (towards ada_target), `ramp` (up to ada_max, at the same speed), or `fixed`."""
    ada_p: float = 0.0
    """p at the first step; with `fixed`, at every step."""
    ada_target: float = 0.6
    """Mean sign of D(real) that the controller holds."""
    ada_kimg: float = 500.0
    """Thousand images in which p can go from 0 to 1."""
    ada_max: float = 0.8
    """Cap of p: above it, augmentations leak into the images."""
    fm: float = 0.0
    """Weight of FixNoise's feature matching in the anchored noise subspace."""
    fm_match: str = "feature"
    """What it matches: `feature` (the last convolution of each block), `rgb` (the running image after each block),
    `image` (the final one) or `all` three.
    """
    fm_layers: str = "all"
    """The blocks it looks at: `all`, or resolutions, such as `8..64` or `16`."""
    fm_noise: str = "anchor"
    """The noise it matches at: the `anchor`; `random` or `none` are the paper's ablations."""
    cl1: float = term(least=2, why="CL1 tells the images of a batch apart")
    """Weight (lambda 1) of DCL's contrast between generators."""
    cl2: float = 0.0
    """Weight (lambda 2) of DCL's contrast in the discriminator."""
    tau: float = 0.07
    """Temperature of both contrasts."""
    cl1_positive: bool = True
    """CL1's denominator holds the positive too; without it the loss can fall below zero."""
    cl2_negatives: str = "real"
    """What CL2 pushes away from: the step's `real` images, all training `shots`, or `source` images of other latents
    (WeditGAN's variant).
    """
    cl2_to_g: bool = False
    """CL2 teaches the generator as well, through the discriminator."""
    cl_taps: str = "one"
    """Feature maps of both contrasts: `one` drawn a step, for G and D apart, or the sum over one of `each` block
    (WeditGAN).
    """
    cl_latents: str = "free"
    """Latents of both contrasts: `free`, or near CDC's `anchors`."""
    dist: float = term(least=3, why="CDC compares how an image resembles at least two others")
    """Weight of CDC's distance consistency, on the mean of the KL over the batch. The released code's 1000 is on the
    mean over all entries of the relations, so at its batch of 4 it is 1000 / 3 here.
    """
    cdc: bool = False
    """CDC's machinery: D judges images of anchor latents as a whole, images of free latents by patches."""
    anchors: int = 0
    """Number of anchor latents; 0: as many as training images (CDC, whose 10 are its 10 shots)."""
    anchor_period: int = 4
    """One step in so many is an anchor step."""
    anchor_sigma: float = 0.1
    """Standard deviation of the noise around an anchor."""
    self_corr: float = 0.0
    """Weight of RSSA's self-correlation: how the places of one image resemble each other."""
    cross_corr: float = term(least=2, why="RSSA compares the images of a batch")
    """Weight of RSSA's disturbance correlation: the same across images of slightly disturbed latents."""
    cross_every: int = 6
    """Steps between two steps with disturbance correlation; the weight is not multiplied by it."""
    structure: float = 0.0
    """Weight of FreezeSG's structure loss on the running images of the lowest resolutions."""
    structure_levels: int = 3
    """How many resolutions the structure loss looks at, from 4 px up (the paper's 3; its README shows 2)."""
    l2sp: float = 0.0
    """Weight of L2-SP: the squared distance of what G moves to the source, by `drift`."""
    ewc: float = 0.0
    """Weight of EWC: that distance weighted by the Fisher information of the source, by `drift`."""
    drift: float = 0.02
    """RMS distance, in stored units, at which both penalties equal their weights; 0: the plain sums of their papers."""
    importance_samples: int = 200
    """Single samples in an estimate of the Fisher information (ewc, partition)."""
    lead: int = 0
    """The generator's first steps, in which of G only `lead_space` learns, and of D only `lead_judge`."""
    lead_space: str = ""
    """Forms and groups, joined by commas, that learn in G during the lead."""
    lead_judge: str = ""
    """The same of D; empty: all of it."""
    lead_reset: bool = False
    """After the lead everything goes back to the source; only what it said about filters is kept (AdAM)."""
    warmup_judge: str = ""
    """Groups of D that learn in the warm-up; empty: all of it."""
    partition: str = ""
    """Groups of G, joined by commas, whose filters are frozen, tuned or pruned by importance after the lead."""
    partition_judge: str = ""
    """The same of D, all in one pool."""
    partition_every: int = 0
    """Steps between two such decisions; 0: one alone."""
    freeze_above: float = 100.0
    """Percentile of importance above which a filter is frozen (or modulated, where the space has both forms); 100:
    none.
    """
    prune_below: float = 0.0
    """Percentile up to which a filter is set to zero for good; 0: none."""
    sparsify: int = 0
    """G's first steps, over which a sparse space is pruned little by little; 0: all at once at the end."""
    swap: int = 0
    """Resolution below which the finished domain goes back to the source (layer swapping); 0: nowhere."""
    mask: float = 0.0
    """Share of the features before D's last two layers that MaskedD hides at the image exit, anew in each pass."""
    dist_d: float = term(least=3, why="MaskedD compares how an image resembles at least two others")
    """Weight of MaskedD's relation consistency: of D on adapted images with the source's D on source images."""
    perp: float = term(least=2, why="its directions are the differences of two latents")
    """Weight of WeditGAN's regulariser, which holds the offset in W+ perpendicular to the source's own directions."""

    direction: float = term(looks=True, guided=True)
    """Weight of StyleGAN-NADA's direction: in a guide, adapted images differ from the source's as what is asked for
    does (a sentence from a sentence, or pictures from the source).
    """
    direction_from: str = "samples"
    """Where the direction to pictures begins: at the mean of source `samples` (NADA's image mode, DiFa), or at each
    picture's own `inverse` in the source (MindTheGap).
    """
    near: float = term(looks=True, guided=True)
    """Weight of StyleGAN-NADA's global term: adapted images come near to what is asked for itself. The direction does
    not reward going far; this does.
    """
    source_samples: int = 500
    """Samples of the source in that mean."""
    templates: str = "imagenet"
    """Table of prompt templates that sentences are put in: `imagenet`, `a` or `plain`."""
    indomain: float = term(guided=True, least=2, why="it compares the images of a batch")
    """Weight of HyperDomainNet's angle consistency: images of a batch keep their angles in a guide."""
    domains: int = 0
    """Sentences a step of a hypernetwork, which learns to give any sentence its domain; 0: there is none."""
    tt_direction: float = term(guided=True)
    """Weight of HyperDomainNet's direction between domains: images of two sentences differ as these do."""
    hull: float = 2.0
    """Concentration of the mixtures (Dirichlet) in which a step's sentences are learnt, in all; 0: each as it is."""
    cone: float = 0.95
    """Least cosine of what is learnt to such a mixture, around which it is drawn; 1: none is drawn."""
    width: int = 512
    """Of the hypernetwork's layers."""
    depth: int = 3
    """Its residual blocks."""
    choose_rows: int = 0
    """NADA's adaptive layers: only what reads this many rows of W+ learns in a step, those that the guides ask most
    of; 0: all.
    """
    choose_every: int = 1
    """Steps between two such choices."""
    loss_resolution: int = 0
    """Guides see images of at most so many px, reduced by averaging; 0: as they are."""
    within: float = term(looks=True, guided=True, inverts=True)
    """Weight of MindTheGap's within-domain term: an adapted image differs from the reference as its source image does
    from the reference's inverse.
    """
    ref_clip: float = term(looks=True, guided=True, inverts=True)
    """Weight of MindTheGap's term that shows the reference at its own code, in a guide."""
    ref_l2: float = term(looks=True, inverts=True)
    """Weight of the same in squared pixels, at no more than 256 px."""
    ref_lpips: float = term(looks=True, inverts=True)
    """Weight of the same in LPIPS (`stylegraft assets get lpips`)."""
    jojo: float = term(looks=True, inverts=True)
    """Weight of JoJoGAN's L1 in the source's frozen D, of mixtures of the reference's code to the reference."""
    jojo_rows: int = 7
    """Rows of W+, from the coarsest on, that such a mixture keeps of the reference."""
    jojo_alpha: float = 1.0
    """Share of random w in its other rows."""
    invert_steps: int = 100
    """Steps in which a reference is inverted, as `translate` does; a thousand give the closest fit."""
    attentive: float = term(looks=True, guided=True)
    """Weight of DiFa's attentive style: relaxed earth mover's distance of a guide's tokens to the reference's."""
    scc: float = 0.0
    """Weight of DiFa's selective cross-domain consistency: codes of a pair agree where the domains differ least."""
    scc_rows: int = 7
    """Rows of W+, from the coarsest on, whose codes it compares."""
    scc_share: float = 0.6
    """Share of the numbers of a code that it holds: those that moved least over the last `scc_window` steps."""
    scc_window: int = 50
    """Steps that it looks back over, before which it does nothing."""
    scc_full: int = 301
    """Step from which its weight, which rises after the first window, is whole."""

    bsa_pixel: float = term(looks=True)
    """Weight of BSA's L1 distance, in pixels, of each training image to G's image of its own latent."""
    bsa_vgg: float = term(looks=True)
    """Weight of the same in the first ten convolutions of VGG16 (`stylegraft assets get lpips`), summed over them."""
    bsa_emd: float = 0.0
    """Weight of BSA's nearest-neighbour distance between those latents and ten times as many Gaussian ones."""
    bsa_decay: float = 0.0
    """Weight of the mean square of what moves, summed over the tensors that learn."""
    bsa_jitter: float = 0.01
    """Standard deviation of the noise on BSA's latents, whose own deviation is 1."""
    bsa_lr: float = 0.03
    """Adam step of BSA's latents, one a training image, which learn beside G and are no part of the domain."""

    @property
    def reconstructs(self) -> bool:
        """Whether each training image has a latent of its own (BSA)."""
        return self.bsa_pixel > 0 or self.bsa_vgg > 0

    @property
    def guided(self) -> bool:
        """Whether a guide is looked through."""
        return bool(self.choose_rows) or self.asks("guided")

    @property
    def inverts(self) -> bool:
        """Whether the training images are inverted into the source first."""
        return self.asks("inverts") or (self.direction > 0 and self.direction_from == "inverse")

    @property
    def reads(self) -> bool:
        """Whether a sentence is enough: G learns by `direction` or `near`, and nothing else looks at pictures."""
        looks = {
            one.name
            for one in dataclasses.fields(self)
            if one.metadata.get("looks") and getattr(self, one.name)
        }
        return bool(looks) and looks <= {"direction", "near"} and not self.inverts

    def asks(self, what: str) -> bool:
        """Whether a term that has weight is marked `looks`, `guided` or `inverts`."""
        return any(one.metadata.get(what) and getattr(self, one.name) for one in dataclasses.fields(self))

    @property
    def at_once(self) -> int:
        """Images in memory at once."""
        return min(self.micro or self.batch, self.batch)

    def samples(self, lazy_pl: bool = False) -> int:
        """How many samples a phase has; path length has half the batch."""
        return max(1, self.batch // 2) if lazy_pl else self.batch

    def parts(self, lazy_pl: bool = False) -> int:
        """In how many parts a phase is done."""
        return max(1, self.samples(lazy_pl) // self.at_once)


FIXED = ("name", "paper", "preset")  # fields that say which row it is, not what it does


def change(row: Recipe, changes: dict[str, Any]) -> Recipe:
    """`row` with some fields replaced; values are converted to the field's type, unknown fields refused."""
    defaults = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
    for field, value in changes.items():
        if field not in defaults or field in FIXED:
            raise StylegraftError(f"a recipe has no field {field!r}{nearest(field, defaults)} to change")
        kind = type(defaults[field])
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise StylegraftError(f"recipe field {field} is {value!r}, expected a {kind.__name__}")
        defaults[field] = value
    return Recipe(**defaults)


def show(value: Any) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def resolutions(text: str) -> tuple[float, float]:
    """Lowest and highest resolution of `all`, `8..64` or `16`; raises StylegraftError for anything else."""
    if text == "all":
        return 0, math.inf
    first, _, last = text.partition("..")
    ends = first, last or first
    if not all(end.isdecimal() for end in ends) or int(ends[0]) > int(ends[1]):
        raise StylegraftError(f"resolutions {text!r}: expected all, or resolutions such as 8..64 or 16")
    return int(ends[0]), int(ends[1])
