"""List the methods, a line each, or what each moves on a source; with a name, what one moves, where it differs from the
shared base, and its notes.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from stylegraft.adaptation.fields import show
from stylegraft.adaptation.sorting import sorting
from stylegraft.cli.flags import Switch

if TYPE_CHECKING:
    from torch.nn import Module

    from stylegraft.adaptation.recipes import Recipe
    from stylegraft.checkpoints import Source

# What a method adds to training on, in the width of a column.
ADDS: dict[str, str] = {
    "tgan": "nothing: the baseline",
    "ada": "adaptive augmentation",
    "diffaugment": "a few augmentations, always",
    "freezed": "D keeps its first blocks",
    "fixnoise": "features kept at one noise",
    "l2sp": "a pull to the weights",
    "ewc": "that pull by importance",
    "freezeg": "G's late blocks alone",
    "minegan": "a map of z, first alone",
    "fsgan": "singular values, in D too",
    "adam": "filters tuned or modulated",
    "rick": "filters frozen or pruned",
    "ui2i": "coarse layers swapped back",
    "bsa": "no D: images rebuilt",
    "dcl": "contrasts in G and in D",
    "cdc": "distances between samples",
    "rssa": "relations between places",
    "maskedd": "D sees a part; distances",
    "freezesg": "coarse image kept",
    "weditgan": "an offset of w",
    "nada": "no D: towards words",
    "mtg": "no D: picture and inverse",
    "jojogan": "D frozen: mixed codes",
    "difa": "no D: style by places",
    "hdn": "no D: words; gains, angles",
    "hypernet": "no D: any words, one pass",
}

# CPU time of a mean step over tgan's in the same space: benchmarks/results/step-cost-recipes-faces-64.json.
COST: dict[str, float] = {
    "tgan": 1.0,
    "ada": 1.1,
    "diffaugment": 1.0,
    "freezed": 0.8,
    "fixnoise": 1.6,
    "l2sp": 1.1,
    "ewc": 1.1,
    "freezeg": 1.0,
    "bsa": 0.9,
    "minegan": 1.0,
    "fsgan": 1.1,
    "adam": 1.0,
    "rick": 1.1,
    "ui2i": 0.9,
    "dcl": 1.7,
    "cdc": 1.5,
    "rssa": 1.8,
    "maskedd": 1.9,
    "weditgan": 1.1,
    "nada": 0.6,
    "mtg": 1.1,
    "jojogan": 0.5,
    "difa": 0.7,
    "hdn": 0.6,
    "hypernet": 1.1,
}

LEGEND = (
    "space: what moves unless --space says otherwise. cost: the time of a step over tgan's in the same space, at batch "
    "4 on a CPU, measured on faces-64; what a method does once, before or between its steps, is not in it. freezesg "
    "has none: faces-64 has no running images for its loss. nada, mtg, difa, hdn and hypernet looked through sprig, "
    "and a larger guide costs more; hdn was in hdn-before; hypernet's step is two faces in each of four sentences."
)
MORE = (
    "`stylegraft recipes NAME` says what one moves and changes, with --all every field; `stylegraft recipes SOURCE` "
    "and `stylegraft recipes NAME SOURCE` count; `stylegraft adapt ... --set FIELD=VALUE` changes a field."
)

WIDE = 11  # characters above which a value stands below the table


@dataclass(frozen=True)
class Options:
    """What `stylegraft recipes` takes."""

    names: Annotated[Positional[tuple[str, ...]], arg(metavar="[NAME] [SOURCE]", help_behavior_hint="")] = ()
    """A recipe, and a source to count on (name or file); a source alone counts all recipes. `show NAME` is NAME."""
    all: Switch = False
    """With a name: every field, not only those that differ from the shared base."""


def run(options: Options) -> None:
    """Print all recipes, all on a source, or one."""
    from stylegraft.adaptation.recipes import LEFT_OUT, PAPER, recipe
    from stylegraft.cli.resolve import is_source
    from stylegraft.errors import StylegraftError

    names = options.names[1:] if options.names[:1] == ("show",) else options.names
    if len(names) > 2:
        raise StylegraftError(f"recipes {' '.join(names)}: expected at most a recipe and a source")
    if not names:
        if options.all or options.names:
            raise StylegraftError("recipes: expected a NAME, as in `stylegraft recipes dcl --all`")
        show_all()
        return
    if len(names) == 1 and names[0] not in {*PAPER, *LEFT_OUT} and is_source(names[0]):
        show_on(names[0])
        return
    if len(names) == 2 and names[1] in PAPER and names[0] not in PAPER:
        raise StylegraftError(
            f"recipes {' '.join(names)}: expected the recipe first, `recipes {names[1]} {names[0]}`"
        )
    recipe(names[0])
    counted = count_on(*names) if len(names) == 2 else ""
    show_one(names[0], counted, options.all)


def show_all() -> None:
    """One line a method: name, where it was published, its space, what a step costs, what it adds."""
    from stylegraft.adaptation.recipes import LEFT_OUT, PAPER, recipe
    from stylegraft.cli.console import say

    lines = [
        (
            name,
            venue(row),
            recipe(name).space,
            f"{COST[name]:.1f}" if name in COST else "-",
            ADDS.get(name) or changes_of(row),
        )
        for name, row in PAPER.items()
    ]
    heads = ("recipe", "published", "space", "cost", "adds to tgan")
    wide = [max(len(line[i]) for line in [heads, *lines]) for i in range(4)]
    for line in [heads, *lines]:
        name, paper, space, cost = (text.ljust(width) for text, width in zip(line, wide, strict=False))
        start = f"{name}  {paper}  {space}  {cost.strip():>{wide[3]}}  "
        print(textwrap.fill(line[4], 80, initial_indent=start, subsequent_indent=" " * len(start)))
        if line == heads:
            print("─" * 80)
    print()
    say(LEGEND)
    print("\nLeft out:")
    for name, why in LEFT_OUT.items():
        print(f"{name:<{wide[0]}}  {why}")
    print()
    say(MORE)


def venue(row: Recipe) -> str:
    """Where and when a paper came out, the end of its citation: `NeurIPS 2020`, or the year alone."""
    return row.paper.rpartition(", ")[2].partition(" (")[0]


def changes_of(row: Recipe) -> str:
    """What a row changes of the base, as `--set` takes it, for a method that has no words."""
    return " ".join(f"{field}={show(getattr(row, field))}" for field in differing(row)) or "nothing"


def differing(*rows: Recipe) -> list[str]:
    """The fields in which one of these rows differs from the shared base, in their order."""
    from stylegraft.adaptation.recipes import FIXED, Recipe

    return [
        field.name
        for field in dataclasses.fields(Recipe)
        if field.name not in FIXED and any(getattr(row, field.name) != field.default for row in rows)
    ]


def show_one(name: str, counted: str, everything: bool) -> None:
    """Citation, what moves, what differs from the base (or every field), notes, page."""
    from stylegraft.adaptation import recipes
    from stylegraft.cli.console import print_facts, print_table, say

    paper, scaled = (recipes.recipe(name, preset=preset) for preset in ("paper", "scaled"))
    say(f"{name}: {paper.paper}")
    print()
    for line in moving(paper, scaled):
        say(line)
    if counted:
        say(counted)
    known = [field.name for field in dataclasses.fields(recipes.Recipe) if field.name not in recipes.FIXED]
    fields = known if everything else differing(paper, scaled)
    meaning = field_docs(recipes.Recipe)
    print("\n" + ("Every field:" if everything else "Fields that differ from the shared base:") + "\n")
    values = {field: [show(getattr(row, field)) for row in (paper, scaled)] for field in fields}
    long = {field: dict.fromkeys(pair) for field, pair in values.items() if max(map(len, pair)) > WIDE}
    print_table(
        ("field", ">paper", ">scaled", "what it is"),
        [
            (field, *pair, meaning[field] if everything else first_clause(meaning[field]))
            for field, pair in values.items()
            if field not in long
        ],
    )
    print()
    for field, pair in long.items():
        print(textwrap.fill(f"{field:<18}  {' | '.join(pair)}", 80, subsequent_indent=" " * 20))
    print("" if not long else "\n", end="")
    if name in recipes.NOTES:
        say(recipes.NOTES[name])
        print()
    cost = f"{COST[name]:.1f} times tgan's in the same space, at batch 4 on a CPU" if name in COST else ""
    print_facts([("a step", cost), ("page", f"docs/methods/{name}.md")])


def moving(paper: Recipe, scaled: Recipe) -> list[str]:
    """What of G and of D a recipe moves, and in which stages; numbers as paper's | scaled where they differ."""
    from stylegraft.domains.expression import find_space

    def both(field: str) -> str:
        theirs, ours = show(getattr(paper, field)), show(getattr(scaled, field))
        return theirs if theirs == ours else f"{theirs} | {ours}"

    row, summary = scaled, find_space(scaled.space).summary
    lines = [f"G moves {both('space')}" + (f": {summary}" if summary != row.space else "") + "."]
    if not row.adv:
        lines.append("There is no D: no adversarial game is played.")
    else:
        lines.append(f"D moves {'everything' if row.discriminator == 'all' else row.discriminator}.")
    if row.warmup_judge:
        lines.append(f"In D's {both('warmup')} steps of warm-up only {row.warmup_judge} moves.")
    if row.lead:
        judge = f", and of D {row.lead_judge}" if row.lead_judge else ""
        reset = "; then everything goes back to the source" if row.lead_reset else ""
        lines.append(f"In G's first {both('lead')} steps only {row.lead_space} moves{judge}{reset}.")
    if sorted_filters := sorting(row, row.space, both):
        lines.append(f"F{sorted_filters[1:]}.")
    if row.swap:
        lines.append(f"In the finished domain the blocks below {both('swap')} px are the source's.")
    return lines


