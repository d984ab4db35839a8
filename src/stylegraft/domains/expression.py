"""What `--space` takes: terms joined by ` + `, such as `affine@32..64 + lowrank:8(conv@64)`. No torch is imported here.

A term is one of

- a row of SPACES, with its rank and its resolution where it has them: `stylespace`, `affine+@32`, `affine-light+:8`;
- a group of parameters: `group[@R | @A..B | @A.. | @..B][/part][.field]`, as in `affine@32../conv.bias`; `*` is every
  parameter; its deltas are dense;
- a form of deltas on a group: `form[:rank](group)`. It moves those parameters of the group that the form fits.

Behind a group, ` by layer`, ` by row` and ` by resolution` share one vector among the parameters of each layer, of the
layers that read one row of W+, or of one resolution; `?` allows that the network lacks the group.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from stylegraft.domains.table import SPACES, Space
from stylegraft.errors import StylegraftError, nearest

# Group -> its parts; `networks.groups` has the patterns. gain, offset and miner are buffers, not parameters.
GROUPS: dict[str, tuple[str, ...]] = {
    "mapping": (),
    "affine": ("conv", "up", "torgb"),
    "conv": ("depthwise", "pointwise"),
    "torgb": (),
    "noise": (),
    "const": (),
    "gain": (),  # of an input channel after demodulation, minus 1
    "offset": (),  # of the row of W+ that a layer reads
    "miner": (),  # an affine map of z before the mapping
}
FIELDS: dict[str, tuple[str, ...]] = {  # field -> endings of parameter names
    "weight": (".weight",),
    "bias": (".bias",),
    "kernel": (".weight", ".pointwise"),  # a depthwise kernel mixes no channels
    "depthwise": (".depthwise",),
    "pointwise": (".pointwise",),
}
FORMS: dict[str, bool] = {  # form (`deltas.FORMS`) -> whether it takes a rank
    "dense": False,
    "lowrank": True,
    "box": False,
    "scale": False,
    "scale-in": False,
    "rank1": False,
    "singular": False,
}
TIES = {"layer": "name", "row": "row", "resolution": "resolution"}  # -> the field of `networks.Layer`

_FORM = re.compile(r"(?P<form>[^\s():]+)(:(?P<rank>[^\s()]*))?\((?P<group>[^()]*)\)")
_NAMED = re.compile(r"(?P<name>[^\s():@/.?*]+)(:(?P<rank>[^\s():@]*))?(@(?P<at>[0-9]{1,5}))?")
_RANGED = re.compile(r"(?P<name>[^\s():@/.?*]+)(:[^\s():@]*)?@(?P<span>[0-9]*\.\.[0-9]*)")
_JOINT = re.compile(
    r"\s*(?:,|\+(?=\s*[a-z*]))\s*"
)  # what may have been meant as ` + `; a space's name can end in a +
_GROUP = re.compile(
    r"(?P<group>\*|[\w-]+)(@(?P<span>\*|[0-9]{1,5}|[0-9]{0,5}\.\.[0-9]{0,5}?))?"
    r"(/(?P<part>\w+))?(\.(?P<field>\w+))?(?P<optional>\?)?( +by +(?P<by>\w+))?"
)


@dataclass(frozen=True)
class Named:
    """A row of SPACES; rank and at are 0 where they are not given."""

    name: str
    rank: int = 0
    at: int = 0

    def __str__(self) -> str:
        rank = f":{self.rank}" if self.rank not in (0, SPACES[self.name].rank) else ""
        return f"{self.name}{rank}{f'@{self.at}' if self.at else ''}"


@dataclass(frozen=True)
class Term:
    """A form on a group of parameters; empty texts choose nothing."""

    form: str
    rank: int
    group: str
    span: str = ""
    part: str = ""
    field: str = ""
    optional: bool = False
    by: str = ""

    def __str__(self) -> str:
        optional = "?" if self.optional else ""
        marks = (("@", self.span), ("/", self.part), (".", self.field), ("", optional), (" by ", self.by))
        text = self.group + "".join(mark + what for mark, what in marks if what)
        rank = f":{self.rank}" if self.rank else ""
        return text if self.form == "dense" else f"{self.form}{rank}({text})"

    def holds(self, resolution: int | None) -> bool:
        """Whether a parameter of a hidden map of this resolution (None: of none) is meant."""
        if self.span in ("", "*"):
            return True
        low, dots, high = self.span.partition("..")
        last = high or 1 << 30 if dots else low
        return resolution is not None and int(low or 0) <= resolution <= int(last)


def parse(text: str) -> tuple[Named | Term, ...]:
    """The terms of an expression; raises StylegraftError naming the term, with the nearest name."""
    try:
        terms = tuple(_term(part) for part in re.split(r"\s+\+\s+", text.strip()))
    except StylegraftError as error:
        if meant := _spaced(text):
            raise StylegraftError(
                f"space {text!r}: terms are joined by a + with spaces around it; expected {meant!r}"
            ) from error
        raise
    kept = [str(t) for t in terms if isinstance(t, Named) and SPACES[t.name].keep]
    if kept and len(terms) > 1:
        raise StylegraftError(f"space {text!r}: {kept[0]} is pruned as a whole and stands alone")
    return terms


def terms_of(item: Named | Term, block: int) -> tuple[Term, ...]:
    """A term as forms on groups; block: the resolution of a named space that gives none."""
    if isinstance(item, Term):
        return (item,)
    row = SPACES[item.name]
    moves = row.moves.replace("@R", f"@{item.at or block}").replace(":N", f":{item.rank or row.rank}")
    return tuple(_on_group(part) for part in moves.split(" + "))


def canonical(text: str, block: int) -> str:
    """The expression as it is stored: one spelling, with every resolution written out."""
    items = parse(text)
    filled = (
        replace(i, at=i.at or block) if isinstance(i, Named) and SPACES[i.name].needs_block else i
        for i in items
    )
    return " + ".join(str(item) for item in filled)


def find_space(text: str) -> Space:
    """The row of SPACES that is named, with or without rank and resolution, or an expression as a row of its own.

    Raises StylegraftError with the nearest name.
    """
    items = parse(text)
    if len(items) == 1 and isinstance(items[0], Named):
        return SPACES[items[0].name]
    return Space(" + ".join(map(str, items)), "", text)


def _spaced(text: str) -> str:
    """The expression with its terms joined as they should be, where that makes one of it; empty otherwise."""
    parts = _JOINT.split(text.strip())
    try:
        return " + ".join(str(_term(part)) for part in parts) if len(parts) > 1 else ""
    except StylegraftError:
        return ""


def _term(text: str) -> Named | Term:
    if text in SPACES:
        return Named(text)
    ranged = _RANGED.fullmatch(text)
    if ranged and ranged["name"] in SPACES and ranged["name"] not in GROUPS:
        name, block = ranged["name"], SPACES[ranged["name"]].needs_block
        takes = f"takes one resolution, as in {name}@16" if block else "has no block, so it takes none"
        raise StylegraftError(f"space {text!r}: found resolutions {ranged['span']}, but {name} {takes}")
    found = _NAMED.fullmatch(text)
    if found is None:
        return _on_group(text)
    name, rank, at = found["name"], found["rank"], found["at"]
    row = SPACES.get(name)
    if name in GROUPS and not (row and row.needs_block):  # `affine` is a space, `affine@32` a group
        return _on_group(text)
    if row is None:
        known = f"known spaces: {', '.join(SPACES)}; groups: {', '.join(GROUPS)}"
        raise StylegraftError(f"space {name!r} is unknown{nearest(name, [*SPACES, *GROUPS])}; {known}")
    if at and not row.needs_block:
        raise StylegraftError(f"space {text!r}: {name} has no block, so it takes no @{at}")
    if rank is not None and not row.rank:
        raise StylegraftError(f"space {text!r}: {name} has no rank, so it takes no :{rank}")
    return Named(name, _rank(text, rank) if rank is not None else 0, int(at or 0))


def _on_group(text: str) -> Term:
    form, rank, inside = "dense", 0, text
    if found := _FORM.fullmatch(text):
        form, inside = found["form"], found["group"].strip()
        if form in SPACES:
            raise StylegraftError(
                f"space {text!r}: {form} is a space, and only forms take a group{nearest(form, FORMS)}; known forms: "
                f"{', '.join(FORMS)}"
            )
        _known("form", form, FORMS, text)
        if FORMS[form]:
            rank = _rank(text, found["rank"])
        elif found["rank"] is not None:
            raise StylegraftError(f"space {text!r}: the form {form} takes no rank")
    match = _GROUP.fullmatch(inside)
    if match is None:
        dotted = re.sub(r"@([0-9]+)\s*-\s*([0-9]+)", r"@\1..\2", text)
        if dotted != text:
            raise StylegraftError(f"space {text!r}: a range of resolutions takes dots; expected {dotted!r}")
        raise StylegraftError(
            f"space {text!r}: expected a space such as affine+@32, a group such as affine@32..64/conv.bias or a form"
            " such as lowrank:8(conv@64), joined by ' + '"
        )
    group, span, part, field, by = (match[key] or "" for key in ("group", "span", "part", "field", "by"))
    _known("group", group, [*GROUPS, "*"], text)
    if part:
        _known("part", part, GROUPS.get(group, ()), text)
    if field:
        _known("field", field, FIELDS, text)
    if by:
        _known("tie", by, TIES, text)
    if span and group == "mapping":
        raise StylegraftError(f"space {text!r}: the mapping has no resolutions, so it takes no @{span}")
    low, _, high = span.partition("..")
    if low and high and int(low) > int(high):
        raise StylegraftError(f"space {text!r}: @{span} goes down; expected @{high}..{low}")
    return Term(form, rank, group, span, part, field, bool(match["optional"]), by)


def _known(what: str, name: str, known: Collection[str], text: str) -> None:
    if name not in known:
        listed = f"known: {', '.join(known)}" if known else "there is none here"
        raise StylegraftError(f"space {text!r}: {what} {name!r} is unknown{nearest(name, known)}; {listed}")


def _rank(text: str, given: str | None) -> int:
    if not (given and given.isascii() and given.isdigit() and len(given) < 5 and int(given)):
        raise StylegraftError(f"space {text!r}: expected a rank from 1 to 9999, as in lowrank:8(conv@64)")
    return int(given)
