"""What every result file begins with: which code ran where. Beside the benchmarks, which are run as scripts."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch

from stylegraft.lab import cell

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def heading() -> dict[str, Any]:
    """Commit, machine, threads and versions; to be asked for after `torch.set_num_threads`."""
    return {
        "commit": commit(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }


def commit() -> str:
    """The commit that is checked out, with a `+` where the package differs from it; `unknown` outside a repository."""
    return cell.commit() or "unknown"


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a result file, as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
