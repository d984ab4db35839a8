"""Write a source, or a domain on its source, for other tools: ONNX, PyTorch graphs, NVIDIA's or rosinality's names."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.checkpoints import Source

KINDS = {
    ".onnx": "ONNX, for onnxruntime and others",
    ".pt2": "an ExportedProgram of PyTorch",
    ".ts": "TorchScript (deprecated by PyTorch)",
    ".safetensors": "one generator in the names of NVIDIA's or rosinality's code (--layout)",
}
LAYOUT = ".safetensors"


@dataclass(frozen=True)
class Options:
    """What `stylegraft export` takes."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A source (name, .safetensors, .pkl, .pt, hf://...); or a domain, run or direction, folded into its source."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """NAME.onnx, NAME.pt2 (ExportedProgram), NAME.ts (TorchScript), or NAME.safetensors with --layout."""
    layout: Annotated[
        Literal["nvidia", "rosinality"] | None, arg(metavar="{nvidia,rosinality}", help_behavior_hint="")
    ] = None
    """Of .safetensors: whose code shall load it (a StyleGAN2 alone)."""
    input: Literal["z", "w", "ws"] = "z"
    """Of a graph: what goes in: z, w, or rows of W+."""
    psi: Annotated[str, arg(metavar="PSI")] = "0.7"
    """Of a graph: truncation, a number for good, or `input` to give it with every call; rows of W+ have none."""
    noise: Literal["const", "none", "input"] = "const"
    """Of a graph: the network's own noise maps, none, or one input for each layer that takes them."""
    strength: float = 1.0
    """Of the domain, where MODEL is one."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of a domain, where it is not a shipped source."""


def run(options: Options) -> None:
    """Load, fold, write, compare, and say how near the file is."""
    from stylegraft.cli.model import find_model, load_model

    psi = check(options)
    model = find_model(options.model, options.source)
    if model.found.kind == "source" and options.strength != 1.0:
        raise StylegraftError(
            f"--strength {options.strength:g}: {options.model} is a source; only domains have one"
        )
    check_out(options.out, (model.found.path, model.base.path))

    from stylegraft.applications.privacy import without_paths

    source = load_model(model, options.strength)
    source = type(source)(source.name, source.generator, None, without_paths(source.info))
    notes = write_layout(options, source) if options.layout else write_graph(options, source, psi)

    from stylegraft.cli.console import say

    for note in (*source.info.get("notes", ()), *notes):
        say(f"note: {note}")
    say(f"licence: {source.info.get('licence', 'not stated')}")


def check(options: Options) -> float | None:
    """Refuse what makes no sense before anything is read; returns psi, None where it is an input."""
    suffix = options.out.suffix.lower()
    if suffix == ".pt":
        raise StylegraftError(
            f"{options.out}: .pt is rosinality's, which `stylegraft convert` writes; name TorchScript NAME.ts, and an"
            " ExportedProgram NAME.pt2"
        )
    if suffix not in KINDS:
        known = "; ".join(f"{name} is {what}" for name, what in KINDS.items())
        raise StylegraftError(f"{options.out}: the end of the name says the format: {known}")
    if (suffix == LAYOUT) != (options.layout is not None):
        if options.layout is None:
            raise StylegraftError(
                f"{options.out}: whose names? --layout nvidia or --layout rosinality; a .safetensors of ours is"
                " written by `stylegraft convert`"
            )
        raise StylegraftError(
            f"--layout {options.layout}: only NAME.safetensors has one, {options.out} does not"
        )
    if options.layout and (options.input, options.psi, options.noise) != ("z", "0.7", "const"):
        raise StylegraftError("--input, --psi, --noise: of graphs; a --layout holds parameters alone")
    if not math.isfinite(options.strength):
        raise StylegraftError(f"--strength {options.strength}: expected a finite number")
    if not options.out.parent.is_dir():
        raise StylegraftError(f"{options.out}: the folder {options.out.parent} does not exist")
    if suffix == ".onnx":
        from stylegraft.applications.extras import require

        require("onnx", str(options.out))
    return parse_psi(options)


def parse_psi(options: Options) -> float | None:
    """The number, 1 for rows of W+, None for `input`."""
    if options.input == "ws":
        if options.psi not in ("0.7", "1", "1.0"):
            raise StylegraftError(f"--psi {options.psi}: rows of W+ (--input ws) are truncated already")
        return 1.0
    if options.psi == "input":
        return None
    try:
        psi = float(options.psi)
    except ValueError:
        psi = math.nan
    if not math.isfinite(psi):
        raise StylegraftError(f"--psi {options.psi}: expected a finite number, or `input`")
    return psi


def check_out(out: Path, read: tuple[Path, ...]) -> None:
    """Refuse to write over what is read, or into a run."""
    if any(out.exists() and out.samefile(path) for path in read):
        raise StylegraftError(f"{out}: this would overwrite what is exported; choose another name")
    if (out.parent / "config.json").exists() and (out.parent / "stats.jsonl").exists():
        raise StylegraftError(f"{out}: this is inside the run {out.parent}; choose a place outside")


def write_layout(options: Options, source: Source) -> tuple[str, ...]:
    """A .safetensors in the names of others; returns what that layout leaves out."""
    from stylegraft.checkpoints.layouts import save_layout
    from stylegraft.cli.console import file_size

    assert options.layout
    lost = save_layout(options.out, source, options.layout)
    print(f"{options.model}: {options.out} ({file_size(options.out)}, {options.layout}'s names)")
    return (*lost, "how to load it is in the file's metadata, under `load`")


def write_graph(options: Options, source: Source, psi: float | None) -> tuple[str, ...]:
    """A graph and the card beside it; prints the checks."""
    from stylegraft.applications.export import Graph, card, describe, export_graph
    from stylegraft.atomic import write_text
    from stylegraft.cli.console import file_size

    print(
        "recording the graph and comparing it with the network: up to a minute", file=sys.stderr, flush=True
    )
    graph = Graph(source.generator, options.input, psi, options.noise)
    told = describe(source, graph) | {"model": Path(options.model).name}
    if options.strength != 1.0:
        told["strength"] = f"{options.strength:g}"
    checks = export_graph(options.out, source, graph, told)
    page = options.out.with_name(f"{options.out.name}.md")
    write_text(page, card(options.out.name, told, checks))
    print(f"{options.model}: {options.out} ({file_size(options.out)}), {page.name} beside it")
    print(f"in:  {told['inputs']}\nout: {told['output']}")
    for check in checks:
        print(f"batch of {check.batch}: max |a - b| / max |a| = {check.error:.1e} (at most 1e-4)")
    return ()
