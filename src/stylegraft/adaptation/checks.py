"""What a recipe is refused for: a value that cannot be, a field that would do nothing, a run that could not learn.

Without torch, so that all of it is said at once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

from stylegraft.adaptation.fields import FIXED, Recipe, resolutions, show
from stylegraft.adaptation.transforms import parse_transforms
from stylegraft.errors import StylegraftError, nearest

FIELDS = {field.name: field for field in dataclasses.fields(Recipe) if field.name not in FIXED}

CHOICES: dict[str, tuple[str, ...]] = {
    "precision": ("fp32", "tf32", "bf16", "fp16"),  # networks.precision.PRECISIONS, which a test compares
    "judge": ("stylegan2", "projected"),
    "ada_mode": ("adaptive", "ramp", "fixed"),
    "fm_match": ("feature", "rgb", "image", "all"),
    "fm_noise": ("anchor", "random", "none"),
    "cl2_negatives": ("real", "shots", "source"),
    "cl_taps": ("one", "each"),
    "cl_latents": ("free", "anchors"),
    "direction_from": ("samples", "inverse"),
    "templates": ("imagenet", "a", "plain"),  # encoders.prompts.TEMPLATES, which a test compares
}

# Least and most of the numbers that are not simply at least 0, and those that have to be above it.
RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, math.inf), "batch": (1, math.inf), "mbstd": (2, math.inf), "r1_every": (1, math.inf),
    "pl_every": (1, math.inf), "anchor_period": (1, math.inf), "cross_every": (1, math.inf),
    "structure_levels": (1, math.inf), "importance_samples": (1, math.inf),
    "source_samples": (1, math.inf), "choose_every": (1, math.inf), "scc_window": (1, math.inf),
    "scc_rows": (1, math.inf), "scc_share": (0, 1), "jojo_alpha": (0, 1), "beta1": (0, 0.999), "beta2": (0, 0.9999),
    "mixing": (0, 1), "pl_decay": (0, 1), "ada_p": (0, 1), "ada_max": (0, 1), "ada_target": (-1, 1),
    "cone": (0, 1), "width": (1, math.inf), "freeze_above": (0, 100), "prune_below": (0, 100),
}  # fmt: skip
POSITIVE = ("lr", "tau", "ada_kimg")

# Why a CPU is refused a precision. By how much: bf16 5 and fp16 20 for a convolution of 256 channels on two AVX-512
# cores, 5 to 14 for the phases of stylegan2-faces-64 on an AVX2 core (torch 2.13).
ON_CPU = {
    "tf32": "a CPU has no such products",
    "bf16": "a CPU takes 5 to 20 times as long for it as for fp32",
    "fp16": "a CPU takes 5 to 20 times as long for it as for fp32",
}

# What only a discriminator can see, with the value that goes without one.
GAME: dict[str, Any] = {
    "augment": "none", "cdc": False, "cl2": 0, "dist_d": 0, "mask": 0, "judge": "stylegan2", "warmup": 0,
    "warmup_judge": "", "lead_judge": "", "partition": "", "partition_judge": "",
}  # fmt: skip

# What sees the deltas or the images of one domain, where a hypernetwork gives several.
ONE_DOMAIN = (
    "adv", "fm", "cl1", "cl2", "dist", "dist_d", "self_corr", "cross_corr", "structure", "l2sp", "ewc", "perp", "scc",
    "choose_rows", "sparsify",
)  # fmt: skip

# Fields that say how another one works: (field, the value at which it does nothing, those of which it needs one). These
# promise what the run would not do, so they are refused whoever says them.
_SORTED = ("partition", "partition_judge")
EFFECTLESS: list[tuple[str, Any, tuple[str, ...]]] = [
    ("lead_reset", False, ("lead",)),
    ("lead_reset", False, _SORTED),  # without, what the lead found out is lost
    ("partition_every", 0, _SORTED),
    ("freeze_above", 100, _SORTED),
    ("prune_below", 0, _SORTED),
    ("bsa_emd", 0, ("bsa_pixel", "bsa_vgg")),  # without, no latents learn
    ("cl_latents", "free", ("cdc",)),
    ("choose_rows", 0, ("direction", "near", "ref_clip", "attentive")),
]
# These are refused only where they are asked for: what a row brings may idle when its term is switched off. Periods are
# not here, which one may well set for all methods of a study.
_BSA, _DCL = ("bsa_pixel", "bsa_vgg"), ("cl1", "cl2")
_GUIDED = ("direction", "near", "within", "ref_clip", "attentive")
IDLE: dict[str, tuple[str, ...]] = {
    "lead": ("lead_space", "lead_judge", *_SORTED), "lead_space": ("lead",), "lead_judge": ("lead",),
    "warmup_judge": ("warmup",), "tau": _DCL, "cl_taps": _DCL, "cl1_positive": ("cl1",), "cl2_negatives": ("cl2",),
    "cl2_to_g": ("cl2",), "anchors": ("cdc",), "anchor_sigma": ("cdc",),
    "ada_mode": ("augment",), "ada_p": ("augment",), "ada_target": ("augment",), "ada_kimg": ("augment",),
    "ada_max": ("augment",), "fm_match": ("fm",), "fm_layers": ("fm",), "fm_noise": ("fm",),
    "structure_levels": ("structure",), "drift": ("l2sp", "ewc"), "bsa_jitter": _BSA, "bsa_lr": _BSA,
    "direction_from": ("direction",), "source_samples": ("direction",), "templates": ("direction", "near"),
    "choose_every": ("choose_rows",), "loss_resolution": _GUIDED, "jojo_rows": ("jojo",), "jojo_alpha": ("jojo",),
    "invert_steps": ("within", "ref_clip", "ref_l2", "ref_lpips", "jojo"),
    **dict.fromkeys(("tt_direction", "hull", "cone", "width", "depth"), ("domains",)),
    "scc_rows": ("scc",), "scc_share": ("scc",), "scc_window": ("scc",), "scc_full": ("scc",),
}  # fmt: skip


def check(row: Recipe, said: Collection[str] = ()) -> Recipe:
    """Refuse impossible values; returns the recipe. said: the fields that the user changed."""
    check_values(row)
    if row.prune_below > row.freeze_above:
        raise StylegraftError(
            f"recipe field prune_below is {row.prune_below:g} and freeze_above {row.freeze_above:g}: expected the"
            " percentile up to which filters are pruned to be the lower one"
        )
    if row.ewc and row.judge == "projected":
        raise StylegraftError(
            f"recipe field ewc is {row.ewc:g} and judge is projected: EWC asks the source's own discriminator; expected"
            " judge=stylegan2, or l2sp"
        )
    if row.choose_rows and row.adv:
        raise StylegraftError(
            f"recipe field choose_rows is {row.choose_rows} and adv {row.adv:g}: rows are chosen by guides alone; "
            "expected choose_rows=0, or adv=0"
        )
    if row.domains:
        check_hypernet(row)
    if not row.adv:
        check_gameless(row)
    if found := effectless(row, said):
        without = "; ".join(
            f"{field} is {show(getattr(row, field))}, which does nothing without {' or '.join(others)}"
            for field, (_, others) in found.items()
        )
        instead = dict.fromkeys(others[0] for _, others in found.values())
        raise StylegraftError(
            f"recipe field {without}: expected {settings({field: value for field, (value, _) in found.items()})}, or"
            f" {' and '.join(instead)} as well"
        )
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
    check_batch(row)
    return row


def check_hypernet(row: Recipe) -> None:
    """Refuse beside a hypernetwork what looks at pictures, or at one domain."""
    found = {field: 0 for field in ONE_DOMAIN if getattr(row, field)}
    if found or not row.reads:
        beside = settings(found) if found else "no term that looks at pictures"
        raise StylegraftError(
            f"recipe field domains is {row.domains}, a hypernetwork, which learns from sentences alone: expected "
            f"{beside}, or domains=0"
        )
    if row.domains < 2 and row.tt_direction:
        raise StylegraftError(
            f"recipe field tt_direction is {row.tt_direction:g} and domains 1: it compares two domains; expected at "
            "least domains=2, or tt_direction=0"
        )


def check_precision(row: Recipe, device: str, half_blocks: Collection[int] | None = None) -> None:
    """Refuse a precision that a device or a generator does not compute in. half_blocks: the generator's, once known."""
    name = row.precision
    if name != "fp32" and not device.startswith("cuda"):
        raise StylegraftError(f"--set precision={name}: needs --device cuda; {ON_CPU[name]}")
    if name in ("bf16", "fp16") and half_blocks == ():
        raise StylegraftError(
            f"--set precision={name}: this generator has no layers that compute so; expected precision=fp32 or tf32"
        )


