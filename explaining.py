"""An explanation in plain English: two to six sentences, from the data alone.

Pure: it reads no clock and no database. The first sentence says what the instant is to the event,
the next what became of it and by which policy, the last ones what the journal has to say.
"""

from __future__ import annotations

from collections.abc import Callable

import pendulum

from kalends.citing import ENDS, asked_for, at, by, cited, length
from kalends.coalescing import coalesced
from kalends.explanation import Explanation, LimitUse, Standing
from kalends.model import Event, EventStatus, Execution, Fate, Gap, JournalKind, Reason
from kalends.triggers.verdicts import CauseKind

__all__ = ["tell"]

_MOST = 6
"""Sentences, at most."""
_CAUSES = 2
"""Causes of a rule that are told, at most; the data has all."""
_SHOWN_HOLDERS = 3
"""Holders of a limit that are told, at most; the data has more."""


def tell(
    found: Explanation, event: Event, now: pendulum.DateTime, *, alive: int
) -> tuple[str, ...]:
    """The sentences; ``alive`` is how many processes run events of the database now."""
    if found.execution is not None and found.execution.manual:
        told = [_asked_for(found, found.execution), *_fate(found, found.execution)]
    else:
        told = [*_due(found), *_STANDINGS[found.standing](found, event, now, alive)]
    return tuple([*told, *cited(found)][:_MOST])


# -- the instant -------------------------------------------------------------------------------


def _due(found: Explanation) -> list[str]:
    when, name = _instant(found), found.event_name
    causes = [cause.words for cause in found.why.causes if cause.kind not in _PLAIN][:_CAUSES]
    if found.standing is Standing.DELETED:
        return [f"{name} had been deleted before {when}."]
    if found.why.due:
        is_or_was = "is" if found.standing in _AHEAD else "was"
        return [f"{name} {is_or_was} due at {when}.", *causes]
    return [f"{name} is not due at {when}.", *causes]


_PLAIN = (CauseKind.MATCH, CauseKind.PART)
"""Causes that say no more than that it is due, or what the parts of a rule say one by one."""


def _instant(found: Explanation) -> str:
    when = at(found.instant)
    if found.why.clock is None or found.why.tz in (None, "UTC"):
        return when
    return f"{when} ({found.why.clock} by the clock of {found.why.tz})"


def _asked_for(found: Explanation, execution: Execution) -> str:
    if execution.moved_to is not None:
        return f"{found.event_name} was due at {at(found.instant)} by a rule that it has no longer."
    entry = asked_for(found, JournalKind.EVENT_TRIGGERED)
    who = "" if entry is None or entry.author is None else f" by {entry.author}"
    overlap = None if entry is None else entry.details.get("overlap")
    how = "" if overlap is None else f", with overlap={overlap!r}"
    return (
        f"An execution of {found.event_name} was asked for{who} at {at(found.instant)}, outside of "
        f"its rule{how}."
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
        mover = by(asked_for(found, JournalKind.EVENT_MOVED))
        told.append(f"It was moved to {at(execution.moved_to)}{mover}.")
    if execution.backfill is not None:
        asker = by(asked_for(found, JournalKind.EVENT_BACKFILLED))
        told.append(f"It belongs to a backfill{asker and f', asked for{asker}'}.")
    cancelled = _cancelled(found)
    if execution.ended_at is None:
        return [*told, *_open(found, execution), *_runs_on(execution), *cancelled, *_places(found)]
    told += [f"{_begun(execution)} {ENDS[execution.fate]}{_took(execution)}.", *cancelled]
    if execution.fate is Fate.LOST:
        told.append(_lost(found, execution))
    elif execution.reason is Reason.EXHAUSTED:
        told.append(f"No further attempt was allowed (retries={found.policies.get('retries')}).")
    elif execution.reason is Reason.OVERLAP:
        told.append("The next instant of the event took its place.")
    if execution.error is not None:
        message = execution.error.message[:200].strip().rstrip(".") or "no message"
        told.append(f"Its error was {execution.error.type}: {message}.")
    return [*told, *_runs_on(execution)]


def _cancelled(found: Explanation) -> list[str]:
    """Who asked for its cancellation, or cancelled the backfill that it belongs to."""
    entry = asked_for(found, JournalKind.EXECUTION_CANCELLED)
    if entry is not None:
        return [f"Its cancellation was asked for{by(entry)}."]
    entry = asked_for(found, JournalKind.BACKFILL_CANCELLED)
    return [] if entry is None else [f"Its backfill was cancelled{by(entry)}."]


def _runs_on(execution: Execution) -> list[str]:
    """Whose jobs have not ended, although their attempts have."""
    running = [str(attempt.number) for attempt in execution.attempts if attempt.still_running]
    if not running:
        return []
    which = "Its job still runs"
    if len(execution.attempts) > 1 or execution.ended_at is None:
        several = len(running) > 1
        numbers = " and ".join(filter(None, (", ".join(running[:-1]), running[-1])))
        which = (
            f"The jobs of attempts {numbers} still run"
            if several
            else (f"The job of attempt {numbers} still runs")
        )
    return [f"{which}: a thread cannot be stopped from outside."]


def _begun(execution: Execution) -> str:
    started = next(
        (attempt.started_at for attempt in execution.attempts if attempt.started_at is not None),
        None,
    )
    if started is None:
        return "It"
    return f"It began at {at(started)}, {_late(execution.lateness)}, and"


def _late(seconds: float | None) -> str:
    if seconds is None or seconds < 0.0005:
        return "on time"
    return f"{length(seconds)} late"


def _took(execution: Execution) -> str:
    took = "" if execution.duration is None else f" after {length(execution.duration)}"
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


def _open(found: Explanation, execution: Execution) -> list[str]:
    ended = found.lease_ended_at
    if ended is None:
        return [_held(execution)]
    begun = ""
    if execution.fate is Fate.RUNNING:
        begun = f" and had begun attempt {len(execution.attempts)}"
    return [
        f"Node {execution.node} had claimed it{begun}; the lease of that node ended at "
        f"{at(ended)}, and no other process has freed it yet."
    ]


def _held(execution: Execution) -> str:
    if execution.fate is Fate.RUNNING:
        return f"It runs now, as attempt {len(execution.attempts)}, on node {execution.node}."
    if execution.node is not None:
        return f"Node {execution.node} has claimed it; it is not known to have begun."
    ready = "" if execution.ready_at is None else f", not before {at(execution.ready_at)}"
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
        f"It shares one row with the instants from {at(gap.first)} to {at(gap.last)}, "
        f"{gap.count} in all."
    )


