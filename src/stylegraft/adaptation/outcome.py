"""What a run makes, at any of its steps: a domain, or a hypernetwork that gives many."""

from __future__ import annotations

from typing import Any

from stylegraft.adaptation import recipes
from stylegraft.adaptation.request import Request
from stylegraft.adaptation.state import State
from stylegraft.domains.domain import Domain
from stylegraft.domains.hypernet import START, Hypernetwork, finished
from stylegraft.domains.spaces import moves_mapping


def domain_of(state: State, config: dict[str, Any], averaged: bool = True) -> Domain:
    """The averaged deltas (or those that learn) as a domain; where the mapping moves, the change of w_avg with them.

    Where a hypernetwork learns, that of its first sentence.
    """
    told = {key: config[key] for key in ("space", "seed", "target")}
    told |= {"recipe": state.recipe.name, "preset": state.recipe.preset, "steps": state.step}
    told |= {"guides": config["guides"]} if "guides" in config else {}
    if state.hypernet is not None:
        one = Request(state.request.texts[0], state.request.from_text)
        told["target"] = {"name": one.name, "text": one.text, "from_text": one.from_text}
    told["changes"] = recipes.changed(state.recipe)
    domain = Domain(state.averaged() if averaged else state.trained(), told, config["source"])
    mean = state.mean_w if moves_mapping(domain.deltas) else None
    return finished(domain, state.generator, state.keep, state.recipe.swap, mean)


def hypernetwork_of(state: State, config: dict[str, Any]) -> Hypernetwork | None:
    """The averaged hypernetwork, where one learns, with what it has to know to give a domain."""
    if state.hypernet is None:
        return None
    start = {f"{START}{name}": leaf.detach() for name, leaf in state.leaves.items() if bool(leaf.any())}
    tensors = {name: tensor.cpu().clone() for name, tensor in (state.ema | start).items()}
    told = {key: config[key] for key in ("space", "seed", "guides")}
    told |= {key: config["target"][key] for key in ("texts", "from_text")}
    told |= {key: getattr(state.recipe, key) for key in ("preset", "templates", "swap")}
    told |= {"recipe": state.recipe.name, "steps": state.step, "changes": recipes.changed(state.recipe)}
    return Hypernetwork(tensors, told, config["source"])
