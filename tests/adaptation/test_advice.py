"""What a refusal advises is accepted: every space and every setting, of every refused pair."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stylegraft.adaptation import stages
from stylegraft.cli.settings import parse
from stylegraft.domains import SPACES
from stylegraft.errors import StylegraftError

from .test_contract import Pair
from .toys import BRIEF, BRIEF_OWN, RECIPES, REFUSED, fresh


def begin(pair: Pair, space: str, **settings: Any) -> None:
    """As far as `adapt` goes before the first step."""
    changes = BRIEF | BRIEF_OWN.get(pair.recipe, {}) | settings
    stages.check(fresh(pair.recipe, space, pair.architecture, **changes), space)


def refused() -> list[Pair]:
    """MobileStyleGAN's for what it lacks alone: the stages are the same for both architectures."""
    pairs = [Pair("stylegan2", recipe, space) for recipe in RECIPES for space in SPACES]
    own = [
        Pair("mobile", "tgan", space) for (kind, _, spaces) in REFUSED for space in spaces if kind == "mobile"
    ]
    return [pair for pair in pairs + own if pair.why]


@pytest.mark.parametrize("pair", refused(), ids=lambda pair: pair.label)
def test_what_is_advised_instead_of_a_refused_pair_is_accepted(pair: Pair):
    """The space with the recipe as it stands, the settings, in the words of `--set`, in the user's own space."""
    with pytest.raises(StylegraftError) as refusal:
        begin(pair, pair.space)
    line = str(refusal.value)
    spaces = [named or used for named, used in re.findall(r"--space '([^']*)'|: use ([\w-]+)$", line)]
    settings = parse(re.findall(r"--set (\S+)", line))
    assert spaces
    for space in spaces:
        begin(pair, space)
    if settings:
        begin(pair, pair.space, **settings)
    else:
        assert pair.architecture == "mobile"
