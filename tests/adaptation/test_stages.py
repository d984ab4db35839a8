"""Who learns when, and what becomes of filters: stages keep what they say."""

from __future__ import annotations

import os
import signal
import time
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from stylegraft.adaptation import importance, stages
from stylegraft.adaptation import plan as planning
from stylegraft.adaptation.choosing import labels, select
from stylegraft.adaptation.folder import read_stats
from stylegraft.adaptation.judges import adapted
from stylegraft.adaptation.keeping import pack, unpack
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.partition import FROZEN, PRUNED, TUNED, sort
from stylegraft.adaptation.recipes import PAPER, recipe
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.state import State, begin
from stylegraft.checkpoints import Source, tensorfile
from stylegraft.domains.deltas import effective
from stylegraft.errors import StylegraftError

from .toys import fresh, pictures, small, toy

ADAM: dict[str, Any] = {"warmup": 1, "lead": 2, "importance_samples": 2, "steps": 5, "pl_every": 1}
RICK: dict[str, Any] = {
    "warmup": 2, "partition_every": 2, "importance_samples": 2, "prune_below": 10.0, "freeze_above": 60.0, "steps": 5,
}  # fmt: skip
MINEGAN: dict[str, Any] = {"warmup": 1, "lead": 2, "steps": 4}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "minegan": ("miner + full", MINEGAN),
    "adam": ("adam", ADAM),
    "rick": ("full", RICK),
}
Snapshot = tuple[dict[str, Tensor], dict[str, Any]]


def start(name: str, **changes: Any) -> State:
    space, own = ROWS[name]
    return fresh(name, changes.pop("space", space), **{**own, **changes})


def snapshot(state: State) -> Snapshot:
    tensors, numbers = pack(state)
    return {name: tensor.clone() for name, tensor in tensors.items()}, dict(numbers)


@cache
def course(name: str) -> list[Snapshot]:
    """What changes, before the first step of the toy run and after each."""
    state = start(name)
    return [snapshot(state), *(snapshot(state) for _ in train(state, state.end))]


def moved(before: Snapshot, after: Snapshot, *kinds: str) -> set[str]:
    """Tensors of these kinds (`leaf`, `ema`, `D`, `judge`) that are not bit-equal."""
    return {
        name
        for name, tensor in before[0].items()
        if name.partition("/")[0] in kinds and not torch.equal(tensor, after[0][name])
    }


def filters_of(one: Snapshot) -> dict[str, Tensor]:
    return {
        name.removeprefix("filters/"): verdict
        for name, verdict in one[0].items()
        if name.startswith("filters/")
    }


def after(state: State, steps: int) -> State:
    for _ in train(state, state.step + steps):
        pass
    return state


# Who learns when


def test_in_rick_s_warm_up_only_d_s_last_layers_learn():
    states = course("rick")
    assert {name.removeprefix("D/b4.") for name in moved(states[0], states[2], "D")} == {
        "conv.weight", "conv.bias", "fc.weight", "fc.bias", "out.weight", "out.bias",
    }  # fmt: skip
    assert not moved(states[0], states[2], "leaf", "ema", "judge")
    assert moved(states[2], states[3], "leaf")


def test_in_minegan_s_lead_of_g_only_the_miner_learns():
    states = course("minegan")
    miner = {"mapping.miner.weight|dense|D", "mapping.miner.bias|dense|D"}
    assert moved(states[1], states[3], "leaf", "ema") == {f"{k}/{n}" for k in ("leaf", "ema") for n in miner}
    assert len(moved(states[1], states[3], "D")) > 10  # all of D
    assert len(moved(states[3], states[4], "leaf")) > 0.9 * len(start("minegan").learners["G"])


def test_in_adam_s_lead_only_modulation_and_d_s_last_layers_learn():
    states = course("adam")
    assert {name.split("|")[1] for name in moved(states[1], states[3], "leaf", "ema")} == {"rank1"}
    assert {name.split("|")[1] for name in moved(states[1], states[3], "judge")} == {"rank1"}
    assert {name.split(".")[0] for name in moved(states[1], states[3], "D")} == {"D/b4"}


def test_the_patch_exit_is_a_last_layer_too():
    """Else a step of patches would have nothing to teach while only D's last layers learn."""
    state = start("rick", cdc=True, batch=4)
    first = snapshot(state)
    after(state, 2)
    assert {name.split("/")[0] for name in moved(first, snapshot(state), "D", "patch")} == {"D", "patch"}
    assert all(name.startswith("D/b4.") for name in moved(first, snapshot(state), "D"))


