"""What a job may raise to say how its execution is to go on: ``Retry``, ``Snooze``, ``Cancel``.

They are ordinary exceptions that carry their values: they pass through ``finally`` and pickle. The
ledger decides, from the event's policies at that time, whether a job that asks is heard.
"""

from __future__ import annotations

import math
from typing import Any

from kalends.clock import US
from kalends.errors import ValidationFailed
from kalends.retrying import Ask

__all__ = ["Cancel", "Retry", "Snooze", "ask_of", "word_of"]

_LONGEST_S = 100 * 366 * 86_400


class Retry(Exception):
    """This attempt has failed: try again in ``delay`` seconds (None: by the event's backoff).

    Whatever the filters ``retry_on`` and ``give_up_on`` say, as long as the execution has not
    failed more often than ``retries``, or ``max_attempts - 1`` where that is more. Under
    ``at_most_once`` the execution fails."""

    def __init__(self, delay: float | None = None, reason: str | None = None) -> None:
        self.delay = None if delay is None else _seconds(delay)
        self.reason = _words(reason)
        super().__init__(reason or _later("try again", self.delay))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.delay, self.reason))


class Snooze(Exception):
    """It is too early: run this job again in ``delay`` seconds. No failure, and counted nowhere.

    Under ``at_most_once`` the execution fails."""

    def __init__(self, delay: float) -> None:
        self.delay = _seconds(delay)
        super().__init__(_later("run again", self.delay))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.delay,))


class Cancel(Exception):
    """There is nothing to do: this execution ends as ``cancelled`` and is not tried again."""

    def __init__(self, reason: str | None = None) -> None:
        self.reason = _words(reason)
        super().__init__(reason or "the job cancelled itself")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.reason,))


def ask_of(error: BaseException) -> Ask | None:
    """What a job asks for by raising ``error``, or None: nothing. Never raises."""
    try:
        if isinstance(error, Retry) and error.delay is None:
            return Ask(failed=True, delay_us=None)
        if isinstance(error, Retry | Snooze):
            return Ask(isinstance(error, Retry), round(_seconds(error.delay) * US))
    except BaseException:  # noqa: BLE001 - a subclass of the job's may hold anything
        return None
    return None


def word_of(error: BaseException) -> str | None:
    """``Retry``, ``Snooze`` or ``Cancel``; None for every other exception."""
    return next(
        (kind.__name__ for kind in (Retry, Snooze, Cancel) if isinstance(error, kind)), None
    )


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationFailed(
            f"delay must be a number of seconds, not {type(value).__name__}", path="delay"
        )
    if not 0 <= value <= _LONGEST_S or not math.isfinite(value):
        raise ValidationFailed(
            f"delay must lie between 0 and {_LONGEST_S} seconds (100 years)", path="delay"
        )
    return value


def _words(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValidationFailed(
            f"reason must be text or None, not {type(value).__name__}", path="reason"
        )
    return value


def _later(what: str, delay: float | None) -> str:
    return what if delay is None else f"{what} in {delay:g} seconds"
