"""What the pages say can be typed, clicked and imported: README, docs, and the pages of the root."""

from __future__ import annotations

import ast
import builtins
import re
import shlex
import unicodedata
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from stylegraft.adaptation.recipes import recipe
from stylegraft.cli import settings
from stylegraft.cli.main import VERBS
from stylegraft.cli.parsing import parse
from stylegraft.domains.expression import find_space

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
INCLUDED = {  # pages of the root that docs/ takes in: on the site, their links begin there
    ROOT / name
    for page in DOCS.rglob("*.md")
    for name in re.findall(r'^--8<-- "(.+)"$', page.read_text(encoding="utf-8"), re.MULTILINE)
}
PUBLIC = (
    "adaptation",
    "applications",
    "checkpoints",
    "data",
    "domains",
    "encoders",
    "lab",
    "metrics",
    "networks",
)
FOREIGN = {
    "--cfg",
    "--cells",
    "--exclude-editable",
    "--max-restarts",
    "--nproc-per-node",
    "--rdzv-endpoint",
    "--strict",
}  # of other programs


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code_of(page: Path, language: str = "") -> Iterator[str]:
    """The fenced blocks of a language; without one the lines of indented blocks."""
    text = text_of(page)
    if language:
        yield from re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        return
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"^    (\S.*)$", prose, re.MULTILINE)


def commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words after `stylegraft`) of every command that stands on a line of its own or, whole, in a sentence."""
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix()
        told = re.findall(r"`(stylegraft\s[^`]+)`", text_of(page))
        for line in [*code_of(page), *(" ".join(words.split()) for words in told)]:
            found = re.match(r"(?:\w+=\S+ )*(?:\S*[/\\])?stylegraft (.*)", line)
            if found and "..." not in line and not re.match(r"VERB|--|help ", found[1]):
                yield name, shlex.split(found[1], comments=True)


COMMANDS = sorted({(page, tuple(words)) for page, words in commands()})


def test_there_are_commands_on_most_pages():
    assert len(COMMANDS) > 200
    assert len({page for page, _ in COMMANDS}) > 20


def test_every_command_of_the_pages_has_a_verb_and_flags_that_exist():
    wrong = []
    for page, (verb, *words) in COMMANDS:
        try:
            module = import_module(f"stylegraft.cli.{verb}")
            if not words:
                continue  # a verb by its name
            options = parse(module, verb, words[: words.index(">")] if ">" in words else words)
            if verb == "adapt":
                find_space(options.space or "full")
                recipe(options.recipe or "dcl", **settings.parse(options.changes))
        except Exception as error:
            wrong.append(f"{page}: stylegraft {verb} {shlex.join(words)}: {error}")
    assert not wrong, "\n".join(wrong)


def test_every_flag_that_a_page_names_is_one_of_some_verb():
    import dataclasses

    known = set(FOREIGN) | {"--help", "--version"}
    for verb in VERBS:
        for field in dataclasses.fields(import_module(f"stylegraft.cli.{verb}").Options):
            flag = field.name.replace("_", "-")
            known |= {f"--{flag}", f"--no-{flag}"}
    known |= {"--set"}
    for page in PAGES:
        for told in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)):
            if re.search(r"(?<!stylegraft )\b(python|pip|pytest|nvidia-\S+|git|hf|ray|torchrun)\b", told):
                continue
            for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", told):
                assert flag in known, f"{page.relative_to(ROOT)}: `{told}`: no verb has {flag}"


def anchors(page: Path) -> set[str]:
    """Of the headings, where the site and the repository's host call them alike."""
    told = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", told, re.MULTILINE):
        plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).strip().lower()
        theirs = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        ascii_ = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        ours = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_).strip())
        found |= {ours} if ours == theirs else set()
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere_on_the_site_as_in_the_repository(page: Path):
    prose = re.sub(r"^```.*?^```|^    .*?$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), link
        if DOCS in page.parents or page in INCLUDED:
            assert DOCS in there.parents, f"{link}: the site has docs/ alone; name the file, do not link it"
        if anchor:
            assert anchor in anchors(there), link


def menu() -> list[str]:
    """The pages that mkdocs.yml lists."""
    text = text_of(ROOT / "mkdocs.yml")
    nav = text[text.index("\nnav:") : text.index("\nnot_in_nav:")]
    return re.findall(r": (\S+\.md)$", nav, re.MULTILINE)


def test_the_menu_has_every_page_once():
    listed = menu()
    assert len(listed) == len(set(listed))
    here = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    pages_of_methods = {name for name in here if re.fullmatch(r"methods/(?!README)[\w-]+\.md", name)}
    assert set(listed) == here - pages_of_methods


def test_every_public_name_is_on_a_page_of_the_reference_and_every_entry_is_public():
    entries = [
        line
        for page in (DOCS / "api").glob("*.md")
        for line in re.findall(r"^::: (\S+)$", text_of(page), re.M)
    ]
    assert len(entries) == len(set(entries))
    told = set()
    for entry in entries:
        package, _, name = entry.rpartition(".")
        module = import_module(package)
        assert name in module.__all__, entry
        told.add(id(getattr(module, name)))
    for package in ("stylegraft", *(f"stylegraft.{name}" for name in PUBLIC)):
        module = import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            assert not callable(thing) or id(thing) in told, f"{package}.{name} is on no page of docs/api"
            assert not callable(thing) or thing.__doc__, f"{package}.{name} says nothing of itself"


WITH_PYTHON = [
    page for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md"))) if [*code_of(page, "python")]
]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_python_on_the_pages_can_be_pasted(page: Path):
    for block in code_of(page, "python"):
        tree = list(ast.walk(ast.parse(block)))
        names = [node for node in tree if isinstance(node, ast.Name)]
        made = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(dir(builtins))
        made |= {(node.asname or node.name).partition(".")[0] for node in tree if isinstance(node, ast.alias)}
        lacking = {node.id for node in names} - made
        assert not lacking, f"{page.name} neither imports nor makes {', '.join(sorted(lacking))}"


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_python_on_the_pages_imports_what_there_is(page: Path):
    for block in code_of(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stylegraft"):
                module = import_module(str(node.module))
                for alias in node.names:
                    home = f"{node.module}.{alias.name}"
                    assert hasattr(module, alias.name) or import_module(home), home


def test_the_complaints_of_other_tools_users_are_answered():
    questions = re.findall(r"^### (.+)$", text_of(DOCS / "troubleshooting.md"), re.MULTILINE)
    assert len(questions) == len(set(questions)) >= 25
