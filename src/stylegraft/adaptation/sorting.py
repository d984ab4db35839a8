"""What becomes of the filters that a recipe sorts by importance, in words; `partition` does it. Without torch."""

from __future__ import annotations

from collections.abc import Callable

from stylegraft.adaptation.fields import Recipe, show
from stylegraft.domains.expression import parse, terms_of


def sorting(row: Recipe, space: str, told: Callable[[str], str] | None = None) -> str:
    """What becomes of the filters that a recipe sorts by importance, in one sentence without its stop; empty where it
    sorts none. told: a field as text, unless as `show` has it.
    """
    told = told or (lambda field: show(getattr(row, field)))
    rank1 = {
        "G": any(part.form == "rank1" for item in parse(space) for part in terms_of(item, 4)),
        "D": "rank1(" in row.discriminator,
    }
    groups = {"G": "partition", "D": "partition_judge"}
    kept = {o: "modulated" if rank1[o] else "frozen" for o, field in groups.items() if getattr(row, field)}
    if not kept:
        return ""
    above = f"above the {told('freeze_above')}th percentile"
    if len(set(kept.values())) > 1:
        fates = [" and ".join(f"those of {owner} {above} are {fate}" for owner, fate in kept.items())]
    else:
        fates = [f"those {above} are {next(iter(kept.values()))}"] if row.freeze_above < 100 else []
    if row.prune_below:
        fates.append(f"the lowest {told('prune_below')} % pruned for good")
    named = " and ".join(f"{told(groups[owner])} in {owner}" for owner in kept)
    often = f"every {told('partition_every')} steps" if row.partition_every else "once"
    return (
        f"filters of {named} are sorted by importance {often}, on {told('importance_samples')} samples: "
        + ", ".join([*fates, "the others tuned"])
    )
