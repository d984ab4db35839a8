"""p_target: the probability, by a soft probe on frozen features, that an image is of the target and not of the source.

Source: the "realisticness" classifier of Zhao et al., "A Closer Look at Few-shot Image Generation", CVPR 2022, whose
architecture was never published. Ours is a logistic head on features of a frozen encoder, which the metric's name
carries (`p_target-effnet-lite0`):

    p(x) = sigmoid(w . x + b),   minimise  sum_i c_i log(1 + exp(-y_i (w . x_i + b))) + l2 / 2 |w|^2

with y = +1 for the target and -1 for the source, and weights c that give both classes a half. Features are
standardised and scaled to a mean square norm of 1. The problem is convex: Newton's method finds its one minimum.
`l2` is the value of a small grid with the least held-out loss.

What it cannot see: copying of the training images, fine artefacts, and, once it saturates, anything at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.errors import StylegraftError
from stylegraft.metrics.frechet import check

GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of l2
FOLDS = 5
COMPONENTS = 256  # principal components of the standardised features that the head sees, at most
BINS = 10


@dataclass(frozen=True)
class Head:
    """Logistic head on features as they come: weight [D], bias, float64."""

    weight: Tensor
    bias: float

    def p(self, features: Tensor) -> Tensor:
        """Probability [N], float64, that each row of the features [N, D] is of the target."""
        return torch.sigmoid(features.double() @ self.weight + self.bias)


@dataclass(frozen=True)
class Probe:
    """A fitted probe, and what is known of it on images that it was not fitted on.

    accuracy: share of them that it puts on the right side, both classes counting a half. calibration: their expected
    calibration error (Guo et al., ICML 2017, arXiv:1706.04599), 0 is honest. p_real, p_source: mean p of target and of
    source images: the two ends of the scale on which p_target is read.
    folds: the heads fitted without one fold each; fold_of [M]: the fold in which each target row was held out.
    """

    encoder: str
    head: Head
    l2: float
    accuracy: float
    calibration: float
    p_real: float
    p_source: float
    folds: tuple[Head, ...]
    fold_of: Tensor

    @property
    def name(self) -> str:
        """The metric's name."""
        return f"p_target-{self.encoder}"

    @property
    def anchors(self) -> dict[str, float]:
        """What p_target is read by, as a result file has it: the ends of the scale, and how far the probe is right."""
        return {name: getattr(self, name) for name in ("p_real", "p_source", "accuracy", "calibration")}

    def p(self, features: Tensor) -> Tensor:
        """Probability [N], float64, that each row of the features [N, D] is of the target."""
        return self.head.p(features)

    def p_cross(self, features: Tensor, nearest: Tensor) -> Tensor:
        """The same by heads that did not see the row of the target that each image is nearest to (`nearest` [N], rows
        of the target features), so that a copy of a training image is not called real for having been learnt by heart.
        """
        each = torch.stack([head.p(features) for head in self.folds])
        return each.gather(0, self.fold_of[nearest][None])[0]

    def __str__(self) -> str:
        """One phrase for the log."""
        return (
            f"{self.name}: held-out accuracy {self.accuracy:.2f}, calibration error {self.calibration:.2f}, "
            f"real target images {self.p_real:.2f}, source {self.p_source:.2f}"
        )


