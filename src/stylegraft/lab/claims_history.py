"""What was changed of the claims since they were written down, and how much of the studies had been seen by then.

`stylegraft claims` prints it, the tables of `lab.claims_report` and docs/claims.md show it.
"""

from __future__ import annotations

from dataclasses import dataclass

INTRO = "Written down before a run of these studies was looked at. What was changed since:"


@dataclass(frozen=True)
class Change:
    """claims: the ids of those that it is about. what: the change, and the verdicts that it turned."""

    claims: tuple[str, ...]
    what: str

    def __str__(self) -> str:
        *others, last = self.claims
        return f"{', '.join(others)}{' and ' if others else ''}{last}: {self.what}"


HISTORY: dict[str, tuple[Change, ...]] = {  # by when it was, and what was known
    "2026-11-26, before the first run of wave 1 had ended": (
        Change(
            ("C2", "C3"),
            "a crossing between two looks that are over 100 steps apart is no longer guessed.",
        ),
        Change(
            ("C8", "K1"),
            "a difference counts from 0.1 of the source's KID on, and a large spread no longer speaks for them.",
        ),
        Change(
            ("F3",),
            "freezed and freezeg are read at fixnoise's quality at the anchor, no longer at that with random noise.",
        ),
    ),
    "2026-11-27, after wave 1 of both studies had been seen, following a review against the papers": (
        Change(
            ("C2",),
            "asked on lorelei alone, no longer on pencil, which stands for the paper's Sketches, its exception: C3 is "
            "about that. No verdict changed by it.",
        ),
        Change(
            ("C1", "C6", "C7"),
            "they are read at step 1,000, earlier than the paper speaks (of step 2,000 on, of the lead up to step "
            "3,000, of step 3,000), and now called what they are, this study's own questions: no verdict about the "
            "paper. C1-3000, C6-3000 and C7-3000 are the paper's.",
        ),
        Change(
            ("C3", "S1", "S3", "S5"),
            'the spread counts, as in C8 and K1. C3 on faces-64 went from "holds (one draw)" to "cannot be said".',
        ),
        Change(
            ("F2",),
            "it cannot be said where a control moves next to nothing, the guard that F1 had. It was not measured yet.",
        ),
    ),
    "2026-11-27, after wave 1 of both studies had been seen by both numbers of diversity, following another review": (
        Change(
            ("C4", "C5", "C5b", "C6", "C6-3000", "C7", "C7-3000", "S4"),
            "where the source has an empty cluster, diversity is judged without empty clusters alone, and the headline "
            "stands beside it. Until then both judged everywhere, and where they disagreed the claim was mixed. What "
            "either says of C6 and C7 was known by then; the others were not measured yet. C7 on stylegan2-faces-64 "
            'went from "mixed" to "holds (one draw)"; C6, and C7 on faces-64, stay mixed.',
        ),
    ),
    "2026-11-27, after the spaces had been seen: guards against verdicts about what did not move": (
        Change(
            ("S1", "S1-moderate", "S2", "S3", "S5"),
            "by KID it cannot be said where the whole (generator, or offsets) takes no more than 0.1 of the source's "
            'KID away: there is nothing to be as good as. S1-moderate went from "holds (one draw)", both having made '
            'KID worse, to "cannot be said"; S5 stays mixed, its KID no longer speaks for it.',
        ),
        Change(
            ("S4",),
            "it cannot be said where mapping has not come 0.1 of the way: who stays at the source keeps its diversity. "
            'S4 went from "does not hold (one draw)" to "cannot be said" on both sources.',
        ),
    ),
}


def history(claim: str = "") -> dict[str, list[str]]:
    """A sentence a change, by when it was; claim: of this one alone."""
    told = {
        when: [str(change) for change in changes if claim in ("", *change.claims)]
        for when, changes in HISTORY.items()
    }
    return {when: lines for when, lines in told.items() if lines}
