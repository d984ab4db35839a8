"""Flags that need or exclude others are a table for each verb, and headers tell what a source has."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stylegraft.checkpoints import Source, describe_base, load, save_source
from stylegraft.cli.flags import check, shown
from stylegraft.cli.main import VERBS
from stylegraft.cli.parsing import parse
from stylegraft.cli.resolve import find
from stylegraft.domains import Domain, start
from stylegraft.errors import nearest_file

from ..toys import ARCHITECTURES, toy

ROOT = Path(__file__).parents[2]
WITH_RULES = [verb for verb in VERBS if hasattr(import_module(f"stylegraft.cli.{verb}"), "RULES")]


@pytest.mark.parametrize("verb", WITH_RULES)
def test_a_rule_is_about_fields_whose_default_nobody_types(verb: str) -> None:
    module = import_module(f"stylegraft.cli.{verb}")
    fields = {field.name: field.default for field in dataclasses.fields(module.Options)}
    for names, _, _ in module.RULES:
        for name in names.split():
            assert fields[name] in (None, (), False, ""), (
                f"{verb}: what was typed is told from the default {name}"
            )


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.stem)
def test_no_rule_refuses_a_command_of_a_page(page: Path) -> None:
    for line in re.findall(r"^    stylegraft (\S.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        verb, *words = shlex.split(re.split(r" [#>|]", line)[0])
        module = import_module(f"stylegraft.cli.{verb}")
        check(parse(module, verb, words), getattr(module, "RULES", ()))


def test_flags_are_shown_as_they_were_typed() -> None:
    options = import_module("stylegraft.cli.mix").Options
    given = options(("a", "b:0.5"), psi=0.5, half=True, at=("4=0", "8=1"), out=Path("x.png"))
    names = ("domains", "psi", "half", "at", "out")
    assert [shown(given, name) for name in names] == [
        "a b:0.5",
        "--psi 0.5",
        "--half",
        "--at 4=0 8=1",
        "--out x.png",
    ]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_header_tells_blocks_rows_and_widths_as_the_network_has_them(
    architecture: str, tmp_path: Path
) -> None:
    generator = toy(architecture)
    save_source(
        tmp_path / "toy.safetensors", Source("toy", generator, None, {"licence": "none"}), torch.float32
    )
    found = find(str(tmp_path / "toy.safetensors"), ("source",))
    assert found.architecture == architecture
    assert found.blocks == sorted({layer.resolution for layer in generator.layers})
    assert (found.rows, found.w_dim, found.resolution) == (
        generator.num_ws,
        generator.w_dim,
        generator.resolution,
    )


def test_only_a_file_of_that_ending_is_near_a_file() -> None:
    names = ("one.png", "s.safetensors", "pencil.safetensors", "pencil")
    assert nearest_file("none.csv", names) == ""
    assert nearest_file("nothing.safetensors", names) == ""
    assert nearest_file("pensil.safetensor", names) == " (did you mean 'pencil.safetensors'?)"
    assert nearest_file("pensil", names) == " (did you mean 'pencil'?)"


def test_the_source_that_is_an_asset_is_told_by_its_table() -> None:
    from stylegraft.sources import SOURCES

    named = SimpleNamespace(kind="source", foreign=None, metadata={"resolution": "1024"})
    kind = type(find("faces-64", ("source",)))
    whole = kind(named.kind, Path("mobile"), named.metadata)
    assert SOURCES["mobile-faces-1024"].resolution == whole.resolution
    assert (whole.architecture, whole.blocks[-1], whole.rows) == ("mobile", 512, 23)


def test_what_a_line_or_a_header_tells_is_refused_before_torch(toy_file: Path, tmp_path: Path) -> None:
    source = load(toy_file)
    for space in ("stylespace", "affine-light+"):
        deltas = start(space, source.generator, torch.Generator().manual_seed(0))
        Domain(deltas, {"space": space}, describe_base(source)).save(tmp_path / f"{space}.safetensors")
    other = toy("stylegan2")
    from stylegraft.applications.directions import sefa
    from stylegraft.applications.latents import of_seeds

    of_seeds(other, [0]).save(tmp_path / "codes.safetensors", other)
    sefa(other, 1)[0].save(tmp_path / "step.safetensors", other)
    (tmp_path / "toy.safetensors").write_bytes(toy_file.read_bytes())
    on_toy = "--source toy.safetensors"
    lines = {
        f"mix stylespace.safetensors --at 33=1 {on_toy}": "--at 33: toy.safetensors has the blocks 4, 8, 16",
        f"mix stylespace.safetensors --codes codes.safetensors {on_toy}": "a file of codes of the source of sha256",
        f"prune affine-light+.safetensors {on_toy}": "only style offsets are ranked as they are",
        f"translate stylespace.safetensors --codes codes.safetensors {on_toy}": "it does not move between sources",
        "export faces-64 a.safetensors --layout nvidia": "faces-64 is a mobile generator",
        "edit toy.safetensors --direction sefa:600": "sefa has the directions 0 to 15",
        "edit toy.safetensors --direction sefa:0@0-99": "the rows 0 to 5 of W+",
        "edit toy.safetensors --direction step.safetensors": "a direction of edit of the source of sha256",
        f"edit stylespace.safetensors --direction sefa:0 --suppress-domain-at-edit {on_toy}": "only edits of channels",
        "sample stylespace.safetensors --source stylespace.safetensors": "stylegraft convert stylespace.safetensors",
        f"transfer stylespace.safetensors --to stylespace.safetensors {on_toy}": "the domain itself, on the same",
        "transfer toy.safetensors --to toy.safetensors": "a source, expected a domain, direction or run",
    }  # fmt: skip
    code = f"""
import sys
from stylegraft.cli.main import main
assert [main(line.split()) for line in {list(lines)!r}] == [2] * {len(lines)}
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for (line, said), error in zip(lines.items(), done.stderr.splitlines(), strict=True):
        assert said in error, line
