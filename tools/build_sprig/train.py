"""Train sprig's two projections: pictures and sentences to one space (`encoders/sprig.py`).

    stylegraft assets get effnet; stylegraft assets get minilm
    nice -n 10 python tools/build_sprig/train.py --icons FOLDER_OF_THE_NPM_FILES --out runs/build-sprig

What the frozen networks see is computed once (`features.pt` in --out, some ten minutes on one core), then the
projections are trained in two, and `measure.py` says what they know.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from bank import Item, bank
from stylegraft.data.pixels import to_float
from stylegraft.encoders.efficientnet import load_effnet
from stylegraft.encoders.minilm import load_minilm
from stylegraft.encoders.protocol import resize
from stylegraft.encoders.sprig import READ, SEEN, SIZE, Projection, seen

BATCH, STEPS, RATE, DECAY = 512, 700, 2e-3, 0.05
DROPPED, NOISE = 0.1, 0.15  # of the standardised features, so that no single one is leant on


@torch.no_grad()
def look(images: Tensor) -> Tensor:
    """Features [N, SEEN] of pictures, uint8 [N, 3, R, R]."""
    eye = load_effnet()
    out = []
    for few in images.split(64):
        x = (resize(to_float(few), SIZE) * 127.5 + 0.5) / 128
        out.append(seen(eye, x))
    return torch.cat(out)


@torch.no_grad()
def read(sentences: list[str]) -> Tensor:
    """Features [T, READ]; alike in length they go together."""
    reader, order = load_minilm(), sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
    out = torch.empty(len(sentences), READ)
    for start in range(0, len(order), 128):
        rows = order[start : start + 128]
        out[rows] = reader([sentences[i] for i in rows])
    return out


def features(items: list[Item]) -> dict:
    """All that training and measuring need."""
    sentences = sorted({text for item in items for text in item.sentences})
    number = {text: i for i, text in enumerate(sentences)}
    return {
        "seen": look(torch.stack([item.image for item in items])).half(),
        "read": read(sentences),
        "sentences": sentences,
        "told": [[number[text] for text in item.sentences] for item in items],
        "keys": [item.key for item in items],
        "groups": [item.group for item in items],
        "held": [item.held for item in items],
    }


def contrast(images: Tensor, texts: Tensor, same: Tensor, heat: Tensor) -> Tensor:
    """CLIP's loss where several sentences may fit a picture: same [B, T] says which."""
    logits = heat.exp() * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    wanted = same.float()
    loss = 0.0
    for scores, goal in ((logits, wanted), (logits.T, wanted.T)):
        loss = loss - (F.log_softmax(scores, 1) * goal / goal.sum(1, keepdim=True)).sum(1).mean()
    return loss / 2


def train(data: dict, seed: int, steps: int = STEPS) -> nn.ModuleDict:
    torch.manual_seed(seed)
    rows = torch.tensor([i for i, held in enumerate(data["held"]) if not held])
    seen_, read_ = data["seen"].float(), data["read"]
    net = nn.ModuleDict({"image": Projection(SEEN), "text": Projection(READ)})
    for part, x in (("image", seen_[rows]), ("text", read_)):
        net[part].mean.copy_(x.mean(0))
        net[part].scale.copy_(1 / x.std(0).clamp_min(1e-3))
    numbers = {key: i for i, key in enumerate(dict.fromkeys(data["keys"]))}
    keys = torch.tensor([numbers[key] for key in data["keys"]])
    heat = nn.Parameter(torch.tensor(3.0))
    weights = [p for name, p in net.named_parameters() if name.endswith("weight")]
    others = [p for name, p in net.named_parameters() if name.endswith("bias")] + [heat]
    optimiser = torch.optim.AdamW(
        [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=RATE,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        few = rows[torch.randint(len(rows), (BATCH,))]
        told = torch.tensor(
            [data["told"][i][int(torch.randint(len(data["told"][i]), ()))] for i in few.tolist()]
        )
        x = seen_[few] + NOISE * torch.randn(BATCH, SEEN) / net["image"].scale
        kept = (torch.rand(BATCH, SEEN) > DROPPED).float()
        x = net["image"].mean + (x - net["image"].mean) * kept
        # one row a sentence; it fits all pictures of the same key
        unique, place = told.unique(return_inverse=True)
        key_of = torch.zeros(len(unique), dtype=torch.long).index_copy_(0, place, keys[few])
        same = keys[few][:, None] == key_of[None]
        loss = contrast(net["image"](x), net["text"](read_[unique]), same, heat)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            heat.clamp_(max=4.6)
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}, heat {heat.exp().item():.1f}", flush=True)
    return net


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--icons", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/build-sprig"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    cache, seconds = options.out / "features.pt", {}
    if not cache.exists():
        started = time.process_time()
        items = bank(options.icons, options.seed)
        seconds["pictures"] = time.process_time() - started
        print(f"{len(items)} pictures in {seconds['pictures']:.0f} s", flush=True)
        started = time.process_time()
        torch.save({**features(items), "seconds": seconds}, cache)
        seconds["features"] = time.process_time() - started
        print(f"features in {seconds['features']:.0f} s", flush=True)
    data = torch.load(cache, weights_only=True)
    started = time.process_time()
    net = train(data, options.seed)
    seconds["training"] = time.process_time() - started
    tensors = {
        key: value.detach().half() if key.endswith(("weight", "bias")) else value
        for key, value in net.state_dict().items()
    }
    path = options.out / "sprig.safetensors"
    save_file(
        {k: v.contiguous() for k, v in tensors.items()}, path, {"sprig": json.dumps({"seed": options.seed})}
    )
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {json.dumps(seconds)}")


if __name__ == "__main__":
    main()
