"""How soon the studio shows something, in Chromium on faces-64: each tab when it is opened, and a slider of 16 faces.

    python benchmarks/studio_latency.py WORKSPACE [--moves 30] [--out benchmarks/results/studio-latency.json]

A tab: from the navigation to the first face, picture or chart that is painted, in this workspace and in an empty one,
each with an app that has just been started (the first tab also loads the source). A slider, of the mix and truncation:
from the input event to the canvas, until the first faces are there and until all 16 are, and what drawing them took.
Beside them the machine's load, without which the numbers mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

TABS = ("explore", "mix", "adapt", "translate", "morph", "closer", "library")
PAINTED = """() => [...document.querySelectorAll('main :is(canvas, img, svg)')].some(e =>
    e.tagName === 'IMG' ? e.getAttribute('src') && e.naturalWidth > 0
    : e.tagName === 'CANVAS' ? e.dataset.number || e.parentElement.dataset.number : true) && performance.now()"""
DONE = "n => { const g = document.querySelector('.stage .faces'); return +g.dataset.shown >= n }"
MOVE = """(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})) }"""
DATA = "() => ({...document.querySelector('.stage .faces').dataset})"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("workspace", type=Path)
    arguments.add_argument("--moves", type=int, default=30)
    arguments.add_argument("--out", type=Path)
    options = arguments.parse_args()
    load = os.getloadavg()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as empty:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        with studio(Path(empty)) as address:
            fresh = tabs(browser, address)
        with studio(options.workspace) as address:
            own = tabs(browser, address)
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.set_default_timeout(120_000)
            found = {
                "mix": measure(page, f"{address}#mix", ".stack .slider input", options.moves),
                "truncation": measure(page, f"{address}#explore", "text=Truncation", options.moves),
            }
        browser.close()
    told = {
        "cores": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "load before and after": [[round(x, 2) for x in one] for one in (load, os.getloadavg())],
        "first picture of a tab, ms": {"empty workspace": fresh, "with domains": own},
        "moves": options.moves, **found,
    }  # fmt: skip
    print(json.dumps(told, indent=2))
    if options.out:
        options.out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def studio(workspace: Path) -> Iterator[str]:
    """The app over a folder; its address."""
    line = [sys.executable, "-m", "stylegraft", "studio", str(workspace), "--no-browser", "--port", "0"]
    server = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        server.stdout.readline()
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


def tabs(browser: Browser, address: str) -> dict[str, int]:
    """{tab: ms from the navigation to the first picture}, each in a window of its own."""
    found = {}
    for tab in TABS:
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(f"{address}#{tab}")
        found[tab] = round(page.wait_for_function(PAINTED, timeout=120_000).json_value())
        page.close()
    return found


def measure(page: Page, address: str, what: str, moves: int) -> dict[str, object]:
    """Move one slider, wait for the whole picture, and again."""
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function("() => document.querySelector('.stage .faces')?.dataset.shown")
    page.wait_for_timeout(3_000)
    slider = page.locator(what).first if "text" not in what else page.get_by_label(what[5:], exact=True)
    first, whole, drawing = [], [], []
    number = int(page.evaluate(DATA)["shown"])
    for i in range(moves):
        slider.evaluate(MOVE, str(0.31 + 0.01 * i))
        number += 1
        page.wait_for_function(DONE, arg=number)
        data = page.evaluate(DATA)
        first.append(int(data["first"]))
        whole.append(int(data["ms"]))
        drawing.append(float(data.get("drawing", "nan")))
    return {
        "first faces, ms": summary(first),
        "all 16, ms": summary(whole),
        "drawing, ms for all 16": summary(drawing),
    }


def summary(values: list[float]) -> dict[str, float]:
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
