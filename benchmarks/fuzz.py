"""Try every public entry with spoilt input: each case has to be taken, or refused in our own words, in bounded time and
memory.

    nice -n 19 python benchmarks/fuzz.py                     # all entries; writes the result and the table
    python benchmarks/fuzz.py --entry zips --only 1234       # one case again, with its traceback
    python benchmarks/fuzz.py --table                        # the table of docs/reliability.md alone

The entries are a table in `fuzz_entries.py`. A case follows from (seed, entry, number); those of hypothesis from (seed,
entry, batch), and a failure holds what it was. Batches run in processes of their own, under a limit of memory and a
watchdog; what is done is kept in the result file, and the same command goes on from there. Each entry holds the SHA-256
of the code that it was tried on; `--entry` tries one anew where that has changed.
Files of networks have a fuzzer of their own, `fuzz_checkpoints.py`, whose result is a row of the table. Writes
benchmarks/results/fuzz.json and the part "Bad input" of docs/reliability.md, and leaves with 1 if anything escaped.
"""

# ruff: noqa: E501
from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import io
import json
import mmap
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from fuzz_checkpoints import _late, peak_mb
from fuzz_entries import ENTRIES, Begun, Entry
from fuzz_seeds import Bench
from heading import RESULTS, ROOT, heading, write
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from stylegraft.atomic import write_text
from stylegraft.errors import StylegraftError

BATCH = 250
SECONDS = 5.0  # of the processor, a case
HANG = 60  # seconds of the clock, a case: other work may hold this machine up; then the process ends
MOST_MB = 1024  # of memory, a case, above what the process held at its start
ROOM = 3 << 30  # bytes above the start, at which asking for more fails
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- bad input -->", "<!-- /bad input -->"
OTHERS = RESULTS / "fuzz-checkpoints.json"


def cases(
    bench: Bench, entry: Entry, seed: int, name: str, numbers: range, each: Callable[[int, Any], None]
) -> None:
    """Call `each` with every case of these numbers."""
    if not entry.hypothesis:
        for number in numbers:
            each(number, made(bench, entry, seed, name, number))
        return
    reached = iter(numbers)

    def one(case: Any) -> None:
        with contextlib.suppress(StopIteration):
            each(next(reached), case)

    options = settings(max_examples=len(numbers), database=None, deadline=None, phases=[Phase.generate],
                       suppress_health_check=list(HealthCheck))  # fmt: skip
    digest = hashlib.sha256(f"{seed} {name} {numbers.start}".encode()).digest()
    seeded(int.from_bytes(digest[:8], "little"))(options(given(entry.make(bench))(one)))()  # pyright: ignore


def made(bench: Bench, entry: Entry, seed: int, name: str, number: int) -> Any:
    """The case of a number."""
    return entry.make(bench, random.Random(f"{seed} {name} {number}"))  # pyright: ignore


def tried(bench: Bench, entry: Entry, case: Any) -> str:
    """What came of a case; raises what escapes."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        entry.call(bench, case)
        return "taken"
    except StylegraftError:
        return "refused"
    except Begun:
        return "taken"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def batch(bench: Bench, entry: Entry, seed: int, name: str, numbers: range, now: mmap.mmap) -> dict[str, Any]:
    """Try the cases of some numbers, until one has taken too much memory."""
    signal.signal(signal.SIGPROF, _late)
    entry.ready(bench)
    outcomes: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    slowest, peaks, start = [0.0, numbers.start], [0, numbers.start], peak_mb()

    def each(number: int, case: Any) -> None:
        if peaks[0] > MOST_MB:
            return
        now[:8] = number.to_bytes(8, "little")
        faulthandler.dump_traceback_later(HANG, exit=True)
        began = time.process_time()
        try:
            outcome = tried(bench, entry, case)
        except BaseException as error:
            outcome, where = "escaped", last_of_ours(error)
            failures.append({"number": number, "case": repr(case)[:400], "error": f"{type(error).__name__}: {error}"[:300],
                             "at": where})  # fmt: skip
        took = round(time.process_time() - began, 3)
        held = peak_mb() - start
        if held > MOST_MB:
            outcome = "escaped"
            failures.append(
                {"number": number, "case": repr(case)[:400], "error": f"{held} MB", "at": "memory"}
            )
        slowest[:] = max(slowest, [took, number])
        peaks[:] = max(peaks, [held, number], key=lambda one: one[0])
        outcomes[outcome] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases(bench, entry, seed, name, numbers, each)
    faulthandler.cancel_dump_traceback_later()
    done = sum(outcomes.values())
    return {"outcomes": outcomes, "failures": failures, "slowest": slowest, "peak_mb": peaks, "cases": done,
            "reached": int.from_bytes(now[:8], "little") + 1 if peaks[0] > MOST_MB else numbers.stop}  # fmt: skip


def last_of_ours(error: BaseException) -> str:
    """The last line of the package that an error went through."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "stylegraft" in f.filename
    ] or traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else "?"


