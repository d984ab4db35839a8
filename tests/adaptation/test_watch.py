"""A run that is watched ends by its rules, keeps its best point, and is trained exactly as one that is not."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stylegraft.adaptation import rules
from stylegraft.adaptation.folder import read_stats
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.sight import views
from stylegraft.adaptation.watch import Watch, set_aside
from stylegraft.checkpoints import tensorfile
from stylegraft.data.images import ImageSet
from stylegraft.domains import Domain
from stylegraft.errors import StylegraftError

from .toys import pictures, toy


class Eye:
    """An encoder and a distance: a coarse picture of 4 x 4 pixels."""

    name, digest, dim = "toy", "0" * 64, 48

    def preprocess(self, images: Tensor) -> Tensor:
        return images

    def encode(self, x: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)

    def embed(self, images: Tensor) -> list[Tensor]:
        return [self.encode(images) / self.dim**0.5]


@pytest.fixture(autouse=True)
def _toy_eyes(monkeypatch):
    monkeypatch.setattr("stylegraft.adaptation.watch.SAMPLES", 16)
    monkeypatch.setattr(rules, "_first", lambda encoders, who: next(iter(encoders)))
    monkeypatch.setattr("stylegraft.adaptation.watch.load_encoder", lambda name, device: Eye())
    monkeypatch.setattr("stylegraft.adaptation.watch.load_distance", lambda name, state: Eye())


def script(monkeypatch, values: dict[int, float]) -> None:
    """Let p_target at each step be what the test says; diversity stays whole."""
    monkeypatch.setattr(Watch, "p_target", lambda self, found: values[self.state.step])
    monkeypatch.setattr("stylegraft.adaptation.watch.mean_pairwise", lambda images, distance: 1.0)


def go(out: Path | None, steps: int = 6, **options: Any):
    base = {"recipe": "tgan", "space": "affine", "every": 2, "quiet": True, "warmup": 0}
    options = {**base, **options}
    return adapt(toy(), options.pop("images", pictures()), steps=steps, out=out, **options)


def trained(out: Path) -> dict[str, Tensor]:
    return tensorfile.read(out / "state.safetensors")[0]


def numbers(out: Path) -> dict[str, Any]:
    return json.loads(tensorfile.read(out / "state.safetensors")[1]["numbers"])


def log(out: Path) -> str:
    return (out / "log.txt").read_text(encoding="utf-8")


def step_of(path: Path) -> int:
    return Domain.load(path).config["steps"]


def test_watching_changes_no_step(tmp_path):
    go(tmp_path / "watched", keep="best", floor=0.001, patience=50)
    go(tmp_path / "plain")
    a, b = trained(tmp_path / "watched"), trained(tmp_path / "plain")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    last = Domain.load(tmp_path / "watched" / "last.safetensors")
    plain = Domain.load(tmp_path / "plain" / "domain.safetensors")
    assert last.deltas.keys() == plain.deltas.keys()
    assert all(
        torch.equal(x.parts[k], y.parts[k])
        for name in last.deltas
        for x, y in zip(last.deltas[name], plain.deltas[name], strict=True)
        for k in x.parts
    )


def test_numbers_come_at_preview_steps_only_and_carry_their_encoders(tmp_path):
    run = go(tmp_path / "run", 5, keep="best")
    judged = {one["step"] for one in read_stats(tmp_path / "run" / "stats.jsonl") if "score" in one}
    assert judged == {1, 3}  # after steps 2 and 4; the last one is no preview step
    one = run.stats[1]
    assert 0 < one["p_target-toy/folds"] < 1
    assert one["diversity-kept"] > 0.5
    assert one["score"] == pytest.approx(one["p_target-toy/folds"] * min(one["diversity-kept"], 1))
    assert one["diversity-toy"] > 0
    said = log(tmp_path / "run")
    assert "watching p_target-toy: held-out accuracy" in said
    assert "calibration error" in said
    assert "no images are held out" in said
    assert "judged in 5 folds" in said
    assert f"score {one['score']:.3f}" in said


def test_until_ends_at_the_first_evaluation_that_reaches_it(tmp_path, monkeypatch):
    script(monkeypatch, {2: 0.3, 4: 0.91, 6: 0.95})
    out = tmp_path / "run"
    run = go(out, 8, until="p_target>=0.9")
    assert run.stopped == "p_target 0.910 at step 4 reached --until 0.9"
    assert step_of(out / "domain.safetensors") == numbers(out)["step"] == 4
    assert "stopped at step 4 of 8: p_target 0.910" in log(out)
    assert (out / "grid.png").is_file()

    # The same command takes no more steps; without the rule it goes on, as if it had never been watched.
    before = (out / "state.safetensors").read_bytes()
    again = go(out, 8, until="p_target>=0.9")
    assert again.stats == []
    assert again.stopped == run.stopped
    assert (out / "state.safetensors").read_bytes() == before
    assert go(out, 8).stopped is None
    go(tmp_path / "plain", 8)
    assert all(
        torch.equal(tensor, trained(tmp_path / "plain")[name]) for name, tensor in trained(out).items()
    )


def test_the_best_point_is_the_domain_and_the_last_stands_beside_it(tmp_path, monkeypatch):
    script(monkeypatch, {2: 0.3, 4: 0.8, 6: 0.5})
    out = tmp_path / "run"
    run = go(out, keep="best")
    assert step_of(out / "domain.safetensors") == run.domain.config["steps"] == 4
    assert step_of(out / "last.safetensors") == 6
    assert "the best of the run is step 4; the last, 6, is" in log(out)
    assert go(out, keep="best").domain.config["steps"] == 4  # and again, without a step

    # Without the rule the folder says what it always says.
    go(out)
    assert step_of(out / "domain.safetensors") == 6
    assert not (out / "last.safetensors").exists()


def test_without_a_folder_the_best_point_is_what_comes_back(monkeypatch):
    script(monkeypatch, {2: 0.3, 4: 0.8, 6: 0.5})
    assert go(None, keep="best").domain.config["steps"] == 4
    assert go(None, until="p_target=0.7").domain.config["steps"] == 4


def test_patience_ends_a_run_that_gets_no_better(tmp_path, monkeypatch):
    script(monkeypatch, {2: 0.3, 4: 0.8, 6: 0.5, 8: 0.8})
    run = go(tmp_path / "run", 20, patience=2, keep="best")
    assert run.stopped == "no score above 0.800 (step 4) in 2 evaluations, --patience 2"
    assert run.domain.config["steps"] == 4
    assert numbers(tmp_path / "run")["step"] == 8


def test_the_floor_ends_a_run_whose_samples_grow_alike(tmp_path, monkeypatch):
    values = iter((2.0, 1.9, 1.5))  # of the source, then of two points
    monkeypatch.setattr("stylegraft.adaptation.watch.mean_pairwise", lambda images, distance: next(values))
    run = go(tmp_path / "run", 8, floor=0.8)
    assert run.stopped == "diversity at step 4 is 0.750 of the source's, under --floor 0.8"
    assert "p_target" not in log(tmp_path / "run")


@pytest.mark.parametrize("parts", [(2, 6), (3, 6), (1, 4, 6)])
def test_a_watched_run_extends_bit_for_bit(parts: tuple[int, ...], tmp_path):
    options = {"keep": "best", "patience": 9}
    go(tmp_path / "whole", 6, **options)
    for steps in parts:
        if steps >= 2:
            go(tmp_path / "parts", steps, **options)
    whole, found = tmp_path / "whole", tmp_path / "parts"
    assert numbers(whole) == numbers(found)
    assert numbers(whole)["watch"]["best"]["score"] > 0
    for name in ("domain.safetensors", "last.safetensors"):
        assert (whole / name).read_bytes() == (found / name).read_bytes()


def test_an_interrupted_watch_remembers(tmp_path, monkeypatch):
    script(monkeypatch, {2: 0.8, 4: 0.5, 6: 0.4, 8: 0.3})
    out = tmp_path / "run"

    def interrupt(stats):
        if stats["step"] == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        go(out, 10, patience=3, keep="best", progress=interrupt)
    assert step_of(out / "domain.safetensors") == 2
    assert step_of(out / "last.safetensors") == 5
    run = go(out, 10, patience=3, keep="best")
    assert "in 3 evaluations" in str(run.stopped)
    assert (run.domain.config["steps"], numbers(out)["step"]) == (2, 8)


def test_before_the_first_evaluation_the_domain_is_the_last(tmp_path):
    out = tmp_path / "run"

    def interrupt(stats):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        go(out, 6, keep="best", progress=interrupt)
    assert step_of(out / "domain.safetensors") == 1
    assert not (out / "last.safetensors").exists()


def test_a_lost_best_point_is_said_and_sought_anew(tmp_path, monkeypatch):
    script(monkeypatch, {2: 0.8, 4: 0.5, 6: 0.4})
    out = tmp_path / "run"
    go(out, 4, keep="best")
    (out / "domain.safetensors").unlink()
    run = go(out, 6, keep="best")
    assert "the best point so far, step 2, is not in" in log(out)
    assert run.domain.config["steps"] == step_of(out / "domain.safetensors") == 6


def test_another_encoder_is_not_compared_with_what_was_remembered(tmp_path, monkeypatch):
    go(tmp_path / "run", 2, keep="best")
    monkeypatch.setattr(Eye, "name", "other")
    with pytest.raises(StylegraftError, match=r"watched through toy 0+, here there is other 0+"):
        go(tmp_path / "run", 4, keep="best")


def test_held_out_images_are_never_trained_on(tmp_path):
    out = tmp_path / "run"
    go(out, 4, keep="best", hold_out=3)
    saved = tensorfile.read(out / "targets.safetensors")[0]
    assert [len(saved[name]) for name in ("images", "held_out")] == [7, 3]
    rows = torch.cat((saved["images"], saved["held_out"])).flatten(1)
    assert len(rows.unique(dim=0)) == 10
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert (config["target"]["count"], config["target"]["held_out"]) == (7, 3)
    assert config["rules"] == "--keep best --hold-out 3"
    assert "held out of training, to judge by: 0" in log(out)
    assert "folds" not in log(out)
    with pytest.raises(StylegraftError, match=r"target\.count = 7"):
        go(out, 6, keep="best")
    go(out, 6, keep="best", hold_out=3)
    go(tmp_path / "whole", 6, keep="best", hold_out=3)
    assert numbers(out) == numbers(tmp_path / "whole")


def test_a_copy_of_the_training_images_does_not_win(monkeypatch):
    """A generator that draws its training images is judged, at each, by heads that have not seen it."""
    state_of: list[Watch] = []
    monkeypatch.setattr(Watch, "look", lambda self, domain: state_of.append(self) or {})
    noise = torch.randint(
        0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    go(None, 2, images=noise, until="p_target=0.9")
    (watch,) = state_of
    copies = watch.sight.targets
    assert copies is not None
    assert watch.p_target(copies) < float(watch.probe.p(copies).mean())
    assert watch.p_target(copies) == pytest.approx(watch.probe.p_real, abs=1e-6)


def test_the_warm_up_is_not_judged(tmp_path):
    go(tmp_path / "run", 4, keep="best", warmup=2)
    judged = [one["step"] for one in read_stats(tmp_path / "run" / "stats.jsonl") if "score" in one]
    assert judged == [3, 5]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"until": "p_target"}, "expected p_target=0.9"),
        ({"keep": "best", "images": pictures(1)}, "at least 2 images"),
        ({"keep": "best", "hold_out": 10}, "there are 10 images"),
        ({"keep": "best", "every": 100}, "judged every 100 steps, which does not come"),
        (
            {"until": "p_target=0.9", "every": 3, "steps": 2, "warmup": 3},
            "between the warm-up (3) and the end (5)",
        ),
    ],
)
def test_rules_that_cannot_serve_are_refused_before_the_first_step(options: dict, said: str, tmp_path):
    with pytest.raises(StylegraftError) as error:
        go(tmp_path / "run", options.pop("steps", 6), **options)
    assert said in str(error.value)
    assert not (tmp_path / "run").exists()


def test_missing_weights_are_refused_before_anything_is_read(tmp_path, monkeypatch):
    def missing(encoders, who):
        raise StylegraftError(f"{who}: run: stylegraft assets get effnet")

    monkeypatch.setattr(rules, "_first", missing)
    with pytest.raises(StylegraftError, match="stylegraft assets get effnet"):
        adapt("no-such-source", "no-such-pictures", until="p_target=0.9", out=tmp_path / "run")


def test_a_goal_above_what_real_images_reach_is_warned_of(tmp_path):
    go(tmp_path / "run", 2, until="p_target=0.999999")
    assert "warning: --until 0.999999 may never come: this probe gives real target images" in log(
        tmp_path / "run"
    )


def test_a_dry_run_names_the_rules_and_loads_no_encoder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("stylegraft.adaptation.watch.load_encoder", None)
    go(None, 6, keep="best", dry_run=True, quiet=False)
    assert "--keep best: judged every 2 steps" in capsys.readouterr().err


def test_sets_are_split_by_the_seed_and_keep_their_names():
    names = tuple("abcdefghij")
    whole = ImageSet(pictures(), names, ("face",) * 10, (2, 7), (), "auto", "origin")
    train, aside = set_aside(whole, 4, seed=1)
    assert sorted((*train.names, *aside.names)) == list(names)
    assert list(train.names) == sorted(train.names)
    for part in (train, aside):
        for row, name in enumerate(part.names):
            assert torch.equal(part.images[row], whole.images[names.index(name)])
            assert (row in part.missed) == (name in "ch")
    assert set_aside(whole, 4, seed=1)[1].names == aside.names
    assert any(set_aside(whole, 4, seed=s)[1].names != aside.names for s in range(2, 5))


def test_views_are_crops_and_mirrors_of_their_own_image():
    ramp = torch.linspace(0, 255, 32).round().to(torch.uint8).expand(3, 32, 32)[None].repeat(200, 1, 1, 1)
    seen = views(ramp, 0, "test").float()
    assert seen.shape == ramp.shape
    slope = seen[:, 0, 0, -1] - seen[:, 0, 0, 0]
    assert 60 < int((slope < 0).sum()) < 140  # mirrored
    assert 0.83 * 255 < float(slope.abs().min()) < float(slope.abs().max()) <= 255
    assert torch.equal(views(ramp[:5], 0, "test"), views(ramp, 0, "test")[:5])
