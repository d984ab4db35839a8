"""A run can be stopped, killed, continued and extended, and its folder says what it is."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegraft.adaptation import folder as folders
from stylegraft.adaptation.folder import open_folder
from stylegraft.adaptation.lock import check_free
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.sameness import compare
from stylegraft.checkpoints import Source, opening, tensorfile
from stylegraft.data.blazeface import Face
from stylegraft.data.images import load_images
from stylegraft.domains import Domain
from stylegraft.errors import StylegraftError
from stylegraft.networks import products
from stylegraft.networks.generator import mean_w

from .toys import pictures, toy

FILES = {
    ".lock", "config.json", "domain.safetensors", "grid.png", "log.txt", "previews", "state.previous.safetensors",
    "state.safetensors", "stats.jsonl", "targets.png", "targets.safetensors",
}  # fmt: skip


def go(out: Path | None, steps: int = 6, **options):
    base = {"recipe": "dcl", "space": "affine-light+", "every": 3, "quiet": True, "warmup": 0}
    options = {**base, **options}
    return adapt(
        options.pop("source", toy()), options.pop("images", pictures()), steps=steps, out=out, **options
    )


def kept(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in ("state.safetensors", "domain.safetensors")}


def tensors(out: Path) -> dict[str, torch.Tensor]:
    return tensorfile.read(out / "state.safetensors")[0]


def equal(a: Path, b: Path) -> bool:
    mine, theirs = tensors(a), tensors(b)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_the_folder_holds_what_a_run_is(tmp_path):
    run = go(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert sorted(path.name for path in (tmp_path / "run" / "previews").iterdir()) == [
        "step-000000.png", "step-000003.png", "step-000006.png",
    ]  # fmt: skip
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["recipe"]["cl1"] == 2.0
    (session,) = config["sessions"]
    assert (session["from"], session["to"], session["threads"]) == (0, 6, torch.get_num_threads())
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(6))
    domain = Domain.load(tmp_path / "run", toy().generator)
    assert domain.config["recipe"] == "dcl"
    assert domain.config["steps"] == 6
    assert run.domain.deltas.keys() == domain.deltas.keys()
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "our reading" in log
    assert "% of the generator" in log


@pytest.mark.parametrize(
    ("recipe", "space"), [("dcl", "affine-light+"), ("ada", "mapping"), ("fixnoise", "full")]
)
def test_more_steps_extend_a_run_bit_for_bit(recipe: str, space: str, tmp_path):
    options = {"recipe": recipe, "space": space}
    go(tmp_path / "whole", 6, **options)
    go(tmp_path / "parts", 3, **options)
    again = go(tmp_path / "parts", 6, **options)
    assert [stats["step"] for stats in again.stats] == [3, 4, 5]
    assert equal(tmp_path / "whole", tmp_path / "parts")
    whole, parts = (Domain.load(tmp_path / name) for name in ("whole", "parts"))
    for name, terms in whole.deltas.items():
        assert all(
            torch.equal(terms[0].parts[part], parts.deltas[name][0].parts[part]) for part in terms[0].parts
        )


def test_the_same_command_on_a_finished_run_changes_nothing(tmp_path):
    go(tmp_path / "run", 3)
    before = kept(tmp_path / "run")
    assert go(tmp_path / "run", 3).stats == []
    assert kept(tmp_path / "run") == before


def test_the_same_run_writes_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        go(tmp_path / name, 3)
    assert kept(tmp_path / "a") == kept(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cl1": 1.0}, "recipe.cl1 = 2.0, the command now asks for 1.0"),
        ({"batch": 2}, "recipe.batch = 4"),
        ({"recipe": "tgan"}, "recipe.name = 'dcl'"),
        ({"space": "stylespace"}, "space = 'affine-light+@8'"),
        ({"seed": 1}, "seed = 0"),
        ({"source": toy("mobile")}, "source.fingerprint"),
        ({"source": Source("toy", toy().generator)}, "discriminator = "),
        ({"images": pictures().flip(0)}, "target.sha256"),
    ],
)
def test_a_changed_field_is_refused_by_name(change: dict, said: str, tmp_path):
    go(tmp_path / "run", 2)
    before = kept(tmp_path / "run")
    with pytest.raises(StylegraftError) as error:
        go(tmp_path / "run", 4, **change)
    assert said in str(error.value)
    assert "--out" in str(error.value)
    assert kept(tmp_path / "run") == before


def test_another_machine_setting_is_said(tmp_path, monkeypatch):
    go(tmp_path / "run", 2)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "ABACUS")
    monkeypatch.setattr(products, "HERE", products.Ways(products.Bounds(9, 99)))  # as of another stylegraft
    go(tmp_path / "run", 3)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "-> ABACUS; convolutions " in log
    assert "-> tiles from 9 x 99, " in log
    assert "): equality is no longer bit for bit" in log


def test_the_config_tells_every_session_and_the_steps_now_asked(tmp_path, monkeypatch):
    go(tmp_path / "run", 2)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "ABACUS")
    go(tmp_path / "run", 3)
    go(tmp_path / "run", 3)  # takes no step
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["recipe"]["steps"] == 3
    first, second = config["sessions"]
    assert (first["from"], first["to"], second["from"], second["to"]) == (0, 2, 2, 3)
    assert first["cpu"] != second["cpu"] == "ABACUS"


def test_a_detector_that_sees_otherwise_does_not_stop_or_change_a_run(tmp_path, monkeypatch):
    """Its sums, and with them the frames, depend on the machine; a run keeps the frames it began with."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, image in enumerate(pictures(4)):
        pixels = image.repeat_interleave(4, 1).repeat_interleave(4, 2).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{i}.png")

    def sees(shift: float):
        eyes, mouth = np.array([[26.0, 24.0], [38.0, 24.0]]), np.array([32.0, 36.0])
        face = Face(eyes + shift, mouth + shift, centre=mouth, side=32.0, score=1.0)
        monkeypatch.setattr("stylegraft.data.align.find_face", lambda picture: face)

    sees(0)
    go(tmp_path / "whole", 4, images=folder)
    go(tmp_path / "run", 2, images=folder)
    sees(2)
    assert not torch.equal(
        load_images(folder, 16, align="auto").images.half(),
        tensorfile.read(tmp_path / "run" / "targets.safetensors")[0]["images"],
    )
    go(tmp_path / "run", 4, images=folder)
    assert equal(tmp_path / "run", tmp_path / "whole")
    with pytest.raises(StylegraftError, match="target.align = 'auto', the command now asks for 'off'"):
        go(tmp_path / "run", 4, images=folder, align="off")
    assert Domain.load(tmp_path / "run").config["target"]["align"] == "auto"