def test_names_choose_forms_groups_and_groups_at_a_resolution():
    state = start("adam")
    G, groups = state.learners["G"], labels(state, "G")
    assert select(G, groups, "mapping").keys() == {n for n in G if n.startswith("mapping.")}
    assert select(G, groups, "rank1").keys() == {n for n in G if "|rank1|" in n}
    at = select(G, groups, "conv@8")
    assert at and all(name.startswith("synthesis.b8.conv") for name in at)
    assert len(select(G, groups, "conv")) > len(at)
    with pytest.raises(
        StylegraftError, match="there are the groups affine, .* and the forms dense, lowrank, .*rank1"
    ):
        select(G, groups, "nothing")


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("minegan", {"lead_space": "minr"}, "lead_space .*no group or form 'minr' .*did you mean 'miner'"),
        ("minegan", {"space": "affine"}, "'affine', lead_space 'miner': nothing that learns .*'miner [+] affine'"),
        ("rick", {"warmup_judge": "haed"}, "warmup_judge .*'haed' .*did you mean 'head'"),
        ("rick", {"partition_judge": "b*.kern*"}, "partition_judge .*no group or form"),
        ("rick", {"partition": "conv, affin"}, "partition .*'affin' .*did you mean 'affine'"),
        ("rick", {"space": "synthesis + lowrank:2(conv)"}, "'conv'.*found lowrank as well; expected --space 'full'"),
        ("rick", {"space": "singular-values"}, "partition 'conv'.*dense deltas.*found none"),
        ("rick", {"discriminator": "head"}, "partition_judge .*nothing that learns.*expected --set partition_judge=$"),
        ("adam", {"lead_judge": "rank1, heda"}, "lead_judge .*'heda'.*did you mean 'head'"),
    ],
)  # fmt: skip
def test_what_a_stage_cannot_do_is_refused_before_the_first_step(name: str, changes: dict, said: str):
    space = changes.get("space", ROWS[name][0])
    with pytest.raises(StylegraftError, match=said):
        stages.check(start(name, **changes), space)


@pytest.mark.parametrize("name", ["convv", "late"])
def test_a_slip_gets_the_nearest_name_and_no_space(name: str):
    with pytest.raises(StylegraftError, match=f"no group or form '{name}'") as refusal:
        stages.check(start("minegan", lead_space=name), "miner + full")
    assert "--" not in str(refusal.value)


def test_what_the_user_asked_for_is_taken_back_in_the_advice():
    """`lead_space` without a lead would be refused in turn."""
    with pytest.raises(
        StylegraftError, match="expected --space 'gain [+] affine', or --set lead=0 --set lead_space=$"
    ):
        stages.check(fresh("tgan", "affine", lead=2, lead_space="gain"), "affine")


def test_d_s_groups_in_stages_are_those_of_its_policy():
    state = start("rick", warmup_judge="upto-8", lead=2, lead_judge="all", partition_judge="")
    stages.check(state, "full")
    learns = stages.active(state, "D")
    assert {name.split(".")[1] for name in learns} == {"b8", "b4"}
    state.step = state.recipe.warmup
    assert stages.active(state, "D").keys() == state.learners["D"].keys()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prune_below": 50.0}, "prune_below is 50 and freeze_above 40"),
        ({"freeze_above": 101.0}, "freeze_above is 101"),
        ({"judge": "projected", "ewc": 1.0}, "EWC asks the source's own discriminator"),
    ],
)
def test_impossible_percentiles_and_judges_are_refused(changes: dict, said: str):
    with pytest.raises(StylegraftError, match=said):
        recipe("rick", **changes)


# Filters


def test_percentiles_by_hand():
    values = torch.tensor([3.0, 1.0, 5.0, 2.0, 4.0])
    F, T, P = FROZEN, TUNED, PRUNED
    for above, below, expected in [
        (50, 0, [T, T, F, T, F]),  # the middle one is not above itself
        (60, 0, [T, T, F, T, F]),  # 60 % of the way from 1 to 5 is 3.4
        (80, 0, [T, T, F, T, T]),  # 4.2
        (100, 0, [T, T, T, T, T]),
        (0, 0, [F, T, F, F, F]),
        (100, 0.1, [T, P, T, T, T]),  # at or below: never fewer than one
        (50, 25, [T, P, F, P, F]),
        (100, 100, [P, P, P, P, P]),
    ]:
        assert sort(values, above, below).tolist() == expected, (above, below)


