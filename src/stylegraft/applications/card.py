"""The model card of a domain that is shared: what it is, what it stands on, under which licence, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylegraft.domains.domain import Domain
from stylegraft.sources import SOURCES
from stylegraft.version import __version__

# licences that the hub knows by name; whatever else a base says of itself is `other`, in its own words below
KNOWN = {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"}


@dataclass(frozen=True)
class Measured:
    """values: {metric: (of the source, of the domain)}, either None where it was not measured; where: by what."""

    values: Mapping[str, tuple[float | None, float]] = field(default_factory=dict)
    where: str = ""


def measured(run: Path | None, steps: int | None) -> Measured:
    """What `stylegraft trace` (or `adapt --trace`) wrote about the averaged weights at the domain's own step, or at the
    last one before it.

    Numbers and names of metrics alone; without a trace, nothing.
    """
    path = run / "trace.jsonl" if run else None
    if path is None or not path.is_file() or steps is None:
        return Measured()
    try:
        head, *points = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        header = head["header"]
        step = max(0, steps - header["run"]["recipe"]["warmup"])
        names = list(header["metrics"].values())
        point = max(
            (p for p in points if p["weights"] == "ema" and p["step"] <= step), key=lambda p: p["step"]
        )
        at = f"step {point['step']}" + (
            f" of the {step} that the domain took" if point["step"] != step else ""
        )
        source = header.get("source", {})
        values = {name: (_number(source.get(name)), float(point[name])) for name in names if name in point}
        count = f" on {int(header['panel']['samples'])} samples"
    except (ValueError, KeyError, TypeError, AttributeError):
        return Measured()
    return Measured(values, f"by `stylegraft trace` at {at}{count}")


def card(
    domain: Domain,
    name: str,
    *,
    repo: str = "OWNER/NAME",
    numbers: Measured | None = None,
    pictures: str = "",
) -> str:
    """README.md of a repository: YAML for the hub, then what a reader needs to know.

    name: of the domain; repo: where it will lie; pictures: the file of the preview, below it what its seeds were.
    """
    base = domain.base
    licence = base.get("licence", "")
    parts = [
        _header(base, licence),
        f"# {name}",
        f"A *domain* for the generator `{base['name']}`, made with stylegraft: a small file of deltas over its"
        " parameters. It holds no weights of the base and no training pictures.",
        f"![Samples of the source above, of this domain below]({pictures})\n\nThe same latents in the source (upper"
        " rows) and in this domain (lower rows): seeds 0 to 15, psi 0.7, not chosen." if pictures else "",
        "**Licence.** The domain, and what is made with it, fall under the terms of its base: "
        f"{licence or 'not stated'}.",
        "## Use\n\n" + "\n".join(f"    {line}" for line in commands(base, repo)),
        f"Append a commit to pin what you get: `hf://{repo}/domain.safetensors@COMMIT`.",
        "## Facts\n\n" + _table(("", ""), facts(domain)),
        _numbers(numbers or Measured()),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def commands(base: Mapping[str, str], repo: str) -> list[str]:
    """Install, draw, keep."""
    own = "" if base["name"] in SOURCES else " --source THE_BASE"
    return [
        "pip install 'stylegraft[hub]'",
        f"stylegraft sample hf://{repo}/domain.safetensors{own} --seeds 0-63",
        f"stylegraft pull hf://{repo} --out {repo.rpartition('/')[2]}.safetensors",
    ]


def facts(domain: Domain) -> list[tuple[str, str]]:
    """What the file says of itself, (name, value) in reading order, those that it does not have left out."""
    config, base = domain.config, domain.base
    target = config.get("target")
    target = target if isinstance(target, dict) else {}
    recipe = config.get("recipe")
    rows = (
        ("base", base["name"]),
        ("base fingerprint", base["fingerprint"]),
        ("base sha256", base["sha256"]),
        ("licence of the base", base["licence"] or "not stated"),
        ("recipe", f"{recipe}{_changes(config.get('changes'))}" if recipe else ""),
        ("space", config.get("space", "")),
        ("steps", config.get("steps", "")),
        ("seed", config.get("seed", "")),
        ("training pictures", target.get("count", "")),
        ("sentence", target.get("text", "")),
        ("mix of", len(config["mix"]) if isinstance(config.get("mix"), list) else ""),
        ("numbers in the file", f"{domain.count:,}"),
        ("written by", f"stylegraft {__version__}"),
    )
    return [(name, str(value)) for name, value in rows if value not in ("", None)]


def _header(base: Mapping[str, str], licence: str) -> str:
    known = licence.strip().lower()
    if known in KNOWN:
        terms = [f"license: {known}"]
    elif not known or known.startswith("not stated"):
        terms = ["license: unknown"]
    else:
        terms = [
            "license: other",
            "license_name: terms-of-the-base",
            f"license_link: {json.dumps('README.md')}",
        ]
    tags = ["stylegraft", "stylegan2", "gan", "few-shot", "domain-adaptation"]
    return "\n".join(
        ["---", *terms, "library_name: stylegraft", "pipeline_tag: unconditional-image-generation",
         f"base_model: {json.dumps(base['name'])}", "tags:", *(f"- {tag}" for tag in tags), "---"]
    )  # fmt: skip


def _changes(changes: Any) -> str:
    if not isinstance(changes, dict) or not changes:
        return ""
    return f" ({', '.join(f'{name}={value}' for name, value in sorted(changes.items()))})"


def _numbers(numbers: Measured) -> str:
    if not numbers.values:
        return ""
    rows = [
        (f"`{name}`", "" if source is None else f"{source:.3f}", f"{value:.3f}")
        for name, (source, value) in numbers.values.items()
    ]
    return f"## Numbers\n\n{_table(('metric', 'source', 'this domain'), rows)}\n\nMeasured {numbers.where}."


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *[[_cell(cell) for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Text that came out of a file, as one cell that stays one."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