def fit_probe(
    source_features: Tensor,
    target_features: Tensor,
    seed: int = 0,
    *,
    encoder: str = "features",
    groups: Sequence[int] | None = None,
    held_out: tuple[Tensor, Tensor] | None = None,
) -> Probe:
    """Fit a probe on features [N, D] of source images and [M, D] of target images.

    groups: which image each target row is a view of; views of one image are held out together. held_out: features of
    source and target images that nothing else has seen, for accuracy, calibration and the two anchors; None takes
    each fold's predictions on what it left out. The same arguments give the same probe.
    Raises StylegraftError for other shapes, values that are not finite, or fewer than two images of a class.
    """
    source, target = (
        check(rows, f"p_target, {name}")
        for rows, name in ((source_features, "source"), (target_features, "target"))
    )
    owners = torch.arange(len(target)) if groups is None else torch.as_tensor(list(groups))
    if source.shape[1] != target.shape[1] or len(owners) != len(target):
        raise StylegraftError(
            f"p_target: source features {list(source.shape)}, target features {list(target.shape)}, {len(owners)} "
            "groups; expected as many columns on both sides, and a group for each target row"
        )
    images = owners.unique()
    if len(images) < 2:
        raise StylegraftError(
            "p_target: one target image; expected at least 2, so that one of them can be held out"
        )
    count = min(FOLDS, len(images), len(source))
    fold_of_image = fold(len(images), count, seed)
    fold_of = fold_of_image[torch.searchsorted(images, owners)]
    labels = torch.cat((torch.zeros(len(source)), torch.ones(len(target)))).double()
    places = torch.cat((fold(len(source), count, seed + 1), fold_of))

    rows, back = reduce(torch.cat((source, target)))
    best: tuple[float, float, list[Tensor], Tensor] | None = None
    for l2 in GRID:
        thetas = [newton(rows[places != k], labels[places != k], l2) for k in range(count)]
        logits = torch.cat([rows, torch.ones(len(rows), 1).double()], 1) @ torch.stack(thetas).T
        out = logits.gather(1, places[:, None])[:, 0]
        loss = float(balance(labels) @ F.binary_cross_entropy_with_logits(out, labels, reduction="none"))
        if best is None or loss < best[0]:
            best = loss, l2, thetas, out
    assert best is not None
    _, l2, thetas, out = best
    head = back(newton(rows, labels, l2))
    if held_out is None:
        p, truth = torch.sigmoid(out), labels
    else:
        p = torch.cat([head.p(check(part, "p_target, held out")) for part in held_out])
        truth = torch.cat([torch.full((len(part),), float(i)) for i, part in enumerate(held_out)]).double()
    return Probe(
        encoder=encoder,
        head=head,
        l2=l2,
        accuracy=float(balance(truth) @ ((p > 0.5) == (truth > 0.5)).double()),
        calibration=calibration_error(p, truth),
        p_real=float(p[truth == 1].mean()),
        p_source=float(p[truth == 0].mean()),
        folds=tuple(back(theta) for theta in thetas),
        fold_of=fold_of,
    )


def fold(count: int, folds: int, seed: int) -> Tensor:
    """Which of the folds each of `count` things is in, [count]: a seeded shuffle, sizes equal within one."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    places = torch.empty(count, dtype=torch.long)
    places[order] = torch.arange(count) % folds
    return places


def balance(labels: Tensor) -> Tensor:
    """Weights [N] that sum to a half in each class."""
    ones = labels.sum()
    return torch.where(labels == 1, 0.5 / ones, 0.5 / (len(labels) - ones))


def reduce(features: Tensor) -> tuple[Tensor, Callable[[Tensor], Head]]:
    """Standardise features [N, D] and rotate them to their principal components [N, r]; and what takes parameters
    [r + 1] of a head there back to a `Head` on features as they come.
    """
    mean, spread = features.mean(0), features.std(0, correction=0)
    scale = torch.where(spread > 0, spread, torch.ones_like(spread)) * features.shape[1] ** 0.5
    x = (features - mean) / scale
    _, _, basis = torch.linalg.svd(x, full_matrices=False)
    basis = basis[:COMPONENTS]

    def back(theta: Tensor) -> Head:
        weight = (theta[:-1] @ basis) / scale
        return Head(weight, float(theta[-1] - weight @ mean))

    return x @ basis.T, back


def newton(x: Tensor, labels: Tensor, l2: float, steps: int = 100) -> Tensor:
    """The minimum [r + 1] (bias last, which is not penalised) of the balanced logistic loss plus l2 / 2 |w|^2."""
    x = torch.cat((x, torch.ones(len(x), 1, dtype=x.dtype)), 1)
    share = balance(labels)
    penalty = torch.full((x.shape[1],), l2, dtype=x.dtype)
    penalty[-1] = 0

    def loss(theta: Tensor) -> Tensor:
        each = F.binary_cross_entropy_with_logits(x @ theta, labels, reduction="none")
        return share @ each + 0.5 * penalty @ theta.square()

    theta = torch.zeros(x.shape[1], dtype=x.dtype)
    value = loss(theta)
    for _ in range(steps):
        p = torch.sigmoid(x @ theta)
        slope = x.T @ (share * (p - labels)) + penalty * theta
        if slope.norm() < 1e-10:
            break
        curve = (x.T * (share * p * (1 - p))) @ x + torch.diag(penalty + 1e-12)
        move = torch.linalg.solve(curve, slope)
        size = 1.0
        # The last steps gain less than the loss's own rounding.
        while (after := loss(theta - size * move)) > value - 1e-4 * size * (slope @ move) + 1e-14:
            size /= 2
        theta, value = theta - size * move, after
    return theta


def calibration_error(p: Tensor, labels: Tensor) -> float:
    """Mean over equal bins of p, by their share of the images, of |share of target images - mean p|, both classes
    counting a half.
    """
    share = balance(labels)
    bins = (p * BINS).long().clamp_max(BINS - 1)
    gaps = torch.zeros(BINS, dtype=p.dtype).index_add_(0, bins, share * (labels - p))
    return float(gaps.abs().sum())
