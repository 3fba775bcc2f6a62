"""What the journal says of one instant, as sentences; and the words for times and fates.

Pure: it reads no clock and no database.
"""

from __future__ import annotations

import pendulum

from kalends.explanation import Explanation, Standing
from kalends.model import Execution, Fate, JournalEntry, JournalKind, Reason

__all__ = ["ENDS", "MOST_READ", "asked_for", "at", "by", "cancels", "cited", "length"]


def asked_for(found: Explanation, kind: JournalKind) -> JournalEntry | None:
    """The entry of whoever moved, left out, triggered or backfilled this very instant."""
    return next(
        (entry for entry in found.journal if entry.kind is kind and _names(entry, found)), None
    )


def _names(entry: JournalEntry, found: Explanation) -> bool:
    if entry.kind is JournalKind.EVENT_SKIPPED:
        return found.instant.isoformat() in entry.details.get("instants", ())
    execution = found.execution
    if execution is None:
        return False
    if entry.kind is JournalKind.EVENT_BACKFILLED:
        return entry.id == execution.backfill
    if entry.kind is JournalKind.BACKFILL_CANCELLED:
        return cancels(entry, execution)
    return bool(entry.details.get("execution_id") == execution.id)


def cancels(entry: JournalEntry, execution: Execution) -> bool:
    """Whether it tells that somebody had this execution cancelled, alone or with its backfill."""
    if entry.kind is JournalKind.BACKFILL_CANCELLED:
        by_it = execution.reason is Reason.REQUESTED and entry.at == execution.ended_at
        return by_it and entry.details.get("backfill_id") == execution.backfill
    return bool(entry.details.get("execution_id") == execution.id)


def by(entry: JournalEntry | None) -> str:
    """Who, when and why, to follow what was done; nothing where the journal does not know."""
    if entry is None:
        return ""
    who = "" if entry.author is None else f" by {entry.author}"
    note = "" if entry.note is None else f": {entry.note}".rstrip(". ")
    return f"{who} at {at(entry.at)}{note}"


def cited(found: Explanation) -> list[str]:
    """The entries that bear on how the instant stands, each as a sentence."""
    if found.reason is Reason.EXCLUDED_ONCE:
        entry = asked_for(found, JournalKind.EVENT_SKIPPED)
        return [] if entry is None else [_sentence(entry)]
    wanted = _CITED.get(found.reason)
    if wanted is not None:
        return [_sentence(entry) for entry in found.journal if entry.kind.value in wanted]
    if found.standing is Standing.FOLDED:
        return []  # when it ended is not known, so neither is what came before that
    kinds: dict[JournalKind, list[JournalEntry]] = {}
    for entry in found.journal:
        if entry.kind in _GENERAL and _bears(entry, found):
            kinds.setdefault(entry.kind, []).append(entry)
    return [
        _sentence(entries[0]) if len(entries) == 1 else _merged(entries, _cut(found))
        for entries in kinds.values()
    ]


def _bears(entry: JournalEntry, found: Explanation) -> bool:
    """Whether it began before the end of what ran: it may be noticed only after that."""
    ended = None if found.execution is None else found.execution.ended_at
    return ended is None or entry.at.subtract(seconds=abs(_seconds(entry) or 0.0)) <= ended


def _cut(found: Explanation) -> bool:
    """Whether the journal may have more about processes and time than was read."""
    return sum(entry.event_id is None for entry in found.journal) >= MOST_READ


def _merged(entries: list[JournalEntry], cut: bool) -> str:
    """Several entries of one kind as one sentence."""
    count = f"at least {len(entries)}" if cut else f"{len(entries)}"
    first, last = entries[0], entries[-1]
    when = f"at {at(first.at)}"
    if first.at != last.at:
        when = f"from {at(first.at)} to {at(last.at)}"
    if first.kind is JournalKind.NODE_DIED:
        return f"{when[0].upper()}{when[1:]} {count} processes were found dead."
    told = f"{count} times {when} {_WORDS[first.kind.value]}."
    return f"{told[0].upper()}{told[1:]}"


MOST_READ = 12
"""Entries of the event, and of processes and time, that are read for one answer."""
_GENERAL = (
    JournalKind.DOWNTIME,
    JournalKind.SUSPENDED,
    JournalKind.CLOCK_JUMPED,
    JournalKind.NODE_DIED,
)
_CITED: dict[Reason | None, tuple[str, ...]] = {
    Reason.PAUSED: ("event_paused", "event_resumed"),
    Reason.QUARANTINED: ("event_quarantined", "event_released"),
    Reason.SUPERSEDED: ("event_updated",),
    Reason.DELETED: ("event_deleted",),
}


def _sentence(entry: JournalEntry) -> str:
    who = "" if entry.author is None else f" by {entry.author}"
    note = "" if entry.note is None else f": {entry.note}"
    what = _WORDS.get(entry.kind.value, entry.kind.value.replace("_", " "))
    seconds = _seconds(entry)
    took = "" if seconds is None else f" ({length(abs(seconds))})"
    evidence = entry.details.get("error")
    if evidence is not None and not note:
        note = f": {str(evidence)[:200]}"
    return f"At {at(entry.at)} {what}{who}{took}{note.rstrip('. ')}."


def _seconds(entry: JournalEntry) -> float | None:
    seconds = entry.details.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


_WORDS = {
    "event_paused": "the event was paused",
    "event_resumed": "the event was resumed",
    "event_quarantined": "the event was quarantined",
    "event_released": "the event was released",
    "event_updated": "the event was changed",
    "event_deleted": "the event was deleted",
    "event_skipped": "it was left out",
    "downtime": "a process was there again after nobody had run events",
    "suspended": "the process went on after it had been suspended",
    "clock_jumped": "the clock had jumped",
    "node_died": "a process was found dead",
}


ENDS = {
    Fate.SUCCEEDED: "succeeded",
    Fate.FAILED: "failed",
    Fate.TIMED_OUT: "ran out of time",
    Fate.CANCELLED: "was cancelled",
    Fate.LOST: "was lost",
}
"""How an execution ended, to follow "it"."""


def at(instant: pendulum.DateTime) -> str:
    """An instant as it is written in a sentence."""
    return instant.isoformat().replace("+00:00", "Z")


def length(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    for unit, size in (("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0)):
        if seconds >= 2 * size:
            value = f"{seconds / size:.1f}".removesuffix(".0")
            return f"{value} {unit}s"
    value = f"{seconds:.3f}".rstrip("0").rstrip(".") or "0"
    return f"{value} second" if value == "1" else f"{value} seconds"
