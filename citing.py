"""What the journal says of one instant, as sentences; and the words for times and fates.

Pure: it reads no clock and no database.
"""

from __future__ import annotations

import pendulum

from kalends.explanation import Explanation
from kalends.model import Fate, JournalEntry, JournalKind, Reason

__all__ = ["ENDS", "asked_for", "at", "by", "cited", "length"]


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
    wanted = _CITED.get(found.reason, _GENERAL)
    return [_sentence(entry) for entry in found.journal if entry.kind.value in wanted]


_GENERAL = ("downtime", "suspended", "clock_jumped", "node_died")
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
    seconds = entry.details.get("seconds")
    took = f" ({length(abs(float(seconds)))})" if isinstance(seconds, int | float) else ""
    evidence = entry.details.get("error")
    if evidence is not None and not note:
        note = f": {str(evidence)[:200]}"
    return f"At {at(entry.at)} {what}{who}{took}{note.rstrip('. ')}."


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
