"""When a run ends before its steps do, and which of its points is kept: the rules, without torch.

They are evaluated at every preview step (`watch` measures), change no step of the training, and may differ when a
run is continued.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from stylegraft.errors import StylegraftError, nearest

PROBES = {
    "effnet-lite0": "effnet",
    "vgg16": "lpips",
}  # encoder of p_target -> its asset, the preferred one first
FOLDS = (
    "/folds"  # ends the name of a p_target by folds over the training images: another scale than by others
)
DISTANCES = {"lpips-vgg": "lpips", "effnet-lite0": "effnet"}  # the same for diversity
KEEP = ("last", "best")


@dataclass(frozen=True)
class Rules:
    """until: stop at the first p_target of at least so much. floor: stop when the diversity of the samples falls under
    this share of the source's. patience: stop when the best score is so many evaluations old. keep: whether
    `domain.safetensors` is the `last` point or the `best`. hold_out: images kept out of training, for the score alone.

    The score is p_target times the share of the source's diversity that is kept (at most 1).
    """

    until: float | None = None
    floor: float | None = None
    patience: int | None = None
    keep: str = "last"
    hold_out: int = 0

    @property
    def scored(self) -> bool:
        """Whether some rule asks for the score."""
        return self.patience is not None or self.keep == "best"

    @property
    def realism(self) -> bool:
        """Whether p_target is needed."""
        return self.scored or self.until is not None

    @property
    def diversity(self) -> bool:
        """Whether diversity is needed."""
        return self.scored or self.floor is not None

    @property
    def active(self) -> bool:
        """Whether there is anything to watch."""
        return self.realism or self.diversity

    def __str__(self) -> str:
        """The rules as typed."""
        parts = [f"--until p_target={self.until:g}" if self.until is not None else ""]
        parts += [f"--floor {self.floor:g}" if self.floor is not None else ""]
        parts += [f"--patience {self.patience}" if self.patience is not None else ""]
        parts += [f"--keep {self.keep}" if self.keep == "best" else ""]
        parts += [f"--hold-out {self.hold_out}" if self.hold_out else ""]
        return " ".join(part for part in parts if part)


def parse(
    until: str | None = None,
    floor: float | None = None,
    patience: int | None = None,
    keep: str = "last",
    hold_out: int = 0,
) -> Rules:
    """Rules from what was typed; raises StylegraftError for anything that could never be meant."""
    level = None
    if until is not None:
        match = re.fullmatch(r"\s*(\w+)\s*(?:>=|=)\s*([0-9.eE+-]+)\s*", until)
        level = _number(match[2]) if match and match[1] == "p_target" else None
        if level is None:
            name = match[1] if match else until.strip()
            hint = nearest(name, ["p_target"]) if name != "p_target" else ""
            raise StylegraftError(
                f"--until {until!r}{hint}: expected p_target=0.9, or quoted 'p_target>=0.9' (a bare > is the shell's)"
            )
        if not 0 < level < 1:
            raise StylegraftError(f"--until {until}: p_target lies between 0 and 1, both excluded")
    if floor is not None and not 0 < floor < 1:
        raise StylegraftError(f"--floor {floor:g}: expected a share of the source's diversity, such as 0.8")
    if patience is not None and patience < 1:
        raise StylegraftError(f"--patience {patience}: expected at least 1 evaluation")
    if keep not in KEEP:
        raise StylegraftError(f"--keep {keep!r}{nearest(keep, KEEP)}: expected {' or '.join(KEEP)}")
    if hold_out == 1 or hold_out < 0:
        raise StylegraftError(f"--hold-out {hold_out}: expected at least 2 images, or 0 for none")
    rules = Rules(level, floor, patience, keep, hold_out)
    if hold_out and not rules.realism:
        raise StylegraftError(
            f"--hold-out {hold_out}: nothing would look at these images; expected --keep best, --patience or --until "
            "beside it"
        )
    return rules


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def check_images(rules: Rules, count: int) -> None:
    """Refuse rules that so few images cannot serve."""
    if rules.realism and not rules.hold_out and count < 2:
        raise StylegraftError(
            f"{rules}: p_target needs at least 2 images, so that each is judged without having been learnt; there is "
            f"{count or 'none'}. Expected more images, or --floor alone"
        )
    if rules.hold_out and count <= rules.hold_out:
        raise StylegraftError(
            f"--hold-out {rules.hold_out}: there are {count} images, and at least one must be left to train on"
        )


def eyes(rules: Rules) -> tuple[str | None, str | None]:
    """Encoders of p_target and of diversity, those that the rules need: of each kind the first whose weights are here.

    Raises StylegraftError, with the command that gets the weights, when none is.
    """
    return (
        _first(PROBES, f"{rules}: p_target") if rules.realism else None,
        _first(DISTANCES, f"{rules}: diversity") if rules.diversity else None,
    )


def probe(who: str) -> str:
    """The first encoder whose weights are here, for who looks through it, as the error of `eyes` begins."""
    return _first(PROBES, who)


def _first(encoders: dict[str, str], who: str) -> str:
    from stylegraft.checkpoints import assets

    for encoder, asset in encoders.items():
        try:
            assets.find(asset)
        except StylegraftError:
            if os.environ.get(assets.variable(asset)):
                raise  # the user named it: no other one instead
            continue
        return encoder
    wanted = next(iter(encoders.values()))
    raise StylegraftError(
        f"{who} looks through {' or '.join(encoders)}, whose weights are not here; run: stylegraft assets get {wanted}"
    )


# What a run remembers of its evaluations: {"last": numbers, "best": numbers, "since": evaluations since the best}
# ------------------------------------------------------------------------------------------------------------


def remember(memory: dict[str, Any], numbers: dict[str, Any]) -> bool:
    """Enter an evaluation (`step`, and what was measured of `p_target`, `kept`, `score`); whether it is the best."""
    memory["last"] = numbers
    if "score" not in numbers:
        return False
    improved = "best" not in memory or numbers["score"] > memory["best"]["score"]
    memory["since"] = 0 if improved else memory["since"] + 1
    if improved:
        memory["best"] = numbers
    return improved


def verdict(rules: Rules, memory: dict[str, Any]) -> str | None:
    """Why the run should stop after its last evaluation; None if it should not."""
    last = memory.get("last", {})
    if rules.until is not None and last.get("p_target", 0.0) >= rules.until:
        return f"p_target {last['p_target']:.3f} at step {last['step']} reached --until {rules.until:g}"
    if rules.floor is not None and last.get("kept", rules.floor) < rules.floor:
        return f"diversity at step {last['step']} is {last['kept']:.3f} of the source's, under --floor {rules.floor:g}"
    if rules.patience is not None and memory.get("since", 0) >= rules.patience:
        best = memory["best"]
        return (
            f"no score above {best['score']:.3f} (step {best['step']}) in {memory['since']} evaluations, --patience "
            f"{rules.patience}"
        )
    return None