def test_lost_training_images_are_refused(tmp_path):
    go(tmp_path / "run", 2)
    (tmp_path / "run" / "targets.safetensors").unlink()
    with pytest.raises(StylegraftError, match=r"targets\.safetensors: no such file"):
        go(tmp_path / "run", 4)


def test_the_domain_tells_what_was_changed_in_its_recipe(tmp_path):
    assert go(None, 2, recipe="tgan", warmup=100).domain.config["changes"] == {}
    go(tmp_path / "run", 2, cl1=1.0, batch=2)
    changes = Domain.load(tmp_path / "run").config["changes"]
    assert changes == {"cl1": 1.0, "batch": 2, "anchors": 10, "warmup": 0}


def test_the_numbers_in_memory_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("stylegraft.adaptation.run.KEPT", 2)
    assert [stats["step"] for stats in go(tmp_path / "run", 5).stats] == [3, 4]
    assert len((tmp_path / "run" / "stats.jsonl").read_text().splitlines()) == 5


def test_a_preview_costs_one_pass_of_the_mapping_for_w_avg(tmp_path, monkeypatch):
    calls: list[str] = []
    real = mean_w

    def counted(network, *args, **options):
        calls.append(type(network).__name__)
        return real(network, *args, **options)

    monkeypatch.setattr("stylegraft.domains.apply.mean_w", counted)
    monkeypatch.setattr("stylegraft.adaptation.state.mean_w", counted)
    go(tmp_path / "run", 4, recipe="tgan", space="mapping", every=2)
    assert sorted(calls) == ["Adapted"] * 3 + ["Generator"]  # steps 0, 2, 4, and the source's own once


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    go(tmp_path / "run", 2)
    for folder in (tmp_path / "run", tmp_path / "run" / "previews"):
        (folder / ".x.png.1.tmp").touch()
    go(tmp_path / "run", 2)
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_a_file_system_without_locks_is_not_called_in_use(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StylegraftError, match=r"gives no lock \(No locks available\)"):
        go(tmp_path / "run", 2)


