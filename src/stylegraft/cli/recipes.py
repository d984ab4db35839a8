"""List the methods with their papers and settings: what the paper ran, and our defaults for small networks."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class Options:
    """What `stylegraft recipes` takes."""

    name: Annotated[Positional[str], arg(metavar="[NAME]")] = ""
    """One recipe, every field of it explained; without a name, all recipes side by side."""


def run(options: Options) -> None:
    """Print all recipes, or every field of one."""
    if options.name:
        show_one(options.name)
    else:
        show_all()


def show_all() -> None:
    """Papers first, then what each paper ran and what we change, in the fields that some recipe sets."""
    from stylegraft.adaptation.recipes import FIXED, PAPER, Recipe, recipe
    from stylegraft.cli.console import print_table, say

    print_table(("recipe", "paper"), [(name, row.paper) for name, row in PAPER.items()])
    defaults = {field.name: field.default for field in dataclasses.fields(Recipe) if field.name not in FIXED}
    paper = {field: [getattr(recipe(name, preset="paper"), field) for name in PAPER] for field in defaults}
    scaled = {field: [getattr(recipe(name, preset="scaled"), field) for name in PAPER] for field in defaults}
    papers = [
        (field, *map(show, row)) for field, row in paper.items() if any(v != defaults[field] for v in row)
    ]
    ours = [
        (field, *("-" if mine == theirs else show(mine) for mine, theirs in zip(row, paper[field])))
        for field, row in scaled.items()
        if row != paper[field]
    ]
    print("\nWhat the papers ran (--preset paper):\n")
    print_table(("field", *(f">{name}" for name in PAPER)), papers)
    print("\nWhere ours differ, for small networks, batch 4 and a CPU (--preset scaled):")
    print("(- is the paper's value)\n")
    print_table(("field", *(f">{name}" for name in PAPER)), ours)
    print()
    say(
        "`stylegraft recipes NAME` explains every field; `stylegraft adapt ... --set FIELD=VALUE` changes one."
    )


def show_one(name: str) -> None:
    """Every field of one recipe: paper's value, scaled value, meaning."""
    from stylegraft.adaptation import recipes
    from stylegraft.cli.console import print_table, say

    paper, scaled = recipes.recipe(name, preset="paper"), recipes.recipe(name, preset="scaled")
    say(f"{name}: {paper.paper}")
    print()
    meaning = field_docs(recipes.Recipe)
    names = [field.name for field in dataclasses.fields(recipes.Recipe) if field.name not in recipes.FIXED]
    print_table(
        ("field", ">paper", ">scaled", "what it is"),
        [
            (field, show(getattr(paper, field)), show(getattr(scaled, field)), meaning[field])
            for field in names
        ],
    )
    if name in recipes.NOTES:
        print()
        say(recipes.NOTES[name])


def show(value: Any) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


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
