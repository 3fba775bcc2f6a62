"""Durations, lateness and streaks of executions, computed by the database.

Percentiles are one sort for all four, which SQLite spills to a file; streaks one pass in order of
due instants that yields only where a run ends. The caller knows from its counts how many values
there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import peewee
from peewee import Case, fn

from kalends.clock import US
from kalends.model import Fate
from kalends.report import RAN, Percentiles, Streaks
from kalends.storage.models import AttemptRow, ExecutionRow, GapRow

__all__ = ["Scope", "durations", "is_begun", "is_timed", "lateness", "streaks"]

_ENDED = (Fate.SUCCEEDED, Fate.FAILED, Fate.TIMED_OUT, Fate.CANCELLED)
"""The fates whose ``ended_at`` is the moment the attempt ended, not the moment somebody found out.
"""


class Scope(msgspec.Struct, frozen=True):
    """What a report is about: one event or all, and ``since <= due < until``."""

    event_id: str | None
    since: int | None
    until: int | None

    def of(self, query: Any) -> Any:
        """``query`` over executions, narrowed to this scope."""
        if self.event_id is not None:
            query = query.where(ExecutionRow.event_id == self.event_id)
        if self.since is not None:
            query = query.where(ExecutionRow.due >= self.since)
        if self.until is not None:
            query = query.where(ExecutionRow.due < self.until)
        return query

    def gaps(self, query: Any) -> Any:
        """``query`` over gaps, narrowed to those that touch this scope."""
        if self.event_id is not None:
            query = query.where(GapRow.event_id == self.event_id)
        if self.since is not None:
            query = query.where(GapRow.last >= self.since)
        if self.until is not None:
            query = query.where(GapRow.first < self.until)
        return query


# -- percentiles -------------------------------------------------------------------------------


def is_timed() -> Any:
    """Whether an execution has a duration to measure."""
    return (
        ExecutionRow.fate.in_([fate.value for fate in _ENDED])
        & ExecutionRow.ended_at.is_null(False)
        & ExecutionRow.started_at.is_null(False)
    )


def durations(db: peewee.Database, scope: Scope, count: int) -> Percentiles | None:
    """How long the last attempts ran; ``count`` is how many executions ``is_timed``."""
    return _percentiles(
        db, scope, ExecutionRow.ended_at - ExecutionRow.started_at, is_timed(), count
    )


def _begun() -> Any:
    """When the first attempt that is known to have begun did."""
    earlier = (
        AttemptRow.select(AttemptRow.started_at)
        .where(AttemptRow.execution_id == ExecutionRow.id, AttemptRow.started_at.is_null(False))
        .order_by(AttemptRow.number)
        .limit(1)
    )
    # Where nobody holds it, the attempt it counts is over and among the earlier ones.
    again = (ExecutionRow.attempt > 1) | ExecutionRow.node.is_null()
    return Case(
        None,
        [(again, fn.COALESCE(earlier, ExecutionRow.started_at))],
        ExecutionRow.started_at,
    )


def is_begun() -> Any:
    """Whether an execution has a lateness to measure."""
    return _begun().is_null(False)


def lateness(db: peewee.Database, scope: Scope, count: int) -> Percentiles | None:
    """From the due instants to the first starts; ``count`` is how many executions ``is_begun``."""
    return _percentiles(db, scope, _begun() - ExecutionRow.due, is_begun(), count)


def _percentiles(
    db: peewee.Database, scope: Scope, value: Any, measured: Any, count: int
) -> Percentiles | None:
    if count == 0:
        return None
    places = {percent: -(-count * percent // 100) for percent in (50, 95, 99, 100)}
    ranked = (
        scope.of(
            ExecutionRow.select(
                value.alias("value"), fn.ROW_NUMBER().over(order_by=[value]).alias("place")
            )
        )
        .where(measured)
        .alias("ranked")
    )
    query = peewee.Select([ranked], [ranked.c.place, ranked.c.value]).where(
        ranked.c.place.in_(sorted(set(places.values())))
    )
    found = dict(list(query.tuples().execute(db)))
    p50, p95, p99, largest = (found[place] / US for place in places.values())
    return Percentiles(count=count, p50=p50, p95=p95, p99=p99, max=largest)


# -- streaks -----------------------------------------------------------------------------------


def streaks(db: peewee.Database, scope: Scope, count: int) -> Streaks:
    """Runs of equal outcomes; ``count`` is how many executions are in ``RAN``."""
    current, succeeding = 0, None
    longest = {True: 0, False: 0}
    for good, length in _runs(db, scope, count):
        current, succeeding = length, good
        longest[good] = max(longest[good], length)
    return Streaks(
        current=current,
        succeeding=succeeding,
        longest_success=longest[True],
        longest_failure=longest[False],
    )


def _runs(db: peewee.Database, scope: Scope, count: int) -> Iterator[tuple[bool, int]]:
    """Each run of equal outcomes and its length, in order of due instants."""
    ran = ExecutionRow.fate.in_([fate.value for fate in RAN])
    good = Case(None, [(ExecutionRow.fate == Fate.SUCCEEDED.value, 1)], 0)
    order = [ExecutionRow.due, ExecutionRow.id]
    numbered = (
        scope.of(
            ExecutionRow.select(
                good.alias("good"),
                fn.ROW_NUMBER().over(order_by=order).alias("place"),
                fn.LAG(good).over(order_by=order).alias("earlier"),
            )
        )
        .where(ran)
        .alias("numbered")
    )
    query = peewee.Select([numbered], [numbered.c.good, numbered.c.place]).where(
        numbered.c.earlier.is_null() | (numbered.c.earlier != numbered.c.good)
    )
    begun: tuple[bool, int] | None = None
    for value, place in query.tuples().iterator(db):
        if begun is not None:
            yield begun[0], place - begun[1]
        begun = (bool(value), place)
    if begun is not None:
        yield begun[0], count - begun[1] + 1
