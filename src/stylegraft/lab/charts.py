"""Charts as SVG text, for pages and for files: curves with bands, scatter with a Pareto front, heat map.

Written here and not taken from a library: a chart is some KB without a script, follows the reader's dark or light
theme, holds its values as hover texts, and its bytes depend on its numbers alone, so that a committed one has a diff.
(A page of plotly carries 4.8 MB of script, of Bokeh 1.3, of Vega 0.9 and a wheel of 33 MB to get it; pygal has no
bands and no heat map; matplotlib has no hover texts and one theme.)

A chart is 420 units wide, so that its text keeps its size on a phone; pages put several in a row where there is room.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple, TypeGuard

from stylegraft.atomic import write_text

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 30, 38
GLYPH = 7.2  # mean width of a small character
DIGIT = 6.4  # of one of a number, its point among them
HEAD = 8.0  # of one of a title, at most
BESIDE = (  # places of a label: across and down from its mark, and how it is anchored there
    (6, -5, "small"), (-6, -5, "small end"), (6, 14, "small"), (-6, 14, "small end"),
    (0, -8, "small middle"), (0, 18, "small middle"),
)  # fmt: skip
# Eight hues that stay apart for the colour-blind (Okabe and Ito, 2008), the yellow darkened.
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b3459b", "#a87900", "#4a9bc7", "#5b5b5b", "#8c4a1f")
DARK = ("#5db4ee", "#ff9248", "#36cfa0", "#e38bd0", "#e0b53c", "#9fd4f2", "#bdbdbd", "#cf9a72")


class Line(NamedTuple):
    """A horizontal line to read values against, such as p(real)."""

    value: float
    name: str


@dataclass(frozen=True)
class Series:
    """One curve. x, y: as many numbers; None or NaN breaks it. low, high: the edges of a band (over seeds). labels: of
    points, written beside them. tips: hover texts, None says name and values. colour: 0 to 7, None is the series'
    place; dashed: for the second of a pair.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    labels: Sequence[str] = ()
    tips: Sequence[str] = ()
    colour: int | None = None
    dashed: bool = False
    marks: bool = True


@dataclass(frozen=True)
class Point:
    """One point of a scatter. group: points of one group share a colour and a line of the legend. spread: half the
    length of the error bars in x and y.
    """

    name: str
    x: float
    y: float
    group: str = ""
    spread: tuple[float, float] = (0.0, 0.0)


# The three charts
# ------------------------------------------------------------------------------------------------------------


def curves(
    title: str,
    series: Sequence[Series],
    x: str = "step",
    y: str = "",
    *,
    lines: Sequence[Line] = (),
    zero: bool = False,
) -> str:
    """Curves, each with its band and points. x, y: names of the axes; lines: to read against; zero: y begins at 0."""
    ys = [v for s in series for row in (s.y, s.low, s.high) for v in row] + [line.value for line in lines]
    frame = _Frame.around([v for s in series for v in s.x], ys + [0.0] * zero)
    parts = [_horizontal(frame, line) for line in lines]
    names, taken = [], list[_Box]()
    for i, s in enumerate(series):
        kind = f"c{(i if s.colour is None else s.colour) % len(LIGHT)}{' dash' if s.dashed else ''}"
        names.append((s.name, kind))
        if s.low:
            places = zip(s.x, s.low, s.high, strict=True)
            band = [(a, low, high) for a, low, high in places if _finite(low) and _finite(high)]
            edge = [(a, high) for a, _, high in band] + [(a, low) for a, low, _ in reversed(band)]
            parts.append(f'<polygon class="band {kind}" points="{frame.path(edge)}"/>')
        for run in _runs(s):
            parts.append(f'<polyline class="{kind}" points="{frame.path(run)}"/>')
        tips = s.tips or [f"{s.name}, {x} {number(a)}: {number(b)}" for a, b in zip(s.x, s.y, strict=True)]
        for k, (a, b) in enumerate(zip(s.x, s.y, strict=True)):
            if not _finite(b):
                continue
            at = frame.place(a, b)
            parts.append(_dot(at, kind, tips[k], 3 if s.marks else 0))
            if k < len(s.labels) and s.labels[k]:
                parts += _label(at, s.labels[k], taken)
    return _svg(title, frame, parts, names, x, y)


