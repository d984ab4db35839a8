"""Put every recipe into every space on both toys for six steps, and see which promises are kept.

    nice -n 15 python benchmarks/contract.py

The promises are those of tests/adaptation/test_contract.py, where most pairs take two steps and go without R1 and path
length; here every pair takes six, is resumed after three, and has both where its recipe has them. What is done is kept
in the result file, and the same command goes on from there unless the code has changed; with --missing it goes on all
the same, for rows that are new in the tables, and such pairs carry their own commit. Writes
benchmarks/results/contract.json: of each pair whether it passed, was refused (in the words that the tests expect) or
failed (and how), and seconds of the processor. Leaves with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from heading import RESULTS, ROOT, commit, heading, write

sys.path.insert(0, str(ROOT / "tests"))

from adaptation import test_contract as contract
from adaptation.toys import toy

FLOORS = ("adaptation", "domains", "checkpoints", "networks")  # what a pair depends on


def outcome(pair: contract.Pair, folder: Path) -> dict[str, Any]:
    """What becomes of a pair, and why unless it passed."""
    if line := contract.refusal(pair):
        expected = contract.well_said(pair, line)
        return {"outcome": "refused" if expected else "failed", "why": line}
    if pair.why:
        return {"outcome": "failed", "why": "it is allowed, and REFUSED has a row for it"}
    broken = [promise for promise, kept in contract.promises(pair, folder).items() if not kept]
    return {"outcome": "failed", "why": "not so: " + "; ".join(broken)} if broken else {"outcome": "passed"}


def take(pair: contract.Pair) -> dict[str, Any]:
    """`outcome` and its seconds; an error is a failure."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        try:
            row = outcome(pair, Path(folder))
        except Exception as error:
            traceback.print_exc()
            row = {"outcome": "failed", "why": f"{type(error).__name__}: {str(error)[:300]}"}
    if row["outcome"] == "failed":  # the next pair must not find a source that this one has written to
        toy.cache_clear()
        contract.of_source.cache_clear()
    return row | {"seconds": round(time.process_time() - started, 2)}


def sources() -> str:
    """SHA-256 of what a pair depends on, and of what looks at it."""
    sha = hashlib.sha256()
    code = [path for floor in FLOORS for path in sorted((ROOT / "src/stylegraft" / floor).rglob("*.py"))]
    for path in [*code, ROOT / "tests/adaptation/toys.py", Path(contract.__file__), Path(__file__)]:
        sha.update(path.read_bytes())
    return sha.hexdigest()


def fresh() -> dict[str, Any]:
    """A result with nothing done."""
    return heading() | {"sources_sha256": sources(), "outcomes": {}, "pairs": {}}


def save(result: dict[str, Any], pairs: Iterable[str], out: Path) -> None:
    """Write the result, with the rows of today's pairs in the order of the tables."""
    rows = {label: result["pairs"][label] for label in pairs if label in result["pairs"]}
    write(out, result | {"outcomes": Counter(row["outcome"] for row in rows.values()), "pairs": rows})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", help="pairs such as 'mobile-dcl-*': say what becomes of them, write nothing"
    )
    parser.add_argument("--missing", action="store_true", help="keep what other code has done")
    parser.add_argument("--out", type=Path, default=RESULTS / "contract.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pairs = {pair.label: pair for pair in contract.matrix()}
    if args.only:
        for label in fnmatch.filter(pairs, args.only):
            print(label, take(pairs[label]), flush=True)
        return
    result = json.loads(args.out.read_text()) if args.out.exists() else fresh()
    same = result["sources_sha256"] == sources()
    if not same and not args.missing:
        result, same = fresh(), True
    rows = result["pairs"]
    for label, pair in pairs.items():
        if label not in rows:
            rows[label] = take(pair) | ({} if same else {"commit": commit()})
            save(result, pairs, args.out)
            print(f"{len(rows)}/{len(pairs)}", label, rows[label], flush=True)
    save(result, pairs, args.out)
    failures = [f"{label}: {rows[label]['why']}" for label in pairs if rows[label]["outcome"] == "failed"]
    print(*failures, sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
