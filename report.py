"""What a status report says: counts per fate, success rate, percentiles, streaks; as frozen values.

Everything is about the due instants in ``since <= due < until``. Executions and gaps both count,
manual executions with the others; only executions have durations, lateness and streaks, since gaps
have no row for each instant."""

from __future__ import annotations

import msgspec
import pendulum

from kalends.model import Fate, Reason

__all__ = [
    "RAN",
    "UNWELL",
    "Bucket",
    "EventSummary",
    "Percentiles",
    "Report",
    "Streaks",
    "success_rate",
]

UNWELL = (Fate.FAILED, Fate.TIMED_OUT, Fate.LOST, Fate.CANCELLED)
"""The fates of executions that were begun and did not succeed."""

RAN = (Fate.SUCCEEDED, *UNWELL)
"""The fates that the success rate is about."""


def success_rate(fates: dict[Fate, int]) -> float | None:
    """``succeeded / (succeeded + failed + timed_out + lost + cancelled)``; None if nothing ran."""
    ran = sum(fates.get(fate, 0) for fate in RAN)
    return fates.get(Fate.SUCCEEDED, 0) / ran if ran else None


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, by nearest rank: of ``n`` values in order, ``p95`` is number ``ceil(0.95 * n)``."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


class Streaks(msgspec.Struct, frozen=True, kw_only=True):
    """Executions in a row, by due instant, that all succeeded or all did not (``UNWELL``)."""

    current: int
    """Length of the run that the latest execution belongs to; 0 where nothing ran."""
    succeeding: bool | None
    """Whether the current run is one of successes; None where nothing ran."""
    longest_success: int
    longest_failure: int


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the report's time."""

    since: pendulum.DateTime
    until: pendulum.DateTime
    fates: dict[Fate, int]
    reasons: dict[Reason, int]
    success_rate: float | None


class EventSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One event's part of an overall report."""

    event_id: str
    name: str
    fates: dict[Fate, int]
    reasons: dict[Reason, int]
    success_rate: float | None
    duration: Percentiles | None
    lateness: Percentiles | None
    streaks: Streaks


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How one event, or all, did. Fates and reasons without a count are left out."""

    event_id: str | None
    """The event it is about; None: all of them."""
    since: pendulum.DateTime | None
    until: pendulum.DateTime | None
    fates: dict[Fate, int]
    reasons: dict[Reason, int]
    success_rate: float | None
    duration: Percentiles | None
    """How long the last attempts ran; None where none did."""
    lateness: Percentiles | None
    """From the due instant to the first start; None where nothing started."""
    streaks: Streaks
    per_event: tuple[EventSummary, ...]
    """In an overall report: the events with most executions that did not succeed, then those with
    most of all.
    """
    buckets: tuple[Bucket, ...]
