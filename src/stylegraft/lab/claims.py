"""What the papers claim, as a table, and what a study says of it.

Claims, the runs that they need and their criteria were written before a run was looked at, but for what
`lab.claims_history` says; `stylegraft claims` prints both. A claim whose runs are not all there reads `not measured`
and says how many are, whatever the others show.

    holds           on every target that the claim is about, by every number that it is judged by
    does not hold   on none
    mixed           here and not there, or where it cannot be said; the sentence says which
    cannot be said  nowhere, though all runs are there
    not measured    a run is missing

A claim rests on whole draws: of each draw of the shots, all its runs of at least three seeds, or none; `holds (one
draw)` is said of a single one. It is judged at its own steps, whatever step its runs end at. No torch is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from stylegraft.errors import StylegraftError
from stylegraft.lab import criteria as c
from stylegraft.lab import criteria_control as control
from stylegraft.lab import criteria_methods as m
from stylegraft.lab import criteria_spaces as s
from stylegraft.lab.criteria import BLEND, KEEPING, LONG, METHODS, SWAP, Judged, Kind, Runs, kind_of, missing
from stylegraft.lab.results import NOT_MEASURED, Row

SEEDS = 3  # of each draw, at least
SIMILAR, MODERATE, DISSIMILAR = (
    "pencil",
    "bulge",
    "lorelei",
)  # labels of the targets in benchmarks/claims*.toml
END, END_LONG = 1000, 3000  # the last steps that claims are about


@dataclass(frozen=True)
class Claim:
    """id: as in docs/claims.md. says, by: the statement and whose it is. methods, spaces, targets, shots: the runs it
    needs, a grid; beside: others. steps: at which all of them must have been looked at; the last is where it is judged
    unless the criterion says otherwise. criterion: when it holds on a target, written down beforehand; judge: that, as
    code.
    """

    id: str
    says: str
    by: str
    criterion: str
    judge: Callable[[Runs, str], list[Judged]]
    methods: tuple[str, ...]
    spaces: tuple[str, ...] = ("full",)
    targets: tuple[str, ...] = (SIMILAR, DISSIMILAR)
    shots: tuple[int, ...] = (10,)
    beside: tuple[tuple[str, str], ...] = ()
    steps: tuple[int, ...] = (0, END)

    @property
    def kinds(self) -> list[Kind]:
        """Method, space, target and shots of the runs that it needs."""
        more = [(method, space, target, 10) for (method, space), target in product(self.beside, self.targets)]
        return [*product(self.methods, self.spaces, self.targets, self.shots), *more]


ZHAO = "Zhao et al., A Closer Look at Few-shot Image Generation, 2022"
OURS = "this study's, no verdict about the paper, Zhao et al., 2022, which speaks of later steps"
ADAM = "Zhao et al., AdAM, 2022"
ALANOV = "Alanov et al., StyleDomain, 2023"
LEE = "Lee et al., Fix the Noise, 2023"
NUMBERS = ", by intra-LPIPS without empty clusters; by its headline, too, where the source has no empty one"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1", "At step 1,000 all methods have the same quality already.", OURS,
        "At step 1,000 the means of p_target of the six methods differ by at most 0.05 of the way from p(source) to "
        "p(real). The paper speaks of step 2,000 on (at most 0.02 to 0.05).",
        m.converge, METHODS,
    ),
    Claim(
        "C1-3000", "Late in training, all methods have the same quality; here dcl, cdc and tgan.", ZHAO,
        "As C1, at step 3,000.",
        partial(m.converge, methods=("dcl-3000", "cdc-3000", "tgan-3000")), ("dcl-3000", "cdc-3000", "tgan-3000"),
        steps=(0, END_LONG),
    ),
    Claim(
        "C2", "Methods that keep diversity come to quality later.", ZHAO,
        "On lorelei, cdc and dcl both come later than tgan to the highest of 0.9, 0.7 and 0.5 of the way to p(real) "
        "that all runs of tgan come to, by more than the spread. Where the looks around a crossing are over 100 steps "
        "apart: at either of them, or it cannot be said. Not on pencil, for the paper's exception: C3.",
        m.slower, ("tgan", *KEEPING), targets=(DISSIMILAR,),
    ),
    Claim(
        "C3", "Where only the style changes, they are as fast.", ZHAO,
        "On pencil, cdc and dcl need at most 1.15 times tgan's steps to the level of C2, read as there, the spread "
        "included. Where one may need more, within its spread, it cannot be said. The paper's case is its Sketches; it "
        "speaks against C2 in general.",
        m.as_fast, ("tgan", *KEEPING), targets=(SIMILAR,),
    ),
    Claim(
        "C4", "Diversity falls from the first steps on, of every method, and never rises.", ZHAO,
        "Of each of the six methods: lower at step 100 than at step 0 by more than the spread, and no rise between two "
        f"looks of more than 0.01 and than its spread{NUMBERS}.",
        m.falls, METHODS, steps=(0, c.STARTED, END),
    ),
    Claim(
        "C5", "At any step from 500 on: DCL keeps more diversity than CDC, and CDC more than all others.", ZHAO,
        "At every look from step 500 on: dcl above cdc, and cdc above each of tgan, ada, freezed and ewc, each by more "
        f"than the spread{NUMBERS}.",
        m.order, METHODS, steps=(0, c.LATE, END),
    ),
    Claim(
        "C5b", "The four others hardly differ in diversity.", ZHAO,
        f"At every look from step 500 on the means of tgan, ada, freezed and ewc lie within 0.03{NUMBERS}.",
        m.plain_alike, c.PLAIN, steps=(0, c.LATE, END),
    ),
    Claim(
        "C6", "DCL's lead over CDC in diversity shrinks before step 1,000.", OURS,
        "dcl is above cdc at step 500, and by less at step 1,000, both by more than the spread" + NUMBERS + ". On "
        "the paper's Sunglasses the lead grows up to step 1,500.",
        m.gap_shrinks, KEEPING, steps=(0, c.LATE, END),
    ),
    Claim(
        "C6-3000", "DCL's lead over CDC in diversity shrinks: it delays the loss.", ZHAO,
        "As C6, from step 500 to step 3,000.",
        partial(m.gap_shrinks, suffix=LONG), ("dcl-3000", "cdc-3000"), steps=(0, c.LATE, END_LONG),
    ),
    Claim(
        "C7", "DCL has lost diversity by step 1,000.", OURS,
        f"At step 1,000 dcl has lost at least 10 % of what the source has{NUMBERS}. The paper speaks of step 3,000 (13 "
        "to 38 %).",
        m.room, ("dcl",),
    ),
    Claim(
        "C7-3000", "There is room left: DCL, too, loses diversity.", ZHAO, "As C7, at step 3,000.",
        partial(m.room, suffix=LONG), ("dcl-3000",), steps=(0, END_LONG),
    ),
    Claim(
        "C8", "Far from the source, EWC, CDC and DCL are no better than plain fine-tuning.", ADAM,
        "On lorelei, at step 1,000, none of ewc, cdc and dcl takes away over 0.1 more of the source's KID than tgan, "
        "beyond the spread. Where one may, within its spread, it cannot be said.",
        m.no_better, ("tgan", "ewc", *KEEPING), targets=(DISSIMILAR,),
    ),
    Claim(
        "S1", "In a similar domain StyleSpace does what the whole generator does.", ALANOV,
        "On pencil, stylespace takes away at most 0.1 less of the source's KID than full, the spread included. Where "
        "it may be more, within its spread, or where full itself takes no more than 0.1 away, it cannot be said.",
        partial(s.as_good, spaces=("stylespace",)), ("ada",), ("full", "stylespace"), (SIMILAR,),
    ),
    Claim(
        "S1-moderate", "So it does in a moderately distant one (ours).", ALANOV, "As S1, on bulge.",
        partial(s.as_good, spaces=("stylespace",)), ("ada",), ("full", "stylespace"), (MODERATE,),
    ),
    Claim(
        "S2", "In a dissimilar domain StyleSpace does not.", ALANOV,
        "On lorelei, stylespace takes away over 0.1 less of the source's KID than full, by more than the spread. "
        "Where full itself takes no more than 0.1 away, it cannot be said.",
        partial(s.behind, space="stylespace"), ("ada",), ("full", "stylespace"), (DISSIMILAR,),
    ),
    Claim(
        "S3", "There Affine+ and AffineLight+ close the gap that affine layers leave.", ALANOV,
        "On lorelei, affine takes away over 0.1 less of the source's KID than full, beyond the spread, and affine+ and "
        "affine-light+ at most 0.1 less, read as in S1.",
        s.close_gap, ("ada",), ("full", "affine", *s.PLUS), (DISSIMILAR,),
    ),
    Claim(
        "S4", "The mapping network alone loses diversity.", ALANOV,
        "At step 1,000 mapping is below full, affine and stylespace, each by more than the spread" + NUMBERS
        + ". Where mapping has come no more than 0.1 of the way to the target, it cannot be said.",
        partial(s.narrower, others=("full", "affine", "stylespace")),
        ("ada",), ("mapping", "full", "affine", "stylespace"), (SIMILAR,),
    ),
    Claim(
        "S5", "A fifth of the style offsets keeps the domain.", ALANOV,
        "On pencil, stylespace-sparse comes at most 0.1 of the way less far than stylespace-conv, of which it is the "
        "largest fifth: of the way to p(real), and of the source's KID; read as in S1.",
        s.pruned_alike, ("ada",), ("stylespace-conv", "stylespace-sparse"), (SIMILAR,),
    ),
    Claim(
        "K1", "More images help, in every space.", ALANOV,
        "Of full, affine+ and affine-light+: KID at step 1,000 is lower at 200 shots than at 10 by more than the "
        "spread, and rises nowhere between 10, 25, 50, 100 and 200 by over 0.1 of the source's KID, beyond its spread. "
        "Where it may, within its spread, it cannot be said.",
        s.more_shots, ("ada",), ("full", *s.PLUS), shots=s.SHOTS,
    ),
    Claim(
        "K2", "With few images, Affine+ and AffineLight+ beat the whole generator.", ALANOV,
        "At 10 and 25 shots both have a lower KID than full, by more than the spread.",
        partial(s.plus_wins, shots=(10, 25)), ("ada",), ("full", *s.PLUS), shots=(10, 25),
    ),
    Claim(
        "K3", "They do so at every number of images.", ALANOV,
        "As K2, at each of 10, 25, 50, 100 and 200. The paper's text says so; its own curves of dogs do not.",
        partial(s.plus_wins, shots=s.SHOTS), ("ada",), ("full", *s.PLUS), shots=s.SHOTS,
    ),
    Claim(
        "F1", "The blend of noise leads steadily from the source to the target.", LEE,
        "Rank correlation of the blend with the distance to the source: at least 0.9 in the mean over runs; and the "
        "distance grows by at least a tenth of what it comes to.",
        control.monotone, (BLEND,), steps=(),
    ),
    Claim(
        "F2", "It does so more smoothly than layer swapping.", LEE,
        "Largest step over mean step is smaller for the blend than for layer swapping (ui2i), which gives one "
        "resolution after the other, the finest first, from the source to the target, in as many places; by more than "
        "the spread. Where the distance of either grows by less than in F1, it cannot be said.",
        control.smoother, (BLEND,), beside=((SWAP, c.OWN[SWAP]),), steps=(),
    ),
    Claim(
        "F3", "At the anchor it keeps more of the source than FreezeD and FreezeG do at its quality.", LEE,
        "Correspondence of fixnoise at the anchor is below that of freezed and of freezeg where their p_target first "
        "comes to fixnoise's at the anchor, by more than the spread. One that never does is read at step 1,000. Where "
        "they come to fixnoise's with random noise is told beside it and not judged by.",
        partial(control.keeps_more, others=("freezed", "freezeg")),
        (BLEND, "freezed"), beside=(("freezeg", c.OWN["freezeg"]),),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What a study says of a claim. there, wanted: runs of the draws that it rests on, or of the first draw while that
    is not whole. rows: the runs that it rests on.
    """

    claim: Claim
    answer: str
    measured: tuple[str, ...]
    there: int
    wanted: int
    rows: tuple[Row, ...] = ()

    @property
    def draws(self) -> list[int]:
        """Of the shots."""
        return sorted({row.cell.draw for row in self.rows})

    @property
    def seeds(self) -> list[int]:
        """Of the runs."""
        return sorted({row.cell.seed for row in self.rows})

    def numbers(self) -> dict[str, Any]:
        """For the JSON."""
        claim = self.claim
        told = {"id": claim.id, "says": claim.says, "by": claim.by, "criterion": claim.criterion}
        told |= {"steps": list(claim.steps), "verdict": self.answer, "measured": list(self.measured)}
        return told | {"runs": self.there, "of": self.wanted, "draws": self.draws, "seeds": self.seeds}