def test_among_equals_no_more_than_the_share_is_pruned_and_none_frozen():
    """A D that is sure of everything has no gradient: the network must outlive it."""
    zeros = torch.zeros(10)
    assert sort(zeros, 40.0, 20.0).tolist() == [PRUNED] * 2 + [TUNED] * 8
    assert sort(torch.tensor([1.0, 1, 1, 7]), 40.0, 0.0).tolist() == [TUNED, TUNED, TUNED, FROZEN]


def rows_equal(a: Tensor, b: Tensor, which: Tensor) -> bool:
    return torch.equal(a[which], b[which])


def test_frozen_filters_are_bit_identical_in_g_in_its_average_and_in_d():
    states = course("rick")
    always = {}  # frozen by every decision, the first of which comes right after the warm-up
    for one in (states[3], states[5], states[7]):
        for name, verdict in filters_of(one).items():
            always[name] = always.get(name, True) & (verdict == FROZEN)
    assert sum(int(which.sum()) for which in always.values()) > 10
    for name, which in always.items():
        owner, parameter = name.split("/")
        kept = (
            [f"leaf/{parameter}|dense|D", f"ema/{parameter}|dense|D"] if owner == "G" else [f"D/{parameter}"]
        )
        for key in kept:
            assert rows_equal(states[2][0][key], states[7][0][key], which), key
    tuned = {n: v == TUNED for n, v in filters_of(states[3]).items() if n.startswith("D/")}
    assert all(
        not rows_equal(states[2][0][name], states[3][0][name], which)
        for name, which in tuned.items()
        if bool(which.any())
    )


def test_pruned_filters_are_zero_in_all_networks_and_stay_so():
    state, before = start("rick"), dict[str, Tensor]()
    for _ in train(state, state.end):
        average = effective(state.averaged(), state.base)
        for name, verdict in state.filters.items():
            owner, parameter = name.split("/")
            gone = verdict == PRUNED
            assert bool(gone[before.get(name, torch.zeros_like(gone))].all()), "a pruned filter came back"
            before[name] = gone
            if owner == "D":
                assert not state.discriminator.get_parameter(parameter)[gone].any()
                continue
            student = effective({parameter: state.deltas[parameter]}, state.base)
            assert not student[parameter][gone].any()
            assert not average[parameter][gone].any()
    first, last = (
        sum(int((v == PRUNED).sum()) for v in filters_of(course("rick")[k]).values()) for k in (3, 7)
    )
    assert 0 < first < last, "later decisions prune more"


def test_pruned_filters_are_zero_beside_modulation_too():
    state = start("rick", space="adam", discriminator=PAPER["adam"].discriminator)
    after(state, 2)
    for owner in ("G", "D"):
        for name, leaf in state.learners[owner].items():
            if name.endswith("|rank1|u"):
                leaf.data.normal_()
                if owner == "G":
                    state.ema[name].normal_()
    after(state, 3)
    for deltas, base, owner in (
        (state.deltas, state.base, "G"),
        (state.averaged(), state.base, "G"),
        (state.judge_deltas, state.judge_base, "D"),
    ):
        own = {n.split("/")[1]: v == PRUNED for n, v in state.filters.items() if n.startswith(owner)}
        assert sum(int(gone.sum()) for gone in own.values()) > 1
        for name, gone in own.items():
            assert not effective({name: deltas[name]}, base)[name][gone].any()


def test_adam_modulates_what_is_frozen_and_tunes_the_rest():
    states = course("adam")
    source, last = states[0][0], states[-1][0]
    modulated = 0
    for name, verdict in filters_of(states[-1]).items():
        owner, parameter = name.split("/")
        kinds = ("leaf", "ema") if owner == "G" else ("judge",)
        parameter = parameter if owner == "G" else f"D.{parameter}"
        for kind in kinds:
            u, dense = last[f"{kind}/{parameter}|rank1|u"], last[f"{kind}/{parameter}|dense|D"]
            assert not dense[verdict == FROZEN].any(), f"{name}: a frozen filter was tuned"
            assert not u[verdict == TUNED].any(), f"{name}: a tuned filter was modulated"
            assert bool(dense[verdict == TUNED].any()) == bool((verdict == TUNED).any())
            modulated += int((u[verdict == FROZEN] != 0).sum())
    assert modulated > 20
    only = {name for name in source if name.startswith("leaf/synthesis.b4.conv") and ".weight|" in name}
    assert {name.split("|")[1] for name in only} == {"rank1"}, "the first convolution is modulated alone"
    learnt = {name for name in moved(states[0], states[-1], "D") if not name.startswith("D/b4.")}
    assert learnt, "biases of D's convolutions"
    assert all(".conv" in name and name.endswith(".bias") for name in learnt), "fromRGB of D is frozen"


