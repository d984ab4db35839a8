"""Long work outlives the app: it is queued, shows how far it is, stops as by Ctrl-C and goes on by the same command."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from stylegraft.errors import StylegraftError
from stylegraft.lab.anatomy import Anatomy, Part
from stylegraft.studio import commands
from stylegraft.studio.jobs import Jobs
from stylegraft.studio.worker import progress
from stylegraft.studio.workspace import Workspace

FORM = {
    "source": "toy.safetensors",
    "target": "pictures/mine",
    "recipe": "tgan",
    "space": "stylespace",
    "name": "one",
}


def until(see, seconds: float = 100.0):
    """Wait for what `see` finds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := see():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come")


@pytest.fixture
def pictures(workspace: Path, toy_images: Path) -> Path:
    import shutil

    shutil.copytree(toy_images, workspace / "pictures" / "mine")
    return workspace


def test_a_run_survives_the_app_stops_and_goes_on(pictures: Path):
    place = Workspace(pictures)
    first = Jobs(place)
    argv, about = commands.adapt(place, {**FORM, "steps": 4000, "every": 5, "align": "off"})
    running = first.submit("adapt", argv, about)
    waits = first.submit("adapt", argv, {**about, "out": "runs/other"})
    assert (running["state"], waits["state"]) == ("running", "waiting")
    first.close()
    until(lambda: (pictures / "runs/one/domain.safetensors").exists())

    again = Jobs(place)  # the app was closed and opened
    until(lambda: (again.listing()[1]["progress"] or {}).get("done", 0) > 5)
    assert [job["state"] for job in again.listing()] == ["waiting", "running"]
    told = again.listing()[1]["progress"]
    assert told["total"] >= 4000
    assert again.writes("runs/one")
    with pytest.raises(StylegraftError, match="is running; stop it first"):
        again.forget(running["id"])
    assert again.stop(waits["id"])["state"] == "stopped"
    assert again.stop(running["id"])["state"] == "stopping"
    until(lambda: again.listing()[1]["state"] == "stopped")
    assert "the same command continues" in again.log(running["id"])["log"]

    again.resume(running["id"])
    until(lambda: "continuing at step" in again.log(running["id"])["log"])
    again.stop(running["id"])
    until(lambda: again.listing()[1]["state"] == "stopped")
    again.forget(running["id"])
    assert len(again.listing()) == 1 and (pictures / "runs/one/state.safetensors").exists()


def test_what_fails_says_why_in_the_command_s_words(pictures: Path):
    jobs = Jobs(Workspace(pictures))
    jobs.submit(
        "prune",
        ["prune", "./b.safetensors", "--out", "c.safetensors", "--source", "./toy.safetensors"],
        {"title": "c", "out": "c"},
    )
    job = until(lambda: (found := jobs.listing()[0])["state"] == "failed" and found)
    assert (
        "only style offsets are ranked as they are" in job["error"]
        and "/" + pictures.name not in job["error"]
    )


def test_a_job_whose_processes_died_is_not_taken_for_a_running_one(workspace: Path):
    from stylegraft.atomic import write_json

    jobs = Jobs(Workspace(workspace))
    folder = jobs.folder / "1700000000000-adapt"
    folder.mkdir(parents=True)
    write_json(folder / "job.json", {"verb": "adapt", "argv": [], "about": {"title": "x", "out": "x"}})
    write_json(folder / "running.json", {"pid": 1, "started": 0})
    assert jobs.listing()[0]["state"] == "cut off"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("━━━━━╺━━━━  12/400 0:03:20 G 1.02 D 1.31 0.61 s/step", (12, 400, 200, "G 1.02 D 1.31 0.61 s/step")),
        ("images ━━━━━━━━ 3/9 -:--:--", (3, 9, None, "images")),
        ("step 5: G/adv 1.0", None),
    ],
)
def test_the_bar_of_a_command_becomes_numbers(line: str, wanted):
    found = progress(line)
    assert (found and tuple(found.values())) == wanted


