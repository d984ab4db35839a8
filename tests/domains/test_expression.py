"""`--space` takes names, groups and forms, and says where it is wrong."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from stylegraft.adaptation.rates import SPACE_LR, learning_rate
from stylegraft.adaptation.recipes import recipe
from stylegraft.domains import FORMS, SPACES, canonical, count, expression, find_space, resolve
from stylegraft.errors import StylegraftError
from stylegraft.networks import groups
from stylegraft.networks.generator import Generator


def moves(space: str, generator: Generator) -> dict[str, tuple[str, ...]]:
    """{parameter: forms}."""
    return {name: tuple(spec.form for spec in specs) for name, specs in resolve(space, generator).items()}


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("affine+", "affine+@8"),
        ("affine+@16", "affine+@16"),
        ("affine-light+:5", "affine-light+@8"),
        ("affine-light+:3@16", "affine-light+:3@16"),
        ("w-offset@res", "w-offset@res"),
        ("late", "late@8"),
        ("affine@8", "affine@8"),
        ("affine@*/conv.bias", "affine@*/conv.bias"),
        ("dense( affine/conv )", "affine/conv"),
        ("affine@8..16  +  lowrank:2(conv@16)", "affine@8..16 + lowrank:2(conv@16)"),
        ("scale(affine@..8  by layer) + late@16", "scale(affine@..8 by layer) + late@16"),
        ("box(torgb@8.kernel?) + const", "box(torgb@8.kernel?) + const"),
        ("*@8...bias", "*@8...bias"),
    ],
)
def test_an_expression_is_stored_in_one_spelling(stylegan2: Generator, text: str, stored: str) -> None:
    assert canonical(text, stylegan2) == stored
    assert canonical(stored, stylegan2) == stored
    assert resolve(text, stylegan2) == resolve(stored, stylegan2)


def test_the_terms_of_an_expression_add_up(stylegan2: Generator) -> None:
    found = moves("affine@8..16 + lowrank:2(conv@16)", stylegan2)
    assert found["synthesis.b8.torgb.affine.bias"] == ("dense",)
    assert found["synthesis.b16.conv0.weight"] == ("lowrank",)
    assert not any(".b4." in name or name == "synthesis.b16.conv0.bias" for name in found)
    assert list(found) == [name for name, _ in stylegan2.named_parameters() if name in found]


def test_ranges_parts_and_fields_choose(stylegan2: Generator) -> None:
    at = {
        "conv@8": {f"synthesis.b8.conv{i}.{p}" for i in (0, 1) for p in ("weight", "bias")},
        "conv@8...bias": {f"synthesis.b{r}.conv{i}.bias" for r in (8, 16) for i in (0, 1)},
        "noise@..4": {"synthesis.b4.conv1.noise_strength"},
        "affine@4/torgb": {"synthesis.b4.torgb.affine.weight", "synthesis.b4.torgb.affine.bias"},
        "*@..4.kernel": {f"synthesis.b4.{p}weight" for p in ("conv1.", "conv1.affine.", "torgb.", "torgb.affine.")},
        "gain@16": {"synthesis.b16.conv0.channel_gain", "synthesis.b16.conv1.channel_gain"},
    }  # fmt: skip
    for text, names in at.items():
        assert set(resolve(text, stylegan2)) == names, text


def test_late_is_everything_from_a_resolution_on(stylegan2: Generator) -> None:
    expected = {name for name, _ in stylegan2.named_parameters() if ".b8." in name or ".b16." in name}
    assert set(resolve("late@8", stylegan2)) == expected


def test_several_forms_stand_on_one_parameter(stylegan2: Generator) -> None:
    found = moves("adam", stylegan2)
    assert found["synthesis.b8.conv0.weight"] == ("rank1", "dense")
    assert found["synthesis.b16.conv1.affine.weight"] == ("rank1", "dense")
    for name in ("mapping.fc0", "synthesis.b4.conv1", "synthesis.b8.torgb", "synthesis.b8.torgb.affine"):
        assert (found[f"{name}.weight"], found[f"{name}.bias"]) == (("rank1",), ("dense",))
    assert not any("noise" in name or "const" in name for name in found)


def test_the_same_term_twice_is_one(stylegan2: Generator) -> None:
    assert resolve("affine + affine@8 + stylespace", stylegan2) == resolve("affine", stylegan2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("afine", "space 'afine' is unknown (did you mean 'affine'?); known spaces: full, mapping"),
        ("stylspace + conv", "space 'stylspace' is unknown (did you mean 'stylespace'?)"),
        ("afine@8..16", "group 'afine' is unknown (did you mean 'affine'?)"),
        ("affine@8/cnv", "part 'cnv' is unknown (did you mean 'conv'?); known: conv, up, torgb"),
        ("torgb/conv", "part 'conv' is unknown; there is none here"),
        ("conv.wieght", "field 'wieght' is unknown (did you mean 'weight'?)"),
        ("lowrnk:8(conv)", "form 'lowrnk' is unknown (did you mean 'lowrank'?)"),
        ("lowrank(conv)", "expected a rank from 1 to 9999"),
        ("lowrank:0(conv)", "expected a rank from 1 to 9999"),
        ("lowrank:x(conv)", "expected a rank from 1 to 9999"),
        ("affine-light+:0", "expected a rank from 1 to 9999"),
        ("dense:3(conv)", "the form dense takes no rank"),
        ("affine+:3", "affine+ has no rank, so it takes no :3"),
        ("stylespace@8", "stylespace has no block, so it takes no @8"),
        ("scale(affine by lair)", "tie 'lair' is unknown (did you mean 'layer'?)"),
        ("mapping@8..", "the mapping has no resolutions"),
        ("stylespace-sparse + const", "stylespace-sparse is pruned as a whole and stands alone"),
        (
            "affine+conv",
            "space 'affine+conv': terms are joined by a + with spaces around it; expected 'affine + conv'",
        ),
        ("affine@32..64+lowrank:8(conv@64)", "expected 'affine@32..64 + lowrank:8(conv@64)'"),
        ("stylespace +miner", "expected 'stylespace + miner'"),
        ("style+@8+conv", "expected 'style+@8 + conv'"),
        ("affine, conv", "terms are joined by a + with spaces around it; expected 'affine + conv'"),
        ("afine+conv", "space 'afine+conv' is unknown"),
        (
            "affine@8-16 + conv",
            "space 'affine@8-16': a range of resolutions takes dots; expected 'affine@8..16'",
        ),
        ("lowrank:8(conv@16..8)", "@16..8 goes down; expected @8..16"),
        ("late@16..", "found resolutions 16.., but late takes one resolution, as in late@16"),
        ("stylespace@8..", "stylespace has no block, so it takes none"),
        ("rank-1(conv)", "rank-1 is a space, and only forms take a group (did you mean 'rank1'?)"),
        ("conv@8(", "expected a space such as affine+@32, a group such as"),
        ("", "expected a space such as"),
        ("affine + ", "expected a space such as"),
        ("affine@8@16", "expected a space such as"),
    ],
)
def test_a_fault_in_the_text_is_named_without_a_network(text: str, message: str) -> None:
    with pytest.raises(StylegraftError) as caught:
        find_space(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_network_lacks_is_named_with_what_it_has(stylegan2: Generator) -> None:
    for text, message in {
        "conv@32": "space 'conv@32': this stylegan2 generator has nothing for conv@32; it has conv at 4, 8, 16",
        "affine@32..": "it has affine at 4, 8, 16",
        "conv/depthwise": "this stylegan2 generator has nothing for conv/depthwise",
        "box(affine)": "it has affine at 4, 8, 16; box fits kernels",
        "affine+@32": "the network has no block of 32 px; it has 4, 8, 16",
        "lowrank:2(conv@8) + lowrank:3(conv)": "synthesis.b8.conv0.weight gets the form lowrank in two ways",
        "offset by row + offset by resolution": "gets the form dense in two ways",
        "scale(mapping by layer)": "mapping.fc0.weight is in no modulated layer",
        "dense(affine.weight by resolution) + dense(affine.bias by resolution)": None,
        "dense(affine by resolution)": "ties parameters of different shapes",
    }.items():
        if message is None:
            count(text, stylegan2)
            continue
        with pytest.raises(StylegraftError, match=re.escape(message)):
            resolve(text, stylegan2)


def test_the_vocabulary_is_that_of_the_forms_and_the_networks(generator: Generator) -> None:
    assert set(expression.FORMS) == set(FORMS)
    assert [form for form, ranked in expression.FORMS.items() if ranked] == ["lowrank"]
    labels = {label for _, row in groups.GROUPS for label in row}
    assert {label.partition("@")[0].partition("/")[0] for label in labels} == set(expression.GROUPS)
    for label in generator.groups:
        group, _, part = label.partition("/")
        assert part in ("", *expression.GROUPS[group.partition("@")[0]])


def test_the_rows_of_the_table_are_expressions() -> None:
    for name, row in SPACES.items():
        assert find_space(name) is row
        assert row.keep == (0.2 if name == "stylespace-sparse" else None)
        expression.terms_of(expression.Named(name), 8)


def test_an_expression_takes_the_rate_of_its_most_careful_term() -> None:
    row = recipe("tgan", lr=0.002)
    assert learning_rate(row, "affine+@8") == learning_rate(row, "affine+") == pytest.approx(0.02)
    assert learning_rate(row, "affine-light+:8@16") == pytest.approx(0.008)
    assert learning_rate(row, "stylespace + lowrank:8(conv@64)") == pytest.approx(0.008)
    assert learning_rate(row, "stylespace + conv@64") == pytest.approx(0.002)
    assert set(SPACE_LR) <= set(SPACES) | set(FORMS) | set(expression.GROUPS)


def test_a_wrong_expression_is_found_before_torch_is_loaded() -> None:
    code = (
        "import sys; from stylegraft.domains.expression import canonical; canonical('affine+ + conv@8..', 64)"
    )
    code += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