def count_on(name: str, text: str) -> str:
    """How many numbers a recipe moves in G and in D of a source, with the preset that fits it."""
    from stylegraft.adaptation.recipes import preset_of, recipe
    from stylegraft.cli.console import share
    from stylegraft.domains.spaces import canonical
    from stylegraft.sources import load_source

    source = load_source(text)
    generator, judge = source.generator, source.discriminator
    row = recipe(name, preset=preset_of(generator.resolution))
    mine, theirs = numbers(row, source)
    line = (
        f"On {source.name} ({row.preset} settings) G moves {mine:,} numbers in {canonical(row.space, generator)}, "
        f"{share(mine, size(generator))} of its size"
    )
    if row.adv and judge is None:
        line += "; it has no discriminator, so that one of random weights learns as a whole"
    elif row.adv and judge is not None:
        line += f"; D {theirs:,}, {share(theirs, size(judge))}"
    why = refusal(row, source)
    return line + (f". It is refused as it is: {why}." if why else ".")


def show_on(text: str) -> None:
    """Every recipe with what it moves on a source, and why one is refused there."""
    from stylegraft.adaptation.recipes import PAPER, preset_of, recipe
    from stylegraft.cli.console import print_table, say, share
    from stylegraft.domains.spaces import canonical
    from stylegraft.errors import StylegraftError
    from stylegraft.sources import load_source

    source = load_source(text)
    generator, judge = source.generator, source.discriminator
    preset = preset_of(generator.resolution)
    whole = f"{source.name}: {size(generator):,} parameters in the generator" + (
        f", {size(judge):,} in the discriminator" if judge else "; no discriminator, so that a new one learns"
    )
    lines, refused = [], []
    for name in PAPER:
        row = recipe(name, preset=preset)
        if why := refusal(row, source):
            refused.append((name, why))
        try:
            mine, theirs = numbers(row, source)
        except StylegraftError:
            lines.append((name, row.space, "-", "-", "-"))
            continue
        of_judge = share(theirs, size(judge)) if judge and row.adv else "new" if row.adv else "none"
        where = canonical(row.space, generator)
        lines.append((name, where, f"{mine:,}", share(mine, size(generator)), of_judge))
    say(f"{whole}; a share is of them ({preset} settings)")
    print()
    print_table(("recipe", "space", ">numbers", ">share of G", ">of D"), lines)
    for name, why in refused:
        print()
        say(f"{name} is refused here as it is: {why}")
    print()
    say(MORE)