def judge(rows: Sequence[Row], claims: Sequence[Claim] = CLAIMS) -> list[Verdict]:
    """What the rows of a study say of the claims. Raises StylegraftError where they are of several sources."""
    sources = sorted({Path(row.cell.source).stem for row in rows})
    if len(sources) > 1:
        raise StylegraftError(
            f"claims: the study has runs of {', '.join(sources)}; expected one source, for a claim compares runs of "
            "one generator: give each a study of its own"
        )
    return [_judge(claim, rows) for claim in claims]


def _judge(claim: Claim, rows: Sequence[Row]) -> Verdict:
    own = [row for row in rows if kind_of(row) in set(claim.kinds)]
    absent = sorted(set(claim.kinds) - {kind_of(row) for row in own})
    if absent:
        first = " / ".join(map(str, absent[0]))
        more = f" and {beyond} other{'s' * (beyond > 1)}" if (beyond := len(absent) - 1) else ""
        return Verdict(
            claim, NOT_MEASURED, (f"this study has no runs of {first}{more}{_others(rows, absent)}",), 0, 0
        )
    draws = {
        draw: [row for row in own if row.cell.draw == draw] for draw in sorted({r.cell.draw for r in own})
    }
    whole = [draw for draw, block in draws.items() if not _lacks(claim, block)]
    if not whole:
        block = next(iter(draws.values()))
        there = sum(_ready(row) for row in block)
        return Verdict(claim, NOT_MEASURED, (_lacks(claim, block),), there, len(block))
    used = tuple(row for draw in whole for row in draws[draw])
    judged = [one for target in claim.targets for one in _of_target(claim, used, target)]
    texts = tuple(f"{one.where}: {_WORD[one.holds]}; {one.text}" for one in judged)
    answer = answer_of(judged)
    if answer == "holds" and len(whole) == 1:
        answer = ONE_DRAW
    return Verdict(claim, answer, texts, len(used), len(used), used)


