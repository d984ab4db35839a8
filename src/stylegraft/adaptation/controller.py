"""The probability p of the augmentations along a run: steered by overfitting (ADA), rising, or fixed.

Source: Karras et al., "Training Generative Adversarial Networks with Limited Data", arXiv 2006.06676, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.adaptation.recipes import Recipe

MODES = ("adaptive", "ramp", "fixed")


def controller(row: Recipe) -> AdaController | None:
    """The controller that a recipe asks for; None where it augments nothing."""
    if row.augment == "none":
        return None
    return AdaController(
        mode=row.ada_mode, target=row.ada_target, kimg=row.ada_kimg, p_max=row.ada_max, p=row.ada_p
    )


def signs_of(logits: Tensor) -> Tensor:
    """The sign of D on each of B images, [B, ...] -> [B]: the mean of its logits', where D judges by patches."""
    return logits.detach().sign().reshape(len(logits), -1).mean(1)


class AdaController:
    """Holds p. Call `observe(logits)` with D's outputs on real images and `step(batch)` once an iteration.

    mode "adaptive": every `interval` iterations p moves by (images since the last move) / (1000 * kimg) towards
    r_t = E[sign(D(real))] = target (equation 1), within [0, p_max]; so kimg is the thousands of images in which p
    can go from 0 to 1. "ramp": p rises at that speed, whatever r_t is, to p_max. "fixed": p stays what it is, which
    p_max then does not bound.

    Defaults: target and interval are the paper's; kimg 100 is what the authors' code takes for transfer (500 from
    scratch); above p_max 0.8 augmentations start to leak into generated images (section 2 of the paper).
    The authors' p has no upper bound. Raises StylegraftError for numbers out of range.
    """

    def __init__(
        self,
        *,
        mode: str = "adaptive",
        target: float = 0.6,
        interval: int = 4,
        kimg: float = 100.0,
        p_max: float = 0.8,
        p: float = 0.0,
    ) -> None:
        if not 0 <= p_max <= 1 or not 0 <= p <= 1 or interval < 1 or kimg <= 0:
            raise StylegraftError(
                f"ADA got p = {p}, p_max = {p_max}, interval = {interval}, kimg = {kimg}; "
                "expected p and p_max in [0, 1], interval at least 1, kimg above 0"
            )
        if mode not in MODES:
            raise StylegraftError(f"ADA got mode {mode!r}, expected {', '.join(MODES)}")
        self.mode, self.target, self.interval, self.kimg = mode, target, interval, kimg
        self.p_max = p if mode == "fixed" else p_max
        self.p = min(p, self.p_max)
        self.r_t = float("nan")  # of the last update; nan before the first
        self.capped = False  # whether the last update asked for more than p_max
        self._steps = 0
        self._images = 0
        self._signs: Tensor | float = 0.0
        self._observed = 0

    @property
    def lasting(self) -> bool:
        """Whether p is above 0 and cannot come back to it."""
        return self.p > 0 and self.mode != "adaptive"

    def observe(self, logits: Tensor) -> None:
        """Add discriminator outputs on B real images, [B, ...]; no host sync."""
        self.count(signs_of(logits).sum(), len(logits))

    def count(self, signs: Tensor | float, images: int) -> None:
        """Add the sum of `signs_of` so many images."""
        self._signs = self._signs + signs
        self._observed += images

    def step(self, batch: int) -> float:
        """Count an iteration of `batch` images; returns the p to use from now on."""
        if self.mode == "fixed":
            return self.p
        self._steps += 1
        self._images += batch
        if self._steps % self.interval:
            return self.p
        direction = 1 if self.mode == "ramp" else 0
        if self._observed and self.mode == "adaptive":
            self.r_t = float(self._signs) / self._observed
            direction = (self.r_t > self.target) - (self.r_t < self.target)
        if direction or self._observed:
            p = self.p + direction * self._images / (1000 * self.kimg)
            self.capped = p > self.p_max
            self.p = min(max(p, 0.0), self.p_max)
        self._signs, self._observed, self._images = 0.0, 0, 0
        return self.p

    def __str__(self) -> str:
        """One phrase for the log."""
        if self.mode == "fixed":
            return f"augmentation p {self.p:.3f} (fixed)"
        text = f"augmentation p {self.p:.3f}"
        if self.mode == "ramp":
            return f"{text} (rising to {self.p_max:g})"
        text += f" (r_t {self.r_t:.2f}, target {self.target:g})"
        if self.capped:
            text += (
                f", capped at {self.p_max:g}: the discriminator overfits more than augmentation can prevent"
            )
        return text

    def state_dict(self) -> dict[str, float]:
        """Plain numbers, enough to continue bit for bit between any two steps."""
        return {
            "p": self.p,
            "r_t": self.r_t,
            "capped": float(self.capped),
            "steps": float(self._steps),
            "images": float(self._images),
            "signs": float(self._signs),
            "observed": float(self._observed),
        }

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from the numbers of `state_dict`; a NaN r_t means that there was none yet."""
        self.p, self.r_t, self.capped = state["p"], state["r_t"], bool(state["capped"])
        self._steps, self._images = int(state["steps"]), int(state["images"])
        self._signs, self._observed = state["signs"], int(state["observed"])
