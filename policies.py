"""Policies: what happens to an instant that comes late, collides or crashes. Values only.

``Policies`` is kept on the event. What follows from them is decided by pure functions of values:
``planning`` for what is due, ``retrying`` for what has failed. No clock, database or actor is
needed to read, test or explain a decision."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from kalends.errors import ValidationFailed

__all__ = ["CatchUp", "Delivery", "Overlap", "Policies", "RetryBackoff", "consistent"]


class CatchUp(StrEnum):
    """What to do with instants that passed while nobody could run them."""

    SKIP = "skip"
    """Nothing: each becomes ``skipped (missed)``."""
    LATEST = "latest"
    """Run the latest; the others are ``skipped (coalesced)`` into it."""
    EARLIEST = "earliest"
    """Run the earliest; the others are ``skipped (coalesced)`` into it."""
    ALL = "all"
    """Run each in turn, the newest ``catch_up_limit`` of them."""


class Overlap(StrEnum):
    """What to do with an instant that is due while the same event still runs."""

    SKIP = "skip"
    """It becomes ``skipped (overlap)``."""
    BUFFER_ONE = "buffer_one"
    """It waits and begins when the other one has ended; while one waits, further ones are skipped.
    """
    BUFFER_ALL = "buffer_all"
    """It waits in line; ``buffer_limit`` bounds the line, further ones are ``queue_full``."""
    CANCEL_OTHER = "cancel_other"
    """The other one is told to stop, and this one begins when it has. A newer one takes the place
    of one that waits.
    """
    TERMINATE_OTHER = "terminate_other"
    """The other one is ended in the ledger and told to stop; this one begins at once."""
    ALLOW_ALL = "allow_all"
    """It runs beside the others."""


class Delivery(StrEnum):
    """What becomes of an execution whose process died."""

    AT_LEAST_ONCE = "at_least_once"
    """It is attempted again, up to ``max_attempts`` altogether; then it is ``lost``."""
    AT_MOST_ONCE = "at_most_once"
    """It is ``lost``: the job may have run in part and is not run again."""


class RetryBackoff(StrEnum):
    """How the delay before another attempt grows with the failures in a row, ``n`` of them."""

    CONSTANT = "constant"
    """``retry_delay`` each time."""
    LINEAR = "linear"
    """``retry_delay * n``."""
    EXPONENTIAL = "exponential"
    """``retry_delay * 2 ** (n - 1)``."""


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """The policies of one event. Times in seconds."""

    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window: float = 86_400.0
    """Instants later than this many seconds are ``missed``, whatever ``catch_up`` says."""
    catch_up_limit: int = 100
    """How many instants ``catch_up="all"`` runs at most; older ones are ``missed``."""
    overlap: Overlap = Overlap.SKIP
    buffer_limit: int = 1000
    """How many executions wait in line at most under ``overlap="buffer_all"``."""
    concurrency_limit: str | None = None
    """The named limit (``Settings.concurrency_limits``) that executions count towards."""
    priority: int = 0
    """Where slots are scarce, higher goes first: -100 to 100."""
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    max_attempts: int = 5
    """An execution is ``lost`` once so many of its attempts were lost with their processes."""
    retries: int = 0
    """How many further attempts follow on failures and time-outs."""
    retry_delay: float = 10.0
    retry_backoff: RetryBackoff = RetryBackoff.EXPONENTIAL
    retry_max_delay: float = 3600.0
    """No backoff is longer."""
    retry_jitter: float = 0.1
    """The fraction (0 to 1) of a delay by which it may be shorter, so that failures spread out."""
    retry_on: tuple[str, ...] = ()
    """Names of exception classes, bare or qualified, that are tried again; none: all are."""
    give_up_on: tuple[str, ...] = ()
    """Names of exception classes that are not tried again, whatever ``retry_on`` says."""
    timeout: float | None = None
    """How long an attempt may take, by monotonic time."""
    pause_after_failures: int | None = None
    """The event is paused after so many executions in a row that failed, timed out or were lost."""
    executor: str | None = None
    """The executor that runs it; None: its job's own."""


def consistent(policies: Policies) -> Policies:
    """The policies, where they can all hold together. Raises ``ValidationFailed``."""
    for field in ("retry_on", "give_up_on"):
        for place, name in enumerate(getattr(policies, field)):
            if not all(part.isidentifier() or part == "<locals>" for part in name.split(".")):
                raise ValidationFailed(
                    f"{name!r} cannot be the name of an exception class", path=f"{field}[{place}]"
                )
    if policies.delivery == Delivery.AT_MOST_ONCE and policies.retries > 0:
        raise ValidationFailed(
            "at_most_once allows no further attempt: say retries=0", path="retries"
        )
    return policies