def in_its_own_process(bench: Bench, entry: Entry, seed: int, name: str, numbers: range) -> dict[str, Any]:
    """`batch` in a fork; if that dies, the case that it had reached has escaped."""
    now = mmap.mmap(-1, 8)
    now[:8] = numbers.start.to_bytes(8, "little")
    result, into = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(result)
            used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_DATA, (used + ROOM, used + ROOM))
            with tempfile.TemporaryDirectory(prefix="fuzz-") as own:
                os.chdir(own)
                bench.folder = Path(
                    shutil.copytree(bench.folder, Path(own).resolve() / "bench", symlinks=True)
                )
                found = batch(bench, entry, seed, name, numbers, now)
                os.chdir("/")
            with os.fdopen(into, "w") as file:
                json.dump(found, file)
            status = 0
        except BaseException:
            traceback.print_exc()
        os._exit(status)  # 1 too where the watchdog ends a case
    os.close(into)
    with os.fdopen(result) as file:
        text = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if text:
        return json.loads(text)
    if status == 1:
        raise SystemExit(f"{name}: the trial itself failed, see above")
    reached = int.from_bytes(now[:8], "little")
    failure = {"number": reached, "case": "?", "error": f"the process ended with {status}", "at": "process"}
    done = reached + 1 - numbers.start
    return {"outcomes": {"escaped": 1, "lost": done - 1}, "failures": [failure], "slowest": [0.0, reached],
            "peak_mb": [0, reached], "cases": done, "reached": reached + 1}  # fmt: skip


def sources() -> str:
    """SHA-256 of what reads the cases and of what makes them."""
    sha = hashlib.sha256()
    for path in [
        *sorted((ROOT / "src/stylegraft").rglob("*.py")),
        *sorted((ROOT / "benchmarks").glob("fuzz*.py")),
    ]:
        sha.update(path.read_bytes())
    return sha.hexdigest()


