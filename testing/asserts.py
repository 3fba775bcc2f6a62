"""Assertions about a schedule: what was executed, what was skipped, what comes next.

Each takes a ``Scheduler`` (of any kind, running) or a ``Simulation``, and an event by name, by id
or as an ``Event``. Instants are aware datetimes, or ISO 8601 texts (``"2027-03-31T18:00"``) that
name an offset or are read in ``tz``. What fails says what the ledger says instead.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pendulum

from kalends.clock import from_us, to_us
from kalends.errors import EventNotFound, ValidationFailed
from kalends.model import Event, Execution, Fate, Gap, Reason
from kalends.testing.lookups import every_item, find_event
from kalends.testing.simulation import Simulation
from kalends.triggers import Trigger
from kalends.validation import choice
from kalends.verbs import Verbs

__all__ = [
    "Instant",
    "assert_accounted",
    "assert_executed",
    "assert_next",
    "assert_not_executed",
    "assert_skipped",
    "instant_of",
]

Instant = dt.datetime | str
_SHOWN = 12
"""Lines of the ledger that a failure shows."""


def assert_executed(
    ledger: Verbs | Simulation,
    event: Event | str,
    *,
    due: Instant | None = None,
    count: int | None = None,
    fate: Fate | str | None = Fate.SUCCEEDED,
    since: Instant | None = None,
    until: Instant | None = None,
    tz: str = "UTC",
) -> list[Execution]:
    """The executions of an event: one at ``due``, ``count`` of them, or at least one.

    Only those of this ``fate`` count (None: any that was begun), and only with a due instant in
    ``since <= due < until``. Returns them, oldest first.
    """
    __tracebackhide__ = True  # pytest shows the line of the test instead
    account = _Account(ledger, event, tz)
    wanted = None if fate is None else choice(Fate, fate, "fate")
    found = [
        execution
        for execution in account.executions(since, until)
        if (_ran(execution) if wanted is None else execution.fate is wanted)
        and (due is None or execution.due == account.instant(due, "due"))
    ]
    told = "executed" if wanted is None else wanted.value
    if due is not None and not found:
        account.fail(f"should have {told} at {account.shown(due)}", around=due)
    if count is not None and len(found) != count:
        times = f"{len(found)} executions {told}, not {count}"
        account.fail(f"{times}{_between(since, until)}", since=since, until=until)
    if count is None and not found:
        account.fail(f"no execution {told}{_between(since, until)}", since=since, until=until)
    return found


def assert_not_executed(
    ledger: Verbs | Simulation,
    event: Event | str,
    *,
    due: Instant | None = None,
    since: Instant | None = None,
    until: Instant | None = None,
    tz: str = "UTC",
) -> None:
    """Nothing of an event was begun: at ``due``, or with a due instant in ``since <= due <
    until``.
    """
    __tracebackhide__ = True  # pytest shows the line of the test instead
    account = _Account(ledger, event, tz)
    found = [
        execution
        for execution in account.executions(since, until)
        if _ran(execution) and (due is None or execution.due == account.instant(due, "due"))
    ]
    if found:
        where = f" at {account.shown(due)}" if due is not None else _between(since, until)
        account.fail(f"{len(found)} executions were begun{where}", around=found[0].due)


def assert_skipped(
    ledger: Verbs | Simulation,
    event: Event | str,
    *,
    reason: Reason | str | None = None,
    due: Instant | None = None,
    count: int | None = None,
    since: Instant | None = None,
    until: Instant | None = None,
    tz: str = "UTC",
) -> int:
    """Instants of an event were skipped, for this ``reason`` if given: the one at ``due``,
    ``count`` of them, or at least one. Returns how many. Instants in gaps count each.
    """
    __tracebackhide__ = True  # pytest shows the line of the test instead
    account = _Account(ledger, event, tz)
    wanted = None if reason is None else choice(Reason, reason, "reason")
    if due is not None:
        since, until = due, account.instant(due, "due").add(microseconds=1)
    found = account.skipped(wanted, since, until)
    told = "skipped" if wanted is None else f"skipped ({wanted.value})"
    if due is not None and not found:
        account.fail(f"should have been {told} at {account.shown(due)}", around=due)
    if count is not None and found != count:
        where = _between(since, until)
        account.fail(f"{found} instants {told}, not {count}{where}", since=since, until=until)
    if count is None and not found:
        account.fail(f"no instant was {told}{_between(since, until)}", since=since, until=until)
    return found


def assert_accounted(ledger: Verbs | Simulation) -> None:
    """Every due instant has exactly one fate, and the ledger keeps its other promises: see
    ``Scheduler.verify``.
    """
    __tracebackhide__ = True
    found = _scheduler_of(ledger).verify(limit=_SHOWN)
    if not found.ok:
        words = [f"  {violation.kind.value}: {violation.words}" for violation in found.violations]
        raise AssertionError("\n".join(["the ledger does not add up:", *words]))


def assert_next(
    rule: Trigger | Event,
    instants: Sequence[Instant],
    *,
    after: Instant | None = None,
    tz: str = "UTC",
) -> None:
    """A trigger's, or an event's rule's, next instants after ``after`` are these and in this order.

    Without ``after`` the look begins just before the first of them.
    """
    __tracebackhide__ = True
    trigger = rule.trigger if isinstance(rule, Event) else rule
    if not isinstance(trigger, Trigger):
        raise ValidationFailed(
            f"rule must be a trigger or an Event, not {type(rule).__name__}", path="rule"
        )
    if isinstance(instants, str) or not instants:
        raise ValidationFailed("give a list of at least one instant", path="instants")
    expected = [instant_of(instant, tz, "instants") for instant in instants]
    at = to_us(expected[0]) - 1 if after is None else to_us(instant_of(after, tz, "after"))
    actual: list[pendulum.DateTime | None] = []
    for _ in expected:
        following = trigger.next_us(at)
        actual.append(None if following is None else from_us(following))
        if following is None:
            break
        at = following
    if actual == expected:
        return
    lines = [f"{trigger!r} is due {trigger.describe()}:"]
    for place in range(max(len(expected), len(actual))):
        here = actual[place] if place < len(actual) else None
        wanted = expected[place] if place < len(expected) else None
        mark = " " if here == wanted else ">"
        lines.append(f"{mark} expected {_text(wanted, tz)}, is due {_text(here, tz)}")
    raise AssertionError("\n".join(lines))


class _Account:
    """What the ledger says about one event."""

    def __init__(self, ledger: Verbs | Simulation, event: Event | str, tz: str) -> None:
        self._scheduler = _scheduler_of(ledger)
        self._tz = tz
        self._event = _find(self._scheduler, event)

    def instant(self, value: Instant, path: str) -> pendulum.DateTime:
        return instant_of(value, self._tz, path)

    def shown(self, value: Instant) -> str:
        return _text(self.instant(value, "due"), self._tz)

    def executions(self, since: Instant | None, until: Instant | None) -> list[Execution]:
        query = self._bounds(since, until)
        return list(every_item(self._scheduler.list_executions, descending=False, **query))

    def skipped(self, reason: Reason | None, since: Instant | None, until: Instant | None) -> int:
        found = sum(
            execution.fate is Fate.SKIPPED and reason in (None, execution.reason)
            for execution in self.executions(since, until)
        )
        for gap in self._gaps(since, until):
            if gap.fate is Fate.SKIPPED and reason in (None, gap.reason):
                found += self._inside(gap, since, until)
        return found

    def _inside(self, gap: Gap, since: Instant | None, until: Instant | None) -> int:
        """How many instants of a gap lie within the bounds."""
        first, last = gap.first, gap.last.add(microseconds=1)
        if since is not None:
            first = max(first, self.instant(since, "since"))
        if until is not None:
            last = min(last, self.instant(until, "until"))
        if (first, last) == (gap.first, gap.last.add(microseconds=1)):
            return gap.count
        return self._event.trigger.count(first, last) if first < last else 0

    def _gaps(self, since: Instant | None, until: Instant | None) -> list[Gap]:
        return list(every_item(self._scheduler.list_gaps, **self._bounds(since, until)))

    def _bounds(self, since: Instant | None, until: Instant | None) -> dict[str, Any]:
        query: dict[str, Any] = {"event_id": self._event.id}
        if since is not None:
            query["since"] = self.instant(since, "since")
        if until is not None:
            query["until"] = self.instant(until, "until")
        return query

    def fail(
        self,
        text: str,
        *,
        around: Instant | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
    ) -> None:
        """Raise ``AssertionError`` with ``text`` and what the ledger has, near ``around``."""
        __tracebackhide__ = True
        lines = self._lines(since, until)
        shown = [line for _, line in lines]
        if around is not None:
            at = self.instant(around, "due")
            near = sorted(lines, key=lambda item: abs((item[0] - at).total_seconds()))
            shown = [line for _, line in sorted(near[:_SHOWN], key=lambda item: item[0])]
        told = [f"event {self._event.name!r}: {text}"]
        if not lines:
            told.append("the ledger has nothing of it there")
        elif len(shown) < len(lines) or len(lines) > _SHOWN:
            told.append(f"the ledger says, among {len(lines)} lines:")
        else:
            told.append("the ledger says:")
        told += [f"  {line}" for line in shown[:_SHOWN]]
        if around is not None:
            at = self.instant(around, "due")
            told.append(f"why: {self._scheduler.explain(self._event.id, at)}")
        told.append(f"next due: {_text(self._event.next_due, self._tz)}")
        told.append(f"rule: {self._event.trigger!r}; status: {self._event.status.value}")
        raise AssertionError("\n".join(told))

    def _lines(
        self, since: Instant | None, until: Instant | None
    ) -> list[tuple[pendulum.DateTime, str]]:
        lines = [
            (execution.due, f"{_text(execution.due, self._tz)}  {_outcome(execution)}")
            for execution in self.executions(since, until)
        ]
        for gap in self._gaps(since, until):
            reason = f" ({gap.reason.value})" if gap.reason is not None else ""
            until_last = f" to {_text(gap.last, self._tz)}" if gap.count > 1 else ""
            text = f"{_text(gap.first, self._tz)}{until_last}  {gap.count} {gap.fate.value}{reason}"
            lines.append((gap.first, text))
        return sorted(lines)


def _scheduler_of(ledger: Verbs | Simulation) -> Verbs:
    scheduler = ledger.scheduler if isinstance(ledger, Simulation) else ledger
    if not isinstance(scheduler, Verbs):
        raise ValidationFailed(
            f"give a scheduler or a simulation, not {type(ledger).__name__}", path="ledger"
        )
    return scheduler


def _find(scheduler: Verbs, event: Event | str) -> Event:
    if isinstance(event, Event):
        return scheduler.get_event(event.id, deleted=True)
    if not isinstance(event, str):
        raise ValidationFailed(
            f"event must be a name, an id or an Event, not {type(event).__name__}", path="event"
        )
    try:
        return scheduler.get_event(event, deleted=True)
    except (ValidationFailed, EventNotFound):
        return find_event(scheduler, event)


def _ran(execution: Execution) -> bool:
    return any(attempt.started_at is not None for attempt in execution.attempts)


def _outcome(execution: Execution) -> str:
    words = [execution.fate.value]
    if execution.reason is not None:
        words.append(f"({execution.reason.value})")
    if execution.manual:
        words.append("by hand")
    if len(execution.attempts) > 1:
        words.append(f"after {len(execution.attempts)} attempts")
    if execution.error is not None:
        words.append(f"{execution.error.type}: {execution.error.message}"[:100])
    return " ".join(words)


def _between(since: Instant | None, until: Instant | None) -> str:
    words = [f" since {since}"] if since is not None else []
    return "".join([*words, f" until {until}"] if until is not None else words)


def instant_of(value: Instant, tz: str, path: str) -> pendulum.DateTime:
    """An instant in UTC. Raises ``ValidationFailed`` naming ``path``."""
    if isinstance(value, str):
        try:
            parsed = pendulum.parse(value, tz=tz)
        except ValueError as error:
            raise ValidationFailed(f"{path} is not an instant: {value!r}", path=path) from error
        if not isinstance(parsed, pendulum.DateTime):
            raise ValidationFailed(f"{path} is not an instant: {value!r}", path=path)
        value = parsed
    return from_us(to_us(value, path))


def _text(instant: pendulum.DateTime | None, tz: str) -> str:
    if instant is None:
        return "nothing"
    local = instant.in_timezone(tz)
    precise = "ddd YYYY-MM-DD HH:mm:ss.SSSSSS" if local.microsecond else "ddd YYYY-MM-DD HH:mm:ss"
    return f"{local.format(precise)} {local.timezone_name}"
