"""A page: one HTML file of sections that needs nothing else, neither a network nor a script to be read."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from stylegraft.lab import charts

# Hover texts of charts at once and by touch too; without it, the browser shows them after a moment.
SCRIPT = """
const tip = document.createElement("div"); tip.id = "tip"; document.body.append(tip);
addEventListener("pointerover", e => { const t = e.target.querySelector?.(":scope > title"); if (!t) return;
  if (!e.target.dataset.tip) { e.target.dataset.tip = t.textContent; t.textContent = ""; } });
for (const kind of ["pointermove", "pointerdown"]) addEventListener(kind, e => { const text = e.target.dataset?.tip;
  tip.style.display = text ? "block" : "none"; if (!text) return; tip.textContent = text;
  tip.style.left = Math.min(e.clientX + 12, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = e.clientY + 16 + "px"; });
"""

STYLE = """
:root { color-scheme: light dark }
body { margin: 0 auto; max-width: 1320px; padding: 16px; font: 15px/1.5 system-ui, sans-serif }
body { color: #222; background: #fff }
h1 { font-size: 1.5em; margin: .2em 0 } h2 { font-size: 1.15em; margin: 1.6em 0 .4em } p { max-width: 75ch }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 16px }
svg.chart { width: 100%; max-width: 520px; height: auto }
figure { margin: 0 0 12px } figcaption { font-size: .85em; opacity: .8 }
img { max-width: 100%; height: auto; image-rendering: auto } .scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: .9em }
td, th { padding: 3px 10px 3px 0; text-align: left; vertical-align: top }
th { border-bottom: 1px solid #999 } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
summary { cursor: pointer }
#tip { display: none; position: fixed; padding: 3px 8px; border-radius: 4px; font-size: 13px; max-width: 80vw }
#tip { background: #222; color: #fff; pointer-events: none }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } #tip { background: #eee; color: #111 } }
"""


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it: HTML from the functions below, or charts."""

    title: str
    parts: Sequence[str]


def page(title: str, sections: Iterable[Section], *, lead: str = "", data: Any = None) -> str:
    """The whole file. lead: a sentence under the title. data: the raw numbers, embedded as JSON (`read_data`)."""
    body = "".join(f"<section><h2>{escape(s.title)}</h2>{''.join(s.parts)}</section>" for s in sections)
    numbers = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"{text(lead) if lead else ''}{body}"
        f'<script type="application/json" id="data">{numbers}</script><script>{SCRIPT}</script></body></html>\n'
    )


def read_data(path: str | Path) -> Any:
    """The raw numbers of a page, as they were given to it."""
    html = Path(path).read_text(encoding="utf-8")
    return json.loads(html.split('id="data">', 1)[1].split("</script>", 1)[0])


def text(words: str) -> str:
    """A paragraph."""
    return f"<p>{escape(words)}</p>"


def row(*figures: str) -> str:
    """Charts or pictures side by side, as many as fit."""
    return f'<div class="row">{"".join(f"<figure>{one}</figure>" for one in figures)}</div>'


def facts(pairs: Mapping[str, Any]) -> str:
    """`name  value` lines, empty ones left out."""
    rows = [(name, value) for name, value in pairs.items() if value not in (None, "")]
    return table((), rows)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; numbers are aligned to the right and shortened to four digits, None is empty."""
    rows = [list(one) for one in rows]
    head = "".join(_cell("th", name, bool(rows) and _numeric(rows[0][i])) for i, name in enumerate(columns))
    body = "".join(
        f"<tr>{''.join(_cell('td', value, _numeric(value)) for value in one)}</tr>" for one in rows
    )
    return f'<div class="scroll"><table>{f"<tr>{head}</tr>" if columns else ""}{body}</table></div>'


def folded(title: str, *parts: str) -> str:
    """Parts that are shown when asked for."""
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"


def picture(image: str | Path | Image.Image, caption: str = "", *, width: int | None = None) -> str:
    """A picture inline: as PNG, exactly, or where it is wider than `width`, reduced to that and as JPEG."""
    opened = image if isinstance(image, Image.Image) else Image.open(image)
    small = width is not None and opened.width > width
    if small:
        assert width is not None
        size = (width, max(1, round(opened.height * width / opened.width)))
        opened = opened.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    opened.save(buffer, "JPEG" if small else "PNG", **({"quality": 90} if small else {"optimize": True}))
    kind, code = "jpeg" if small else "png", base64.b64encode(buffer.getvalue()).decode()
    name = escape(caption)
    return f'<img src="data:image/{kind};base64,{code}" alt="{name}"><figcaption>{name}</figcaption>'


def _numeric(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(tag: str, value: Any, right: bool) -> str:
    shown = "" if value is None else charts.number(value) if _numeric(value) else str(value)
    return f"<{tag}{' class=n' if right else ''}>{escape(shown)}</{tag}>"
