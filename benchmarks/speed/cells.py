"""Which measurements there are, the most telling first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SPACES = ("full", "affine-light+", "stylespace")

# Name -> batches of a training step on a CPU (those of the measurements that came before), on a GPU
TRAINED = {
    "64/2048/128": ((16,), (16,)),
    "64/4096/256": ((8,), (8, 4, 16)),
    "64/16384/512": ((4,), (8, 4, 16)),
    "256/16384/512": ((2,), (8, 4, 16)),
    "faces-64": ((4,), (4, 16)),
    "faces-128": ((4,), (4, 16)),
}
FROZEN = {"64/4096/256": ((8,), (8,))}  # style vectors alone, and of D the blocks up to 16 px
DRAWN = {"1024/32768/512": ((1,), (1, 8))}  # inference alone
QUICK = {"cpu": {"64/2048/128": 4}, "cuda": {"64/4096/256": 8, "256/16384/512": 8, "64/16384/512": 8}}
MODES = {  # TF32 in matrix products, in convolutions; cuDNN tries its algorithms. On a CPU they mean nothing.
    "fp32": (False, False, True),
    "tf32": (True, True, True),
    "default": (False, True, False),  # PyTorch's, and so the library's
}


@dataclass(frozen=True)
class Cell:
    """One measurement. kind: infer, train, peers, profile, precision, graphs or compile; space and recipe: of those
    that train.
    """

    name: str
    kind: str
    batch: int
    mode: str
    space: str = ""
    recipe: str = "tgan"

    @property
    def key(self) -> str:
        recipe = "" if self.recipe == "tgan" else self.recipe
        parts = (self.name, self.kind, self.space, recipe, f"B{self.batch}", self.mode)
        return " | ".join(part for part in parts if part)


def cells(device: str, chosen: str, modes: list[str]) -> Iterator[Cell]:
    """device: cpu or cuda; chosen: quick or all; a cell may come twice."""
    fast, quick = modes[0], QUICK[device].items()
    for mode in modes:
        for name, batch in quick:
            yield Cell(name, "infer", 8, mode)
            yield Cell(name, "train", batch, mode, "full")
            yield Cell(name, "infer", 1, mode)
            if device == "cuda" and mode == fast:
                yield Cell(name, "profile", batch, mode, "full")
    if device == "cuda":
        for name, batch in quick:
            yield Cell(name, "precision", batch, fast, "full")
        for name, batch in quick:  # late: a capture that fails may spoil what comes after it
            yield Cell(name, "graphs", batch, fast, "full")
    if chosen == "quick":
        return
    column = ("cpu", "cuda").index(device)
    for mode in modes:
        for name in (*TRAINED, *DRAWN):
            for batch in DRAWN[name][column] if name in DRAWN else (8, 1):
                yield Cell(name, "infer", batch, mode)
        for space in SPACES:
            for name, batches in TRAINED.items():
                for batch in batches[column]:
                    yield Cell(name, "train", batch, mode, space)
        for name, batches in FROZEN.items():
            for batch in batches[column]:
                yield Cell(name, "train", batch, mode, "stylespace", "freezed")
    for name, batches in TRAINED.items():
        if "/" in name:  # late: it learns, where the cells above have a frozen generator
            yield Cell(name, "peers", batches[column][0], fast)
    if device == "cuda":
        for name, _ in quick:
            yield Cell(name, "compile", 8, fast)
