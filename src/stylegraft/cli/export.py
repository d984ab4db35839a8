"""Write a source, or a domain on its source, for other tools: ONNX, PyTorch graphs, NVIDIA's or rosinality's names."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from stylegraft.cli.flags import PSI, Rule, check, check_outside, check_read, of_domains
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.checkpoints import Source
    from stylegraft.cli.model import Model

KINDS = {
    ".onnx": "ONNX, for onnxruntime and others",
    ".pt2": "an ExportedProgram of PyTorch",
    ".ts": "TorchScript (deprecated by PyTorch)",
    ".safetensors": "one generator in the names of NVIDIA's or rosinality's code (--layout)",
}
LAYOUT = ".safetensors"
RULES: tuple[Rule, ...] = (
    ("layout", lambda o: o.out.suffix.lower() != LAYOUT, "only NAME.safetensors has one, {o.out} does not"),
    ("input psi noise", lambda o: o.layout, "of graphs; --layout {o.layout} holds parameters alone"),
    ("psi", lambda o: o.input == "ws", "rows of W+ (--input ws) are truncated already"),
)


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
    input: Annotated[
        Literal["z", "w", "ws"] | None, arg(metavar="{z,w,ws}", help_behavior_hint="(default: z)")
    ] = None
    """Of a graph: what goes in: z, w, or rows of W+."""
    psi: Annotated[str | None, arg(metavar="PSI", help_behavior_hint="(default: 0.7)")] = None
    """Of a graph: truncation, a number for good, or `input` to give it with every call; rows of W+ have none."""
    noise: Annotated[
        Literal["const", "none", "input"] | None,
        arg(metavar="{const,none,input}", help_behavior_hint="(default: const)"),
    ] = None
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

    check_format(options)
    check(options, RULES, KINDS)
    psi = parse_psi(options)
    model = find_model(options.model, options.source)
    of_domains(options, model.found, "strength")
    check_read(str(options.out), options.out, model.found, model.base)
    check_outside(str(options.out), options.out)
    check_layout(options, model)

    from stylegraft.applications.privacy import without_paths

    source = load_model(model, options.strength)
    source = type(source)(source.name, source.generator, None, without_paths(source.info))
    notes = write_layout(options, source) if options.layout else write_graph(options, source, psi)

    from stylegraft.cli.console import say

    for note in (*source.info.get("notes", ()), *notes):
        say(f"note: {note}")
    say(f"licence: {source.info.get('licence', 'not stated')}")


def check_format(options: Options) -> None:
    """Refuse endings that others write, and .safetensors without a layout."""
    suffix = options.out.suffix.lower()
    if suffix == ".pt":
        raise StylegraftError(
            f"{options.out}: .pt is rosinality's, which `stylegraft convert` writes; name TorchScript NAME.ts, and an"
            " ExportedProgram NAME.pt2"
        )
    if suffix == LAYOUT and options.layout is None:
        raise StylegraftError(
            f"{options.out}: whose names? --layout nvidia or --layout rosinality; a .safetensors of ours is"
            " written by `stylegraft convert`"
        )
    if suffix == ".onnx":
        from stylegraft.applications.extras import require

        require("onnx", str(options.out))


def check_layout(options: Options, model: Model) -> None:
    """Refuse a layout of StyleGAN2 for another network, by the header; writing it looks at everything else."""
    if options.layout and (kind := model.base.architecture) != "stylegan2":
        raise StylegraftError(
            f"--layout {options.layout}: it holds a StyleGAN2, and {model.base_text} is a {kind} generator; write an"
            " .onnx, or one of ours with `stylegraft convert`"
        )


def parse_psi(options: Options) -> float | None:
    """The number, 1 for rows of W+, None for `input`."""
    if options.input == "ws":
        return 1.0
    if options.psi is None:
        return PSI
    if options.psi == "input":
        return None
    try:
        psi = float(options.psi)
    except ValueError:
        psi = math.nan
    if not math.isfinite(psi):
        raise StylegraftError(f"--psi {options.psi}: expected a finite number, or `input`")
    return psi


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
    from stylegraft.applications.export import Graph, describe, export_graph, page
    from stylegraft.atomic import write_text
    from stylegraft.cli.console import file_size

    print(
        "recording the graph and comparing it with the network: up to a minute", file=sys.stderr, flush=True
    )
    graph = Graph(source.generator, options.input or "z", psi, options.noise or "const")
    told = describe(source, graph) | {"model": Path(options.model).name}
    if options.strength != 1.0:
        told["strength"] = f"{options.strength:g}"
    checks = export_graph(options.out, source, graph, told)
    beside = options.out.with_name(f"{options.out.name}.md")
    write_text(beside, page(options.out.name, told, checks))
    print(f"{options.model}: {options.out} ({file_size(options.out)}), {beside.name} beside it")
    print(f"in:  {told['inputs']}\nout: {told['output']}")
    for each in checks:
        print(f"batch of {each.batch}: max |a - b| / max |a| = {each.error:.1e} (at most 1e-4)")
    return ()
