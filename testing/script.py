"""How played jobs go: how long they take and whether they fail, by job or event, seeded.

Promises: chance depends on the seed, the event, the instant and the attempt alone, so that one more
event changes nothing for the others; what is neither given a duration nor a failure is not played.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import pendulum

from kalends.clock import from_us
from kalends.errors import ValidationFailed, did_you_mean
from kalends.testing.virtual.executor import Played, SimulatedFailure
from kalends.work import Claim

__all__ = ["Durations", "Failures", "JobScript"]

Duration = float | Callable[[pendulum.DateTime, int, random.Random], float]
Failing = float | BaseException | Callable[[pendulum.DateTime, int, random.Random], "FailingAnswer"]
FailingAnswer = bool | BaseException | None
Durations = Duration | Mapping[str, Duration]
"""Seconds, a function of (due, attempt, rng) that gives them, or either by name."""
Failures = Failing | Mapping[str, Failing]
"""A probability from 0 to 1, an exception (each attempt raises it), a function of (due, attempt,
rng) that says True, False or an exception, or any of these by name."""

_LONGEST = 100 * 366 * 86_400.0


class JobScript:
    """Plays what ``durations`` and ``failures`` are about; the rest is called.

    Names in a mapping are an event's or a job's; the event's comes first. ``everything``: play what
    nothing is said about, too.
    """

    def __init__(
        self,
        durations: Durations | None,
        failures: Failures | None,
        rng: Callable[..., random.Random],
        *,
        everything: bool = False,
    ) -> None:
        self._durations = _by_name(durations, "durations", _check_duration)
        self._failures = _by_name(failures, "failures", _check_failing)
        self._rng = rng
        self._everything = everything

    def check_names(self, known: Mapping[str, object]) -> None:
        """Raise ``ValidationFailed`` for a name that is neither an event's nor a job's."""
        for path, given in (("durations", self._durations), ("failures", self._failures)):
            for name in given:
                if name is not None and name not in known:
                    hint = did_you_mean(name, known)
                    raise ValidationFailed(
                        f"{path} name {name!r}, which is neither an event nor a job{hint}",
                        path=f"{path}.{name}",
                    )

    def play(self, claim: Claim) -> Played | None:
        """How this attempt goes; None: nothing is said about it, so it is called."""
        duration = _find(self._durations, claim)
        failing = _find(self._failures, claim)
        if duration is None and failing is None:
            return _INSTANTLY if self._everything else None
        if failing is None and not callable(duration):
            return Played(float(duration))
        due = from_us(claim.due)
        rng = self._rng(claim.event_name, claim.due, claim.attempt)
        if callable(duration):
            duration = _check_duration(duration(due, claim.attempt, rng), "durations")
        return Played(float(duration or 0.0), _failure(failing, due, claim.attempt, rng))


_INSTANTLY = Played()


def _find(given: Mapping[str | None, Any], claim: Claim) -> Any:
    if not given:
        return None
    for name in (claim.event_name, claim.job, None):
        if name in given:
            return given[name]
    return None


def _failure(
    failing: Any, due: pendulum.DateTime, attempt: int, rng: random.Random
) -> BaseException | None:
    if callable(failing) and not isinstance(failing, BaseException | type):
        failing = failing(due, attempt, rng)
        if failing is None or isinstance(failing, bool):
            failing = float(bool(failing))
    if failing is None or isinstance(failing, BaseException):
        return failing
    if rng.random() < _check_failing(failing, "failures"):
        return SimulatedFailure(f"attempt {attempt} was to fail")
    return None


def _by_name(given: Any, path: str, check: Callable[[Any, str], Any]) -> dict[str | None, Any]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {name: check(value, f"{path}.{name}") for name, value in given.items()}
    return {None: check(given, path)}


def _check_duration(value: Any, path: str) -> Any:
    if callable(value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST:
        raise ValidationFailed(
            f"{path} must be seconds, not negative, or a function of (due, attempt, rng)", path=path
        )
    return value


def _check_failing(value: Any, path: str) -> Any:
    if isinstance(value, BaseException) or (callable(value) and not isinstance(value, type)):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValidationFailed(
            f"{path} must be a probability from 0 to 1, an exception,"
            " or a function of (due, attempt, rng)",
            path=path,
        )
    return value
