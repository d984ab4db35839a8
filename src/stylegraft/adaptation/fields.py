"""What a recipe may say: every field with its default, what it means and where that comes from, and what is
refused.

The rows are in `recipes`. No torch is imported here, so a mistyped field is refused at once.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from stylegraft.adaptation.transforms import parse_transforms
from stylegraft.errors import StylegraftError, nearest


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
    mbstd: int = 4
    """Group size of the minibatch standard deviation, at least 2: discriminators have an input for it."""
    lr: float = 0.002
    """Adam step of the generator in the space `full`; other spaces multiply it (`SPACE_LR`)."""
    lr_d: float = 0.002
    """Adam step of the discriminator."""
    lr_warmup: int = 0
    """Steps, from the generator's first one on, in which its Adam step rises linearly to its full size; 0: none."""
    adv: float = 1.0
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
    cl1: float = 0.0
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
    dist: float = 0.0
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
    cross_corr: float = 0.0
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
    dist_d: float = 0.0
    """Weight of MaskedD's relation consistency: of D on adapted images with the source's D on source images."""
    perp: float = 0.0
    """Weight of WeditGAN's regulariser, which holds the offset in W+ perpendicular to the source's own directions."""

    bsa_pixel: float = 0.0
    """Weight of BSA's L1 distance, in pixels, of each training image to G's image of its own latent."""
    bsa_vgg: float = 0.0
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
    def at_once(self) -> int:
        """Images in memory at once."""
        return min(self.micro or self.batch, self.batch)

    def parts(self, lazy_pl: bool = False) -> int:
        """In how many parts a phase is done; path length has half the batch."""
        count = max(1, self.batch // 2) if lazy_pl else self.batch
        return max(1, count // self.at_once)


FIXED = ("name", "paper", "preset")  # fields that say which row it is, not what it does

CHOICES: dict[str, tuple[str, ...]] = {
    "judge": ("stylegan2", "projected"),
    "ada_mode": ("adaptive", "ramp", "fixed"),
    "fm_match": ("feature", "rgb", "image", "all"),
    "fm_noise": ("anchor", "random", "none"),
    "cl2_negatives": ("real", "shots", "source"),
    "cl_taps": ("one", "each"),
    "cl_latents": ("free", "anchors"),
}

# Terms that compare the images of a batch: how many they need at least, and why.
COMPARED: dict[str, tuple[int, str]] = {
    "cl1": (2, "CL1 tells the images of a batch apart"),
    "cross_corr": (2, "RSSA compares the images of a batch"),
    "perp": (2, "its directions are the differences of two latents"),
    "dist": (3, "CDC compares how an image resembles at least two others"),
    "dist_d": (3, "MaskedD compares how an image resembles at least two others"),
}


# What only a discriminator can see, with the value that goes without one.
GAME: dict[str, Any] = {
    "augment": "none", "cdc": False, "cl2": 0, "dist_d": 0, "mask": 0, "judge": "stylegan2", "warmup": 0,
    "warmup_judge": "", "lead_judge": "", "partition": "", "partition_judge": "",
}  # fmt: skip


# The terms that move G away from the source, where it begins. All others of G are least there, and hold it still.
MOVES = ("adv", "cl1", "bsa_pixel", "bsa_vgg")

# Fields that say how another one works: (field, the value at which it does nothing, those of which it needs one).
_SORTED = ("partition", "partition_judge")
EFFECTLESS: list[tuple[str, Any, tuple[str, ...]]] = [
    ("lead_reset", False, ("lead",)),
    ("lead_reset", False, _SORTED),  # without, what the lead found out is lost
    ("partition_every", 0, _SORTED),
    ("freeze_above", 100, _SORTED),
    ("prune_below", 0, _SORTED),
    ("bsa_emd", 0, ("bsa_pixel", "bsa_vgg")),  # without, no latents learn
    ("cl_latents", "free", ("cdc",)),
]


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


def check(row: Recipe) -> Recipe:
    """Refuse impossible values; returns the recipe."""
    at_least = {
        "steps": 1, "batch": 1, "mbstd": 2, "r1_every": 1, "pl_every": 1, "anchors": 0, "anchor_period": 1,
        "warmup": 0, "warmup_scratch": 0, "micro": 0, "r1_gamma": 0, "pl_weight": 0, "anchor_sigma": 0,
        "fm": 0, "cl1": 0, "cl2": 0, "dist": 0, "self_corr": 0, "cross_corr": 0, "cross_every": 1, "structure": 0,
        "structure_levels": 1, "l2sp": 0, "ewc": 0, "drift": 0, "importance_samples": 1, "lead": 0,
        "partition_every": 0, "sparsify": 0, "swap": 0, "dist_d": 0, "perp": 0, "lr": 0, "lr_d": 0, "lr_warmup": 0,
        "ema_kimg": 0, "adv": 0, "bsa_pixel": 0, "bsa_vgg": 0, "bsa_emd": 0, "bsa_decay": 0, "bsa_jitter": 0,
        "bsa_lr": 0,
    }  # fmt: skip
    for field, least in at_least.items():
        if not least <= getattr(row, field) < math.inf:
            raise StylegraftError(f"recipe field {field} is {getattr(row, field)}, expected at least {least}")
    for field in ("mixing", "pl_decay", "ada_max", "ada_p"):
        if not 0 <= getattr(row, field) <= 1:
            raise StylegraftError(f"recipe field {field} is {getattr(row, field)}, expected 0 to 1")
    for field in ("tau", "ada_kimg"):
        if not 0 < getattr(row, field) < math.inf:
            raise StylegraftError(f"recipe field {field} is {getattr(row, field)}, expected more than 0")
    for field, choices in CHOICES.items():
        if getattr(row, field) not in choices:
            raise StylegraftError(
                f"recipe field {field} is {getattr(row, field)!r}{nearest(getattr(row, field), choices)}; expected "
                f"{', '.join(choices[:-1])} or {choices[-1]}"
            )
    for field in ("freeze_above", "prune_below"):
        if not 0 <= getattr(row, field) <= 100:
            raise StylegraftError(
                f"recipe field {field} is {getattr(row, field):g}, expected a percentile, 0 to 100"
            )
    if row.prune_below > row.freeze_above:
        raise StylegraftError(
            f"recipe field prune_below is {row.prune_below:g} and freeze_above {row.freeze_above:g}: expected the"
            " percentile up to which filters are pruned to be the lower one"
        )
    resolutions(row.fm_layers)
    if row.ewc and row.judge == "projected":
        raise StylegraftError(
            f"recipe field ewc is {row.ewc:g} and judge is projected: EWC asks the source's own discriminator; expected"
            " judge=stylegan2, or l2sp"
        )
    if not row.adv:
        for field, without in GAME.items():
            if getattr(row, field) != without:
                raise StylegraftError(
                    f"recipe field {field} is {show(getattr(row, field))} and adv is 0, so that no discriminator "
                    f"plays: expected {field}={show(without)}, or adv=1"
                )
    for field, without, others in EFFECTLESS:
        if getattr(row, field) != without and not any(getattr(row, other) for other in others):
            raise StylegraftError(
                f"recipe field {field} is {show(getattr(row, field))}, which does nothing without "
                f"{' or '.join(others)}: expected {field}={show(without)}, or {others[0]} as well"
            )
    if not any(getattr(row, field) for field in MOVES):
        raise StylegraftError(
            "recipe field adv is 0 and no term has weight that moves G away from the source, where it begins: expected "
            f"adv=1, or weight on {', '.join(MOVES[1:-1])} or {MOVES[-1]}"
        )
    if not 0 <= row.mask < 1:
        raise StylegraftError(f"recipe field mask is {row.mask:g}, expected at least 0 and less than 1")
    if row.judge == "projected" and (row.cdc or row.discriminator != "all"):
        raise StylegraftError(
            "the projected judge has no patch exit and no blocks: expected cdc=no, discriminator=all"
        )
    if row.judge == "projected" and row.mask:
        raise StylegraftError(
            "the projected judge has no features to hide before its last layers: expected mask=0"
        )
    if row.augment != "none":
        parse_transforms(row.augment)
        if row.ada_mode == "fixed" and not row.ada_p:
            raise StylegraftError(
                f"recipe field ada_p is 0 and ada_mode is fixed, so {row.augment} would never be seen: expected a p "
                "such as ada_p=0.2, or augment=none"
            )
    if row.batch % row.at_once:
        raise StylegraftError(
            f"recipe field micro is {row.micro}, expected a divisor of the batch, {row.batch}"
        )
    for field, (least, why) in COMPARED.items():
        if getattr(row, field) and row.at_once < least:
            size = "micro" if row.micro else "batch"
            raise StylegraftError(
                f"recipe field {field} is {getattr(row, field):g} and {size} is {row.at_once}: {why}; expected a "
                f"{size} of at least {least}, or {field}=0"
            )
    return row


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