def test_after_adam_s_lead_everything_is_the_source_again_but_the_table_of_filters():
    state = start("adam")
    first = snapshot(state)
    after(state, 3)
    assert moved(first, snapshot(state), "leaf", "ema", "judge", "D")
    stages.enter(state)
    now = snapshot(state)
    assert filters_of(now)
    for owner in state.optimizers.values():
        assert not owner.state
    assert {n: t for n, t in now[0].items() if not n.startswith("filters/")}.keys() == first[0].keys()
    assert all(torch.equal(tensor, now[0][name]) for name, tensor in first[0].items())


def test_a_discriminator_of_random_weights_is_neither_frozen_nor_forgotten():
    """Of the source's nothing is there to go back to: AdAM keeps what it learnt, RICK warms all of it up."""
    lone = Source("lone", toy().generator)
    images = pictures().float() / 127.5 - 1
    state = begin(lone, images, small("adam", **ADAM, warmup_scratch=2), "adam")
    stages.check(state, "adam")
    after(state, 4)
    learnt = {name: p.detach().clone() for name, p in state.discriminator.named_parameters()}
    stages.enter(state)
    assert state.filters and not any(name.startswith("D/") for name in state.filters)
    assert all(torch.equal(p, learnt[name]) for name, p in state.discriminator.named_parameters())
    assert not any(
        bool(leaf.any()) for name, leaf in state.learners["G"].items() if name.endswith("|dense|D")
    )
    state = begin(lone, images, small("rick", **{**RICK, "warmup_scratch": 2}), "full")
    random = snapshot(state)
    assert len(moved(random, snapshot(after(state, 2)), "D")) == len(list(state.discriminator.parameters()))


def test_a_new_judge_is_held_to_nothing():
    for name in PAPER:
        if not PAPER[name].adv:
            continue
        if PAPER[name].ewc:
            with pytest.raises(StylegraftError, match="EWC asks the source's own"):
                recipe(name, judge="projected")
            continue
        row = recipe(name, judge="projected")
        assert (row.discriminator, row.warmup_judge, row.lead_judge, row.partition_judge) == (
            "all",
            "",
            "",
            "",
        )
        assert row.partition == PAPER[name].partition  # G's filters are sorted as ever


def test_frozen_filters_stay_so_where_a_step_is_done_in_parts():
    state = start("rick", batch=4, micro=2, partition_every=0)
    after(state, 3)
    frozen = {n: v == FROZEN for n, v in state.filters.items() if n.startswith("G/")}
    after(state, 2)
    for name, which in frozen.items():
        parameter = name.split("/")[1]
        delta = state.learners["G"][f"{parameter}|dense|D"]
        assert not delta[which].any()
        if bool((~which).any()):
            assert delta[~which].any()


def test_the_gradient_norm_counts_only_what_may_move():
    unsorted = dict(partition="", partition_judge="", partition_every=0, freeze_above=100.0, prune_below=0.0)
    state = start("rick", space="conv.kernel", **unsorted)
    after(state, 2)
    for name in state.deltas:
        state.filters[f"G/{name}"] = torch.full((len(state.base[name]),), FROZEN)
    (stats,) = train(state, 3)
    assert stats["G/grad"] == 0
    assert stats["D/grad"] > 0
    assert not any(bool(leaf.any()) for leaf in state.learners["G"].values())


def test_what_did_not_lead_is_measured_by_what_learns():
    """A lead of the miner says nothing of filters: then their own numbers do."""
    state = fresh(
        "minegan", "miner + full", **MINEGAN, partition="conv", freeze_above=50.0, importance_samples=2
    )
    after(state, 4)
    share = torch.cat(list(state.filters.values())).eq(FROZEN).double().mean()
    assert 0.4 < float(share) <= 0.5


# What becomes of the domain


