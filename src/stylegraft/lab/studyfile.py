"""`study.toml` to a `Study`: what is guessed wrong gets one line that names the place and the nearest right word.

No torch is imported here. `GRID` is the list of what a wave, or the head for all of them, can say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stylegraft.adaptation.recipes import recipe
from stylegraft.data.filters import FILTERS
from stylegraft.data.targets import TARGETS
from stylegraft.data.texts import from_toml, read_text, there
from stylegraft.domains.expression import find_space
from stylegraft.encoders import ENCODERS
from stylegraft.errors import StylegraftError, nearest
from stylegraft.lab.study import ALL, OWN, Method, Resources, Study, StudyTarget, Tracing, Wave, asked, slug
from stylegraft.seeds import SEED, is_seed

MOST_COUNTED = 10_000  # seeds, or draws, that one number stands for


def read(path: Path, *, paths: bool = True) -> Study:
    """The study in a TOML file; paths: whether its pictures must be there, as they must to run it.

    Raises StylegraftError naming the place and the nearest right word.
    """
    text = read_text(path, "a study.toml, which `stylegraft compare --example` prints")
    return parse(text, path, paths=paths)


def parse(text: str, path: Path, *, paths: bool = True) -> Study:
    """The study of a TOML text; path is what errors name, and where paths inside begin. Else as `read`."""
    told = from_toml(text, path)
    place = Place(str(path), paths)
    place.known(told, [*HEAD, *GRID])
    waves = told.get("waves", [{}])
    if not isinstance(waves, list) or not waves or not all(isinstance(one, dict) for one in waves):
        raise place.at("waves").wrong(waves, "tables, each headed [[waves]]")
    common = {key: value for key, value in told.items() if key in GRID}
    read_waves = tuple(
        _wave(
            one, common, place if "waves" not in told else place.at(f"waves[{number}]"), number, path.parent
        )
        for number, one in enumerate(waves, 1)
    )
    for labels in ((m for w in read_waves for m in w.methods), (t for w in read_waves for t in w.targets)):
        _one_meaning(place, labels)
    name = told.get("name", path.stem)
    if not isinstance(name, str):
        raise place.at("name").wrong(name, "a text")
    trace, resources = _trace(told, place.at("trace")), _resources(told, place.at("resources"))
    return Study(name, path, read_waves, trace, resources, text)


@dataclass(frozen=True)
class Place:
    """Where in the file something stands, for errors. paths: whether those in it must exist."""

    text: str
    paths: bool = True

    def at(self, key: str) -> Place:
        """A key of this table."""
        return replace(self, text=f"{self.text}: {key}" if ": " not in self.text else f"{self.text}.{key}")

    def wrong(self, found: Any, expected: str, hint: str = "") -> StylegraftError:
        """The error for a value that is something else."""
        return StylegraftError(f"{self.text} is {found!r}{hint}; expected {expected}")

    def known(self, table: Mapping[str, Any], keys: Iterable[str]) -> None:
        """Refuse a key that means nothing here."""
        for key in table:
            if key not in keys:
                raise StylegraftError(
                    f"{self.text}: no key {key!r} is known here{nearest(key, keys)}; there are {', '.join(keys)}"
                )

    def library(self, call: Callable[[], Any]) -> Any:
        """What the library makes of a value; its own refusal, with the place in front."""
        try:
            return call()
        except StylegraftError as error:
            raise StylegraftError(f"{self.text}: {error}") from None


def _wave(told: dict[str, Any], common: dict[str, Any], place: Place, number: int, home: Path) -> Wave:
    place.known(told, ["name", *GRID])
    given = common | told
    read = {
        key: convert(given[key], place.at(key), home) if key in given else default
        for key, (convert, default) in GRID.items()
    }
    for key in ("targets", "recipes", "source"):
        if read[key] is None:
            raise StylegraftError(f"{place.text}: no {key}; expected for example {EXAMPLES[key]}")
    row = dict(zip(("sources", "methods"), (read.pop("source"), read.pop("recipes")), strict=True)) | read
    wave = Wave(str(told.get("name", f"wave {number}")), **row)
    for method in wave.methods:
        place.at("recipes").library(lambda method=method: recipe(method.recipe, **asked(wave, method)))
    of = [replace(t, of=t.of or wave.sources[0]) if t.filter else t for t in wave.targets]
    return replace(wave, targets=tuple(of))


def _listed(value: Any, place: Place, home: Path, one: Callable[[Any, Place, Path], Any]) -> tuple[Any, ...]:
    if value == []:
        raise place.wrong(value, "at least one")
    several = isinstance(value, list)
    items = value if several else [value]
    texts = [f"{place.text}[{i}]" if several else place.text for i in range(1, len(items) + 1)]
    return tuple(
        dict.fromkeys(one(v, replace(place, text=text), home) for v, text in zip(items, texts, strict=True))
    )


def _source(value: Any, place: Place, home: Path) -> str:
    from stylegraft.checkpoints.hub import is_hub
    from stylegraft.sources import SOURCES

    if not isinstance(value, str):
        raise place.wrong(value, f"a source: a file, or one of {', '.join(SOURCES)}")
    if value in SOURCES or is_hub(value):
        return value
    if not there(path := home / value):
        raise place.wrong(value, f"a file, or one of {', '.join(SOURCES)}", nearest(value, SOURCES))
    return str(path)


def _method(value: Any, place: Place, home: Path) -> Method:
    table = {"recipe": value} if isinstance(value, str) else value
    if not isinstance(table, dict) or not isinstance(table.get("recipe"), str):
        raise place.wrong(value, 'a recipe, or a table such as {recipe="dcl", set={cl1=1.0}, label="dcl-1"}')
    place.known(table, ("recipe", "set", "label"))
    changes = table.get("set", {})
    if not isinstance(changes, dict):
        raise place.at("set").wrong(changes, "fields and values, such as {cl1=1.0}")
    name = table["recipe"]
    place.library(lambda: recipe(name, **changes))
    said = "".join(f"-{key}={value}" for key, value in changes.items())
    return Method(_label(table, name + said, place), name, tuple(changes.items()))


def _space(value: Any, place: Place, home: Path) -> str:
    if not isinstance(value, str):
        raise place.wrong(value, f"a space, or {OWN!r} for the recipe's")
    if value != OWN:
        place.library(lambda: find_space(value))
    return value


TARGET: dict[str, type] = {
    "images": str, "reference": str, "pool": int, "count": int, "of": str, "align": str, "label": str,
}  # fmt: skip


def _target(value: Any, place: Place, home: Path) -> StudyTarget:
    table: Any = {"images": value} if isinstance(value, str) else value
    if not isinstance(table, dict) or not isinstance(table.get("images"), str):
        raise place.wrong(value, f"a target: {EXAMPLES['targets']}, or a table with images=")
    place.known(table, TARGET)
    for key, kind in TARGET.items():
        if key in table and (not isinstance(table[key], kind) or isinstance(table[key], bool)):
            raise place.at(key).wrong(table[key], {str: "a text", int: "a whole number"}[kind])
        if isinstance(number := table.get(key), int) and number < 1:
            raise place.at(key).wrong(table[key], "at least 1")
    images: str = table["images"]
    made = images.removeprefix("made:") if images.startswith("made:") else None
    if made is not None and made not in FILTERS:
        raise place.wrong(images, f"one of {', '.join(f'made:{f}' for f in FILTERS)}", nearest(made, FILTERS))
    paths = {key: table[key] for key in ("images", "reference") if key in table}
    if made is not None or images in TARGETS:
        del paths["images"]
    found = {key: home / text for key, text in paths.items()}
    known = [*TARGETS, *(f"made:{name}" for name in FILTERS)]
    for key, path in found.items():
        if place.paths and not there(path):
            choice = f"a folder or zip (looked in {home.absolute()}), or one of {', '.join(known)}"
            raise place.wrong(paths[key], choice, nearest(paths[key], known))
    idle = {"reference": True, "align": True} if made is not None else {"of": False, "count": False}
    for key, for_own in idle.items():
        if key in table:
            kind = "pictures of your own" if for_own else "made:FILTER"
            raise place.at(key).wrong(table[key], f"none here: it is for {kind}")
    if "reference" in table and "pool" in table:
        raise place.at("pool").wrong(
            table["pool"], "no pool beside a reference: it keeps part of the images as one"
        )
    if images in TARGETS and table.get("align", "off") != "off":
        raise place.at("align").wrong(table["align"], "no align: packaged sets are framed already")
    default = images if images in TARGETS else f"made-{made}" if made is not None else Path(images).stem
    return StudyTarget(
        label=_label(table, default, place),
        images=str(found.get("images", images)),
        reference=str(found["reference"]) if "reference" in found else "",
        pool=table.get("pool", 200 if made is not None else 0),
        count=table.get("count", 2000 if made is not None else 0),
        of=_source(table["of"], place.at("of"), home) if "of" in table else "",
        align="off" if made is not None or images in TARGETS else table.get("align", "auto"),
    )


def _label(table: Mapping[str, Any], default: str, place: Place) -> str:
    label = table.get("label", default)
    if not isinstance(label, str) or not label.strip():
        raise place.at("label").wrong(label, "a name")
    return slug(label)


def _shots(value: Any, place: Place, home: Path) -> int:
    if value == ALL:
        return 0
    return _whole(1)(value, place, home) if not isinstance(value, str) else _bad_shots(value, place)


def _bad_shots(value: str, place: Place) -> int:
    raise place.wrong(value, f"a number of images, or {ALL!r}", nearest(value, [ALL]))


def _whole(least: int) -> Callable[[Any, Place, Path], int]:
    def read(value: Any, place: Place, home: Path) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise place.wrong(value, f"a whole number of at least {least}")
        return value

    return read


def _counted(value: Any, place: Place, home: Path) -> tuple[int, ...]:
    """`3` is 0, 1, 2; a list is itself."""
    if isinstance(value, list):
        return _listed(value, place, home, _seed)
    if (count := _whole(1)(value, place, home)) > MOST_COUNTED:
        raise place.wrong(value, f"at most {MOST_COUNTED:,}")
    return tuple(range(count))


def _seed(value: Any, place: Place, home: Path) -> int:
    if not is_seed(value):
        raise place.wrong(value, SEED)
    return value


def _preset(value: Any, place: Place, home: Path) -> str:
    if value not in ("paper", "scaled"):
        raise place.wrong(value, "paper or scaled", nearest(str(value), ["paper", "scaled"]))
    return value


def _several(one: Callable[[Any, Place, Path], Any]) -> Callable[[Any, Place, Path], tuple[Any, ...]]:
    return lambda value, place, home: _listed(value, place, home, one)


# key -> how it is read, and what it is where neither the wave nor the head says it
GRID: dict[str, tuple[Callable[[Any, Place, Path], Any], Any]] = {
    "source":  (_several(_source), None),
    "recipes": (_several(_method), None),
    "spaces":  (_several(_space), (OWN,)),
    "targets": (_several(_target), None),
    "shots":   (_several(_shots), (0,)),
    "draws":   (_counted, (0,)),
    "seeds":   (_counted, (0,)),
    "steps":   (_whole(1), None),
    "batch":   (_whole(1), None),
    "preset":  (_preset, None),
}  # fmt: skip
HEAD = ("name", "waves", "trace", "resources")
EXAMPLES = {
    "source": '"faces-64"',
    "recipes": '["dcl", "tgan"]',
    "targets": '"pencil", "my_drawings/" or "made:pencil"',
}


def _trace(told: Mapping[str, Any], place: Place) -> Tracing:
    table = told.get("trace", {})
    if not isinstance(table, dict):
        raise place.wrong(table, "a table, headed [trace]")
    place.known(table, ("every", "full_at", *SETTINGS))
    every = _whole(1)(table["every"], place.at("every"), Path()) if "every" in table else None
    full_at = _listed(table["full_at"], place.at("full_at"), Path(), _whole(0)) if "full_at" in table else ()
    for key, kind in SETTINGS.items():
        if key in table and (not isinstance(table[key], kind) or isinstance(table[key], bool)):
            raise place.at(key).wrong(table[key], {str: "a name", int: "a whole number"}[kind])
    encoder = str(table.get("encoder", "vgg16"))
    if encoder.partition(":")[0] not in ENCODERS:
        raise place.at("encoder").wrong(encoder, f"one of {', '.join(ENCODERS)}", nearest(encoder, ENCODERS))
    if "seed" in table:
        _seed(table["seed"], place.at("seed"), Path())
    return Tracing(every, full_at, tuple((key, table[key]) for key in SETTINGS if key in table))


SETTINGS: dict[str, type] = {"encoder": str, "samples": int, "seed": int}  # of the panel


def _resources(told: Mapping[str, Any], place: Place) -> Resources:
    table = told.get("resources", {})
    if not isinstance(table, dict):
        raise place.wrong(table, "a table, headed [resources]")
    place.known(table, [one.name for one in dataclasses.fields(Resources)])
    for key, value in table.items():
        kind = (int, float) if key == "gpu" else int
        if not isinstance(value, kind) or isinstance(value, bool) or value < 0:
            raise place.at(key).wrong(value, "a number of at least 0")
    return Resources(**table)


def _one_meaning(place: Place, things: Iterable[Method | StudyTarget]) -> None:
    """Labels are folders, and must say what is in them."""
    known: dict[str, Method | StudyTarget] = {}
    for thing in things:
        if known.setdefault(thing.label, thing) != thing:
            raise StylegraftError(
                f"{place.text}: {thing.label!r} is the name of two different things; give one of them a label="
            )
