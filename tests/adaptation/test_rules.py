"""Rules that end a run mean what they say, refuse what cannot be meant, and need no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from stylegraft.adaptation import rules
from stylegraft.adaptation.rules import Rules, check_images, eyes, parse, remember, verdict
from stylegraft.checkpoints import assets
from stylegraft.errors import StylegraftError


@pytest.mark.parametrize("text", ["p_target>=0.9", "p_target=0.9", " p_target >= .9 ", "p_target=9e-1"])
def test_until_may_be_written_with_and_without_what_a_shell_takes(text: str):
    assert parse(text).until == 0.9


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"until": "p_target"}, "a bare > is the shell's"),
        ({"until": "p_targe=0.9"}, "did you mean 'p_target'"),
        ({"until": "fid>=0.9"}, "expected p_target=0.9"),
        ({"until": "p_target=high"}, "expected p_target=0.9"),
        ({"until": "p_target>=1e999"}, "between 0 and 1"),
        ({"until": "p_target=1"}, "between 0 and 1"),
        ({"floor": 80.0}, "--floor 80: expected a share"),
        ({"floor": float("nan")}, "expected a share"),
        ({"patience": 0}, "--patience 0"),
        ({"keep": "bets"}, "did you mean 'best'"),
        ({"hold_out": 1, "keep": "best"}, "at least 2 images"),
        ({"hold_out": 3}, "nothing would look at these images"),
        ({"hold_out": 3, "floor": 0.8}, "nothing would look at these images"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked: dict[str, Any], said: str):
    with pytest.raises(StylegraftError) as error:
        parse(**asked)
    assert said in str(error.value)


def test_only_what_the_rules_need_is_looked_for(monkeypatch):
    monkeypatch.setattr(assets, "find", lambda name: name)
    assert eyes(Rules()) == (None, None)
    assert eyes(parse("p_target=0.9")) == ("effnet-lite0", None)
    assert eyes(parse(floor=0.8)) == (None, "lpips-vgg")
    assert eyes(parse(patience=2)) == eyes(parse(keep="best")) == ("effnet-lite0", "lpips-vgg")


def test_the_next_encoder_stands_in_and_none_is_refused_with_the_command(monkeypatch):
    here: set[str] = {"lpips"}

    def find(name: str) -> str:
        if name in here:
            return name
        raise StylegraftError(f"no {name}")

    monkeypatch.setattr(assets, "find", find)
    for variable in ("STYLEGRAFT_LPIPS", "STYLEGRAFT_EFFNET"):
        monkeypatch.delenv(variable, raising=False)
    assert eyes(parse(keep="best")) == ("vgg16", "lpips-vgg")
    here = {"effnet"}
    assert eyes(parse(keep="best")) == ("effnet-lite0", "effnet-lite0")
    monkeypatch.setenv("STYLEGRAFT_LPIPS", "/nowhere")
    with pytest.raises(StylegraftError, match="no lpips"):  # the user named it: nothing else instead
        eyes(parse(floor=0.8))
    monkeypatch.delenv("STYLEGRAFT_LPIPS")
    here = set()
    with pytest.raises(StylegraftError, match="--until p_target=0.9: .*run: stylegraft assets get effnet"):
        eyes(parse("p_target=0.9"))
    with pytest.raises(StylegraftError, match="--floor 0.8: .*run: stylegraft assets get lpips"):
        eyes(parse(floor=0.8))


def test_one_image_cannot_be_judged_without_having_been_learnt():
    check_images(parse(floor=0.8), 1)
    check_images(parse(keep="best"), 2)
    with pytest.raises(StylegraftError, match="--keep best: p_target needs at least 2 images"):
        check_images(parse(keep="best"), 1)
    with pytest.raises(StylegraftError, match="--hold-out 4: there are 4 images"):
        check_images(parse(keep="best", hold_out=4), 4)


def test_the_first_evaluation_that_reaches_the_goal_ends_the_run():
    memory: dict[str, Any] = {}
    goal = parse("p_target>=0.9")
    assert verdict(goal, memory) is None
    for step, p in ((100, 0.5), (200, 0.8999), (300, 0.9)):
        remember(memory, {"step": step, "p_target": p})
        assert (verdict(goal, memory) is not None) == (step == 300)
    assert verdict(goal, memory) == "p_target 0.900 at step 300 reached --until 0.9"
    assert verdict(parse("p_target=0.95"), memory) is None


def test_the_floor_ends_a_run_that_lost_more_diversity():
    memory: dict[str, Any] = {}
    for kept, ends in ((0.95, False), (0.8, False), (0.79, True)):
        remember(memory, {"step": 100, "kept": kept})
        assert (verdict(parse(floor=0.8), memory) is not None) == ends


def test_patience_counts_evaluations_since_the_best():
    memory: dict[str, Any] = {}
    rule, found = parse(patience=2), []
    for step, score in enumerate((0.2, 0.5, 0.4, 0.6, 0.6, 0.3)):
        improved = remember(memory, {"step": step, "score": score})
        found.append((improved, memory["since"], verdict(rule, memory) is not None))
    assert found == [
        (True, 0, False), (True, 0, False), (False, 1, False), (True, 0, False), (False, 1, False), (False, 2, True),
    ]  # fmt: skip
    assert memory["best"]["step"] == 3
    assert "no score above 0.600 (step 3) in 2 evaluations" in str(verdict(rule, memory))


def test_what_is_remembered_passes_through_a_file_unchanged():
    memory: dict[str, Any] = {}
    remember(memory, {"step": 100, "p_target": 1 / 3, "kept": 0.1 + 0.2, "score": 0.1})
    assert json.loads(json.dumps(memory)) == memory


def test_rules_print_as_they_are_typed():
    text = "--until p_target=0.9 --floor 0.8 --patience 3 --keep best --hold-out 4"
    assert str(parse("p_target>=0.9", 0.8, 3, "best", 4)) == text
    assert not parse().active


def test_rules_are_settled_without_torch():
    code = f"import sys, {rules.__name__}; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
