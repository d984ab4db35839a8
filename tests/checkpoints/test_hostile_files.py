"""Whatever a checkpoint says: nothing of it runs, it costs little, and the refusal is one line that helps."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import hostile_files as h
from hostile_catalogue import CASES, LOADS, Honest, cuts, lacking

from stylegraft.checkpoints import Source, base_digest, load, save_source
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import build_generator

SECONDS = 2.0  # of the processor
BYTES = 200 << 20
LINE = 600  # letters of a refusal, without the path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each file is read in a fork of its own")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    folder = tmp_path_factory.mktemp("hostile")
    torch.manual_seed(0)
    source = Source("tiny", build_generator(dict(h.CONFIG)), build_discriminator(dict(h.D_CONFIG)), {})
    path = folder / "native.safetensors"
    save_source(path, source, torch.float32)
    return Honest(*h.tiny(), folder, path.read_bytes())


@pytest.fixture(scope="module")
def verdicts(honest: Honest) -> dict[str, Any]:
    """What became of every file, by case."""
    good = {"a.pkl": honest.nvidia(), "b.pkl": h.tensorflow(honest.g, honest.d), "c.pt": h.legacy(honest.pt),
            "d.pt": h.modern(honest.pt), "e.safetensors": honest.native, "bad.pkl": b"\x80\x03cx\ny\n."}  # fmt: skip
    warm = [h.write(honest.folder / name, data) for name, data in good.items()]
    traps = honest.folder / "traps"
    traps.mkdir()
    (traps / "trapdoor.py").write_text("open('ran', 'w').close()\ndef run(*_): open('ran', 'w').close()\n")
    groups: dict[str, list[Path]] = {}
    for i, (name, case) in enumerate(CASES.items()):
        made = case.make(honest)
        suffix = ".safetensors" if name.startswith("ours") else ".pkl"
        groups[name] = [h.write(honest.folder / f"{i}{suffix}", made) if isinstance(made, bytes) else made]
    for name, (data, points) in cuts(honest).items():
        cut = honest.folder / f"cut {name}"
        cut.mkdir()
        groups[f"cut: {name}"] = [h.write(cut / f"{at}.bin", data[:at]) for at in sorted(set(points)) if at]
    parts = {f"{i}.pt": data for i, data in enumerate(lacking(honest).values())}
    groups["zip: a member missing"] = [h.write(honest.folder / name, data) for name, data in parts.items()]
    manifest = {"warm": [str(path) for path in warm], "traps": str(traps),
                "groups": [[str(path) for path in paths] for paths in groups.values()]}  # fmt: skip
    (honest.folder / "manifest.json").write_text(json.dumps(manifest))
    run = subprocess.run(
        [sys.executable, str(HERE / "hostile_warden.py"), "manifest.json"],
        cwd=honest.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(lines) == len(groups), run.stderr[-2000:]
    return {name: {**line, "paths": groups[name]} for name, line in zip(groups, lines, strict=True)}


CUTS = tuple(f"cut: {name}" for name in ("NVIDIA pickle", "storage in a pickle", "TensorFlow pickle", "stream", "zip",
                                         "safetensors"))  # fmt: skip


@pytest.mark.parametrize("name", [*CASES, *CUTS, "zip: a member missing"])
def test_a_hostile_file_costs_little_runs_nothing_and_is_refused_in_one_line(
    name: str, verdicts: dict[str, Any], honest: Honest
) -> None:
    found = verdicts[name]
    assert "died" not in found, found
    assert not (honest.folder / "ran").exists()
    assert found["seconds"] < SECONDS
    assert found["bytes"] < BYTES
    assert found["events"] == []
    assert found["printed"] == ""
    assert "trapdoor" not in found["modules"] and "torch_utils" not in found["modules"]
    says = CASES[name].says if name in CASES else None
    for path, verdict, said in zip(found["paths"], found["verdicts"], found["said"], strict=True):
        assert verdict in ("refused", "loads"), said
        if verdict == "refused":
            assert says != LOADS, said
            assert said.startswith(f"{path}: ")
            line = said.removeprefix(f"{path}: ")
            assert line.isprintable() and 12 < len(line) < LINE, line[:LINE]
            assert re.search(says or "", line), line
        else:
            assert says is not None and "loads" in says, "it was read"


if __name__ == "__main__":
    pytest.main([__file__, "-x"])
