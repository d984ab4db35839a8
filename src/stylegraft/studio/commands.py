"""From a form of the page to a command line: a table of verbs. Every path is checked, every value is a word of its own,
and no shell reads them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stylegraft.adaptation.recipes import PAPER
from stylegraft.applications.files import CODES
from stylegraft.atomic import write_text
from stylegraft.data.targets import TARGETS
from stylegraft.domains.expression import find_space
from stylegraft.errors import StylegraftError
from stylegraft.sources import SOURCES
from stylegraft.studio.workspace import NAME, Workspace

Form = Mapping[str, Any]
MOST_STEPS, MOST_SECONDS, MOST_STATIONS = 100_000, 120, 24
EXPORTS = {
    # ending: the verb that writes it
    ".safetensors": "convert",
    ".pt": "convert",
    ".onnx": "export",
}
FILMS = (".mp4", ".webp", ".gif")


def adapt(place: Workspace, form: Form) -> tuple[list[str], dict[str, Any]]:
    """`adapt SOURCE TARGET --out runs/NAME`, or with --text."""
    source, recipe, space = text(form, "source"), text(form, "recipe", "dcl"), text(form, "space", "")
    if recipe not in PAPER:
        raise StylegraftError(f"recipe {recipe!r} is unknown; there are {', '.join(PAPER)}")
    if space:
        find_space(space)
    sentence, target = text(form, "text", ""), text(form, "target", "")
    argv = ["adapt", named_source(place, source)]
    if sentence:
        argv += [f"--text={sentence}"]
    elif target in TARGETS:
        argv += [target]
    else:
        argv += [below(place, target)]
    argv += ["--recipe", recipe, *(["--space", space] if space else [])]
    steps = number(form, "steps", 1, MOST_STEPS, None)
    if steps:
        argv += ["--steps", str(int(steps))]
    argv += ["--seed", str(int(number(form, "seed", 0, 2**31, 0) or 0))]
    every = number(form, "every", 1, MOST_STEPS, None)
    argv += ["--every", str(int(every))] if every else []
    argv += ["--align", "off"] if form.get("align") == "off" else []
    argv += ["--trace"] if form.get("trace") is True else []
    out = run_name(place, form)
    return [*argv, "--out", out], {
        "title": out,
        "out": out,
        "recipe": recipe,
        "space": space,
        "target": target or sentence,
    }


def run_name(place: Workspace, form: Form) -> str:
    """`runs/NAME`, or NAME where the workspace is a folder of runs itself."""
    name = text(form, "name").strip()
    if not NAME.fullmatch(name):
        raise StylegraftError(f"{name!r}: expected a name of letters, digits, space and . + - _")
    inside = place.root.name == "runs"
    if not inside:
        (place.root / "runs").mkdir(exist_ok=True)
    return name if inside else f"runs/{name}"


def translate(place: Workspace, form: Form) -> tuple[list[str], dict[str, Any]]:
    """`translate DOMAIN PHOTOS --out translations/NAME`."""
    domain, photos = text(form, "domain"), text(form, "photos")
    out = f"translations/{Path(photos).name}"
    (place.root / "translations").mkdir(exist_ok=True)
    place.path(out)
    argv = ["translate", below(place, domain), below(place, photos), "--out", out]
    argv += [
        "--recipe",
        choice(form, "recipe", ("fast", "good")),
        "--space",
        choice(form, "space", ("w+", "w", "z", "s")),
    ]
    argv += ["--align", choice(form, "align", ("auto", "off"))]
    if reference := text(form, "reference", ""):
        argv += ["--reference", below(place, reference)]
    about = {
        "title": Path(photos).name,
        "out": out,
        "domain": domain,
        "codes": f"{out}/{CODES}",
        "photos": photos,
    }
    return argv + base(place, domain), about


def morph(place: Workspace, form: Form) -> tuple[list[str], dict[str, Any]]:
    """`morph --keys FILE --out FILM`: the stations of the page as a file of keys beside the film."""
    name, suffix = text(form, "name").strip(), choice(form, "kind", FILMS)
    film = place.fresh(name, suffix)
    keys = film.with_suffix(".toml")
    script, names = toml(place, form)
    write_text(keys, script)
    argv = [
        "morph",
        "--keys",
        keys.name,
        "--out",
        film.name,
        *(base(place, next(iter(names))) if names else []),
    ]
    return argv, {"title": film.name, "out": film.name, "keys": keys.name}


def toml(place: Workspace, form: Form) -> tuple[str, dict[str, str]]:
    """The file of keys, and what each domain is called in it."""
    source, stations = text(form, "source"), form.get("stations")
    if not isinstance(stations, list) or not 2 <= len(stations) <= MOST_STATIONS:
        raise StylegraftError(f"stations: expected 2 to {MOST_STATIONS}")
    seconds = float(number(form, "seconds", 0.5, MOST_SECONDS, 6) or 6)
    fps = float(number(form, "fps", 1, 60, 24) or 24)
    loop = form.get("loop") is True
    names: dict[str, str] = {}
    for station in stations:
        if not isinstance(station, dict) or not isinstance(station.get("domains", {}), dict):
            raise StylegraftError("stations: expected a face and its domains for each")
        for domain in station.get("domains", {}):
            place.base_of(place.existing(domain))
            names.setdefault(domain, f"d{len(names)}")
    lines = [f"fps = {fps:g}", f"loop = {str(loop).lower()}", f"seconds = {seconds:g}"]
    if not names:
        lines.append(f"source = {json.dumps(named_source(place, source))}")
    lines += (
        ["", "[domains]", *(f"{key} = {json.dumps(domain)}" for domain, key in names.items())]
        if names
        else []
    )
    parts = len(stations) - (0 if loop else 1)
    for i, station in enumerate(stations):
        at = seconds * i / parts
        seed = int(number(station, "seed", 0, 2**32 - 1, 0) or 0)
        held = {
            key: number(station.get("domains", {}), domain, -10, 10, 0.0) or 0.0
            for domain, key in names.items()
        }
        mix = ", ".join(f"{key} = {amount:.4f}" for key, amount in held.items())
        ease = choice(station, "ease", ("smooth", "linear", "ease-in", "ease-out"))
        lines += [
            "",
            "[[keys]]",
            f"at = {at:.3f}",
            f"seed = {seed}",
            *([f"domains = {{{mix}}}"] if mix else []),
        ]
        lines += [f'ease = "{ease}"'] if i else []
    return "\n".join(lines) + "\n", names


def export(place: Workspace, form: Form) -> tuple[list[str], dict[str, Any]]:
    """`convert` or `export` of a domain folded into its source."""
    domain, suffix = text(form, "domain"), choice(form, "kind", tuple(EXPORTS))
    out = place.name(place.fresh(text(form, "name"), suffix))
    argv = [EXPORTS[suffix], below(place, domain), out, *base(place, domain)]
    return argv, {"title": out, "out": out, "domain": domain}


def prune(place: Workspace, form: Form) -> tuple[list[str], dict[str, Any]]:
    """`prune DOMAIN --keep SHARE --out FILE`."""
    domain, keep = text(form, "domain"), number(form, "keep", 0.001, 1, 0.2)
    out = place.name(place.fresh(text(form, "name"), ".safetensors"))
    argv = ["prune", below(place, domain), "--keep", f"{keep:g}", "--out", out, *base(place, domain)]
    argv += ["--dense"] if form.get("dense") is True else []
    return argv, {"title": out, "out": out, "domain": domain}


def anatomy(place: Workspace, form: Form) -> tuple[list[str], dict[str, Any]]:
    """`anatomy RUN --out RUN/anatomy`, on fewer latents than the command takes by itself: a third of the time."""
    domain = text(form, "domain")
    argv = ["anatomy", below(place, domain), "--latents", "8", "--count", "100", "--out", f"{domain}/anatomy"]
    if not (place.existing(domain) / "domain.safetensors").is_file():
        raise StylegraftError(f"{domain}: expected a run that has saved its domain")
    about = {"title": f"{domain}, taken apart", "out": f"{domain}/anatomy", "domain": domain}
    return argv + base(place, domain), about


def push(place: Workspace, form: Form) -> tuple[list[str], dict[str, Any]]:
    """`push DOMAIN OWNER/NAME --dry-run`: what would go, in a folder of the workspace; without it where `upload` says
    so."""
    domain, repo = text(form, "domain"), text(form, "repo")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", repo, re.ASCII):
        raise StylegraftError(f"{repo}: expected OWNER/NAME, a repository of the hub")
    if form.get("upload") is True:
        argv = ["push", below(place, domain), repo, *base(place, domain)]
        return argv, {"title": repo, "out": f"hub:{repo}", "domain": domain, "uploaded": True}
    (place.root / "shared").mkdir(exist_ok=True)
    out = f"shared/{repo.partition('/')[2]}"
    argv = ["push", below(place, domain), repo, "--dry-run", "--out", out, *base(place, domain)]
    return argv, {"title": out, "out": out, "domain": domain}


VERBS: dict[str, Callable[[Workspace, Form], tuple[list[str], dict[str, Any]]]] = {
    "adapt": adapt,
    "translate": translate,
    "morph": morph,
    "export": export,
    "prune": prune,
    "anatomy": anatomy,
    "push": push,
}


# Fields of a form
# --------------------------------------------------------------------------------------------


def text(form: Form, name: str, default: str | None = None) -> str:
    """A line of text."""
    value = form.get(name, default)
    if (
        not isinstance(value, str)
        or len(value) > 500
        or not value.isprintable()
        or (default is None and not value)
    ):
        raise StylegraftError(f"{name}: expected a line of text")
    return value


def number(form: Form, name: str, low: float, high: float, default: float | None) -> float | None:
    """A number in a range; None where none was given and none is the default."""
    value = form.get(name, default)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise StylegraftError(f"{name}: expected a number, found {value!r}")
    if not low <= value <= high:
        raise StylegraftError(f"{name} {value:g}: expected {low:g} to {high:g}")
    return value


def choice(form: Form, name: str, known: tuple[str, ...]) -> str:
    """One of a few words, the first by default."""
    value = form.get(name, known[0])
    if value not in known:
        raise StylegraftError(f"{name} {value!r}: expected {', '.join(known)}")
    return value


def below(place: Workspace, name: str) -> str:
    """Something of the workspace, as the command line takes it: `./` before it, so that it is no shipped name."""
    return f"./{place.name(place.existing(name))}"


def named_source(place: Workspace, name: str) -> str:
    """A shipped source, or a file of the workspace."""
    return name if name in SOURCES else below(place, name)


def base(place: Workspace, domain: str) -> list[str]:
    """`--source FILE` where a domain's base is not a shipped one."""
    found = place.base_of(place.existing(domain))
    return [] if found in SOURCES else ["--source", below(place, found)]