def allowed(row: Recipe) -> bool:
    """Whether `check` lets a recipe pass."""
    try:
        check(row)
    except StylegraftError:
        return False
    return True


def check_values(row: Recipe) -> None:
    """Refuse a value outside of what its field can be: numbers are at least 0 unless `RANGES` says otherwise."""
    numbers = [name for name, field in FIELDS.items() if type(field.default) in (int, float)]
    for field in numbers:
        value, (least, most) = getattr(row, field), RANGES.get(field, (0, math.inf))
        if field in POSITIVE and not 0 < value < math.inf:
            raise StylegraftError(f"recipe field {field} is {value}, expected more than 0")
        if not least <= value <= most or value == math.inf:
            expected = f"at least {least}" if most == math.inf else f"{least} to {most}"
            raise StylegraftError(f"recipe field {field} is {value}, expected {expected}")
    if row.mask >= 1:
        raise StylegraftError(f"recipe field mask is {row.mask:g}, expected at least 0 and less than 1")
    for field, choices in CHOICES.items():
        if getattr(row, field) not in choices:
            raise StylegraftError(
                f"recipe field {field} is {getattr(row, field)!r}{nearest(getattr(row, field), choices)}; expected "
                f"{', '.join(choices[:-1])} or {choices[-1]}"
            )
    resolutions(row.fm_layers)


