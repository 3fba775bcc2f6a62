"""A backfill: past instants of an event that are run after all, because somebody asked."""

from __future__ import annotations

import msgspec
import pendulum

from kalends.model import Fate

__all__ = ["Backfill"]


class Backfill(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, and how far it has come.

    ``planned + existing + remaining`` are all instants of the rule in ``start <= instant < end``.
    """

    id: str
    event_id: str
    start: pendulum.DateTime
    end: pendulum.DateTime
    asked_at: pendulum.DateTime
    author: str | None
    note: str | None
    planned: int
    """How many instants it runs: each has an execution of its own."""
    existing: int
    """How many instants needed nothing: they have run, or are about to."""
    remaining: int
    """How many instants the limit left for another call."""
    resume_from: pendulum.DateTime | None
    """The first of those that remain: the ``start`` of that other call."""
    fates: dict[Fate, int]
    """What has become of its executions, as far as they are still in the history."""
    done: float
    """The share of its executions that have ended, 0.0 to 1.0."""
