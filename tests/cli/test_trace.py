"""`adapt --trace` and `trace` on the command line: refused at once, or a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylegraft.checkpoints import assets
from stylegraft.cli.main import main
from stylegraft.errors import StylegraftError

FEW = ("--recipe", "tgan", "--steps", 2, "--set", "warmup=0")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]):
    """Run a line in this process, which has torch: its status, and what it printed."""

    def call(*line: object) -> tuple[int, str, str]:
        status = main([str(part) for part in line])
        return status, *capsys.readouterr()

    return call


def here(*names: str) -> bool:
    """Whether these weights are installed."""
    try:
        return all(assets.find(name) for name in names)
    except StylegraftError:
        return False


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--reference", "pencil"), "--reference pencil: is for --trace, which is not there"),
        (("--trace-every", 5), "--trace-every 5: is for --trace"),
        (("--trace", "--trace-every", 0), "--trace-every 0: expected at least 1 step"),
        (("--trace", "--reference", "nowhere/x"), "nowhere/x"),
    ],
)
def test_a_trace_that_cannot_be_is_refused_before_the_run(
    typed: tuple[object, ...], said: str, say, toy_file: Path, toy_images: Path, tmp_path: Path
):
    status, _, err = say("adapt", toy_file, toy_images, *FEW, *typed, "--out", tmp_path / "run")
    assert status == 2
    (line,) = err.splitlines()
    assert said in line
    assert not (tmp_path / "run").exists()


def test_missing_weights_are_named_with_the_command_that_gets_them(
    say, toy_file: Path, toy_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STYLEGRAFT_CACHE", str(tmp_path / "empty"))
    for name in ("LPIPS", "EFFNET"):
        monkeypatch.setenv(f"STYLEGRAFT_{name}", "")
    status, _, err = say("adapt", toy_file, toy_images, *FEW, "--trace", "--out", tmp_path / "run")
    if status != 2:
        pytest.skip("the packages with these weights are installed here")
    assert "stylegraft assets get" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--full-at", "5,x"), "--full-at 5,x: expected steps"),
        (("--trace-every", 0), "--trace-every 0"),
        ((), "not a run"),
    ],
)
def test_trace_refuses_at_once(typed: tuple[object, ...], said: str, stylegraft, tmp_path: Path):
    if typed:
        (tmp_path / "config.json").write_text("{}")
    ran = stylegraft("trace", tmp_path, *typed)
    assert ran.status == 2
    assert said in ran.err
    assert ran.seconds < 1.5


@pytest.mark.skipif(not here("effnet", "lpips"), reason="stylegraft assets get effnet lpips")
def test_a_run_is_traced_afterwards(say, toy_file: Path, toy_images: Path, tmp_path: Path):
    out = tmp_path / "run"
    assert say("adapt", toy_file, toy_images, *FEW, "--out", out)[0] == 0
    before = (out / "domain.safetensors").read_bytes()
    status, told, err = say("trace", out, "--source", toy_file, "--latents", 8, "--trace-every", 2)
    assert status == 0, err
    assert f"report     {out / 'report.html'}" in told
    assert "bit for bit" in err
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "p_target-effnet-lite0" in html
    assert "intra-lpips-vgg@64/8" in html
    assert (out / "domain.safetensors").read_bytes() == before
    assert "complete, 4 points" in say("trace", out, "--trace-every", 2)[2]