def _of_target(claim: Claim, used: tuple[Row, ...], target: str) -> list[Judged]:
    """The criterion on a target, if its runs were asked the same and looked at where it asks."""
    runs = Runs(used, claim.steps)
    if unseen := runs.unseen(target):
        return [missing(target, f"a look at step {' and at '.join(map(str, unseen))}")]
    settings = {(row.cell.steps, row.cell.batch, row.cell.preset) for row in used}
    if len(settings) > 1:
        told = ", ".join(sorted(f"{steps} x {batch} ({preset})" for steps, batch, preset in settings))
        return [Judged(target, None, f"its runs are of several steps x batch (preset): {told}")]
    return claim.judge(runs, target)


def _others(rows: Sequence[Row], absent: Sequence[Kind]) -> str:
    """Runs that go by the name of what is absent, and are something else."""
    methods = {row.cell.method for row in rows if not kind_of(row)[0]}
    told = [
        f"{one.label!r} is {one.recipe} with {', '.join(f'{k}={v}' for k, v in one.changes) or 'no changes'}"
        for one in sorted(methods, key=lambda one: one.label)
        if one.label in {kind[0] for kind in absent}
    ]
    return f"; {', '.join(told)}, which is another method" if told else ""


CANNOT, ONE_DRAW = "cannot be said", "holds (one draw)"
ANSWERS = ("holds", ONE_DRAW, "does not hold", "mixed", CANNOT, NOT_MEASURED)
_WORD = {True: "holds", False: "does not hold", None: CANNOT}