def scatter(
    title: str,
    points: Sequence[Point],
    x: str,
    y: str,
    *,
    better: tuple[str, str] = ("high", "high"),
    log: bool = False,
) -> str:
    """Points with the front of those that no other beats in both axes; better: `high` or `low` for x and y. log: x by
    powers of ten, where it is above 0 and spans two of them.
    """
    reach = [(p.x + side * p.spread[0], p.y + side * p.spread[1]) for p in points for side in (-1, 0, 1)]
    xs = [a for a, _ in reach]
    log = log and bool(xs) and 0 < 100 * min(xs) <= max(xs)
    frame = _Frame(_range(math.log10(a) if log else a for a in xs), _range((b for _, b in reach), 0.12), log)
    groups = list(dict.fromkeys(p.group for p in points))
    front = pareto([(p.x, p.y) for p in points], better)
    parts = [f'<polyline class="front" points="{frame.path([(points[i].x, points[i].y) for i in front])}"/>']
    bends = [frame.place(points[i].x, points[i].y) for i in front]
    line = [
        (a + (c - a) * k / 40, b + (d - b) * k / 40) for (a, b), (c, d) in pairwise(bends) for k in range(40)
    ]
    taken = [(a - 5, b - 5, a + 5, b + 5) for a, b in (frame.place(p.x, p.y) for p in points)]
    for p in points:
        (x0, y0), (x1, y1) = (frame.place(p.x + k * p.spread[0], p.y + k * p.spread[1]) for k in (-1, 1))
        middle = frame.place(p.x, p.y)
        taken += [(middle[0] - 1, y1, middle[0] + 1, y0), (x0, middle[1] - 1, x1, middle[1] + 1)]
    for p in points:
        kind, at = f"c{groups.index(p.group) % len(LIGHT)}", frame.place(p.x, p.y)
        for ends in (((-1, 0), (1, 0)), ((0, -1), (0, 1))):
            bar = [(p.x + dx * p.spread[0], p.y + dy * p.spread[1]) for dx, dy in ends]
            parts += [f'<polyline class="{kind} thin" points="{frame.path(bar)}"/>'] * (bar[0] != bar[1])
        parts.append(_dot(at, kind, f"{p.name}: {x} {number(p.x)}, {y} {number(p.y)}", 5))
        parts += _label(at, p.name, taken, line)
    legend = [(group, f"c{i % len(LIGHT)}") for i, group in enumerate(groups) if group]
    return _svg(title, frame, parts, [*legend, ("Pareto front", "front")], x, y)


def heat_map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    *,
    top: float | None = None,
) -> str:
    """A table of values as shades; negative ones in a second hue, None empty. top: the value of the full shade, None
    takes the largest.
    """
    left = 14 + GLYPH * max((len(name) for name in rows), default=0)
    longest = max((len(name) for name in columns), default=0)
    width, height = (WIDTH - RIGHT - left) / max(1, len(columns)), 20
    found = [abs(v) for row in values for v in row if _finite(v)]
    full = top if top is not None else max(found, default=0.0)
    head, slanted = TOP + 14.0, GLYPH * longest > width
    if slanted:
        head = TOP + GLYPH * 0.75 * longest
        width = (WIDTH - RIGHT - left - GLYPH * 0.5 * longest) / len(columns)
    parts = []
    for j, name in enumerate(columns):
        at = left + (j + 0.5) * width
        turn = f' transform="rotate(-50 {at:.1f} {head - 4:.1f})"' if slanted else ""
        anchor = "small" if slanted else "small middle"
        parts.append(_text(at, head - 4, name, anchor, turn))
    for i, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = head + i * height
        parts.append(_text(left - 6, y + 14, name, "small end"))
        for j, value in enumerate(row):
            if not _finite(value):
                continue
            shade, hue = min(1.0, abs(value) / full) if full else 0.0, "c0" if value >= 0 else "c1"
            tip = escape(f"{name}, {columns[j]}: {number(value)}")
            parts.append(
                f'<rect class="cell {hue}" x="{left + j * width:.1f}" y="{y:.1f}" width="{width - 1:.1f}" '
                f'height="{height - 1}" style="fill-opacity:{0.04 + 0.96 * shade:.3f}"><title>{tip}</title></rect>'
            )
            told = number(value, 2)
            if width >= DIGIT * len(told):
                kind = "small middle over" if shade > 0.6 else "small middle"
                parts.append(_text(left + (j + 0.5) * width, y + 14, told, kind))
    return _wrap(title, parts, head + len(rows) * height + 8)


