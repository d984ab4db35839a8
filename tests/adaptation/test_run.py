"""A run can be stopped, killed, continued and extended, and its folder says what it is."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from stylegraft.adaptation.folder import open_folder
from stylegraft.adaptation.run import adapt
from stylegraft.checkpoints import Source, tensorfile
from stylegraft.domains import Domain
from stylegraft.errors import StylegraftError

from .toys import pictures, toy

FILES = {
    ".lock", "config.json", "domain.safetensors", "grid.png", "log.txt", "previews", "state.safetensors", "stats.jsonl",
    "targets.png",
}  # fmt: skip


def go(out: Path | None, steps: int = 6, **options):
    options = {"recipe": "dcl", "space": "affine-light+", "every": 3, "quiet": True, **options}
    return adapt(options.pop("source", toy()), pictures(), steps=steps, out=out, **options)


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
    assert config["machine"]["threads"] == torch.get_num_threads()
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
        ({"space": "stylespace"}, "space = 'affine-light+'"),
        ({"seed": 1}, "seed = 0"),
        ({"source": toy("mobile")}, "source.fingerprint"),
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
    go(tmp_path / "run", 3)
    assert "-> ABACUS): equality is no longer bit for bit" in (tmp_path / "run" / "log.txt").read_text()


def test_a_folder_in_use_is_refused(tmp_path):
    with open_folder(tmp_path / "run"):
        with pytest.raises(StylegraftError, match="another process is writing"):
            go(tmp_path / "run", 2)
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


def test_a_damaged_state_is_refused(tmp_path):
    go(tmp_path / "run", 2)
    path = tmp_path / "run" / "state.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(StylegraftError, match=r"state\.safetensors: digest mismatch"):
        go(tmp_path / "run", 4)


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
            toy(), pictures(), recipe="dcl", space="affine-light+", steps=40, every=1, quiet=True,
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
    run = go(tmp_path / "run", 3, source=lone, warmup_scratch=2)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "the source has no discriminator; one is trained from random weights" in log
    assert "the first 2 steps train the discriminator alone" in log
    assert ["G/adv" in stats for stats in run.stats] == [False, False, True]


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
    ],
)
def test_bad_requests_are_refused_before_the_first_step(options: dict, said: str, tmp_path):
    with pytest.raises(StylegraftError) as error:
        go(tmp_path / "run", 2, **options)
    assert said in str(error.value)
    assert not (tmp_path / "run").exists()