def check_gameless(row: Recipe) -> None:
    """Refuse what needs a discriminator where none plays, all of it at once, and a run that sees no training images."""
    blind = not any(getattr(row, field) for field in looking())
    needless = {field: value for field, value in GAME.items() if getattr(row, field) != value}
    row = dataclasses.replace(row, **{looking()[-1]: 1.0}) if blind else row
    while found := effectless(dataclasses.replace(row, **needless)):  # what these leave without a use
        needless |= {field: value for field, (value, _) in found.items()}
    if blind:
        besides = f", with {settings(needless)}" if needless else ""
        raise StylegraftError(
            "recipe field adv is 0 and no term looks at the training images, so that G could learn nothing of them: "
            f"expected adv=1, or weight on {' or '.join(looking(alone=True)[1:])}{besides}"
        )
    if needless:
        found = ", ".join(f"{field} is {show(getattr(row, field))}" for field in needless)
        raise StylegraftError(
            f"recipe field {found} and adv is 0, so that no discriminator plays: expected {settings(needless)}, or "
            "adv=1"
        )


def check_batch(row: Recipe) -> None:
    """Refuse parts of the batch that do not add up to it, or are too few images for a term that compares them."""
    if row.batch % row.at_once:
        raise StylegraftError(
            f"recipe field micro is {row.micro}, expected a divisor of the batch, {row.batch}"
        )
    for name, field in FIELDS.items():
        least = field.metadata.get("least", 1)
        if getattr(row, name) and row.at_once < least:
            size = "micro" if row.micro else "batch"
            raise StylegraftError(
                f"recipe field {name} is {getattr(row, name):g} and {size} is {row.at_once}: {field.metadata['why']}; "
                f"expected a {size} of at least {least}, or {name}=0"
            )


def looking(alone: bool = False) -> list[str]:
    """The weights of which G needs one to learn from the training images: `fields.term` says which. alone: those that
    need neither a guide nor an inversion beside it.
    """
    more = ("guided", "inverts") if alone else ()
    return [
        name
        for name, field in FIELDS.items()
        if field.metadata.get("looks") and not any(field.metadata[one] for one in more)
    ]


def effectless(row: Recipe, said: Collection[str] = ()) -> dict[str, tuple[Any, tuple[str, ...]]]:
    """{field that would do nothing: (the value that says so, the fields of which it needs one)}."""
    rows = [
        *EFFECTLESS,
        *((name, FIELDS[name].default, others) for name, others in IDLE.items() if name in said),
    ]
    return {
        field: (without, others)
        for field, without, others in rows
        if getattr(row, field) != without
        and not any(getattr(row, other) not in (0, "", "none") for other in others)
    }


def settings(changes: Mapping[str, Any]) -> str:
    """Changes as `--set` takes them."""
    one = len(changes) == 1
    return " ".join(f"{'' if one else '--set '}{field}={show(value)}" for field, value in changes.items())
