"""Screenshots of every tab of the studio, at 1280 and 390 px, light and dark: what docs/studio.md shows.

    python tools/studio_screenshots.py --workspace FOLDER --out docs/images/studio

Needs the extra `dev` and Debian's chromium. Without --workspace, a new folder with two pruned-down domains that are
made of random numbers, so that the tool needs nothing; name a folder with real runs for pictures to show.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
TABS = ("explore", "mix", "adapt", "translate", "morph", "closer", "library")
SIZES = {"wide": (1280, 860), "phone": (390, 844)}
SETTLED = (
    "() => [...document.querySelectorAll('.faces')].every(g => g.dataset.shown && !g.querySelector('.old'))"
)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--workspace", type=Path)
    arguments.add_argument("--out", type=Path, default=Path("docs/images/studio"))
    arguments.add_argument("--tabs", nargs="*", default=TABS)
    arguments.add_argument(
        "--dark", action="store_true", help="all tabs in the dark as well, not Explore alone"
    )
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as empty:
        place = options.workspace or sample_workspace(Path(empty))
        line = [sys.executable, "-m", "stylegraft", "studio", str(place), "--no-browser", "--port", "0"]
        server = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        try:
            server.stdout.readline()
            shoot(server.stdout.readline().strip(), options)
        finally:
            server.terminate()
            server.wait()


def sample_workspace(folder: Path) -> Path:
    """Two small domains of faces-64."""
    import torch

    from stylegraft import Domain, load_source
    from stylegraft.checkpoints.identity import describe_base
    from stylegraft.domains.deltas import Delta

    source = load_source("faces-64")
    for seed, name in enumerate(("warm", "cool")):
        rng = torch.Generator().manual_seed(seed)
        deltas = {
            f"synthesis.{layer.name}.affine.bias": (
                Delta(1.0, "dense", {"D": 0.3 * torch.randn(layer.channels, generator=rng)}),
            )
            for layer in source.generator.layers
        }
        Domain(deltas, {"space": "stylespace", "recipe": "none"}, describe_base(source)).save(
            folder / f"{name}.safetensors"
        )
    return folder


def shoot(address: str, options: argparse.Namespace) -> None:
    """Every tab at both widths."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                tabs = [t for t in options.tabs if scheme == "light" or options.dark or t == "explore"]
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                for tab in tabs:
                    take(
                        page,
                        f"{address}#{tab}",
                        options.out / f"{tab}-{size}{'-dark' * (scheme == 'dark')}.webp",
                    )
                page.close()
        browser.close()


def take(page: Page, address: str, path: Path) -> None:
    """Wait until nothing moves, and write the page."""
    page.goto("about:blank")  # or the old tab would be taken for the new one
    page.goto(address)
    page.wait_for_selector("[role=tabpanel]", timeout=120_000)
    page.wait_for_function(SETTLED, timeout=120_000)
    page.wait_for_load_state(
        "networkidle", timeout=90_000
    ) if "adapt" not in address else page.wait_for_timeout(4_000)
    page.wait_for_timeout(800)
    spill = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if spill > 0:
        print(f"{path.name}: {spill} px wider than the window", file=sys.stderr)
    image = Image.open(io.BytesIO(page.screenshot(full_page="phone" in path.name)))
    image = image.crop((0, 0, image.width, min(image.height, 2400))).convert("RGB")
    image.save(path, quality=80, method=6)
    print(path)


if __name__ == "__main__":
    main()
