"""On a Ray cluster nothing is lost with a process, and no disk is shared: run folders travel as bytes."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import tempfile
from pathlib import Path

import pytest

from stylegraft.adaptation import run as running
from stylegraft.adaptation.folder import open_folder
from stylegraft.errors import StylegraftError
from stylegraft.lab import cell as cells
from stylegraft.lab import cluster, compare
from stylegraft.lab.cell import Outcome
from stylegraft.lab.parcel import pack, stamps, unpack
from stylegraft.lab.record import failure, place
from stylegraft.lab.studyfile import parse
from stylegraft.lab.trace import read_trace

from . import eyes
from .eyes import use_toy_eyes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder, with the note on a failure beside it."""
    own = tmp_path / "a" / "s0"
    (own / "previews").mkdir(parents=True)
    for name in ("state.safetensors", "config.json", "result.json", "previews/step-000002.png"):
        (own / name).write_bytes(name.encode())
    (own / ".lock").touch()
    (own / ".state.safetensors.7.tmp").write_bytes(b"half")
    failure(own).write_bytes(b"{}")
    return own


def test_a_folder_comes_out_of_its_parcel_as_it_went_in(folder: Path, tmp_path: Path):
    there = tmp_path / "b" / "s0"
    unpack(pack(folder), there)
    assert pack(there) == pack(folder)
    assert sorted(pack(there)) == [
        "s0.failed.json",
        "s0/config.json",
        "s0/previews/step-000002.png",
        "s0/result.json",
        "s0/state.safetensors",
    ]


def test_what_is_known_is_not_sent_again_and_what_is_gone_goes(folder: Path, tmp_path: Path, monkeypatch):
    there = tmp_path / "b" / "s0"
    unpack(pack(folder), there)
    known = stamps(folder)
    failure(folder).unlink()
    (folder / "state.safetensors").write_bytes(b"a later state")
    (folder / "result.json").write_bytes(b"a later result")
    (folder / "log.txt").write_bytes(b"a line")
    parcel = pack(folder, known)
    news = {name for name, data in parcel.items() if data is not None}
    assert news == {"s0/state.safetensors", "s0/result.json", "s0/log.txt"}
    written: list[str] = []
    kept = unpack.__globals__["write_bytes"]
    monkeypatch.setitem(
        unpack.__globals__, "write_bytes", lambda path, *data: written.append(path.name) or kept(path, *data)
    )
    unpack(parcel, there)
    assert written == ["log.txt", "state.safetensors", "result.json"], "what is spoken of before what speaks"
    assert pack(there) == pack(folder)


def test_the_state_before_does_not_travel_and_ends_with_the_result(folder: Path, tmp_path: Path):
    there, name = tmp_path / "b" / "s0", "state.previous.safetensors"
    (folder / name).write_bytes(b"of the save before")
    parcel = pack(folder)
    assert f"s0/{name}" not in parcel
    unpack({**parcel, "s0/result.json": None}, there)
    assert not (there / name).exists()
    unpack({**parcel, "s0/result.json": None, "s0/state.safetensors": b"later"}, there)
    assert (there / name).read_bytes() == b"state.safetensors", "the former one is the one before"
    unpack(dict.fromkeys(parcel), there)
    assert (there / name).exists()
    unpack(parcel, there)
    assert not (there / name).exists()


# The desk
# --------------------------------------------------------------------------------------------


def test_a_desk_holds_the_lock_of_what_it_lends_and_serves_the_last_loan_alone(folder: Path, monkeypatch):
    desk, where = cluster.Desk(), str(folder)
    assert desk.lend("key", where, "first") == (pack(folder), 1)
    with pytest.raises(StylegraftError, match="another process is writing"), open_folder(folder):
        pass
    assert desk.lend("key", where, "second")[1] == 2, "Ray has given the first task up"
    fresh = {**pack(folder), "s0/log.txt": b"from the lost one"}
    assert "has been lent anew" in desk.take(where, "first", fresh)
    assert not (folder / "log.txt").exists()
    assert desk.take(where, "second", {**fresh, "s0/log.txt": b"hello"}) == ""
    assert (folder / "log.txt").read_bytes() == b"hello"
    desk.back(where, "first")
    with pytest.raises(StylegraftError), open_folder(folder):
        pass
    desk.back(where, "second")
    with open_folder(folder):
        pass
    again = cluster.Desk()  # one that was lost: its task goes on sending
    with open_folder(folder):
        assert "another process is writing" in again.take(where, "second", {**fresh, "s0/log.txt": b"late"})
    assert (folder / "log.txt").read_bytes() == b"hello", "nothing is written without the lock"
    assert again.take(where, "second", pack(folder)) == ""
    with pytest.raises(StylegraftError), open_folder(folder):
        pass