def answer_of(judged: Sequence[Judged]) -> str:
    """One word for all targets and numbers; of none, nothing is measured."""
    found = {one.holds for one in judged if not one.beside}
    if len(found) > 1:
        return "mixed"
    return _WORD[found.pop()] if found else NOT_MEASURED


def _ready(row: Row) -> bool:
    """Whether a run has all that claims look at."""
    measured = kind_of(row)[0] not in (BLEND, SWAP) or bool(control.control(row))
    return row.state == "done" and measured


def _lacks(claim: Claim, block: Sequence[Row]) -> str:
    """Why a draw is not whole; nothing if it is."""
    there = sum(_ready(row) for row in block)
    if there < len(block):
        states = sorted({row.state for row in block if row.state not in ("done", NOT_MEASURED)})
        done = sum(row.state == "done" for row in block)
        notes = [f"others {', '.join(states)}"] if states else []
        notes += [f"the control of {done - there} is not measured"] if done > there else []
        return f"{there} of {len(block)} runs are there" + (f" ({'; '.join(notes)})" if notes else "")
    seeds = min(
        len({row.cell.seed for row in block if kind_of(row) == kind}) for kind in set(map(kind_of, block))
    )
    few = f"{seeds} seed{'s' * (seeds != 1)} a draw, expected at least {SEEDS}"
    if seeds < SEEDS:
        return few
    gone = set(claim.kinds) - set(map(kind_of, block))
    return f"{len(gone)} kinds of runs are not in this draw" if gone else ""
