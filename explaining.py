"""An explanation in plain English: two to six sentences, from the data alone.

Pure: it reads no clock and no database. The first sentence says what the instant is to the event,
the next what became of it and by which policy, the last ones what the journal has to say.
"""

from __future__ import annotations

from collections.abc import Callable

import pendulum

from kalends.explanation import Explanation, Standing
from kalends.model import Event, EventStatus, Execution, Fate, Gap, JournalEntry, Reason
from kalends.triggers.verdicts import CauseKind

__all__ = ["tell"]

_MOST = 6
"""Sentences, at most."""
_CAUSES = 2
"""Causes of a rule that are told, at most; the data has all."""


def tell(
    found: Explanation, event: Event, now: pendulum.DateTime, *, alive: int
) -> tuple[str, ...]:
    """The sentences; ``alive`` is how many processes run events of the database now."""
    if found.execution is not None and found.execution.manual:
        told = [_asked_for(found), *_fate(found, found.execution)]
    else:
        told = [*_due(found), *_STANDINGS[found.standing](found, event, now, alive)]
    return tuple([*told, *_cited(found)][:_MOST])


# -- the instant -------------------------------------------------------------------------------


def _due(found: Explanation) -> list[str]:
    at, name = _instant(found), found.event_name
    causes = [cause.words for cause in found.why.causes if cause.kind not in _PLAIN][:_CAUSES]
    if found.standing is Standing.DELETED:
        return [f"{name} had been deleted before {at}."]
    if found.why.due:
        when = "is due" if found.standing in _AHEAD else "was due"
        return [f"{name} {when} at {at}.", *causes]
    return [f"{name} is not due at {at}.", *causes]


_PLAIN = (CauseKind.MATCH, CauseKind.PART)
"""Causes that say no more than that it is due, or what the parts of a rule say one by one."""


def _instant(found: Explanation) -> str:
    at = _at(found.instant)
    if found.why.clock is None or found.why.tz in (None, "UTC"):
        return at
    return f"{at} ({found.why.clock} by the clock of {found.why.tz})"


def _asked_for(found: Explanation) -> str:
    entry = _entry(found, "event_triggered")
    who = f"by {entry.author} " if entry is not None and entry.author is not None else ""
    name = found.event_name
    return (
        f"An execution of {name} was asked for {who}at {_at(found.instant)}, outside of its rule."
    )


# -- what became of it -------------------------------------------------------------------------