def test_a_folder_in_use_is_refused_with_its_holder(tmp_path):
    with open_folder(tmp_path / "run"):
        with pytest.raises(StylegraftError, match=rf"another process is writing .*pid {os.getpid()}\).*kill"):
            go(tmp_path / "run", 2)
        (tmp_path / "run" / ".lock").write_text("12 elsewhere")
        with pytest.raises(StylegraftError, match=r"\(pid 12 on elsewhere\); wait for it or"):
            check_free(tmp_path / "run")
    assert (tmp_path / "run" / ".lock").read_bytes() == b""
    (tmp_path / "run" / ".lock").write_text("12 killed")
    check_free(tmp_path / "run")
    go(tmp_path / "run", 2)


def test_a_full_disk_keeps_the_previous_state(tmp_path, monkeypatch):
    go(tmp_path / "run", 3)
    before = kept(tmp_path / "run")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("stylegraft.atomic.os.replace", full)
        with pytest.raises(StylegraftError, match="the disk is full"):
            go(tmp_path / "run", 6)
    assert kept(tmp_path / "run") == before
    go(tmp_path / "run", 6)
    go(tmp_path / "whole", 6)
    assert equal(tmp_path / "run", tmp_path / "whole")


def test_the_states_are_as_large_as_was_asked_of_the_disk(tmp_path, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(folders, "check_room", lambda out, size: asked.append(size))
    go(tmp_path / "run", 2, space="full", warmup=0)
    taken = sum(tensor.nbytes for tensor in tensors(tmp_path / "run").values() if tensor.ndim)
    assert asked == [pytest.approx(taken, rel=0.01)]


def spoil(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    {
        "flipped": lambda: path.write_bytes(data),
        "truncated": lambda: path.write_bytes(data[:-9]),
        "gone": path.unlink,
    }[how]()


@pytest.mark.parametrize(("how", "said"), [("truncated", "truncated: "), ("gone", "no such file")])
def test_a_damaged_state_gives_way_to_that_of_the_save_before(how: str, said: str, tmp_path):
    out = tmp_path / "run"
    go(out, 4, every=2)
    spoil(out / "state.safetensors", how)
    assert [stats["step"] for stats in go(out, 6, every=100).stats] == [2, 3, 4, 5]
    (line,) = [line for line in (out / "log.txt").read_text().splitlines() if "save before it" in line]
    assert line.startswith("warning: ") and said in line and line.endswith(", state.previous.safetensors")
    go(tmp_path / "whole", 6)
    assert equal(out, tmp_path / "whole")
    before = kept(out)
    for name in ("state.safetensors", "state.previous.safetensors"):
        spoil(out / name, "flipped")
    with pytest.raises(StylegraftError, match=r"state\.safetensors: digest mismatch.* no better: .*remove "):
        go(out, 8)
    assert (out / "domain.safetensors").read_bytes() == before["domain.safetensors"]


def test_a_state_that_cannot_be_read_now_gives_way_to_none(tmp_path, monkeypatch):
    out = tmp_path / "run"
    go(out, 2, every=1)
    before = {path.name: path.read_bytes() for path in out.glob("state*")}
    assert len(before) == 2
    kept = opening._nonblocking
    for code in (errno.EACCES, errno.EIO):

        def denied(path, flags, code=code):
            if Path(path).name == "state.safetensors":
                raise OSError(code, os.strerror(code))
            return kept(path, flags)

        monkeypatch.setattr(opening, "_nonblocking", denied)
        with pytest.raises(
            StylegraftError, match=rf"state\.safetensors: cannot be read: {os.strerror(code)}$"
        ):
            go(out, 4)
        assert {path.name: path.read_bytes() for path in out.glob("state*")} == before


def rewritten(path: Path, change) -> None:
    """The state as another release would have written it."""
    found, metadata = tensorfile.read(path)
    texts = {key: json.loads(metadata[key]) for key in ("config", "numbers")}
    metadata |= change(found, texts) or {}
    metadata |= {key: tensorfile.to_json(value, key) for key, value in texts.items()}
    told = {key: metadata[key] for key in texts}
    tensorfile.write(path, found, metadata | {"digest": tensorfile.digest(found, told)})


def test_a_state_of_an_older_release_goes_on_or_is_refused_in_words(tmp_path):
    def unnamed(found, texts):
        texts["config"].pop("sessions")
        texts["config"]["target"].pop("held_out")
        texts["config"]["recipe"].pop("micro")
        return {"library_version": "0.0.1"}

    def without(found, texts):
        found.pop("path_mean")
        return {"library_version": "0.0.1"}

    path = tmp_path / "run" / "state.safetensors"
    go(tmp_path / "run", 2)
    rewritten(path, unnamed)
    go(tmp_path / "run", 4)
    go(tmp_path / "whole", 4)
    assert equal(tmp_path / "run", tmp_path / "whole")
    rewritten(path, without)
    with pytest.raises(
        StylegraftError, match=r"'path_mean' is missing \(stylegraft 0\.0\.1 wrote it, this is "
    ):
        go(tmp_path / "run", 6)
    rewritten(path, lambda found, texts: {"format_version": "9"})
    with pytest.raises(StylegraftError, match="written by a newer stylegraft .*upgrade stylegraft"):
        go(tmp_path / "run", 6)


def test_a_run_killed_before_its_first_save_starts_with_everything(tmp_path, monkeypatch):
    """A state is the last of what a run begins with: with one it would go on, and never make what is missing."""
    with monkeypatch.context() as patch:
        patch.setattr("stylegraft.adaptation.run.contact_sheet", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            go(tmp_path / "run", 1)
    go(tmp_path / "run", 1)
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_ctrl_c_saves_and_the_same_command_continues(tmp_path, capsys):
    def interrupt(stats):
        if stats["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", 6, progress=interrupt, every=100)
    assert (
        "stopped after step 4 of 6, saved; the same command continues"
        in (tmp_path / "run" / "log.txt").read_text()
    )
    go(tmp_path / "run", 6)
    go(tmp_path / "whole", 6)
    assert equal(tmp_path / "run", tmp_path / "whole")


def test_a_killed_run_continues_bit_for_bit(tmp_path):
    """Killed twice while it saves after every step; whatever lies there loads and leads to the same end."""
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from adaptation.toys import pictures, toy
        from stylegraft.adaptation.run import adapt
        adapt(
            toy(), pictures(), recipe="dcl", space="affine-light+", steps=40, every=1, quiet=True, warmup=0,
            out=Path(sys.argv[1]), progress=lambda stats: print(stats["step"], flush=True),
        )
    """)
    tests = Path(__file__).parents[1]
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), *(p for p in sys.path if p)])}
    for kill in (2, 3):
        command = [sys.executable, "-c", script, str(tmp_path / "run")]
        process = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(kill):
            assert process.stdout.readline(), "the run ended by itself"
        time.sleep(0.013 * kill)  # somewhere inside the save that follows
        process.kill()
        process.wait()
        process.stdout.close()
        tensors(tmp_path / "run")
    done = len((tmp_path / "run" / "stats.jsonl").read_text().splitlines()) + 1
    go(tmp_path / "run", done, every=100)
    go(tmp_path / "whole", done, every=100)
    assert equal(tmp_path / "run", tmp_path / "whole")
    assert not list((tmp_path / "run").glob(".*.tmp"))


def test_a_source_without_discriminator_gets_one_and_says_so(tmp_path):
    lone = Source("lone", toy().generator)
    run = go(tmp_path / "run", 3, source=lone, recipe="freezed", warmup_scratch=2)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "the source has no discriminator; one is trained from random weights" in log
    assert "5 steps: the first 2 train the discriminator alone, then come the recipe's 3" in log
    assert ["G/adv" in stats for stats in run.stats] == [False, False, True, True, True]


def test_a_run_without_discriminator_leaves_no_empty_domain():
    """However few steps are asked for: the warm-up comes on top of them."""
    run = go(None, 1, source=Source("lone", toy().generator), warmup_scratch=4)
    assert any(bool(delta.any()) for terms in run.domain.deltas.values() for delta in terms[0].parts.values())


def test_no_random_layer_of_a_discriminator_stays_frozen(tmp_path):
    go(tmp_path / "run", 1, source=Source("lone", toy().generator), recipe="freezed", warmup_scratch=1)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["recipe"]["discriminator"] == "all"
    moments = {name for name in tensors(tmp_path / "run") if name.startswith("adam/D/D.b16.")}
    assert moments
    assert "policy all" in (tmp_path / "run" / "log.txt").read_text()


def test_a_dry_run_says_what_moves_and_what_it_costs(tmp_path, capsys):
    run = go(tmp_path / "run", 500, dry_run=True, quiet=False)
    said = capsys.readouterr().err
    assert run.plan is not None
    assert f"moves {run.plan.count:,} numbers" in said
    assert "s a step" in said
    assert "for 500 steps" in said
    assert run.plan.total > 400 * run.plan.seconds > 0
    assert not (tmp_path / "run").exists()
    assert all(
        float(term.parts["U" if "U" in term.parts else "D"].abs().sum()) == 0
        for terms in run.domain.deltas.values()
        for term in terms
    )


def test_the_plan_counts_the_warm_up_as_the_discriminators_alone(tmp_path, monkeypatch):
    seconds = {"D": 1.0, "R1": 1.6, "G": 10.0, "PL": 8.0}
    monkeypatch.setattr(
        "stylegraft.adaptation.plan.timed",
        lambda state, often: {(phase, step): seconds[phase] for phase, step in often},
    )
    plan = go(tmp_path / "run", 50, recipe="tgan", warmup=100, every=1000, dry_run=True).plan
    assert plan is not None
    assert plan.seconds == pytest.approx(1 + 1.6 / 16 + 10 + 8 / 4)
    assert plan.total == pytest.approx(100 * 1.1 + (50 + 1) * 13.1)


def test_a_run_can_be_continued_from_before_its_first_step(tmp_path):
    """The state is there as soon as the training starts: a full disk is found then, and a kill costs nothing."""
    out, found = tmp_path / "run", []
    go(out, 1, progress=lambda stats: found.append((out / "state.safetensors").is_file()))
    assert found == [True]


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = go(None, 2)
    assert run.folder is None
    assert len(run.stats) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_shift_of_w_avg_is_part_of_the_domain(tmp_path):
    run = go(tmp_path / "run", 3, recipe="tgan", space="mapping")
    (shift,) = run.domain.deltas["mapping.w_avg"]
    merged = run.domain.merge(toy().generator)
    z = torch.randn(4000, 8, generator=torch.Generator().manual_seed(3))
    found = merged.mapping(z).mean(0) - toy().generator.mapping(z).mean(0)
    assert torch.allclose(shift.parts["D"], found, atol=0.05 * float(found.abs().max()) + 1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"recipe": "dlc"}, "no recipe 'dlc' (did you mean 'dcl'?)"),
        ({"space": "afine"}, "did you mean 'affine'"),
        ({"device": "tpu"}, "device 'tpu' is unknown"),
        ({"cl_1": 2}, "no field 'cl_1' (did you mean 'cl1'?)"),
        ({"batch": 0}, "batch is 0, expected at least 1"),
        ({"discriminator": "b99"}, "no group 'b99'"),
        ({"augment": "bgq"}, "'bgq'"),
        ({"preset": "small"}, "no preset 'small'"),
        ({"cdc": 1}, "expected a bool"),
        ({"batch": 1}, "CL1 tells the images of a batch apart"),
        ({"mbstd": 1}, "mbstd is 1, expected at least 2"),
        ({"every": 0}, "--every 0: expected at least 1"),
        ({"images": torch.rand(4, 3, 16, 16) * 255}, "expected -1 to 1"),
        ({"images": torch.full((4, 3, 16, 16), torch.nan)}, "expected -1 to 1"),
    ],
)
def test_bad_requests_are_refused_before_the_first_step(options: dict, said: str, tmp_path):
    with pytest.raises(StylegraftError) as error:
        go(tmp_path / "run", 2, **options)
    assert said in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_run_from_before_a_field_had_a_name_goes_on():
    row = dataclasses.asdict(recipe("tgan"))
    asked = {"source": "", "discriminator": "", "target": "", "recipe": row, "space": "full", "seed": 0}
    older = {field: value for field, value in row.items() if field not in ("l2sp", "lead_judge")}
    compare(Path("runs/old"), {**asked, "recipe": older}, asked)
    with pytest.raises(
        StylegraftError, match=r"started with recipe\.l2sp = 0\.0, the command now asks for 1\.0"
    ):
        compare(Path("runs/old"), {**asked, "recipe": older}, {**asked, "recipe": row | {"l2sp": 1.0}})


def test_a_seed_that_is_none_is_refused_before_anything_is_looked_at():
    for seed in (-1, 2**32):
        with pytest.raises(
            StylegraftError, match=f"--seed {seed}: expected a whole number from 0 to 4294967295"
        ):
            adapt("no source", "no pictures", seed=seed)
