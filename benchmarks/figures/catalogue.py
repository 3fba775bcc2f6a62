"""All figures, in the order of the page."""

from __future__ import annotations

from figures import adding, fires, lateness, sustained
from harness.plan import Figure

__all__ = ["FIGURES"]

FIGURES: dict[str, Figure] = {
    module.FIGURE.name: module.FIGURE for module in (fires, sustained, lateness, adding)
}