@pytest.mark.parametrize(("name", "own"), [("tgan", {}), ("bsa", {"bsa_vgg": 0.0})])
def test_a_sparse_space_is_pruned_little_by_little(name: str, own: dict):
    """Also where latents learn beside the offsets (BSA), which are never pruned."""
    state = fresh(name, "stylespace-sparse", sparsify=3, **own)
    shares = []
    for _ in train(state, 4):
        offsets = torch.cat([state.learners["G"][name] for name in state.ema])
        averages = torch.cat(list(state.ema.values()))
        assert not averages[offsets == 0].any()
        shares.append(float((offsets != 0).double().mean()))
    expected = [0.2 + 0.8 * (1 - t) ** 3 for t in (1 / 3, 2 / 3, 1, 1)]
    assert shares == pytest.approx(expected, abs=0.05)
    if state.latents is not None:
        assert state.latents.all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"sparsify": 3},
            "'stylespace', sparsify=3: this space is not pruned; expected --space 'stylespace-sparse', or "
            "--set sparsify=0$",
        ),
        (
            {"swap": 64},
            "swap=64: this generator's blocks above the lowest have 8, 16 px; expected --set swap=16$",
        ),
        ({"swap": 11}, "swap=11: .* 8, 16 px; expected --set swap=8$"),
        ({"swap": 4}, "swap=4: .* 8, 16 px; expected --set swap=8$"),
        (
            {"swap": 16, "space": "conv@4..8"},
            "'conv@4..8', swap=16: the domain moves nothing from 16 px on; expected --set swap=8$",
        ),
        ({"swap": 8, "space": "conv@4"}, "moves nothing from 8 px on; expected --set swap=0$"),
    ],
)
def test_what_the_end_could_not_do_is_refused_before_the_first_step(changes: dict, said: str, tmp_path):
    with pytest.raises(StylegraftError, match=f"recipe tgan, space .*{said}"):
        adapt(
            toy(),
            pictures(),
            recipe="tgan",
            out=tmp_path / "run",
            quiet=True,
            **{"space": "stylespace", **changes},
        )
    assert not (tmp_path / "run").exists()


# What is said beforehand


def test_a_dry_run_estimates_no_fisher_information_but_says_what_it_will_take(monkeypatch):
    asked = []
    estimate = planning.source_fisher
    monkeypatch.setattr(planning, "source_fisher", lambda state, n: asked.append(n) or estimate(state, n))
    monkeypatch.setattr(stages, "source_fisher", lambda state, n: pytest.fail("all samples are drawn"))
    plan = adapt(toy(), pictures(), recipe="ewc", importance_samples=10**6, dry_run=True).plan
    assert plan is not None
    assert asked == [2]
    assert "of the Fisher information before them" in plan.text
    assert plan.total > 1000 * plan.seconds


@pytest.mark.parametrize(
    ("name", "asked", "times"), [("adam", ["G", "D"], "once"), ("rick", ["G", "D"], "3 times")]
)
def test_a_dry_run_counts_the_sorting_of_filters(name: str, asked: list[str], times: str, monkeypatch):
    """Two samples of each network tell what all of them take, as often as filters are sorted."""
    estimate, taken = importance.fisher, list[tuple[str, int]]()

    def slow(verdict, leaves, samples, between):
        taken.append((between.args[0], samples))
        time.sleep(0.05)
        return estimate(verdict, leaves, samples, between)

    monkeypatch.setattr(importance, "fisher", slow)
    space, own = ROWS[name]
    changes = {**own, "importance_samples": 10**4, "partition_every": 0 if name == "adam" else 2}
    plan = adapt(toy(), pictures(), recipe=name, space=space, dry_run=True, quiet=True, **changes).plan
    assert plan is not None
    assert [owner for owner, _ in taken[:2]] == asked
    assert {samples for _, samples in taken} == {2}
    assert f"in which filters are sorted, {times}" in plan.text
    assert plan.total > 10**4 * 0.05 * (1 if name == "adam" else 3)


def test_decisions_are_counted_as_they_fall_due():
    for lead, every, steps in [(0, 0, 1), (0, 2, 5), (2, 0, 5), (2, 2, 7), (5, 1, 5), (3, 4, 12)]:
        row = recipe("rick", warmup=0, lead=lead, partition_every=every, steps=steps)
        assert stages.decisions(row) == sum(stages.due(row, begun) for begun in range(steps))
    assert stages.decisions(recipe("tgan")) == 0


def test_the_plan_says_what_becomes_of_filters():
    def said(name: str) -> str:
        return "\n".join(planning.describe(start(name), ROWS[name][0]))

    assert "those above the 50th percentile are modulated, the others tuned" in said("adam")
    assert "b*.conv*, b*.skip in D" in said("adam")
    assert "are frozen, the lowest 10 % pruned for good" in said("rick")