def pareto(points: Sequence[tuple[float, float]], better: tuple[str, str] = ("high", "high")) -> list[int]:
    """Places of the points that no other is at least as good as in both, and better in one; by x."""
    signs = [1 if way == "high" else -1 for way in better]
    good = [tuple(sign * v for sign, v in zip(signs, point, strict=True)) for point in points]
    front = [
        i
        for i, one in enumerate(good)
        if not any(other != one and all(b >= a for a, b in zip(one, other, strict=True)) for other in good)
    ]
    return sorted(front, key=lambda i: points[i])


def save_chart(svg: str, path: str | Path) -> None:
    """Write a chart as a file of its own, for a README: it follows the reader's theme there too."""
    write_text(path, svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n")


# How they are drawn
# ------------------------------------------------------------------------------------------------------------


def _theme(colours: Sequence[str], ink: str, grid: str, paper: str) -> str:
    hues = " ".join(f".c{i}{{color:{colour}}}" for i, colour in enumerate(colours))
    return (
        f".chart,.chart .front{{color:{ink}}} .chart .grid{{stroke:{grid}}} .chart .over{{fill:{paper}}} "
        f".chart .hit:hover + .dot{{stroke:{ink}}} {hues}"
    )


# `currentColor` and no variables: programs that are no browsers (librsvg, Inkscape) draw what has a variable black.
STYLE = f"""
.chart text {{ font: 13px system-ui, sans-serif; fill: currentColor }} .chart .small {{ font-size: 12px }}
.chart .head {{ font-weight: 600; font-size: 14px }} .chart .end {{ text-anchor: end }}
.chart .middle {{ text-anchor: middle }}
.chart polyline {{ fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linejoin: round }}
.chart .thin {{ stroke-width: 1 }} .chart .dash {{ stroke-dasharray: 5 3 }}
.chart .front {{ stroke-dasharray: 2 3; stroke-width: 1.2 }}
.chart .band {{ fill: currentColor; fill-opacity: .18; stroke: none }} .chart .cell {{ fill: currentColor }}
.chart .dot {{ fill: currentColor; stroke: none }} .chart .hit {{ fill: transparent }}
.chart .hit:hover + .dot {{ stroke-width: 2 }}
.chart .grid {{ stroke-width: 1 }} .chart .ref {{ stroke: currentColor; stroke-dasharray: 1 3 }}
{_theme(LIGHT, "#222", "#ddd", "#fff")}
@media (prefers-color-scheme: dark) {{ {_theme(DARK, "#ddd", "#3a3a3a", "#181818")} }}
""".strip()


_Box = tuple[float, float, float, float]  # left, top, right, bottom


class _Frame(NamedTuple):
    """The ranges of both axes and their ticks."""

    x: tuple[float, float]
    y: tuple[float, float]
    log: bool = False  # x is the range of its logarithm to base 10

    @classmethod
    def around(cls, xs: Iterable[float | None], ys: Iterable[float | None]) -> _Frame:
        return cls(_range(xs), _range(ys, 0.06))

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = ((math.log10(x) if self.log else x) - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        return " ".join("{:.1f},{:.1f}".format(*self.place(x, y)) for x, y in points)


def _range(values: Iterable[float | None], margin: float = 0.02) -> tuple[float, float]:
    found = [v for v in values if _finite(v)] or [0.0, 1.0]
    low, high = min(found), max(found)
    room = (high - low) * margin or abs(high) * 0.05 or 0.5
    return low - room, high + room


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between low and high, at most so many."""
    rough = (high - low) / most
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _runs(series: Series) -> list[list[tuple[float, float]]]:
    """The unbroken parts of a curve."""
    runs: list[list[tuple[float, float]]] = [[]]
    for a, b in zip(series.x, series.y, strict=True):
        if _finite(b):
            runs[-1].append((a, b))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len(run) > 1]


def number(value: float | None, digits: int = 4) -> str:
    """A value for reading: with its thousands apart, where it has any, others with so many digits."""
    if not _finite(value):
        return "-"
    whole = value == round(value)
    if abs(value) < 1e9 and (whole or abs(value) >= 1e3):
        return f"{value:,.{0 if whole else 1}f}"
    return f"{value:.{digits}g}"


def _text(x: float, y: float, text: str, kind: str = "", extra: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{extra}>{escape(text)}</text>'


def _dot(at: tuple[float, float], kind: str, tip: str, size: int) -> str:
    """A mark under a larger, invisible one that is easier to hit."""
    x, y = at
    dot = f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{size}"/>' if size else ""
    hit = f'<circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="8"><title>{escape(tip)}</title></circle>'
    return hit + dot if size else hit


def mile(step: int) -> str:
    """What stands beside the point of a step on a curve: 1, 2 and 5 of each power of ten; of the others nothing."""
    return str(step) if str(step).rstrip("0") in ("1", "2", "5") else ""


def _label(
    at: tuple[float, float], text: str, taken: list[_Box], line: Sequence[tuple[float, float]] = ()
) -> list[str]:
    """Words beside a mark, at the first of four corners, or above or below it, where they fit and hide no others;
    without one, none. line: places that they cross only where no place is free of them.
    """
    long = GLYPH * len(text)
    for crossing, (across, down, kind) in product((False, True), BESIDE):
        x, y = at[0] + across, at[1] + down
        left = x - {"small": 0.0, "small end": long, "small middle": long / 2}[kind]
        box = (left, y - 10, left + long, y)
        inside = box[0] >= LEFT - 4 and box[2] <= WIDTH and box[1] >= TOP - 8 and box[3] <= HEIGHT - BOTTOM
        crossed = any(box[0] < a < box[2] and box[1] < b < box[3] for a, b in line)
        hidden = any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken)
        if inside and not hidden and (crossing or not crossed):
            taken.append(box)
            return [_text(x, y, text, kind)]
    return []


def _horizontal(frame: _Frame, line: Line) -> str:
    y = frame.place(frame.x[0], line.value)[1]
    name = escape(f"{line.name} {number(line.value)}")
    return (
        f'<line class="ref" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"><title>{name}</title></line>'
        + _text(WIDTH - RIGHT - 2, y - 3, line.name, "small end")
    )


def _svg(
    title: str, frame: _Frame, parts: Sequence[str], names: Sequence[tuple[str, str]], x: str, y: str
) -> str:
    """Axes and legend around what was drawn."""
    drawn = []
    for tick in [10.0**k for k in _ticks(*frame.x, 6)] if frame.log else _ticks(*frame.x, 6):
        at = frame.place(tick, frame.y[0])[0]
        drawn.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        drawn.append(_text(at, HEIGHT - BOTTOM + 14, number(tick), "small middle"))
    for tick in _ticks(*frame.y, 5):
        at = frame.place(frame.x[0], tick)[1]
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        drawn.append(_text(LEFT - 5, at + 4, number(tick), "small end"))
    drawn.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x, "small middle"))
    if y:
        middle = (TOP + HEIGHT - BOTTOM) / 2
        drawn.append(_text(11, middle, y, "small middle", f' transform="rotate(-90 11 {middle:.0f})"'))
    legend, at, row = [], float(LEFT), HEIGHT + 10
    for name, kind in names:
        width = 30 + GLYPH * len(name)
        if at + width > WIDTH and at > LEFT:
            at, row = float(LEFT), row + 16
        legend.append(f'<polyline class="{kind}" points="{at:.1f},{row - 4} {at + 18:.1f},{row - 4}"/>')
        legend.append(_text(at + 22, row, name, "small"))
        at += width
    return _wrap(title, [*drawn, *parts, *legend], row + 8 if names else HEIGHT)


def _wrap(title: str, parts: Sequence[str], height: float) -> str:
    room = WIDTH - 8
    tight = f' textLength="{room}" lengthAdjust="spacingAndGlyphs"' if len(title) * HEAD > room else ""
    head = _text(4, 16, title, "head", tight)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<style>{STYLE}</style>{head}{''.join(parts)}</svg>"
    )
