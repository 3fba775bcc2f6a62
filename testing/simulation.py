"""``simulate``: the ledger that a schedule would write, before it does.

Promises: no job is run and no real time passes; the definitions go through a real scheduler in
virtual time, so fates, gaps and journal are what its policies decide; a ``Scheduler`` that is given
is only read. The same arguments give the same ledger, byte for byte.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
import pendulum

from kalends.clock import from_us, to_us
from kalends.errors import ValidationFailed
from kalends.jobs.codec import type_name
from kalends.model import Event, EventStatus, Execution, Fate, Gap, JournalEntry, Reason
from kalends.report import Report
from kalends.scheduler import Scheduler
from kalends.testing.lookups import every_item, find_event
from kalends.testing.script import Durations, Failures, JobScript
from kalends.testing.stand_in import StandInRegistry
from kalends.testing.virtual.scheduler import VirtualScheduler

__all__ = ["EventCounts", "Simulation", "simulate"]

_SLEEPY = {"lease": 86_400.0, "max_sleep": 86_400.0, "claim_ahead": 0.0}
"""Signs of life change no ledger where a dead process is known at once and no clock jumps. Claims
take no time, so none need be made ahead of its instant.
"""

Outage = tuple[dt.datetime, dt.datetime]


class EventCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the due instants of one event."""

    fates: dict[Fate, int]
    """How many instants have each fate, gaps included; those without a count are left out."""
    reasons: dict[Reason, int]
    """Why instants were skipped or lost."""

    @property
    def due(self) -> int:
        """How many instants there were."""
        return sum(self.fates.values())


def simulate(
    events: Iterable[Mapping[str, Any]] | Scheduler,
    start: dt.datetime,
    end: dt.datetime,
    *,
    durations: Durations = 0.0,
    failures: Failures | None = None,
    outages: Iterable[Outage] = (),
    seed: int | str = 0,
    **values: Any,
) -> Simulation:
    """What becomes of all that is due in ``start < instant <= end``.

    ``events`` are mappings as for ``schedule_events`` (a job is a name or a function, registered or
    not), or a running ``Scheduler``, whose active and paused events are copied. ``durations`` and
    ``failures`` say how attempts go: see ``kalends.testing.script``. In each of the ``outages``,
    pairs of instants, the process is dead from the first to the second, and another one starts.
    ``values`` are settings. Raises ``ValidationFailed`` for what does not fit together.
    """
    begin, finish = to_us(start, "start"), to_us(end, "end")
    if begin >= finish:
        raise ValidationFailed("end must come after start", path="end")
    pauses: list[Event] = []
    definitions: list[Mapping[str, Any]]
    if isinstance(events, Scheduler):
        definitions, pauses = _copy(events, begin)
        registry = StandInRegistry(events.registry)
        values = {**_settings_of(events), "executors": events._own_executors, **values}
    else:
        if not isinstance(events, Iterable):
            raise ValidationFailed(
                f"events must be a list of mappings or a Scheduler, not {type_name(events)}",
                path="events",
            )
        definitions, registry = list(events), StandInRegistry()
    scheduler = VirtualScheduler(
        start=start,
        seed=seed,
        durations=durations,
        failures=failures,
        registry=registry,
        **{**_SLEEPY, **values},
    )
    scheduler.start()
    stored = scheduler.schedule_events(definitions)
    _check_names(durations, failures, stored)
    _pause(scheduler, stored, pauses)
    for down, up in _checked(outages, begin, finish):
        scheduler.advance_to(down).kill()
        scheduler.advance_to(up).start()
    scheduler.advance_to(end)
    return Simulation(scheduler, start, end)


class Simulation:
    """The ledger that a simulation has written; lists are oldest first.

    ``scheduler`` answers every question that a ``Scheduler`` does (``list_executions``,
    ``explain``, ``report``, …), at ``end``, and runs nothing any more.
    """

    def __init__(self, scheduler: VirtualScheduler, start: dt.datetime, end: dt.datetime) -> None:
        self.start = pendulum.instance(start)
        self.end = pendulum.instance(end)
        self.scheduler = scheduler.kill().reader().start()

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """The events as they are at the end."""
        return tuple(every_item(self.scheduler.list_events))

    @cached_property
    def executions(self) -> tuple[Execution, ...]:
        """Every execution, by due instant. For very many, ``scheduler.list_executions`` pages."""
        return tuple(every_item(self.scheduler.list_executions, descending=False))

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """Every gap, by its first instant."""
        found = every_item(self.scheduler.list_gaps)
        return tuple(sorted(found, key=lambda gap: (gap.first, gap.event_id, gap.last)))

    @cached_property
    def journal(self) -> tuple[JournalEntry, ...]:
        """What happened to definitions, processes and time."""
        return tuple(reversed(list(every_item(self.scheduler.list_journal))))

    @cached_property
    def counts(self) -> dict[str, EventCounts]:
        """By the name of the event: how many instants have which fate."""
        counted = self.scheduler.count_fates()
        return {event.name: _counts(counted.get(event.id, ())) for event in self.events}

    def of(self, name: str) -> tuple[Execution, ...]:
        """The executions of one event, by its name. Raises ``EventNotFound``."""
        event = find_event(self.scheduler, name)
        query = {"event_id": event.id, "descending": False}
        return tuple(every_item(self.scheduler.list_executions, **query))

    def report(self, **query: Any) -> Report:
        """Success rate, percentiles and streaks: as ``Scheduler.report``."""
        return self.scheduler.report(**query)

    def dump(self) -> bytes:
        """Every table as JSON lines: equal for equal ledgers, and only for those."""
        return self.scheduler.dump()

    def __str__(self) -> str:
        """A table: each event, and what became of its instants."""
        return "\n".join(_table(self.counts))