def test_a_swap_that_takes_nothing_away_is_said(capsys):
    row = recipe("ui2i", swap=8)
    for space, takes in (("mapping", False), ("miner", False), ("late@8", False), ("affine", True)):
        text = "\n".join(planning.describe(fresh("ui2i", space, swap=row.swap), space))
        assert ("swap=8 takes nothing away" in text) != takes
        assert ("blocks below 8 px are the source's" in text) == takes


def test_a_lead_that_never_ends_is_warned_of(capsys):
    adapt(toy(), pictures(), recipe="adam", steps=2, lead=2, warmup=0, importance_samples=2)
    assert "warning: these are all of the recipe's 2 steps" in capsys.readouterr().err


# Keeping


@pytest.mark.parametrize("name", ROWS)
def test_a_run_stopped_at_any_step_goes_on_bit_for_bit(name: str):
    """Also in the middle of stages, right before and right after a decision and a way back."""
    states = course(name)
    for stop in range(1, len(states) - 1):
        resumed = start(name)
        unpack(resumed, *states[stop])
        mine, theirs = (
            snapshot(after(resumed, 2 if stop + 2 < len(states) else 1)),
            states[min(stop + 2, len(states) - 1)],
        )
        assert mine[1] == theirs[1]
        assert mine[0].keys() == theirs[0].keys()
        assert all(torch.equal(tensor, theirs[0][k]) for k, tensor in mine[0].items()), (name, stop)


@pytest.mark.parametrize(
    ("name", "owner", "step"), [("ewc", "G", 0), ("adam", "G", 3), ("adam", "D", 3), ("rick", "D", 4)]
)
def test_ctrl_c_during_an_estimate_stops_it_and_nothing_is_lost(
    name: str, owner: str, step: int, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    """The step has not begun: a resume estimates again, and ends where an uninterrupted run does."""
    space, own = ROWS.get(name, ("affine", {"importance_samples": 2, "warmup": 0, "steps": 4}))
    options = {**own, "recipe": name, "space": space, "quiet": True, "every": 9}
    adapt(toy(), pictures(), out=tmp_path / "whole", **options)
    estimate, taken, samples = importance.fisher, list[dict](), list[int]()

    def interrupted(verdict, leaves, count, between):
        def one(k: int) -> Tensor:
            samples.append(k)
            os.kill(os.getpid(), signal.SIGINT)
            return verdict(k)

        here = between.args[0] == owner and len(taken) == step
        return estimate(one if here else verdict, leaves, count, between)

    monkeypatch.setattr(importance, "fisher", interrupted)
    with pytest.raises(KeyboardInterrupt):
        adapt(toy(), pictures(), out=tmp_path / "parts", progress=taken.append, **options)
    assert samples == [0], "of two"
    assert f"stopped after step {step} of" in (tmp_path / "parts" / "log.txt").read_text()
    monkeypatch.setattr(importance, "fisher", estimate)
    adapt(toy(), pictures(), out=tmp_path / "parts", **options)
    one, other = (tensorfile.read(tmp_path / f / "state.safetensors")[0] for f in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    steps = [line["step"] for line in read_stats(tmp_path / "parts" / "stats.jsonl")]
    assert steps == list(range(len(steps)))


@pytest.mark.parametrize("name", ["ewc", "adam", "rick"])
def test_a_run_s_folder_keeps_what_was_found_out(name: str, tmp_path):
    """With ADA, by way of files."""
    space, own = ROWS.get(name, ("affine", {"importance_samples": 2, "warmup": 0, "steps": 4}))
    options = {
        **own,
        "augment": "bgc",
        "ada_kimg": 0.02,
        "recipe": name,
        "space": space,
        "quiet": True,
        "every": 9,
    }
    total = options.pop("steps")
    adapt(toy(), pictures(), steps=total, out=tmp_path / "whole", **options)
    for steps in (2, total):
        adapt(toy(), pictures(), steps=steps, out=tmp_path / "parts", **options)
    one, other = (tensorfile.read(tmp_path / f / "state.safetensors")[0] for f in ("whole", "parts"))
    assert any(key.startswith(("fisher/", "filters/")) for key in one)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_judge_without_its_deltas_is_itself():
    state = start("rick")
    assert adapted(state.discriminator, state.judge_deltas, state.judge_base) is state.discriminator