def _ran(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    assert found.execution is not None
    return _fate(found, found.execution)


def _fate(found: Explanation, execution: Execution) -> list[str]:
    if execution.fate is Fate.SKIPPED:
        return [_skip(found)]
    told = []
    if execution.moved_to is not None:
        told.append(f"It was moved to {_at(execution.moved_to)}.")
    if execution.backfill is not None:
        told.append("It was run by a backfill.")
    if execution.ended_at is None:
        return [*told, _open(execution)]
    told.append(f"{_begun(execution)} {_ENDS[execution.fate]}{_took(execution)}.")
    if execution.fate is Fate.LOST:
        told.append(_lost(found, execution))
    elif execution.reason is Reason.EXHAUSTED:
        told.append(f"No further attempt was allowed (retries={found.policies.get('retries')}).")
    elif execution.reason is Reason.OVERLAP:
        told.append("The next instant of the event took its place.")
    if execution.error is not None:
        message = execution.error.message[:200].strip().rstrip(".") or "no message"
        told.append(f"Its error was {execution.error.type}: {message}.")
    if execution.still_running:
        told.append("Its job still runs: a thread cannot be stopped from outside.")
    return told


_ENDS = {
    Fate.SUCCEEDED: "succeeded",
    Fate.FAILED: "failed",
    Fate.TIMED_OUT: "ran out of time",
    Fate.CANCELLED: "was cancelled",
    Fate.LOST: "was lost",
}


def _begun(execution: Execution) -> str:
    started = next(
        (attempt.started_at for attempt in execution.attempts if attempt.started_at is not None),
        None,
    )
    if started is None:
        return "It"
    return f"It began at {_at(started)}, {_late(execution.lateness)}, and"


def _late(seconds: float | None) -> str:
    if seconds is None or seconds < 0.0005:
        return "on time"
    return f"{_length(seconds)} late"


def _took(execution: Execution) -> str:
    took = "" if execution.duration is None else f" after {_length(execution.duration)}"
    tries = len(execution.attempts)
    return f"{took}, in attempt {tries}" if tries > 1 else took


def _lost(found: Explanation, execution: Execution) -> str:
    delivery = found.policies.get("delivery")
    if delivery == "at_most_once":
        return "Its process died, and delivery='at_most_once' allows no second attempt."
    if found.event_status is EventStatus.DELETED:
        return "Its process died, and the event was deleted."
    return (
        f"Its process died {len(execution.attempts)} times or the event allowed no further attempt "
        f"(max_attempts={found.policies.get('max_attempts')})."
    )


def _open(execution: Execution) -> str:
    if execution.fate is Fate.RUNNING:
        return f"It runs now, as attempt {len(execution.attempts)}, on node {execution.node}."
    if execution.node is not None:
        return f"Node {execution.node} has claimed it; it is not known to have begun."
    ready = "" if execution.ready_at is None else f", not before {_at(execution.ready_at)}"
    if execution.attempts:
        return f"It waits for attempt {len(execution.attempts) + 1}{ready}."
    return f"It waits for its first attempt{ready}."


def _skipped(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    told = [_skip(found)]
    if found.gap is not None and found.gap.count > 1:
        told.append(_span(found.gap))
    return told


def _span(gap: Gap) -> str:
    return (
        f"It shares one row with the instants from {_at(gap.first)} to {_at(gap.last)}, "
        f"{gap.count} in all."
    )


def _skip(found: Explanation) -> str:
    reason = found.reason
    when = "" if found.decided_at is None else f" That was decided at {_at(found.decided_at)}."
    return f"It was skipped as {reason}: {_REASONS[reason](found)}.{when}"


def _missed(found: Explanation) -> str:
    policies = found.policies
    if policies.get("catch_up") == "skip":
        return "it came too late, and catch_up='skip' runs nothing late"
    return (
        "it came too late: its age was beyond the window of "
        f"{_length(float(policies.get('catch_up_window', 0.0)))}, or newer instants took all of "
        f"catch_up_limit={policies.get('catch_up_limit')}"
    )


def _coalesced(found: Explanation) -> str:
    into = None if found.gap is None else found.gap.into
    other = "another instant" if into is None else f"the instant {_at(into)}"
    return f"{other} ran for it (catch_up={str(found.policies.get('catch_up'))!r})"


_REASONS: dict[Reason | None, Callable[[Explanation], str]] = {
    Reason.MISSED: _missed,
    Reason.COALESCED: _coalesced,
    Reason.OVERLAP: lambda found: (
        "the event was still busy with an earlier instant, and "
        f"overlap={str(found.policies.get('overlap'))!r}"
    ),
    Reason.QUEUE_FULL: lambda found: (
        f"{found.policies.get('buffer_limit')} instants of the event were waiting already"
    ),
    Reason.PAUSED: lambda _: "the event was paused",
    Reason.QUARANTINED: lambda _: "the event could not be carried out",
    Reason.SUPERSEDED: lambda _: "the event's rule was changed before it was run",
    Reason.EXCLUDED_ONCE: lambda _: "somebody asked to leave it out",
    Reason.DELETED: lambda _: "the event was deleted",
    Reason.EXHAUSTED: lambda _: "no attempt was left",
    Reason.PROCESS_DIED: lambda _: "its process died",
    None: lambda _: "the ledger does not say why",
}


def _folded(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    assert found.gap is not None
    assert found.fate is not None
    return [
        f"It {_ENDS.get(found.fate, str(found.fate))}; retention has removed the details.",
        *([_span(found.gap)] if found.gap.count > 1 else []),
    ]


# -- what has no fate --------------------------------------------------------------------------


def _waiting(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    told = [f"It has no fate yet, {_length((now - found.instant).total_seconds())} later."]
    limit = found.policies.get("concurrency_limit")
    if not alive:
        told.append("No process runs events of this database now.")
    elif limit is not None:
        told.append(f"It may wait for a place of the limit {limit!r}.")
    told.append(_late_rule(found))
    return told


def _late_rule(found: Explanation) -> str:
    window = _length(float(found.policies.get("catch_up_window", 0.0)))
    catch_up = str(found.policies.get("catch_up"))
    return f"When it is looked at, catch_up={catch_up!r} decides, within a window of {window}."


def _expected(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    told = [f"That is in {_length((found.instant - now).total_seconds())}."]
    if found.policies.get("overlap") != "allow_all":
        overlap = str(found.policies.get("overlap"))
        told.append(f"Should the event still be busy then, overlap={overlap!r} decides.")
    if not alive:
        told.append("No process runs events of this database now: it will be late unless one does.")
    return told


def _parked(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    note = "" if event.note is None else f" ({event.note})"
    told = [f"The event is {event.status}{note}."]
    until = event.paused_until
    if event.status is not EventStatus.PAUSED:
        told.append("It stays without a fate until the event is released, and is skipped then.")
    elif until is None:
        told.append("When the event is resumed after it, it is skipped as paused.")
    elif found.instant < until:
        told.append(f"The pause ends at {_at(until)}: it will be skipped as paused.")
    else:
        told.append(f"The pause ends at {_at(until)}, and then it is due.")
    return told


def _not_due(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    return [found.why.sentences[-1]]


def _unaccounted(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    if found.instant < event.created_at:
        return [f"The event did not exist then: it was made at {_at(event.created_at)}."]
    return [
        f"The account of the event begins at {_at(event.accounted_from)}: what was before has been "
        "removed by retention."
    ]


def _deleted(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    return ["A deleted event is never due; its history stays."]


def _missing(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    return [
        "The ledger has neither an execution nor a gap for it, which should not be.",
        "Ask verify() for more.",
    ]


_STANDINGS: dict[Standing, Callable[[Explanation, Event, pendulum.DateTime, int], list[str]]] = {
    Standing.RAN: _ran,
    Standing.PENDING: _ran,
    Standing.SKIPPED: _skipped,
    Standing.FOLDED: _folded,
    Standing.WAITING: _waiting,
    Standing.EXPECTED: _expected,
    Standing.PARKED: _parked,
    Standing.NOT_DUE: _not_due,
    Standing.UNACCOUNTED: _unaccounted,
    Standing.DELETED: _deleted,
    Standing.MISSING: _missing,
}
_AHEAD = (Standing.EXPECTED, Standing.PARKED)


# -- the journal -------------------------------------------------------------------------------


def _entry(found: Explanation, kind: str) -> JournalEntry | None:
    return next((entry for entry in found.journal if entry.kind == kind), None)


def _cited(found: Explanation) -> list[str]:
    """The entries that say something about this standing, each as a sentence."""
    wanted = _CITED.get(found.reason, _GENERAL)
    return [_sentence(entry) for entry in found.journal if entry.kind.value in wanted]


_GENERAL = ("downtime", "suspended", "clock_jumped", "node_died")
_CITED: dict[Reason | None, tuple[str, ...]] = {
    Reason.PAUSED: ("event_paused", "event_resumed"),
    Reason.QUARANTINED: ("event_quarantined", "event_released"),
    Reason.SUPERSEDED: ("event_updated",),
    Reason.DELETED: ("event_deleted",),
    Reason.EXCLUDED_ONCE: ("event_skipped",),
}


def _sentence(entry: JournalEntry) -> str:
    by = "" if entry.author is None else f" by {entry.author}"
    note = "" if entry.note is None else f": {entry.note}"
    what = _WORDS.get(entry.kind.value, entry.kind.value.replace("_", " "))
    seconds = entry.details.get("seconds")
    length = f" ({_length(abs(float(seconds)))})" if isinstance(seconds, int | float) else ""
    evidence = entry.details.get("error")
    if evidence is not None and not note:
        note = f": {str(evidence)[:200]}"
    return f"At {_at(entry.at)} {what}{by}{length}{note.rstrip('. ')}."


_WORDS = {
    "event_paused": "the event was paused",
    "event_resumed": "the event was resumed",
    "event_quarantined": "the event was quarantined",
    "event_released": "the event was released",
    "event_updated": "the event was changed",
    "event_deleted": "the event was deleted",
    "event_skipped": "instants of the event were left out",
    "downtime": "a process was there again after nobody had run events",
    "suspended": "the process went on after it had been suspended",
    "clock_jumped": "the clock had jumped",
    "node_died": "a process was found dead",
}


def _at(at: pendulum.DateTime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _length(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    for unit, size in (("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0)):
        if seconds >= 2 * size:
            value = f"{seconds / size:.1f}".removesuffix(".0")
            return f"{value} {unit}s"
    value = f"{seconds:.3f}".rstrip("0").rstrip(".") or "0"
    return f"{value} second" if value == "1" else f"{value} seconds"
