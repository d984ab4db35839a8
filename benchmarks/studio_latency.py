"""How long a slider of the studio takes to a picture, in Chromium: 16 faces of faces-64, a mix slider and truncation.

    python benchmarks/studio_latency.py WORKSPACE [--moves 30] [--out benchmarks/results/studio-latency.json]

Two numbers a move, from the input event to what is on the canvas: until the first faces are there, and all 16. Beside
them the milliseconds of the server's drawing, and the machine's load, without which the numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

DONE = "n => { const g = document.querySelector('.stage .faces'); return +g.dataset.shown >= n }"
MOVE = """(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})) }"""
DATA = "() => ({...document.querySelector('.stage .faces').dataset})"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("workspace", type=Path)
    arguments.add_argument("--moves", type=int, default=30)
    arguments.add_argument("--out", type=Path)
    options = arguments.parse_args()
    line = [
        sys.executable,
        "-m",
        "stylegraft",
        "studio",
        str(options.workspace),
        "--no-browser",
        "--port",
        "0",
    ]
    server = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        server.stdout.readline()
        address = server.stdout.readline().strip()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.set_default_timeout(120_000)
            found = {
                "mix": measure(page, f"{address}#mix", ".stack .slider input", options.moves),
                "truncation": measure(page, f"{address}#explore", "text=Truncation", options.moves),
            }
            browser.close()
    finally:
        server.terminate()
        server.wait()
    told = {
        "cores": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "load": [round(x, 2) for x in os.getloadavg()], "moves": options.moves, **found,
    }  # fmt: skip
    print(json.dumps(told, indent=2))
    if options.out:
        options.out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def measure(page: Page, address: str, what: str, moves: int) -> dict[str, object]:
    """Move one slider, wait for the whole picture, and again."""
    drawn: list[float] = []
    page.on(
        "response",
        lambda r: drawn.append(float(r.headers.get("x-milliseconds", 0))) if "/api/draw" in r.url else None,
    )
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function("() => document.querySelector('.stage .faces')?.dataset.shown")
    page.wait_for_timeout(3_000)
    slider = page.locator(what).first if "text" not in what else page.get_by_label(what[5:], exact=True)
    first, whole = [], []
    number = int(page.evaluate(DATA)["shown"])
    drawn.clear()
    for i in range(moves):
        slider.evaluate(MOVE, str(0.31 + 0.01 * i))
        number += 1
        page.wait_for_function(DONE, arg=number)
        data = page.evaluate(DATA)
        first.append(int(data["first"]))
        whole.append(int(data["ms"]))
    return {
        "first faces, ms": summary(first),
        "all 16, ms": summary(whole),
        "drawing, ms for all 16": round(sum(drawn) / moves, 1),
    }


def summary(values: list[int]) -> dict[str, float]:
    """Median, and the tenth best and worst."""
    ordered = sorted(values)
    tenth = max(0, len(ordered) // 10 - 1)
    return {
        "median": statistics.median(ordered),
        "best tenth": ordered[tenth],
        "worst tenth": ordered[-1 - tenth],
    }


if __name__ == "__main__":
    main()
