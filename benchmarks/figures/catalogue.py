"""All figures, in the order of the page."""

from __future__ import annotations

from figures import (
    adding,
    asking,
    fires,
    footprint,
    growth,
    history,
    lateness,
    postgres,
    processes,
    recovery,
    retention,
    sustained,
    triggers,
    work,
)
from harness.plan import Figure

__all__ = ["FIGURES"]

_MODULES = (
    fires, sustained, lateness, adding, processes, postgres, triggers, asking, footprint,
    growth, history, retention, recovery, work,
)  # fmt: skip

FIGURES: dict[str, Figure] = {module.FIGURE.name: module.FIGURE for module in _MODULES}
