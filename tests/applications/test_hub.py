"""A domain is shared as three files, and nothing else of the run; what comes back is pinned and checked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stylegraft.applications import hub
from stylegraft.applications.card import Measured, card, measured
from stylegraft.applications.hub import FILES, full_name, pull, push
from stylegraft.applications.privacy import without_paths
from stylegraft.applications.sharing import write_folder
from stylegraft.checkpoints import Source
from stylegraft.domains import Domain
from stylegraft.errors import StylegraftError

from ..toys import domain_of, toy

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {
    "recipe": "dcl",
    "space": "stylespace",
    "steps": 120,
    "seed": 7,
    "changes": {"lr": 0.001},
    "target": {"name": "sketches", "count": 10},
}


@pytest.fixture
def source() -> Source:
    return Source("toy", toy("stylegan2"), None, {"licence": "none"})


@pytest.fixture
def run(source: Source, tmp_path: Path) -> Path:
    """A run folder with everything that must stay at home."""
    folder = tmp_path / "run"
    (folder / "previews").mkdir(parents=True)
    replace(domain_of(source.generator, "stylespace"), config=CONFIG).save(folder / "domain.safetensors")
    for name in (
        "targets.png",
        "targets.safetensors",
        "previews/step-000100.png",
        "config.json",
        "state.safetensors",
    ):
        (folder / name).write_bytes(b"a picture of Anna")
    return folder


@dataclass
class FakeApi:
    """What `push` calls of huggingface_hub.HfApi, remembered."""

    files: tuple[str, ...] = ()
    private: bool = False
    error: Exception | None = None
    calls: list[tuple[str, Any]] = field(default_factory=list)

    def create_repo(self, repo, *, private, exist_ok, repo_type):
        self.calls.append(("create_repo", (repo, private)))
        if self.error:
            raise self.error

    def repo_info(self, repo, *, repo_type):
        siblings = [SimpleNamespace(rfilename=name) for name in (".gitattributes", *self.files)]
        return SimpleNamespace(private=self.private, siblings=siblings)

    def create_commit(self, repo, operations, *, commit_message, repo_type):
        self.calls.append(("create_commit", {op.path_in_repo: op.path_or_fileobj for op in operations}))
        return SimpleNamespace(oid=COMMIT)


def write(run: Path, source: Source, folder: Path, **more) -> Domain:
    return write_folder(folder, run / "domain.safetensors", source, repo="anna/pencil", name="pencil", **more)


def test_three_files_go_in_one_commit_and_the_name_is_pinned(run: Path, source: Source, tmp_path: Path):
    write(run, source, tmp_path / "out")
    (tmp_path / "out" / "targets.png").write_bytes(b"a picture of Anna")  # even where it lies beside them
    api = FakeApi()
    assert push(tmp_path / "out", "anna/pencil", api=api) == f"hf://anna/pencil/domain.safetensors@{COMMIT}"
    (_, made), (_, sent) = api.calls
    assert made == ("anna/pencil", False)
    assert sent == {name: str(tmp_path / "out" / name) for name in FILES}
    assert set(FILES) == {"README.md", "domain.safetensors", "preview.png"}


def test_nothing_of_the_run_but_its_domain_is_written(run: Path, source: Source, tmp_path: Path):
    write(run, source, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(FILES)
    assert (tmp_path / "out" / "domain.safetensors").read_bytes() == (run / "domain.safetensors").read_bytes()
    for path in (tmp_path / "out").iterdir():
        assert b"Anna" not in path.read_bytes()


def test_the_picture_is_of_samples_of_both(run: Path, source: Source, tmp_path: Path):
    """Its tiles are what the two generators draw from seeds, enlarged."""
    from stylegraft.applications.latents import of_seeds
    from stylegraft.data.pixels import to_uint8

    domain = write(run, source, tmp_path / "out")
    sheet = np.asarray(Image.open(tmp_path / "out" / "preview.png"))
    adapted = source.with_domain(domain).generator
    pixels = []
    for generator in (source.generator, adapted):
        image = generator(ws=of_seeds(generator, [0], 0.7).ws).image
        pixels.append(to_uint8(image)[0].permute(1, 2, 0).numpy().astype(int).repeat(8, 0).repeat(8, 1))
    left = sheet.shape[1] - (8 * 130 - 2)
    assert np.abs(sheet[:128, left : left + 128] - pixels[0]).max() <= 1  # batches round apart
    assert np.abs(sheet[130:258, left : left + 128] - pixels[1]).max() <= 1


def test_paths_of_this_machine_stay_here(source: Source, tmp_path: Path):
    told = {**CONFIG, "from": "/home/anna/work/a.safetensors", "note": "see C:\\Users\\anna\\b.png, or ~/c"}
    path = tmp_path / "d.safetensors"
    domain = replace(domain_of(source.generator, "stylespace"), config=told)
    domain.save(path, torch.float16)
    write_folder(tmp_path / "out", path, source, repo="o/n", name="n")
    shared = Domain.load(tmp_path / "out" / "domain.safetensors", source.generator)
    assert shared.config == {**CONFIG, "from": "a.safetensors", "note": "see b.png, or c"}
    for name, terms in Domain.load(path).deltas.items():
        assert torch.equal(shared.deltas[name][0].parts["D"], terms[0].parts["D"])
    assert (tmp_path / "out" / "domain.safetensors").stat().st_size <= path.stat().st_size  # fp16 stays fp16
    for made in (tmp_path / "out").iterdir():
        assert b"anna" not in made.read_bytes()


@pytest.mark.parametrize(
    "text", ["https://a.b/c/d", "hf://o/n/f@main", "affine/torgb.bias", "1/2 of 16384 / 2", "CC BY-NC-SA 4.0"]
)
def test_what_is_no_path_is_left_alone(text: str):
    assert without_paths({text: [text, 1, None]}) == {text: [text, 1, None]}


def test_the_card_names_base_licence_recipe_and_how_to_use_it(source: Source):
    base = {
        "name": "faces-64",
        "fingerprint": "mobile-64px-x",
        "sha256": "ab" * 32,
        "licence": "research only",
    }
    domain = replace(domain_of(source.generator, "stylespace"), config=CONFIG, base=base)
    numbers = Measured({"kid-effnet": (0.2069, 0.0312), "p_target": (None, 0.91)}, "by `stylegraft trace`")
    page = card(domain, "pencil", repo="anna/pencil", numbers=numbers, pictures="preview.png")
    _, header, text = page.split("---\n", 2)
    assert "license: other\n" in header and "library_name: stylegraft\n" in header
    assert 'base_model: "faces-64"\n' in header and "- stylegraft\n" in header
    for said in (
        "![Samples of the source above, of this domain below](preview.png)",
        "fall under the terms of its base: research only.",
        "| base sha256 | " + "ab" * 32 + " |",
        "| recipe | dcl (lr=0.001) |",
        "| space | stylespace |",
        "| steps | 120 |",
        "| training pictures | 10 |",
        "| `kid-effnet` | 0.207 | 0.031 |",
        "| `p_target` |  | 0.910 |",
        "    stylegraft sample hf://anna/pencil/domain.safetensors --seeds 0-63",
        "    stylegraft pull hf://anna/pencil --out pencil.safetensors",
    ):
        assert said in text, said
    assert "--source" not in text
    foreign = card(replace(domain, base={**base, "name": "mine", "licence": "CC0-1.0"}), "x", repo="o/n")
    assert "--source THE_BASE" in foreign and "license: cc0-1.0\n" in foreign
    assert "license: unknown\n" in card(replace(domain, base={**base, "licence": ""}), "x")


def test_numbers_are_those_of_the_domain_s_own_step(tmp_path: Path):
    header = {
        "run": {"recipe": {"warmup": 20}, "target": {"name": "/home/anna"}},
        "panel": {"samples": 200},
        "metrics": {"quality": "p", "kid": "k"},
        "source": {"p": 0.01, "k": 0.2},
    }
    points = [
        {"step": s, "weights": w, "p": s / 1000 + (w == "raw"), "k": 0.1}
        for s in (0, 50, 100)
        for w in ("ema", "raw")
    ]
    lines = [{"header": header}, *points]
    (tmp_path / "trace.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert measured(tmp_path, 120) == Measured(
        {"p": (0.01, 0.1), "k": (0.2, 0.1)}, "by `stylegraft trace` at step 100 on 200 samples"
    )
    assert measured(tmp_path, 90).values["p"] == (0.01, 0.05)
    assert "step 50 of the 70 that the domain took" in measured(tmp_path, 90).where
    (tmp_path / "trace.jsonl").write_text("{}\n")
    assert measured(tmp_path, 120) == measured(None, 120) == Measured()


@pytest.mark.parametrize(
    ("api", "private", "message"),
    [
        (
            FakeApi(files=("model.bin", "README.md")),
            False,
            "holds something else .README.md.; choose another name",
        ),
        (FakeApi(private=False), True, "--private, but this repository exists and is public"),
        (FakeApi(error=ConnectionError("no route")), False, "the hub cannot be reached; nothing was pushed"),
        (FakeApi(error=ValueError("odd\nand long")), False, "the hub refuses: odd$"),
    ],
)
def test_what_goes_wrong_is_one_line(api: FakeApi, private: bool, message: str, tmp_path: Path):
    with pytest.raises(StylegraftError, match=message) as caught:
        push(tmp_path, "anna/pencil", private=private, api=api)
    assert str(caught.value).startswith("anna/pencil: ") and "\n" not in str(caught.value)
    assert not [name for name, _ in api.calls if name == "create_commit"]


@pytest.mark.parametrize(
    ("status", "message"), [(401, "not logged in"), (403, "the role `write`"), (429, "later")]
)
def test_what_the_hub_answers_is_said_in_words(status: int, message: str, tmp_path: Path):
    error = RuntimeError("Client error")
    error.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
    with pytest.raises(StylegraftError, match=message):
        push(tmp_path, "anna/pencil", api=FakeApi(error=error))


def test_the_hub_s_own_errors_are_known():
    errors = pytest.importorskip("huggingface_hub.errors")
    assert "not logged in" in hub.reason(errors.LocalTokenNotFoundError("x"))
    assert "HF_HUB_OFFLINE" in hub.reason(errors.OfflineModeIsEnabled("x"))


def test_without_a_login_nothing_is_made(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(StylegraftError, match="anna/pencil: not logged in.*hf auth login"):
        hub.check_login("anna/pencil")


@pytest.mark.parametrize("repo", ["pencil", "a/b/c", "hf://a/b", "../b", "a/b c", "a/.."])
def test_what_is_no_repository_is_refused(repo: str):
    with pytest.raises(StylegraftError, match="expected OWNER/NAME"):
        hub.check_repo(repo)


def test_a_folder_with_other_things_is_refused(tmp_path: Path):
    (tmp_path / "README.md").write_text("")
    hub.check_folder(tmp_path)
    (tmp_path / "me.jpg").write_text("")
    with pytest.raises(StylegraftError, match=r"it holds me\.jpg, which is not to be shared"):
        hub.check_folder(tmp_path)


# --- back


@pytest.fixture
def cache(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with anna/pencil in it, and no way out."""
    repo = tmp_path / "hub" / "models--anna--pencil"
    for folder in ("refs", f"snapshots/{COMMIT}"):
        (repo / folder).mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    kept = repo / "snapshots" / COMMIT / "domain.safetensors"
    kept.write_bytes((run / "domain.safetensors").read_bytes())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return kept


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
def test_a_pulled_domain_is_pinned_and_the_same_bytes(revision: str, cache: Path, run: Path, tmp_path: Path):
    pulled = pull(f"hf://anna/pencil{revision}", tmp_path / "got.safetensors")
    assert pulled.name == f"hf://anna/pencil/domain.safetensors@{COMMIT}"
    assert pulled.path.read_bytes() == (run / "domain.safetensors").read_bytes()
    assert pulled.domain.config == CONFIG