def _skip(found: Explanation) -> str:
    reason = found.reason
    when = "" if found.decided_at is None else f" That was decided at {at(found.decided_at)}."
    return f"It was skipped as {reason}: {_REASONS[reason](found)}.{when}"


def _missed(found: Explanation) -> str:
    policies = found.policies
    if policies.get("catch_up") == "skip":
        return "it came too late, and catch_up='skip' runs nothing late"
    return (
        "it came too late: its age was beyond the window of "
        f"{length(float(policies.get('catch_up_window', 0.0)))}, or newer instants took all of "
        f"catch_up_limit={policies.get('catch_up_limit')}"
    )


def _queue_full(found: Explanation) -> str:
    claimed = found.execution is not None and found.execution.node is not None
    if claimed or found.policies.get("overlap") != "buffer_all":
        return "as many executions as may wait for its executor were waiting already (queue_limit)"
    return f"{found.policies.get('buffer_limit')} instants of the event were waiting already"


_REASONS: dict[Reason | None, Callable[[Explanation], str]] = {
    Reason.MISSED: _missed,
    Reason.COALESCED: coalesced,
    Reason.OVERLAP: lambda found: (
        "an earlier execution of the event had not ended, and "
        f"overlap={str(found.policies.get('overlap'))!r}"
    ),
    Reason.QUEUE_FULL: _queue_full,
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
        f"It {ENDS.get(found.fate, str(found.fate))}; retention has removed the details.",
        *([_span(found.gap)] if found.gap.count > 1 else []),
    ]


# -- what has no fate --------------------------------------------------------------------------


def _waiting(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    told = [f"It has no fate yet, {length((now - found.instant).total_seconds())} later."]
    if not alive:
        told.append("No process runs events of this database now.")
    else:
        told += _places(found)
    told.append(_late_rule(found))
    return told


def _places(found: Explanation) -> list[str]:
    """What the event's named limit has to do with it, as it is now."""
    limit = found.limit
    if limit is None:
        return []
    if found.standing is Standing.EXPECTED:
        count = "" if limit.places is None else f" ({_counted(limit.places, 'place')})"
        needed = f"It will need a place of the limit {limit.name!r}{count}"
        return [f"{needed}: whether one is free is known then."]
    holders = _holders(limit)
    if limit.places is None:
        places = _counted(limit.held, "place")
        return [
            f"Of the limit {limit.name!r}, which this process's settings lack, {places} are held"
            f"{holders}."
        ]
    held = f"{limit.held} of {_counted(limit.places, 'place')}"
    if limit.held < limit.places:
        return [f"The limit {limit.name!r} has room: {held} held{holders}."]
    return [f"It waits for a place of the limit {limit.name!r}: {held} held{holders}."]


def _holders(limit: LimitUse) -> str:
    if not limit.holders:
        return ""
    shown = [f"{one.event_name} (for {at(one.due)})" for one in limit.holders[:_SHOWN_HOLDERS]]
    others = limit.held - len(shown)
    if others:
        shown.append(_counted(others, "other"))
    first = ", ".join(shown[:-1])
    return f", by {first} and {shown[-1]}" if first else f", by {shown[0]}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _late_rule(found: Explanation) -> str:
    window = length(float(found.policies.get("catch_up_window", 0.0)))
    catch_up = str(found.policies.get("catch_up"))
    return f"When it is looked at, catch_up={catch_up!r} decides, within a window of {window}."


def _expected(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    told = [f"That is in {length((found.instant - now).total_seconds())}."]
    if found.policies.get("overlap") != "allow_all":
        overlap = str(found.policies.get("overlap"))
        told.append(f"Should the event still be busy then, overlap={overlap!r} decides.")
    told += _places(found)
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
    else:
        over, after = until <= now, found.instant >= until
        follows = "it is due now" if over else "then it is due"
        told.append(
            f"The pause {'was over' if over else 'ends'} at {at(until)}: "
            f"{follows if after else 'it will be skipped as paused'}."
        )
        if over and not alive:
            told.append("No process runs events of this database now: nobody has lifted it.")
    return told


def _not_due(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    return [found.why.sentences[-1]]


def _unaccounted(found: Explanation, event: Event, now: pendulum.DateTime, alive: int) -> list[str]:
    if found.instant < event.created_at:
        return [f"The event did not exist then: it was made at {at(event.created_at)}."]
    return [
        f"The account of the event begins at {at(event.accounted_from)}: what was before has been "
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
