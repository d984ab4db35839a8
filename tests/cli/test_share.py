"""push, pull and export as typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stylegraft.checkpoints import describe_base, load
from stylegraft.cli.main import main
from stylegraft.domains import Delta, Domain

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def domain(toy_file: Path, tmp_path: Path) -> Path:
    source = load(toy_file)
    bias = torch.full((16,), 0.5)
    deltas = {"synthesis.b8.conv0.affine.bias": (Delta(1.0, "dense", {"D": bias}),)}
    config = {"recipe": "dcl", "space": "stylespace", "steps": 3, "target": {"name": "x", "count": 10}}
    Domain(deltas, config, describe_base(source)).save(tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_a_dry_run_shows_what_would_go_and_needs_no_login(
    domain: Path,
    toy_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert main(["push", str(domain), "anna/toy", "--dry-run", "--source", str(toy_file)]) == 0
    out = capsys.readouterr().out
    assert "README.md:" in out and "domain.safetensors:" in out and "preview.png:" in out
    assert "no training pictures" in out and "nothing was uploaded" in out
    assert {path.name for path in (tmp_path / "toy-to-push").iterdir()} == {
        "README.md",
        "domain.safetensors",
        "preview.png",
    }


def test_a_push_prints_the_pinned_name_and_keeps_nothing_here(
    domain: Path,
    toy_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    sent: dict[str, int] = {}

    class Api:
        def __init__(self, **_):
            pass

        def create_repo(self, repo, **_):
            pass

        def repo_info(self, repo, **_):
            return SimpleNamespace(private=True, siblings=[])

        def create_commit(self, repo, operations, **_):
            sent.update({op.path_in_repo: Path(op.path_or_fileobj).stat().st_size for op in operations})
            return SimpleNamespace(oid=COMMIT)

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "token")
    assert main(["push", str(domain), "anna/toy", "--private", "--source", str(toy_file)]) == 0
    assert f"pushed: hf://anna/toy/domain.safetensors@{COMMIT}\n" in capsys.readouterr().out
    assert set(sent) == {"README.md", "domain.safetensors", "preview.png"} and all(sent.values())
    assert not list(Path.cwd().iterdir())


@pytest.fixture
def cached(domain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """hf://anna/toy in the local cache."""
    repo = tmp_path / "hub" / "models--anna--toy"
    for folder in ("refs", f"snapshots/{COMMIT}"):
        (repo / folder).mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "snapshots" / COMMIT / "domain.safetensors").write_bytes(domain.read_bytes())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return "hf://anna/toy"


def test_a_pull_prints_the_commit_and_the_facts(
    cached: str, domain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    assert main(["pull", cached]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"hf://anna/toy/domain.safetensors@{COMMIT}: toy.safetensors (")
    assert "recipe:" in out and "dcl" in out and "training pictures:" in out
    assert "--source THE_BASE" in " ".join(out.split())
    assert Path("toy.safetensors").read_bytes() == domain.read_bytes()


def test_a_domain_of_the_hub_is_a_model_everywhere(
    cached: str, toy_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    line = ["sample", f"{cached}/domain.safetensors@{COMMIT}", "--source", str(toy_file), "--seeds", "0-3"]
    assert main([*line, "--out", str(tmp_path / "a.png")]) == 0, capsys.readouterr().err
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("push SOURCE anna/toy", "a source, expected a domain or run"),
        ("push nowhere anna/toy", "no such file"),
        ("push DOMAIN toy", "expected OWNER/NAME"),
        ("pull anna/toy", "expected hf://OWNER/NAME"),
        ("pull hf://anna/toy --out toy.png", "ends in .safetensors"),
        ("export SOURCE a.pt", "name TorchScript NAME.ts"),
        ("export SOURCE a.onx", ".onnx (ONNX"),
        ("export SOURCE a.safetensors", "--layout nvidia or --layout rosinality"),
        ("export SOURCE a.onnx --layout nvidia", "only NAME.safetensors has one"),
        ("export SOURCE a.safetensors --layout nvidia --noise input", "of graphs"),
        ("export SOURCE a.ts --psi nan", "--psi nan: expected a finite number, or `input`"),
        ("export SOURCE a.ts --input ws --psi 0.5", "truncated already"),
        ("export SOURCE a.ts --input ws --psi 0.7", "--psi 0.7: rows of W+"),
        ("export SOURCE a.safetensors --layout nvidia --input z", "--input z: of graphs"),
        ("export faces-64 a.safetensors --layout nvidia", "faces-64 is a mobile generator"),
        ("export SOURCE a.ts --strength 0.5", "only domains have one"),
        ("export DOMAIN nowhere/a.ts --source SOURCE", "the folder nowhere does not exist"),
    ],
)
def test_one_line_says_what_is_wrong(
    line: str,
    said: str,
    domain: Path,
    toy_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    monkeypatch.chdir(tmp_path)
    names = {"SOURCE": toy_file, "DOMAIN": domain}
    assert main([str(names.get(word, word)) for word in line.split()]) == 2
    (only,) = capsys.readouterr().err.splitlines()
    assert only.startswith("error: ") and said in only


def test_a_wrong_line_is_refused_before_torch_is_imported(toy_file: Path, domain: Path):
    lines = [
        ["push", str(toy_file), "anna/toy"],
        ["push", str(domain), "toy"],
        ["pull", "anna/toy"],
        ["export", str(toy_file), "a.pt"],
        ["export", str(toy_file), "a.onnx", "--psi", "x"],
    ]
    code = f"""
import sys
from stylegraft.cli.main import main
assert [main(line) for line in {lines!r}] == [2] * {len(lines)}
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_export_writes_the_file_its_card_and_the_checks(
    domain: Path, toy_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    line = ["export", str(domain), str(tmp_path / "a.ts"), "--source", str(toy_file), "--strength", "0.5"]
    assert main(line) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert "in:  z [B, 16]\n" in out and "batch of 3: max |a - b| / max |a| = " in out
    assert "licence: CC0-1.0 (random numbers)" in out
    page = (tmp_path / "a.ts.md").read_text()
    assert "| strength | 0.5 |" in page and "| psi | 0.7 |" in page and str(tmp_path) not in page
    z, source = torch.randn(2, 16), load(toy_file)
    wanted = source.with_domain(Domain.load(domain) * 0.5).generator(z, psi=0.7).image
    assert torch.allclose(torch.jit.load(tmp_path / "a.ts")(z), wanted, atol=1e-5)


@pytest.mark.parametrize("layout", ["nvidia", "rosinality"])
def test_an_exported_layout_is_a_source_again(layout: str, toy_file: Path, tmp_path: Path, capsys):
    path = tmp_path / f"{layout}.safetensors"
    assert main(["export", str(toy_file), str(path), "--layout", layout]) == 0, capsys.readouterr().err
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "stylegan2-16px" in out and "CC0-1.0 (random numbers)" in out
