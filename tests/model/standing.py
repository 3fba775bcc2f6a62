"""What ``explain`` has to say of an instant, by the reference."""

from __future__ import annotations

from dataclasses import dataclass

from tests.model.parts import Event, Run, Told

from kalends.explanation import Standing

__all__ = ["Expected", "expect"]


@dataclass
class Expected:
    """How an instant of an event stands."""

    standings: tuple[Standing, ...]
    """One of these: a short run may never show that it has begun."""
    due: bool
    before: int | None
    """The last instant before it that the rule of its time says."""
    after: int | None
    run: Run | None = None
    told: Told | None = None


def expect(event: Event, instant: int, now: int) -> Expected:
    """What ``explain`` is to answer at ``now``."""
    rule = event.rule_at(instant)
    due = rule.next_us(instant - 1) == instant
    found = Expected((), due, rule.previous_us(instant), rule.next_us(instant))
    runs = [run for run in event.runs if run.due == instant]
    # One outside of the rule makes way for an instant of it.
    found.run = min(runs, key=lambda run: run.manual, default=None)
    if found.run is None and due:
        found.told = event.told.get(instant)
    found.standings = _standings(event, found, instant, now)
    return found


def _standings(event: Event, found: Expected, instant: int, now: int) -> tuple[Standing, ...]:
    if found.run is not None:
        return _of_run(found.run)
    if found.told is not None:
        return (Standing.SKIPPED,)
    if event.status == "deleted" and instant >= event.since:
        return (Standing.DELETED,)
    if instant < event.opened:
        return (Standing.UNACCOUNTED,)
    if not found.due:
        return (Standing.NOT_DUE,)
    assert event.next_due is not None, (event.name, instant)
    assert instant >= event.next_due, (event.name, instant)
    if event.status != "active":
        return (Standing.PARKED,)
    return (Standing.EXPECTED,) if instant > now else (Standing.WAITING,)


def _of_run(run: Run) -> tuple[Standing, ...]:
    if run.fate == "skipped":
        return (Standing.SKIPPED,)
    if run.over:
        return (Standing.RAN,)
    return (Standing.PENDING, Standing.RAN) if run.begun else (Standing.PENDING,)