def test_a_damaged_domain_is_refused_by_its_name(cache: Path, tmp_path: Path):
    data = bytearray(cache.read_bytes())
    data[-3] ^= 1
    cache.write_bytes(data)
    with pytest.raises(
        StylegraftError, match=f"^hf://anna/pencil/domain.safetensors@{COMMIT}: digest mismatch"
    ):
        pull("hf://anna/pencil", tmp_path / "got.safetensors")
    assert not (tmp_path / "got.safetensors").exists()


def test_another_file_is_not_written_over(cache: Path, tmp_path: Path):
    (tmp_path / "got.safetensors").write_text("mine")
    with pytest.raises(StylegraftError, match="exists already and is another one"):
        pull("hf://anna/pencil", tmp_path / "got.safetensors")
    assert (tmp_path / "got.safetensors").read_text() == "mine"


def test_names_of_the_hub_are_made_whole():
    assert full_name("hf://o/n") == "hf://o/n/domain.safetensors"
    assert full_name("hf://o/n@v1") == "hf://o/n/domain.safetensors@v1"
    assert full_name("hf://o/n/sub/a.safetensors@v1") == "hf://o/n/sub/a.safetensors@v1"
    for odd in ("o/n", "hf://o", "hf://o/../n", "hf://o/n@"):
        with pytest.raises(StylegraftError, match="expected hf://OWNER/NAME"):
            full_name(odd)
