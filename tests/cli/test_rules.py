"""Rules for the end of a run are refused on the command line at once, before anything heavy is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--until", "p_target"), "expected p_target=0.9"),
        (("--floor", "80"), "--floor 80"),
        (("--keep", "best", "--hold-out", "1"), "--hold-out 1"),
        (("--until", "p_target=0.9"), "run: stylegraft assets get effnet"),
        (("--floor", "0.8"), "run: stylegraft assets get lpips"),
    ],
)
def test_one_line_and_no_run(
    typed: tuple[str, ...], said: str, stylegraft, toy_file: Path, toy_images: Path, tmp_path: Path
):
    env = {"STYLEGRAFT_CACHE": str(tmp_path / "empty"), "STYLEGRAFT_LPIPS": "", "STYLEGRAFT_EFFNET": ""}
    few = ("--steps", 2, "--every", 1, "--set", "warmup=0", "--out", tmp_path / "run")
    ran = stylegraft("adapt", toy_file, toy_images, *typed, *few, env=env)
    if "assets get" in said and ran.status != 2:
        pytest.skip("the package with these weights is installed here")
    assert ran.status == 2, ran.err
    (line,) = ran.err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert ran.seconds < 1.5
    assert not (tmp_path / "run").exists()
