"""The closer look: what a run gains in quality and what it loses in diversity, along the way and beside others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylegraft.lazy import lookup

if TYPE_CHECKING:
    from stylegraft.lab.panel import Panel, Settings
    from stylegraft.lab.report import write_report
    from stylegraft.lab.trace import Trace, Tracer, read_trace

__all__ = ["Panel", "Settings", "Trace", "Tracer", "read_trace", "write_report"]

__getattr__ = lookup(
    __name__,
    {
        "panel": ("Panel", "Settings"),
        "report": ("write_report",),
        "trace": ("Trace", "Tracer", "read_trace"),
    },
)