def add(total: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The counts of an entry with those of a batch more."""
    return {
        "cases": total.get("cases", 0) + found["cases"],
        "reached": found["reached"],
        "outcomes": dict(sorted((Counter(total.get("outcomes", {})) + Counter(found["outcomes"])).items())),
        "slowest": max(total.get("slowest", [0.0, 0]), found["slowest"]),
        "peak_mb": max(total.get("peak_mb", [0, 0]), found["peak_mb"]),
        "failures": total.get("failures", []) + found["failures"],
        "sources_sha256": total.get("sources_sha256"),
    }


def rows(result: dict[str, Any]) -> Iterator[tuple[str, int, int, float, int]]:
    """(entry, cases, escaped, slowest in s, peak in MB) of each group, and of the files of networks."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, total in result["entries"].items():
        groups.setdefault(ENTRIES[name].group, []).append(total)
    for group, totals in groups.items():
        yield summed(group, totals)
    if OTHERS.exists():
        told = json.loads(OTHERS.read_text())["readers"].values()
        known = [
            one | {"peak_mb": [one["peak_mb"]], "outcomes": {"escaped": len(one["failures"])}} for one in told
        ]
        yield summed("sources and checkpoints, six readers", known)


def summed(group: str, totals: list[dict[str, Any]]) -> tuple[str, int, int, float, int]:
    """A row."""
    return (
        group,
        sum(one["cases"] for one in totals),
        sum(one["outcomes"].get("escaped", 0) for one in totals),
        max(one["slowest"][0] for one in totals),
        max(one["peak_mb"][0] for one in totals),
    )


def page(result: dict[str, Any]) -> None:
    """Write the table between its marks."""
    found = list(rows(result))
    own = [row for row in found if not row[0].startswith("sources")]
    lines = ["| entry | cases | escaped | slowest | most memory |", "|---|---:|---:|---:|---:|"]
    lines += [f"| {e} | {n:,} | {bad} | {s:.2f} s | {mb:,} MB |" for e, n, bad, s, mb in found]
    lines += [f"| all | {sum(r[1] for r in found):,} | {sum(r[2] for r in found)} | | |"]
    head = (
        f"{sum(row[1] for row in own):,} cases of `benchmarks/fuzz.py` (seed {result['seed']}, commit {result['commit'][:9]},"
        f" Python {result['python']}, torch {result['torch']}, {result['machine']}), beside those of"
        " `benchmarks/fuzz_checkpoints.py`:"
    )
    inner = f"{BEGIN}\n{head}\n\n" + "\n".join(lines) + f"\n{END}"
    text = PAGE.read_text(encoding="utf-8")
    write_text(PAGE, re.sub(f"{BEGIN}.*{END}", lambda _: inner, text, flags=re.S))


def kept(path: Path, seed: int) -> dict[str, Any]:
    """What was done with the same seed, or a fresh result."""
    result = json.loads(path.read_text()) if path.exists() else {}
    same = result.get("seed") == seed
    return heading() | {"seed": seed, "entries": result["entries"] if same else {}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the cases of the table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--entry", choices=ENTRIES, action="append", help="only this one; may be repeated")
    parser.add_argument("--only", type=int, help="one case of an entry, with its traceback")
    parser.add_argument("--table", action="store_true", help="write the table from the result file")
    parser.add_argument("--out", type=Path, default=RESULTS / "fuzz.json")
    args = parser.parse_args()
    if args.table:
        page(json.loads(args.out.read_text()))
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            bench = Bench(Path(folder).resolve())
        if args.only is not None:
            for name in args.entry or ENTRIES:
                ENTRIES[name].ready(bench)
                case = made(bench, ENTRIES[name], args.seed, name, args.only)
                print(name, repr(case)[:3000], flush=True)
                print(tried(bench, ENTRIES[name], case), flush=True)
            os._exit(0)  # the studio's threads need not be waited for
        result, code = kept(args.out, args.seed), sources()
        for name in args.entry or ENTRIES:
            entry = ENTRIES[name]
            most = max(1, round(entry.cases * args.share))
            total = result["entries"].get(name, {})
            if total.get("sources_sha256") != code and (args.entry or total.get("reached", 0) < most):
                total = {}
            while (start := total.get("reached", 0)) < most:
                total = add(
                    total,
                    in_its_own_process(bench, entry, args.seed, name, range(start, min(start + BATCH, most))),
                )
                result["entries"][name] = total | {"sources_sha256": code}
                write(args.out, result)
            print(
                f"{name:16} {total['cases']:6} {total['outcomes']} {total['slowest']} {total['peak_mb']}",
                flush=True,
            )
    escaped = {
        f"{f['at']}: {f['error'][:120]}": (n, f) for n, t in result["entries"].items() for f in t["failures"]
    }
    for what, (name, failure) in escaped.items():
        print(f"{name} {failure['number']}: {what}\n    {failure['case'][:200]}")
    if PAGE.exists() and not args.entry and args.share >= 1:
        page(result)
    sys.exit(bool(escaped))


if __name__ == "__main__":
    main()
