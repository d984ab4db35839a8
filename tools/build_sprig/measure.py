"""What sprig knows, asked with pictures, looks, names and sentences that it was not trained on.

    python tools/build_sprig/measure.py --out runs/build-sprig

Reads the features that `train.py` left there and the weights of the package; writes `benchmarks/results/sprig.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from avatars import GROUNDS
from avatars import STYLES as AVATARS
from looks import LOOKS, asked
from stylegraft.encoders.sprig import Sprig, load_sprig

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import heading


def rows(data: dict, group: str) -> Tensor:
    """Held-out pictures of a group."""
    return torch.tensor([i for i, held in enumerate(data["held"]) if held and data["groups"][i] == group])


@torch.no_grad()
def embedded(sprig: Sprig, data: dict, which: Tensor) -> Tensor:
    return F.normalize(sprig.image(data["seen"][which].float()), dim=1)


def recall(scores: Tensor, right: Tensor, ks: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """scores [asked, candidates], right likewise: share of the asked with a right one among the best k."""
    order = scores.argsort(1, descending=True)
    found = right.gather(1, order)
    return {f"r@{k}": round(found[:, :k].any(1).float().mean().item(), 3) for k in ks}


def of_looks(sprig: Sprig, data: dict) -> dict:
    """Pictures of held-out looks among the sentences of all looks, of a pattern that was not trained on."""
    which = rows(data, "face")
    texts = F.normalize(sprig.encode_text([asked(*look) for look in LOOKS]), dim=1)
    scores = embedded(sprig, data, which) @ texts.T
    looks = [tuple(data["keys"][i].split()) for i in which.tolist()]
    truth = torch.tensor([LOOKS.index(look) for look in looks])
    best = [LOOKS[i] for i in scores.argmax(1).tolist()]
    held = truth.unique()
    return {
        "pictures": len(which),
        "sentences": len(LOOKS),
        "chance": round(1 / len(LOOKS), 4),
        "image to text": recall(scores, F.one_hot(truth, len(LOOKS)).bool(), (1, 5)),
        "style right": round(sum(b[0] == t[0] for b, t in zip(best, looks)) / len(looks), 3),
        "tint right": round(sum(b[1] == t[1] for b, t in zip(best, looks)) / len(looks), 3),
        "text to image": recall(scores.T[held], (truth[None] == held[:, None]), (1, 5)),
    }


def of_names(sprig: Sprig, data: dict) -> dict:
    """Held-out names of emoji to the held-out pictures of all hands, and back."""
    which = rows(data, "emoji")
    keys = [data["keys"][i] for i in which.tolist()]
    names = sorted(set(keys))
    texts = F.normalize(sprig.encode_text(names), dim=1)
    scores = texts @ embedded(sprig, data, which).T
    right = torch.tensor([[key == name for key in keys] for name in names])
    to_text = scores.T
    return {
        "names": len(names),
        "pictures": len(which),
        "text to image": recall(scores, right),
        "image to text": recall(to_text, right.T),
        "chance of r@10, image to text": round(10 / len(names), 3),
    }


def of_avatars(sprig: Sprig, data: dict) -> dict:
    """Held-out avatars: which style, and which ground, by a sentence of each."""
    which = rows(data, "avatar")
    units = embedded(sprig, data, which)
    keys = [data["keys"][i] for i in which.tolist()]
    grounds = [name for name in GROUNDS if name != "white"]
    kinds = list(AVATARS.values())
    told = {  # the sentences that ask, and what a caption says when it is true
        "style": ([f"a {kind}" for kind in kinds], kinds),
        "ground": (
            [f"a cartoon on a {name} background" for name in grounds],
            [f"{name} background" for name in grounds],
        ),
    }
    out: dict = {"pictures": len(which)}
    for kind, (sentences, marks) in told.items():
        truth = [next((i for i, mark in enumerate(marks) if mark in key), -1) for key in keys]
        known = torch.tensor([t >= 0 for t in truth])
        guess = (units @ F.normalize(sprig.encode_text(sentences), dim=1).T).argmax(1)
        hits = (guess == torch.tensor(truth))[known]
        out[kind] = {"right": round(hits.float().mean().item(), 3), "chance": round(1 / len(marks), 3)}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/build-sprig"))
    parser.add_argument("--weights", default="", help="another file of weights than the package's")
    parser.add_argument("--print", action="store_true", help="write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = torch.load(options.out / "features.pt", weights_only=True)
    sprig = load_sprig(options.weights)
    result = {
        **heading.heading(),
        "seed": 0,
        "digest": sprig.digest,
        "trained on": {group: data["groups"].count(group) for group in dict.fromkeys(data["groups"])},
        "held-out looks": of_looks(sprig, data),
        "held-out emoji names": of_names(sprig, data),
        "held-out avatars": of_avatars(sprig, data),
    }
    print(json.dumps(result, indent=1))
    if not options.print:
        from probe import accuracy

        result["probe"] = {key: round(value, 3) for key, value in accuracy().items()}
        heading.write(heading.RESULTS / "sprig.json", result)


if __name__ == "__main__":
    main()