def test_forms_become_command_lines_that_no_shell_reads(pictures: Path):
    place = Workspace(pictures)
    argv, about = commands.adapt(place, {**FORM, "steps": 5, "seed": 3})
    assert argv == [
        "adapt", "./toy.safetensors", "./pictures/mine", "--recipe", "tgan", "--space", "stylespace",
        "--steps", "5", "--seed", "3", "--out", "runs/one",
    ]  # fmt: skip
    assert about["out"] == "runs/one"
    bad = [
        ({"target": "/etc"}, "not a name inside"), ({"target": "--help"}, "not a name inside"),
        ({"name": "../x"}, "expected a name"),
        ({"name": "a;b"}, "expected a name"), ({"recipe": "rm"}, "unknown"), ({"space": "everything"}, "everything"),
        ({"steps": 10**9}, "expected 1 to"), ({"source": "faces-46"}, "no such file"),
    ]  # fmt: skip
    for change, words in bad:
        with pytest.raises(StylegraftError, match=words):
            commands.adapt(place, {**FORM, **change})
    argv, _ = commands.export(place, {"domain": "a.safetensors", "kind": ".safetensors", "name": "merged"})
    assert argv == ["convert", "./a.safetensors", "merged.safetensors", "--source", "./toy.safetensors"]
    with pytest.raises(StylegraftError, match="OWNER/NAME"):
        commands.push(place, {"domain": "a.safetensors", "repo": "--private"})
    shared = {"domain": "a.safetensors", "repo": "me/a"}
    assert "--dry-run" in commands.push(place, shared)[0]
    assert "--dry-run" not in commands.push(place, {**shared, "upload": True})[0]
    translated = {"domain": "a.safetensors", "photos": "pictures/mine", "reference": "pictures/mine/00.png"}
    assert commands.translate(place, translated)[0][-4:] == [
        "--reference", "./pictures/mine/00.png", "--source", "./toy.safetensors",
    ]  # fmt: skip
    for change, words in (
        ({"reference": "../x.png"}, "not a name"),
        ({"reference": "no.png"}, "no such file"),
    ):
        with pytest.raises(StylegraftError, match=words):
            commands.translate(place, {**translated, **change})
    with pytest.raises(StylegraftError, match="steps 0: expected 1 to"):
        commands.adapt(place, {**FORM, "steps": 0})
    with pytest.raises(StylegraftError, match="has saved its domain"):
        commands.anatomy(place, {"domain": "pictures/mine"})


def test_stations_become_the_keys_of_a_film(pictures: Path):
    from stylegraft.applications.keyfile import read_keys

    place = Workspace(pictures)
    stations = [{"seed": 1, "domains": {}}, {"seed": 2, "domains": {"a.safetensors": 0.7}, "ease": "linear"}]
    argv, about = commands.morph(
        place,
        {
            "source": "toy.safetensors",
            "stations": stations,
            "seconds": 2,
            "fps": 5,
            "loop": True,
            "name": "film",
            "kind": ".webp",
        },
    )
    script = read_keys(pictures / about["keys"])
    assert script.fps == 5 and script.morph.seconds == 2 and script.seeds == (1, 2)
    assert argv[:5] == ["morph", "--keys", "film.toml", "--out", "film.webp"]


def test_the_app_answers_about_runs_and_spaces(client, pictures: Path):
    from stylegraft import adapt

    adapt(
        pictures / "toy.safetensors", pictures / "pictures/mine", recipe="tgan", space="stylespace", steps=6, every=3,
        align="off", out=pictures / "runs/r", quiet=True, warmup=0,
    )  # fmt: skip
    run = client.get("/api/run", params={"path": "runs/r"}).json()
    assert run["steps"] == run["last"]["step"] + 1 and run["previews"][-1]["path"].startswith(
        "runs/r/previews/step-"
    )
    assert "Losses" in [chart["title"] for chart in run["charts"]] and run["charts"][0]["svg"].startswith(
        "<svg"
    )
    spaces = {
        row["name"]: row for row in client.get("/api/spaces", params={"source": "toy.safetensors"}).json()
    }
    from stylegraft import load_source
    from stylegraft.domains.spaces import count

    assert spaces["stylespace"]["numbers"] == count(
        "stylespace", load_source(pictures / "toy.safetensors").generator
    )
    rows = {row["name"]: row for row in client.get("/api/recipes", params={"resolution": "16"}).json()}
    assert rows["nada"]["reads"] and not rows["dcl"]["reads"], "what a sentence can be learnt with"
    assert run["anatomy"] == [] and run["anatomy_page"] is None
    argv, about = commands.anatomy(Workspace(pictures), {"domain": "runs/r"})
    assert argv[:2] == ["anatomy", "./runs/r"] and about["out"] == "runs/r/anatomy"
    part = Part("conv@8", 10, 0.5, 0.1, 0.2, 0.3, 0.4)
    (pictures / "runs/r/anatomy").mkdir()
    told = {"domains": {"r": Anatomy((part,), 0.5, "lpips-vgg@64", 8).told}}
    (pictures / "runs/r/anatomy/anatomy.json").write_text(json.dumps(told))
    charts = client.get("/api/run", params={"path": "runs/r"}).json()["anatomy"]
    assert len(charts) == 3 and all("conv" in chart["svg"] for chart in charts)
    plan = client.post("/api/plan", json={**FORM, "align": "off", "steps": 5, "page": "p"}).json()
    assert plan["cost"].startswith("about ") and any("stylespace" in line for line in plan["lines"])
    kinds = {e["path"]: e["kind"] for e in client.get("/api/library").json()}
    assert kinds["runs/r"] == "run" and kinds["pictures/mine"] == "set" and kinds["a.safetensors"] == "domain"
    assert client.post("/api/jobs", json={"verb": "rm"}).status_code == 400
