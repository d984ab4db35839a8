"""What a build keeps between runs: its networks, their configs and how far it is, in one file a stage.

    python tools/build_faces/state.py pack   --out runs/build-X --to tools/build_faces/state/X.safetensors
    python tools/build_faces/state.py unpack --from tools/build_faces/state/X.safetensors --out runs/build-X

A stage (`distilled`, then `finished`) is STAGE.safetensors, fp32, with tensors `G.*` (the generator that trains), `E.*`
(its EMA), `D.*` and `C.*` (critic), and the notes beside them as JSON: generator and discriminator configs, step,
images, recipe. Adam's moments are not kept, so a run that goes on warms up over `REWARM` steps.

`pack` writes the newest stage in fp16 to be committed: what G shares with E, and what E and D share with the source
`--base` (the frozen mapping; EMA and D too once they have been exported), is left out. `unpack` puts it back.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylegraft.atomic import write_json
from stylegraft.checkpoints import headers, tensorfile
from stylegraft.errors import StylegraftError
from stylegraft.networks import build_discriminator, build_generator
from stylegraft.networks.generator import Generator
from stylegraft.sources import SOURCES, load_source, source_path

REWARM = 200  # steps over which the step size rises after a start or a restart
STAGES = ("finished", "distilled")  # newest first
LIMIT = 15_000_000  # bytes of a packed state

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Build:
    """notes: generator and discriminator configs, step, images, recipe; parts: {"G" | "E" | "D" | "C": state dict}."""

    notes: dict[str, Any]
    parts: dict[str, Tensors]

    @property
    def step(self) -> int:
        return self.notes["step"]

    def generator(self, role: str = "E") -> Generator:
        """The generator that trains ("G") or its average ("E"), frozen."""
        network = build_generator(self.notes["generator"])
        network.load_state_dict(self.parts[role])
        return network.requires_grad_(False)


def save(folder: Path, stage: str, notes: dict[str, Any], networks: dict[str, nn.Module]) -> None:
    """Write a stage atomically; networks: {"G": ..., "E": ..., "D": ...}, those that there are."""
    tensors = {f"{role}.{k}": v for role, n in networks.items() for k, v in n.state_dict().items()}
    _write(folder, stage, notes, tensors)


def load(folder: Path, stage: str) -> Build | None:
    """A stage, None where it has not been reached; a lone generator (bare names, or no E) is its own average."""
    path = folder / f"{stage}.safetensors"
    if not path.exists():
        return None
    tensors, metadata = tensorfile.read(path)
    notes = json.loads(metadata["notes"] if "notes" in metadata else path.with_suffix(".json").read_text())
    if all(name.startswith(("mapping.", "synthesis.")) for name in tensors):
        return Build(notes, {"G": tensors, "E": tensors})
    parts: dict[str, Tensors] = {}
    for name, tensor in tensors.items():
        parts.setdefault(name[0], {})[name[2:]] = tensor
    return Build(notes, {"E": parts["G"], **parts})


def newest(folder: Path) -> tuple[str, Build]:
    """The stage that a build has reached and its state; StylegraftError for a folder without any."""
    for stage in STAGES:
        if build := load(folder, stage):
            return stage, build
    raise StylegraftError(f"{folder}: no {' or '.join(STAGES)}.safetensors; start with distill or stylegan2")


def recipe(args: argparse.Namespace) -> dict[str, Any]:
    """The options of a run that shape its result, for the notes: numbers and names, no paths of this machine."""
    kept = {k: v for k, v in vars(args).items() if isinstance(v, int | float | str)}
    return {k: v for k, v in kept.items() if k != "teacher"}


def pack(folder: Path, to: Path, base: str = "") -> dict[str, int]:
    """Write the newest stage in fp16; returns the bytes of each part. StylegraftError above `LIMIT`."""
    stage, build = newest(folder)
    known = _base_tensors(base)
    half = {role: {k: v.half() for k, v in part.items()} for role, part in build.parts.items()}
    kept: Tensors = {}
    for role, part in half.items():
        shared = half["E"] if role == "G" else known.get(role, {})
        for name, tensor in part.items():
            if not bool(torch.isfinite(tensor).all()):
                raise StylegraftError(f"{folder}: {role}.{name} does not fit fp16")
            if name not in shared or not torch.equal(tensor, shared[name]):
                kept[f"{role}.{name}"] = tensor
    sizes = {role: sum(v.nbytes for k, v in kept.items() if k[0] == role) for role in half}
    if sum(sizes.values()) > LIMIT:
        found = ", ".join(f"{role} {size / 1e6:.1f}" for role, size in sizes.items())
        raise StylegraftError(
            f"{to}: {sum(sizes.values()) / 1e6:.1f} MB ({found}), above {LIMIT / 1e6:.0f} MB; export the build and"
            " give that source as --base: what it holds is left out"
        )
    to.parent.mkdir(parents=True, exist_ok=True)
    about = {"stage": stage, "notes": json.dumps(build.notes), "base": base, "base_digest": _digest(base)}
    tensorfile.write(to, kept, about)
    return sizes


def unpack(path: Path, folder: Path, base: str = "") -> str:
    """Put a packed state back as a stage of `folder`, in fp32; returns the stage.

    base: the source that it was packed against, where its name or path has changed since. StylegraftError when
    that source is another one, or the folder has the stage already.
    """
    kept, about = tensorfile.read(path)
    base, notes, stage = base or about["base"], json.loads(about["notes"]), about["stage"]
    if (folder / f"{stage}.safetensors").exists():
        raise StylegraftError(f"{folder}: has its {stage} state already; unpack into another folder")
    if _digest(base) != about["base_digest"]:
        raise StylegraftError(f"{path}: packed against another file than {base!r}; give that one as --base")
    known = _base_tensors(base)
    roles = {"E": build_generator(notes["generator"])}
    if notes.get("discriminator"):
        roles["D"] = build_discriminator(notes["discriminator"])
    tensors: Tensors = {}
    for role, network in roles.items():
        for name in network.state_dict():
            found = kept.get(f"{role}.{name}", known.get(role, {}).get(name))
            if found is None:
                raise StylegraftError(f"{path}: {role}.{name} is missing")
            tensors[f"{role}.{name}"] = found
    for name in roles["E"].state_dict():
        tensors[f"G.{name}"] = kept.get(f"G.{name}", tensors[f"E.{name}"])
    tensors |= {name: tensor for name, tensor in kept.items() if name.startswith("C.")}
    _write(folder, stage, notes, tensors)
    return stage


def _write(folder: Path, stage: str, notes: dict[str, Any], tensors: Tensors) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stage}.safetensors"
    tensorfile.write(path, {k: v.float() for k, v in tensors.items()}, {"notes": json.dumps(notes)})
    write_json(path.with_suffix(".json"), notes)  # for people; the notes that count are in the file itself


def _base_tensors(base: str) -> dict[str, Tensors]:
    if not base:
        return {}
    source = load_source(base)
    known = {"E": source.generator.state_dict()}
    if source.discriminator is not None:
        known["D"] = source.discriminator.state_dict()
    return {role: {k: v.half() for k, v in part.items()} for role, part in known.items()}


def _digest(base: str) -> str:
    if not base:
        return ""
    return headers.read_metadata(source_path(base) if base in SOURCES else Path(base))["digest"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing, unpacking = verbs.add_parser("pack"), verbs.add_parser("unpack")
    packing.add_argument("--out", type=Path, required=True, help="folder of the build")
    packing.add_argument("--to", type=Path, required=True, help="file to commit")
    unpacking.add_argument("--from", type=Path, required=True, dest="file", help="file that was committed")
    unpacking.add_argument("--out", type=Path, required=True, help="folder to go on in")
    for verb in (packing, unpacking):
        verb.add_argument("--base", default="", help="name or path of the source whose tensors are left out")
    args = parser.parse_args()
    try:
        if args.verb == "pack":
            sizes = pack(args.out, args.to, args.base)
            parts = ", ".join(f"{role} {size / 1e6:.1f}" for role, size in sizes.items())
            print(f"{args.to}: {args.to.stat().st_size / 1e6:.1f} MB of at most {LIMIT / 1e6:.0f} ({parts})")
        else:
            print(f"{args.out}: {unpack(args.file, args.out, args.base)} state, ready to go on")
    except StylegraftError as error:
        raise SystemExit(f"state: {error}") from error


if __name__ == "__main__":
    main()
