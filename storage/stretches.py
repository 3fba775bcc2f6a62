"""The past of an event as stretches: which of its instants have not run, and where each stands.

An instant has run where it has an execution that began, or that is open. It has not run where it
lies in a gap of skipped instants, where its execution ended without an attempt, where the account
does not reach (before it begins), and where nothing was decided yet. The rule that counts is the
one in force then; before the event existed, the current one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import peewee

from kalends.model import Fate
from kalends.storage.models import DefinitionRow, ExecutionRow, GapRow
from kalends.storage.rows import load_trigger
from kalends.triggers import Trigger

__all__ = ["Period", "Stretch", "periods", "stretches"]


class Period(msgspec.Struct, frozen=True):
    """A rule and its time: ``start <= instant < end``."""

    start: int
    end: int
    rule: Trigger
    version: int


class Stretch(msgspec.Struct, frozen=True):
    """``count`` consecutive instants of one rule that have not run, the first one being ``first``.

    ``gap_id`` names the gap they lie in, ``execution_id`` the execution that never began; neither:
    nothing is told of them.
    """

    first: int
    count: int
    rule: Trigger
    version: int
    gap_id: str | None = None
    execution_id: str | None = None

    def instants(self, limit: int) -> list[int]:
        """The first ``limit`` of them."""
        found = [self.first]
        while len(found) < min(limit, self.count):
            following = self.rule.next_us(found[-1])
            assert following is not None, "the rule has counted more"
            found.append(following)
        return found

    def after(self, instant: int) -> int:
        """The instant of the stretch that follows one of it."""
        following = self.rule.next_us(instant)
        assert following is not None, "the rule has counted more"
        return following


def periods(db: peewee.Database, event: dict[str, Any], start: int, end: int) -> list[Period]:
    """The rules of ``start <= instant < end``, in order and without holes; ``event`` is its row."""
    query = (
        DefinitionRow.select(
            DefinitionRow.since, DefinitionRow.until, DefinitionRow.trigger, DefinitionRow.version
        )
        .where(
            DefinitionRow.event_id == event["id"],
            DefinitionRow.until >= start,
            DefinitionRow.since < end,
        )
        .order_by(DefinitionRow.since)
    )
    current = load_trigger(event["trigger"])
    found: list[Period] = []
    reached = start
    for since, until, text, version in list(query.tuples().execute(db)):
        if since > reached:
            found.append(Period(reached, since, current, event["version"]))
        reached = min(until + 1, end)
        found.append(Period(max(since, start), reached, load_trigger(text), version))
    if reached < end:
        found.append(Period(reached, end, current, event["version"]))
    return found


def stretches(
    db: peewee.Database, event: dict[str, Any], rules: Sequence[Period]
) -> Iterator[Stretch]:
    """What has not run in the time of ``rules``, in order. Gaps are read one after the other."""
    start, end = rules[0].start, rules[-1].end
    opening = min(max(event["accounted_from"], start), end)
    next_due = end if event["next_due"] is None else min(max(event["next_due"], opening), end)
    for rule in _within(rules, start, opening):
        yield from _untold(db, event["id"], rule)
    yield from heapq.merge(
        _in_gaps(db, event["id"], rules, opening, next_due),
        _unbegun(db, event["id"], rules, opening, next_due),
        key=lambda stretch: stretch.first,
    )
    for rule in _within(rules, next_due, end):
        yield from _free(rule, rule.start, rule.end)


def _within(rules: Sequence[Period], start: int, end: int) -> Iterator[Period]:
    for rule in rules:
        if rule.start < end and rule.end > start:
            yield msgspec.structs.replace(
                rule, start=max(rule.start, start), end=min(rule.end, end)
            )


def _free(rule: Period, start: int, end: int) -> Iterator[Stretch]:
    count = rule.rule.count_us(start, end) if start < end else 0
    if count:
        first = rule.rule.next_us(start - 1)
        assert first is not None, "the rule has counted one"
        yield Stretch(first, count, rule.rule, rule.version)


def _untold(db: peewee.Database, event_id: str, rule: Period) -> Iterator[Stretch]:
    """Before the account: whatever has no execution, and executions that never began."""
    reached = rule.start
    for execution_id, due, ran in _executions(db, event_id, rule.start, rule.end):
        yield from _free(rule, reached, due)
        if not ran and rule.rule.next_us(due - 1) == due:
            yield Stretch(due, 1, rule.rule, rule.version, execution_id=execution_id)
        reached = due + 1
    yield from _free(rule, reached, rule.end)


def _executions(
    db: peewee.Database, event_id: str, start: int, end: int
) -> list[tuple[str, int, bool]]:
    ran = (ExecutionRow.attempt > 0) | ExecutionRow.ended_at.is_null()
    query = (
        ExecutionRow.select(ExecutionRow.id, ExecutionRow.due, ran)
        .where(
            ExecutionRow.event_id == event_id,
            ExecutionRow.due >= start,
            ExecutionRow.due < end,
            ExecutionRow.manual == 0,
        )
        .order_by(ExecutionRow.due)
    )
    return [(key, due, bool(began)) for key, due, began in list(query.tuples().execute(db))]


def _unbegun(
    db: peewee.Database, event_id: str, rules: Sequence[Period], start: int, end: int
) -> Iterator[Stretch]:
    query = (
        ExecutionRow.select(ExecutionRow.id, ExecutionRow.due)
        .where(
            ExecutionRow.event_id == event_id,
            ExecutionRow.due >= start,
            ExecutionRow.due < end,
            ExecutionRow.manual == 0,
            ExecutionRow.attempt == 0,
            ExecutionRow.ended_at.is_null(False),
        )
        .order_by(ExecutionRow.due)
    )
    for execution_id, due in list(query.tuples().execute(db)):
        rule = _rule_at(rules, due)
        yield Stretch(due, 1, rule.rule, rule.version, execution_id=execution_id)


def _in_gaps(
    db: peewee.Database, event_id: str, rules: Sequence[Period], start: int, end: int
) -> Iterator[Stretch]:
    query = (
        GapRow.select(GapRow.id, GapRow.first, GapRow.last, GapRow.count)
        .where(
            GapRow.event_id == event_id,
            GapRow.last >= start,
            GapRow.first < end,
            GapRow.fate == Fate.SKIPPED.value,
        )
        .order_by(GapRow.last)
    )
    for gap_id, first, last, count in list(query.tuples().execute(db)):
        rule = _rule_at(rules, max(first, start))
        if start <= first and last < end:
            yield Stretch(first, count, rule.rule, rule.version, gap_id=gap_id)
            continue
        for found in _free(rule, max(first, start), min(last + 1, end)):
            yield msgspec.structs.replace(found, gap_id=gap_id)


def _rule_at(rules: Sequence[Period], instant: int) -> Period:
    return next(rule for rule in rules if rule.start <= instant < rule.end)