def test_a_desk_does_not_lend_what_another_process_has_or_what_is_no_run(
    folder: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(cluster, "GONE_SECONDS", 0.0)
    with open_folder(folder):
        outcome, _ = cluster.Desk().lend("key", str(folder), "one")
    assert isinstance(outcome, Outcome) and outcome.state == "busy"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.png").touch()
    outcome, _ = cluster.Desk().lend("key", str(tmp_path / "mine"), "one")
    assert isinstance(outcome, Outcome) and outcome.state == "refused" and "no run's" in outcome.text


def test_a_machine_says_what_it_lacks(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("STYLEGRAFT_MOBILE", str(tmp_path / "nowhere"))
    use_toy_eyes(monkeypatch)
    settings = (("encoder", "toy"),)
    assert cluster.lacks(cluster.__version__, settings, ["faces-64", "/a/file"]) == ""
    assert "nowhere: no such file" in cluster.lacks(cluster.__version__, settings, ["mobile-faces-1024"])
    assert "install the same on both" in cluster.lacks("0.0.1", settings, [])


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(StylegraftError, match=r"--ray: Ray is not installed; .*stylegraft\[ray\]"):
        cluster.on_ray(None)


# The cluster
# --------------------------------------------------------------------------------------------

STUDY = """
name = "toy"
source = "{source}"
targets = [{{images="{images}", align="off", label="mine"}}]
recipes = [{{recipe="tgan", set={{warmup=0}}}}, {{recipe="tgan", set={{warmup=0, lr=1e30}}, label="wild"}}]
spaces = ["stylespace"]
shots = [4]
steps = 4
batch = 2
[trace]
every = 2
samples = 6
encoder = "random-tiny"
[resources]
cpu = 1
"""


def in_workers(mark: Path):
    """What every worker does first: it looks through toy eyes, saves at every step and sends at every look, and the
    first run that comes to step 2 is killed.
    """

    def hook() -> None:
        use_toy_eyes(pytest.MonkeyPatch())
        cluster.SEND_SECONDS = running.SAVE_SECONDS = 0.0
        kept = cluster.work

        def weak(job, say):
            def looked(line: str) -> None:
                say(line)
                if "step 2" in line and not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)

            return kept(job, looked)

        cluster.work = weak

    return hook


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs ray: pip install 'stylegraft[ray]'"
)
def test_a_worker_is_killed_on_a_cluster_of_two_nodes_and_nothing_is_lost(
    toy_file: Path, toy_images: Path, tmp_path: Path, monkeypatch
):
    import ray
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    use_toy_eyes(monkeypatch)
    monkeypatch.setattr(cells, "_PANELS", {})
    study = parse(STUDY.format(source=toy_file, images=toy_images), tmp_path / "study.toml")
    compare.run(study, tmp_path / "one", say=[].append)
    (tmp_path / "node").mkdir()
    files = tempfile.TemporaryDirectory()  # Ray's sockets have short names
    head = {"num_cpus": 0, "include_dashboard": False, "no_monitor": True, "temp_dir": files.name}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    cloudpickle.register_pickle_by_value(eyes)
    try:
        nodes.add_node(num_cpus=1, env_vars={"TMPDIR": str(tmp_path / "node")})
        options = {"log_to_driver": False, "logging_level": "ERROR"}
        hook = {"worker_process_setup_hook": in_workers(tmp_path / "mark")}
        ray.init(address=nodes.address, runtime_env=hook, **options)
        said: list[str] = []
        found = compare.run(study, tmp_path / "ray", runner=cluster.on_ray("auto"), say=said.append)
    finally:
        cloudpickle.unregister_pickle_by_value(eyes)
        ray.shutdown()
        nodes.shutdown()
        files.cleanup()
    states = {one.key.partition("/")[0]: one for one in found}
    assert [states[name].state for name in ("tgan-warmup=0", "wild")] == ["done", "failed"], found
    assert "the run has diverged" in states["wild"].text
    assert any("its process or machine was lost" in line for line in said)
    cell, wild = compare.listed(study)
    a, b = (place(tmp_path / name, cell) for name in ("one", "ray"))
    assert (a / "domain.safetensors").read_bytes() == (b / "domain.safetensors").read_bytes()
    assert read_trace(a).points == read_trace(b).points
    assert set(pack(a)) == set(pack(b))
    assert not (b / "state.previous.safetensors").exists()
    sessions = json.loads((b / "config.json").read_text())["sessions"]
    assert [one["from"] for one in sessions] == [0, 1], "begun, and continued at what had been sent"
    assert json.loads(failure(place(tmp_path / "ray", wild)).read_text())["error"] == states["wild"].text
    assert list((tmp_path / "node").glob("stylegraft-*")), "runs were in a folder of their node"
    assert "stylegraft-" not in (b / "log.txt").read_text(), "paths are those of the driver"
