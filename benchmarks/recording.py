"""The jobs that every contender runs: module-level functions, since some store them by their path.

``record`` notes when it ran; appending to a list is the cheapest thing that is safe on threads.
"""

from __future__ import annotations

import time

__all__ = ["RAN", "first_and_last", "idle", "record"]

RAN: list[tuple[float, float]] = []
"""For each run: what it was given (the instant it was due), and when it began."""


def record(due: float) -> None:
    """Note that what was due at ``due`` begins now."""
    RAN.append((due, time.time()))


def idle() -> None:
    """Do nothing."""


def first_and_last() -> tuple[float, float]:
    """When the first and the last run began."""
    return RAN[0][1], RAN[-1][1]
