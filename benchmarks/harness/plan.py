"""What a figure is made of: columns, and tasks that fill them.

A task runs one function in a process of its own and gets numbers back, one a column. All tasks of a
figure run once a round, so that what is compared was measured next to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

__all__ = ["Column", "Figure", "Task"]


class Column(msgspec.Struct, frozen=True):
    """One number of a row."""

    key: str
    title: str
    unit: str
    more: bool = False
    """Whether more is better."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One process: ``code`` (``module:function``) called with ``arguments``, fills columns of
    ``row``.
    """

    row: str | None
    """None: it measures several rows, and gives the columns of each by the row's name."""
    code: str
    arguments: dict[str, Any] = {}
    peer: str | None = None
    """Whose software it needs (``peers/catalogue.py``); where that is absent, so is the row."""
    rounds: int = 3
    patience: float = 300.0
    """Seconds after which it is ended, and the run with it."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure: what the page says of it, and how it is measured."""

    name: str
    title: str
    text: str
    """What is measured, and how to read it; Markdown."""
    columns: tuple[Column, ...]
    tasks: Callable[[bool], list[Task]]
    """The tasks of a run; ``True``: of a quick one, that only shows that everything works."""
    chart: str | None = None
    """The column that the bar chart shows."""
    growth: tuple[tuple[str, str], ...] = ()
    """Pairs of columns, the second of them ten times the size: the page states the exponent."""
    rates: bool = False
    """Whether the columns of ``growth`` are rates, of which cost is the inverse."""