def numbers(row: Recipe, source: Source) -> tuple[int, int]:
    """How many numbers learn in G, and in the D that a source brings (0: it brings none)."""
    from stylegraft.adaptation.judges import forms_of
    from stylegraft.domains.spaces import count

    judge, theirs = source.discriminator, 0
    if judge is not None:
        shapes = {name: parameter.shape for name, parameter in judge.named_parameters()}
        theirs = sum(
            prod(part)
            for name, forms in forms_of(judge, row.discriminator).items()
            for form in forms
            for part in form.parts(shapes[name]).values()
        )
    return count(row.space, source.generator), theirs


def size(network: Module) -> int:
    """Parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def refusal(row: Recipe, source: Source) -> str:
    """Why a recipe, in its own space, cannot be run on a source; empty where it can."""
    from stylegraft.adaptation.objectives import check
    from stylegraft.adaptation.recipes import fit
    from stylegraft.domains.spaces import resolve
    from stylegraft.errors import StylegraftError

    try:
        resolve(row.space, source.generator)
        check(row, source.generator)
        fit(row, 1, judged=source.discriminator is not None)
    except StylegraftError as error:
        return str(error).removeprefix(f"recipe {row.name}: ")
    return ""


def first_clause(text: str) -> str:
    """A field's meaning up to its first `. ` or `; `."""
    return text.partition(". ")[0].partition("; ")[0].rstrip(".")


def field_docs(kind: type) -> dict[str, str]:
    """The string that stands below each field of a dataclass: {field: docstring}."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
        ):
            docs[field.target.id] = " ".join(ast.literal_eval(below.value).split())
    return docs
