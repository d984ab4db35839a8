"""Kill, fill up, forbid, damage: each fault many times, and whether the run then ends as if nothing had happened.

    nice -n 19 python benchmarks/faults.py

Toy runs of 16 px, each in a fork of this warm process, so that a try costs a second: training, saving (every step),
tracing, repeating a run for its trace, comparing. A try breaks a run, repeats the command where it should go on, and
compares all that is left (states and domains bit for bit, traces, statistics, pictures) with an unbroken run; or it is
refused, in one line of the library's own. What is not so is lost. Every try follows from (seed, fault, number); what is
done is kept in the result file, and the same command goes on from there unless what it tests has changed. Writes
benchmarks/results/faults.json and the table of docs/reliability.md; leaves with 1 if anything was lost. Linux, as root:
a full disk is a small tmpfs, a forbidden folder one of another user.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import re
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from json import loads
from pathlib import Path
from typing import Any, NamedTuple

import fault_kinds as kinds
import fault_runs as runs
import torch
from fault_runs import ACTIVITIES, Bench, Lost
from heading import RESULTS, ROOT, heading, write

from stylegraft.atomic import write_text

PAGE, BEGIN, END = ROOT / "docs" / "reliability.md", "<!-- faults -->", "<!-- /faults -->"
PASSES = 20
TESTED = (
    "atomic.py",
    "errors.py",
    "adaptation",
    "lab",
    "checkpoints/tensorfile.py",
    "checkpoints/headers.py",
)


class Fault(NamedTuple):
    """A row of the table. tries: how many for each activity; 0: one for each operation on a file."""

    name: str
    promise: str
    tries: int
    activities: tuple[str, ...]
    do: Callable[[Bench, str, int, random.Random, Path], None]


ENDS = "goes on, ends bit-equal"
SAID = "said in one line; goes on once it is mended, ends bit-equal"
ALL = tuple(name for name in ACTIVITIES if name not in ("skipping", "commands"))
FAULTS = (
    Fault("SIGKILL at a random moment", ENDS, 30, ALL, kinds.killed),
    Fault("SIGTERM at a random moment", f"saves; {ENDS}", 10, ALL, kinds.terminated),
    Fault("disk full after a random number of KB (a tmpfs)", SAID, 12, ALL, kinds.full),
    Fault("a file-size limit of a random number of bytes", SAID, 10, ALL, kinds.limited),
    Fault("folder that becomes immutable at a random moment (`chattr +i`)", SAID, 6, ALL, kinds.immutable),
    Fault("file system mounted read-only, before or between", SAID, 3, ALL, kinds.read_only),
    Fault("permission taken away at a random moment, not as root", SAID, 6, ALL, kinds.forbidden),
    Fault("clock that jumps by years, file times too, and SIGKILL", ENDS, 5, ALL, kinds.out_of_time),
    Fault(
        "a second process on the folder",
        "refused with the holder's pid; the first ends bit-equal",
        5,
        ALL,
        kinds.two,
    ),
    Fault(
        "state truncated anywhere",
        f"falls back to the one before and says so; {ENDS}",
        20,
        ("saving",),
        kinds.truncated,
    ),
    Fault(
        "state with a flipped bit",
        f"falls back to the one before and says so; {ENDS}",
        20,
        ("saving",),
        kinds.flipped,
    ),
    Fault(
        "both states damaged", "refused in one line, the domain as it was", 5, ("saving",), kinds.both_damaged
    ),
    Fault("domain, config or picture truncated", ENDS, 10, ("saving",), kinds.others_truncated),
    Fault("last line of a trace cut anywhere", ENDS, 10, ("tracing",), kinds.trace_cut),
    Fault("state of an older release, its config without later names", ENDS, 5, ("saving",), kinds.older),
    Fault(
        "state of an older or newer release that does not fit",
        "refused in one line",
        5,
        ("saving",),
        kinds.unfit,
    ),
    Fault(
        "NaN or infinity in a loss or gradient",
        f"stops in that step; {ENDS} without it",
        20,
        ("training",),
        kinds.nonfinite,
    ),
    Fault(
        "the same with --nonfinite skip, and SIGKILL",
        f"leaves the update out; {ENDS}",
        10,
        ("skipping",),
        kinds.killed,
    ),
    Fault(
        "weights that an update makes infinite",
        "stops in that step, the last save as it was",
        5,
        ("training",),
        kinds.overflow,
    ),
    Fault(
        "SIGKILL before each operation on a file",
        ENDS,
        0,
        ("saving", "repeating", "comparing"),
        kinds.killed_at,
    ),
    Fault(
        "disk full at each operation on a file, from there on",
        SAID,
        0,
        ("saving", "tracing", "comparing"),
        kinds.full_at,
    ),
    Fault("SIGKILL of the command line, processes of its own", ENDS, 3, ("commands",), kinds.killed),
    Fault(
        "SIGTERM of the command line, processes of its own",
        f"saves; {ENDS}",
        2,
        ("commands",),
        kinds.terminated,
    ),
)


def tested() -> str:
    """SHA-256 of what is tested, and of what tests it."""
    sha = hashlib.sha256()
    for name in TESTED:
        path = ROOT / "src" / "stylegraft" / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            sha.update(file.read_bytes())
    for file in (Path(kinds.__file__), Path(runs.__file__)):
        sha.update(file.read_bytes())
    return sha.hexdigest()


def tries(bench: Bench, fault: Fault, seed: int) -> list[tuple[str, int]]:
    """Activity and number of every try, in an order of which any beginning is a fair sample."""
    every = [(name, k) for name in fault.activities for k in range(fault.tries or bench.points(name))]
    random.Random(f"{seed} {fault.name}").shuffle(every)
    return every


def attempt(bench: Bench, fault: Fault, activity: str, number: int, seed: int) -> str:
    """One try; what was lost, or ""."""
    rng = random.Random(f"{seed} {fault.name} {activity} {number}")
    place = bench.scratch / "try"
    bench.unbroken(activity)  # before any fork: what it warms, a fork as another user may not read
    try:
        fault.do(bench, activity, number, rng, runs.fresh(bench, activity, place))
    except Lost as lost:
        return str(lost)
    except Exception as error:
        return traceback.format_exc()[-1500:] if bench.loud else f"{type(error).__name__}: {error}"
    finally:
        runs.tidy(place)
    return ""


def campaign(bench: Bench, result: dict[str, Any], out: Path, wanted: str, number: int | None) -> None:
    """Every try that is not done yet: a part of those of each fault, then more, so that it may be ended early."""
    for part, fault in (
        (part, fault) for part in range(1, PASSES + 1) for fault in FAULTS if wanted in fault.name
    ):
        every = tries(bench, fault, result["seed"])
        row = result["faults"].setdefault(
            fault.name, {"of": len(every), "tried": 0, "lost": 0, "failures": []}
        )
        for k, (activity, n) in enumerate(every[: -(-len(every) * part // PASSES)]):
            if k < row["tried"] or number not in (None, n):
                continue
            lost = attempt(bench, fault, activity, n, result["seed"])
            if lost:
                print(f"LOST {fault.name}, {activity} {n}: {lost}", flush=True)
                row["failures"].append(f"{activity} {n}: {lost}"[:600])
            row["tried"], row["lost"] = k + 1, len(row["failures"])
            write(out, result)
        if not wanted:
            show(result)
        print(f"{fault.name}: {row['tried']} of {row['of']} tried, {row['lost']} lost", flush=True)


def table(result: dict[str, Any]) -> str:
    """The fault table, in Markdown."""
    rows = ["| fault | promised | times tried | lost |", "|---|---|---|---|"]
    for fault in FAULTS:
        if row := result["faults"].get(fault.name):
            during = f" ({', '.join(fault.activities)})" if len(fault.activities) < len(ALL) else ""
            rows.append(f"| {fault.name}{during} | {fault.promise} | {row['tried']:,} | {row['lost']:,} |")
    done = result["faults"].values()
    rows.append(
        f"| **all** | | **{sum(r['tried'] for r in done):,}** | **{sum(r['lost'] for r in done):,}** |"
    )
    where = f"{result['machine']}, torch {result['torch']}, commit {result['commit']}, seed {result['seed']}"
    return "\n".join(rows) + f"\n\nMeasured on {where}.\n"


def show(result: dict[str, Any]) -> None:
    """Write the table into its page."""
    text = PAGE.read_text(encoding="utf-8")
    inner = f"{BEGIN}\n{table(result)}{END}"
    write_text(PAGE, re.sub(f"{BEGIN}.*{END}", lambda _: inner, text, flags=re.S))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", default="", help="only those with these words in their name; no table")
    parser.add_argument("--number", type=int, help="of --fault, only this one, told at length")
    parser.add_argument(
        "--scratch", type=Path, help="where the runs are (default: a folder for temporary files)"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "faults.json")
    args = parser.parse_args()
    if not sys.platform.startswith("linux") or os.geteuid():
        sys.exit("benchmarks/faults.py: needs Linux and root, to mount, forbid and become another user")
    torch.set_num_threads(1)
    result = loads(args.out.read_text()) if args.out.exists() else {}
    if (result.get("seed"), result.get("tested")) != (args.seed, tested()):
        result = heading() | {"seed": args.seed, "tested": tested(), "faults": {}}
    if args.fault:
        args.out, result["faults"] = Path(tempfile.gettempdir()) / "faults-some.json", {}
    scratch = Path(tempfile.mkdtemp(prefix="faults-", dir=args.scratch))
    try:
        bench = Bench(scratch, loud=args.number is not None)
        campaign(bench, result, args.out, args.fault, args.number)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(scratch)
    sys.exit(any(row["lost"] for row in result["faults"].values()))


if __name__ == "__main__":
    main()
