"""What many tests share: a toy source as a file, ten toy images in a folder, the command line in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

# One thread a process: the toys are too small to share, and sums then have one order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TOY_GENERATOR = {
    "architecture": "stylegan2",
    "resolution": 16,
    "img_channels": 3,
    "z_dim": 16,
    "w_dim": 16,
    "c_dim": 0,
    "mapping_layers": 2,
    "channel_base": 128,
    "channel_max": 16,
}
TOY_DISCRIMINATOR = {
    "resolution": 16,
    "img_channels": 3,
    "c_dim": 0,
    "architecture": "resnet",
    "channel_base": 128,
    "channel_max": 16,
    "mbstd_group_size": 4,
}


@pytest.fixture(scope="session")
def toy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 16-px source with a discriminator, as a file."""
    import torch

    from stylegraft.checkpoints import Source, save_source
    from stylegraft.networks.discriminator import build_discriminator
    from stylegraft.networks.generator import build_generator

    torch.manual_seed(0)
    source = Source(
        "toy",
        build_generator(TOY_GENERATOR),
        build_discriminator(TOY_DISCRIMINATOR),
        {"licence": "CC0-1.0 (random numbers)"},
    )
    path = tmp_path_factory.mktemp("sources") / "toy.safetensors"
    save_source(path, source, torch.float32)
    return path


@pytest.fixture(scope="session")
def toy_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten small pictures of several sizes and modes."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("toy_images")
    rng = np.random.default_rng(0)
    for i in range(10):
        height, width = 24 + i, 40 - i
        pixels = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
        image.convert("L" if i % 3 == 0 else "RGB").save(folder / f"{i:02}.png")
    return folder


@dataclass(frozen=True)
class Ran:
    """What a finished command left."""

    status: int
    out: str
    err: str
    seconds: float  # of the processor, user and system: what it takes on an idle machine (0 on Windows)


@pytest.fixture(scope="session")
def stylegraft():
    """Call the command line in a process of its own: `stylegraft("sample", "faces-64", cwd=...) -> Ran`."""

    def call(
        *args: object, cwd: Path | None = None, env: dict[str, str] | None = None, timeout: float = 150
    ) -> Ran:
        command = [sys.executable, "-m", "stylegraft", *map(str, args)]
        settings = {
            **os.environ,
            "COLUMNS": "80",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            **(env or {}),
        }
        before = os.times()
        done = subprocess.run(
            command,
            cwd=cwd,
            env=settings,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        after = os.times()
        seconds = after.children_user + after.children_system - before.children_user - before.children_system
        return Ran(done.returncode, done.stdout, done.stderr, seconds)

    return call


@pytest.fixture(scope="session")
def at_once(stylegraft):
    """Whether a command takes less than so many seconds of the processor: `at_once(0.5, "--help")`.

    A busy machine doubles them, so the best of five tries counts.
    """

    def answers(seconds: float, *args: object) -> bool:
        return any(stylegraft(*args).seconds < seconds for _ in range(5))

    return answers
