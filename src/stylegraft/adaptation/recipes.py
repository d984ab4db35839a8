"""The table of methods: one row a paper, with its published settings and ours for 64 px and batch 4.

A method is `space x discriminator policy x (0-2 extra objective terms) x latent sampler x augmentation`;
none has its own training loop. `PAPER` holds what the papers ran, `SCALED` what changes on small networks;
`recipe()` resolves one. No torch is imported here, so `stylegraft recipes` answers at once.
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
    mbstd: int = 4
    """Group size of the minibatch standard deviation, at least 2: discriminators have an input for it."""
    lr: float = 0.002
    """Adam step of the generator in the space `full`; other spaces multiply it (`SPACE_LR`)."""
    lr_d: float = 0.002
    """Adam step of the discriminator."""
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
    """Adaptive augmentation: `none`, or the transforms in use, such as `bgc` (`transforms.SETS`)."""
    ada_target: float = 0.6
    """Mean sign of D(real) that the controller holds."""
    ada_kimg: float = 500.0
    """Thousand images in which p can go from 0 to 1."""
    ada_max: float = 0.8
    """Cap of p: above it, augmentations leak into the images."""
    fm: float = 0.0
    """Weight of FixNoise's feature matching in the anchored noise subspace."""
    cl1: float = 0.0
    """Weight (lambda 1) of DCL's contrast between generators."""
    cl2: float = 0.0
    """Weight (lambda 2) of DCL's contrast in the discriminator."""
    tau: float = 0.07
    """Temperature of both contrasts."""
    cdc: bool = False
    """CDC's machinery: D judges images of anchor latents as a whole, images of free latents by patches."""
    anchors: int = 0
    """Number of anchor latents; 0: as many as training images (CDC, whose 10 are its 10 shots)."""
    anchor_period: int = 4
    """One step in so many is an anchor step."""
    anchor_sigma: float = 0.1
    """Standard deviation of the noise around an anchor."""

    @property
    def at_once(self) -> int:
        """Images in memory at once."""
        return min(self.micro or self.batch, self.batch)

    def parts(self, lazy_pl: bool = False) -> int:
        """In how many parts a phase is done; path length has half the batch."""
        count = max(1, self.batch // 2) if lazy_pl else self.batch
        return max(1, count // self.at_once)


FIXED = ("name", "paper", "preset")  # fields that say which row it is, not what it does

PAPER: dict[str, Recipe] = {
    # 10-shot FFHQ -> Babies / Sketches, 256 px (DCL's project page):
    # FID 104.79 / 53.42, intra-LPIPS .517 / .394
    "tgan": Recipe(
        "tgan", "Wang et al., Transferring GANs: generating images from limited data, ECCV 2018",
        steps=3000,
    ),
    # FID 102.58 / 66.99, intra-LPIPS .519 / .414, there with ada_kimg 500 at batch 4: p stays below .03
    "ada": Recipe(
        "ada", "Karras et al., Training Generative Adversarial Networks with Limited Data, NeurIPS 2020",
        steps=390_625, batch=64, mbstd=8,  # cfg paper256, 25,000 kimg
        lr=0.0025, lr_d=0.0025, r1_gamma=1.0, ema_kimg=20.0,
        augment="bgc", ada_kimg=100.0,  # 100 when fine-tuning, 500 from scratch
    ),
    # Babies / Sunglasses / Sketches FID 110.92 / 51.29 / 46.54 (from memory of the table)
    "freezed": Recipe(
        "freezed", "Mo et al., Freeze the Discriminator: a Simple Baseline for Fine-Tuning GANs, CVPR-W 2020",
        steps=50_000, lr=0.001, lr_d=0.001, discriminator="upto-16",  # its last three blocks and the head
    ),
    # FFHQ -> MetFaces, 256 px, 1336 images; no numbers: the papers' tables were out of reach
    "fixnoise": Recipe(
        "fixnoise", "Lee et al., Fix the Noise: Disentangling Source Feature for [...] Translation, CVPR 2023",
        steps=31_250, batch=64, mbstd=8,  # cfg paper256, 2,000 kimg
        lr=0.0025, lr_d=0.0025, r1_gamma=1.0, ema_kimg=20.0,
        augment="bgc", ada_kimg=100.0, fm=0.05,
    ),
    # FID 52.56 / 37.90, intra-LPIPS .582 / .486
    "dcl": Recipe(
        "dcl", "Zhao et al., A Closer Look at Few-shot Image Generation, CVPR 2022 (our reading)",
        steps=1500, cl1=2.0, cl2=0.5, tau=0.07, cdc=True,
    ),
}  # fmt: skip

# What changes below 256 px at batch 4 on a CPU, found by looking at runs on faces-64 (benchmarks/results/
# recipes-64.md). G's rate: at the papers' 0.002 (0.008 in affine-light+) ten pencil drawings gave caricatures within
# 300 steps. Warm-up: without it, an untrained patch exit and a discriminator that has never seen the target teach G
# a grid of dots. EMA: a half life of 50 steps; the papers' 1.25 kimg is 312 steps, so that a short run would show a
# model that is half source. R1: 10 * (64 / 256)^2, rounded up. ADA: 5 kimg lets p reach 0.4 in 500 steps and its cap
# in 1,000; the papers' 100 kimg would give 0.02 there.
_SMALL: dict[str, Any] = dict(
    batch=4, mbstd=4, lr=0.0005, lr_d=0.002, r1_gamma=1.0, ema_kimg=0.2, warmup=100, warmup_scratch=300
)
SCALED: dict[str, dict[str, Any]] = {
    "tgan":     _SMALL | dict(steps=300),
    "ada":      _SMALL | dict(steps=800, ada_kimg=5.0),
    "freezed":  _SMALL | dict(steps=300),
    "fixnoise": _SMALL | dict(steps=800, ada_kimg=5.0),
    "dcl":      _SMALL | dict(steps=300),
}  # fmt: skip

# With the projected judge: its heads are bounded by spectral normalisation, so no R1; every logit is a patch's already,
# so no patch exit; it sees from the first step on, so no warm-up.
PROJECTED: dict[str, Any] = dict(
    judge="projected", discriminator="all", r1_gamma=0.0, cdc=False, warmup=0, warmup_scratch=0
)

# G's step, relative to the space `full`: the rates of StyleDomain's runs (README of its few-shot half) over its 0.002.
SPACE_LR: dict[str, float] = {
    "full": 1.0,           # 0.002, the configuration's default
    "mapping": 1.0,
    "synthesis": 1.0,
    "affine": 1.0,
    "stylespace": 10.0,    # 0.02
    "affine+": 10.0,       # 0.02
    "affine-light+": 4.0,  # 0.008 in the released runs; its README says 0.02
}  # fmt: skip

NOTES: dict[str, str] = {
    "dcl": "dcl is our reading of the paper, whose training code was never published: the positive in CL1's "
    "denominator, one tap drawn a step for G and one for D, CL2 to the discriminator only, CDC's anchors and patch "
    "exit kept (cdc=False switches them off).",
}


def recipe(name: str, *, preset: str = "scaled", **changes: Any) -> Recipe:
    """Resolve a row of the table: `preset` "paper" or "scaled", then `changes` to single fields.

    Raises StylegraftError for an unknown method, preset or field (naming the nearest), or a wrong value.
    """
    if name not in PAPER:
        raise StylegraftError(f"no recipe {name!r}{nearest(name, PAPER)}; there are {', '.join(PAPER)}")
    if preset not in ("paper", "scaled"):
        raise StylegraftError(f"no preset {preset!r}; there are paper, scaled")
    row = PAPER[name]
    if preset == "scaled":
        row = dataclasses.replace(row, preset="scaled", **SCALED[name])
    if changes.get("judge") == "projected":
        row = dataclasses.replace(row, **PROJECTED)
    return check(change(row, changes))


def preset_of(resolution: int) -> str:
    """The preset where none is asked for: the papers' own from 256 px on, ours below."""
    return "paper" if resolution >= 256 else "scaled"


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
        "fm": 0, "cl1": 0, "cl2": 0, "lr": 0, "lr_d": 0, "ema_kimg": 0,
    }  # fmt: skip
    for field, least in at_least.items():
        if not least <= getattr(row, field) < math.inf:
            raise StylegraftError(f"recipe field {field} is {getattr(row, field)}, expected at least {least}")
    for field in ("mixing", "pl_decay", "ada_max"):
        if not 0 <= getattr(row, field) <= 1:
            raise StylegraftError(f"recipe field {field} is {getattr(row, field)}, expected 0 to 1")
    for field in ("tau", "ada_kimg"):
        if not 0 < getattr(row, field) < math.inf:
            raise StylegraftError(f"recipe field {field} is {getattr(row, field)}, expected more than 0")
    if row.judge not in ("stylegan2", "projected"):
        raise StylegraftError(f"recipe field judge is {row.judge!r}, expected stylegan2 or projected")
    if row.judge == "projected" and (row.cdc or row.discriminator != "all"):
        raise StylegraftError(
            "the projected judge has no patch exit and no blocks: expected cdc=no, discriminator=all"
        )
    if row.augment != "none":
        parse_transforms(row.augment)
    if row.batch % row.at_once:
        raise StylegraftError(
            f"recipe field micro is {row.micro}, expected a divisor of the batch, {row.batch}"
        )
    if row.cl1 and row.at_once < 2:
        field = "micro" if row.micro else "batch"
        raise StylegraftError(
            f"recipe field cl1 is {row.cl1:g} and {field} is {row.at_once}: CL1 tells the images of a batch apart; "
            f"expected a {field} of at least 2, or cl1=0"
        )
    return row


def fit(row: Recipe, images: int, judged: bool) -> Recipe:
    """Settle what the training set and the source decide: `images` is its size, `judged` whether the source
    brings a discriminator.

    CDC's anchors are as many as images unless the recipe says so. A discriminator of random weights needs a
    warm-up, and all of it learns: freezing would keep its random layers.
    """
    if row.cdc and not row.anchors:
        row = dataclasses.replace(row, anchors=images)
    if judged or row.judge == "projected":
        return row
    return dataclasses.replace(row, discriminator="all", warmup=max(row.warmup, row.warmup_scratch))


def changed(row: Recipe) -> dict[str, Any]:
    """The fields of `row` that differ from its row of the table: what to write down beside name and preset."""
    table = recipe(row.name, preset=row.preset) if row.name in PAPER else Recipe(row.name, row.paper)
    fields = (field.name for field in dataclasses.fields(Recipe) if field.name not in (*FIXED, "steps"))
    return {field: getattr(row, field) for field in fields if getattr(row, field) != getattr(table, field)}


def learning_rate(row: Recipe, space: str) -> float:
    """G's Adam step in this space: `lr * SPACE_LR[space]`."""
    return row.lr * SPACE_LR.get(space, 1.0)


def ema_beta(row: Recipe) -> float:
    """Weight of the old average after one step: 0.5^(batch / half life in images); 0 keeps no average."""
    return 0.5 ** (row.batch / (1000 * row.ema_kimg)) if row.ema_kimg > 0 else 0.0
