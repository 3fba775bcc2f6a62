"""Units of work that cost less together: those of one kind that wait side by side run as one.

A ``Portion`` is a unit like any other, and nobody who waits for one can tell whether it ran alone:
each has its own answer, all that it asked for or nothing, in the order in which they were given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import peewee

from kalends.futures import Future

__all__ = ["Answer", "Item", "Portion", "Unit", "runs", "together"]

A = TypeVar("A")
T = TypeVar("T")
Unit = Callable[[peewee.Database], T]
Answer = tuple[T | None, Exception | None]
"""The value, or why there is none."""
Item = tuple[Unit[Any], Future[Any]]
"""A unit that waits, and who waits for it."""


class Portion(Generic[A, T]):
    """A part of some work: ``work(db, parts)`` does several of them, and answers each.

    A part that it refuses leaves no trace. Where it raises, nothing is kept of any of them, and
    each is done by itself. Parts may be done together where their work is equal.
    """

    __slots__ = ("part", "work")

    def __init__(
        self, work: Callable[[peewee.Database, Sequence[A]], Sequence[Answer[T]]], part: A
    ) -> None:
        self.work = work
        self.part = part

    def __call__(self, db: peewee.Database) -> T:
        ((value, refusal),) = self.work(db, (self.part,))
        if refusal is not None:
            raise refusal
        return value  # type: ignore[return-value]  # there is a value where there is no refusal


def runs(group: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The group in order, what may run as one side by side."""
    start = 0
    while start < len(group):
        first, end = group[start][0], start + 1
        if type(first) is Portion:
            while end < len(group) and _joins(group[end][0], first):
                end += 1
        yield group[start:end]
        start = end


def _joins(unit: Unit[Any], first: Portion[Any, Any]) -> bool:
    return type(unit) is Portion and unit.work == first.work


def together(run: Sequence[Item]) -> Unit[Sequence[Answer[Any]]]:
    """One unit that does all portions of a run; its value are their answers."""
    portions: list[Any] = [unit for unit, _ in run]
    return lambda db: portions[0].work(db, [portion.part for portion in portions])
