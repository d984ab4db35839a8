"""List the networks that metrics look through: which are here, and how to get the others; with a name, one in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from stylegraft.encoders.table import Row


@dataclass(frozen=True)
class Options:
    """What `stylegraft encoders` takes."""

    name: Annotated[Positional[str], arg(metavar="[NAME]", help_behavior_hint="")] = ""
    """One encoder in full, loaded if it is here; NAME:WHERE is one of yours, as in clip:/path/to/folder."""


LEGEND = (
    "here: how the digest of its weights begins; own: weights that you named, whose digest `stylegraft encoders NAME` "
    "tells; other: a file that is not the published one, and is not loaded; no: not here. metrics: those of "
    "`stylegraft evaluate` that look through it; similarity is quality and diversity. A metric carries its encoder's "
    "name; numbers of two encoders cannot be compared. Those that read sentences too can guide an adaptation: "
)


def run(options: Options) -> None:
    """Print all encoders, or one."""
    if options.name:
        show_one(options.name)
    else:
        show_all()


def show_all() -> None:
    """A table, what each of them is, and what gets those that are missing."""
    from stylegraft.cli.console import print_table, say
    from stylegraft.encoders.places import how_to_get, whereabouts
    from stylegraft.encoders.table import DISTANCES, ENCODERS, GUIDES

    table = {**ENCODERS, **DISTANCES}
    found = {name: whereabouts(name, row) for name, row in table.items()}
    rows = [(name, found[name][1][:8] or "no", row.dim, row.size, row.serves) for name, row in table.items()]
    print_table(("encoder", "here", ">dim", ">px", "metrics"), rows, tight=True)
    print()
    for name, row in table.items():
        say(f"  {name}: {row.about}. {row.licence}{_extra(row)}")
    print()
    say(f"{LEGEND}{', '.join(GUIDES)}.")
    missing: dict[str, list[str]] = {}
    for name, row in table.items():
        if not found[name][0] or found[name][1] == "other":
            missing.setdefault(how_to_get(row), []).append(name)
    if missing:
        print("\nTo get what is missing:")
    for way, names in missing.items():
        print(f"{', '.join(names)}:\n    {way}")


def _extra(row: Row) -> str:
    """The extra whose package its loader imports."""
    return ". Needs the extra stylegraft[clip]" if row.extra else ""


def show_one(text: str) -> None:
    """What one encoder is and where its weights come from; loads it if they are here."""
    from stylegraft.cli.console import print_facts
    from stylegraft.encoders import split
    from stylegraft.encoders.places import how_to_get, whereabouts
    from stylegraft.encoders.table import DISTANCES, ENCODERS

    table = {**ENCODERS, **DISTANCES}
    kind, where = split(text, table)
    row = table[kind]
    place = where or whereabouts(kind, row)[0]
    facts: list[tuple[str, object]] = [("what it is", row.about)]
    if place:
        from stylegraft.encoders import load_encoder
        from stylegraft.encoders.lpips import load_lpips

        net = (
            load_lpips(kind.removeprefix("lpips-"), where=where) if kind in DISTANCES else load_encoder(text)
        )
        facts += [
            ("name", net.name),
            ("numbers an image", getattr(net, "dim", "")),
            ("input", f"{net.size} px" if hasattr(net, "size") else "the image at its own size"),  # pyright: ignore
            ("sees", getattr(net, "sees", "")),
            ("tells of places", getattr(net, "patches", "")),
            ("digest", net.digest),
        ]
    else:
        facts += [("numbers an image", row.dim), ("input", f"{row.size} px")]
    facts += [
        ("metrics", row.serves),
        ("licence", f"{row.licence}{_extra(row)}"),
        ("weights", place or "not here"),
        ("to get it", "" if place else how_to_get(row)),
    ]
    print_facts(facts)
