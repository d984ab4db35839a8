"""Results as text."""

from __future__ import annotations

from typing import Any

from stylegraft.lab.charts import heat_map

COLUMNS = ("draw 1", "draw 8", "G", "D", "R1", "PL", "iteration")


def line(key: str, row: dict[str, Any]) -> str:
    """One cell in a few words."""
    if "error" in row:
        return f"{key}: {row['error']}"
    parts = []
    for phase, sides in row.get("phases", {}).items():
        if "error" in sides:
            parts.append(f"{phase} {sides['error'][:80]}")
        elif "ours" in sides:
            others = [s["over ours"][0] for s in sides.values() if "over ours" in s]
            ratios = "/".join(f"{ratio:.2f}" for ratio in others)
            parts.append(f"{phase} {sides['ours']['ms']:g} ms" + (f" x{ratios}" if others else ""))
        elif "eager ms" in sides:
            parts.append(f"{phase} {sides['eager ms']:g} -> {sides['graph ms']:g} ms")
        elif "kernels" in sides:
            parts.append(
                f"{phase} {sides['kernels']} kernels, {sides['busy ms']:g} of {sides['wall ms']:g} ms"
            )
    if not parts:
        parts = [f"{k} {v}" for k, v in row.items() if isinstance(v, (int, float)) and k != "seconds"]
    failed = "".join(f"; {name}: {said[:80]}" for name, said in row.get("errors", {}).items())
    return f"{key} ({row['seconds']} s): {'; '.join(parts)}{failed}"


def text(file: dict[str, Any]) -> str:
    """A table of all timed cells: ms of each contender, how often ours fits in, share of the roof, memory."""
    gpu = file.get("gpu", {}).get("name")
    lines = [
        f"{gpu or file.get('cpu')}, torch {file['torch']}, threads {file['threads']}, commit {file['commit']}"
    ]
    lines += [f"roof, {mode}: {found}" for mode, found in file["roof"].items()]
    head = f"{'cell':<46}{'phase':<11}{'contender':<20}{'ms':>9}{'from':>9}{'to':>9}{'x ours':>8}{'low':>7}{'high':>7}"
    lines += ["", head + f"{'img/s':>9}{'roof':>7}{'MiB':>8}"]
    for key, row in file["rows"].items():
        if "error" in row:
            lines.append(f"{key:<46}{row['error']}")
            continue
        if not any(f" | {kind} " in key for kind in ("infer", "train", "peers", "precision")):
            lines.append(line(key, row))
            continue
        for phase, sides in row["phases"].items():
            for who, n in sides.items():
                ratio = n.get("over ours", ("", "", ""))
                memory = row["extra MiB"].get(phase, {}).get(who)
                cells = f"{n['ms']:>9}{n['from']:>9}{n['to']:>9}{ratio[0]:>8}{ratio[1]:>7}{ratio[2]:>7}"
                cells += f"{n['img/s']:>9}{n.get('of roof', ''):>7}{memory if memory is not None else '':>8}"
                lines.append(f"{key:<46}{phase:<11}{who:<20}{cells}")
        lines += [f"{key:<46}{name}: {said}" for name, said in row["errors"].items()]
    return "\n".join(lines)


def chart(file: dict[str, Any]) -> str:
    """How many times as fast ours is as the faster of the textbook's two forms, as an SVG: networks (and the space that
    learns) against phases and inference of one or eight pictures.
    """
    lead: dict[str, dict[str, float]] = {}
    for key, row in file["rows"].items():
        name, kind, *space, batch, mode = key.split(" | ")
        if "error" in row or kind not in ("infer", "train") or mode != "fp32":
            continue
        for phase, sides in row["phases"].items():
            column = f"draw {batch[1:]}" if kind == "infer" else phase
            if (value := _lead(sides)) is not None and column in COLUMNS:
                lead.setdefault(" ".join((name, *space)), {})[column] = value
    values = [[row.get(column) for column in COLUMNS] for row in lead.values()]
    return heat_map("Times as fast as the textbook", list(lead), list(COLUMNS), values, top=3.0)


def _lead(sides: dict[str, Any]) -> float | None:
    return min((n["over ours"][0] for who, n in sides.items() if who.startswith("textbook")), default=None)