# -- what is simulated ---------------------------------------------------------------------------


def _copy(scheduler: Scheduler, begin: int) -> tuple[list[Mapping[str, Any]], list[Event]]:
    """Definitions of the events that have something due after ``begin``; those that are paused."""
    kept: list[Event] = []
    for status in (EventStatus.ACTIVE, EventStatus.PAUSED):
        found = every_item(scheduler.list_events, status=status)
        kept += [event for event in found if event.trigger.next_us(begin) is not None]
    return [_definition(event) for event in kept], [
        event for event in kept if event.status is EventStatus.PAUSED
    ]


def _definition(event: Event) -> dict[str, Any]:
    policies = {field: getattr(event.policies, field) for field in event.policies.__struct_fields__}
    return {
        "job": event.job,
        "trigger": event.trigger,
        "name": event.name,
        "args": event.args,
        "kwargs": event.kwargs,
        "tags": event.tags,
        **policies,
    }


_DECIDING = (
    "workers", "greenlets", "coroutines", "queue_limit", "claim_limit",
)  # fmt: skip


def _settings_of(scheduler: Scheduler) -> dict[str, Any]:
    """The settings that decide about fates."""
    settings = scheduler.settings
    return {name: getattr(settings, name) for name in _DECIDING}


def _pause(scheduler: VirtualScheduler, stored: Sequence[Event], pauses: Sequence[Event]) -> None:
    ids = {event.name: event.id for event in stored}
    for event in pauses:
        scheduler.pause_event(ids[event.name], note=event.note, until=event.paused_until)


def _check_names(durations: Any, failures: Any, events: Sequence[Event]) -> None:
    known = {name: None for event in events for name in (event.name, event.job)}
    JobScript(durations, failures, lambda: None).check_names(known)  # type: ignore[arg-type,return-value]


def _checked(outages: Iterable[Outage], begin: int, finish: int) -> Iterator[Outage]:
    """The outages, once it is sure that they follow each other within the time simulated."""
    if not isinstance(outages, Iterable):
        raise ValidationFailed(
            f"outages must be pairs of instants, not {type_name(outages)}", path="outages"
        )
    checked, last = [], begin
    for place, pair in enumerate(outages):
        path = f"outages[{place}]"
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValidationFailed(f"{path} must be a pair of instants", path=path)
        down, up = to_us(pair[0], f"{path}[0]"), to_us(pair[1], f"{path}[1]")
        if not last <= down < up <= finish:
            raise ValidationFailed(
                f"{path} must begin before it ends, after the one before it and within the time"
                f" simulated, not {from_us(down)} to {from_us(up)}",
                path=path,
            )
        last = up
        checked.append((pair[0], pair[1]))
    return iter(checked)


# -- what is told --------------------------------------------------------------------------------


def _counts(rows: Iterable[tuple[Fate, Reason | None, int]]) -> EventCounts:
    fates: dict[Fate, int] = {}
    reasons: dict[Reason, int] = {}
    for fate, reason, count in rows:
        fates[fate] = fates.get(fate, 0) + count
        if reason is not None:
            reasons[reason] = reasons.get(reason, 0) + count
    order, order_of_reasons = list(Fate), list(Reason)
    return EventCounts(
        fates=dict(sorted(fates.items(), key=lambda item: order.index(item[0]))),
        reasons=dict(sorted(reasons.items(), key=lambda item: order_of_reasons.index(item[0]))),
    )


def _table(counts: Mapping[str, EventCounts]) -> Iterator[str]:
    rows = [("event", "due", "what became of it")]
    for name, counted in sorted(counts.items()):
        fates = ", ".join(f"{number} {fate.value}" for fate, number in counted.fates.items())
        why = ", ".join(f"{number} {reason.value}" for reason, number in counted.reasons.items())
        rows.append((name, str(counted.due), f"{fates} ({why})" if why else fates))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, due, told in rows:
        yield f"{name:<{widths[0]}}  {due:>{widths[1]}}  {told}".rstrip()
