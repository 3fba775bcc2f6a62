"""Which changes of the clock a trigger meets, and what it does there.

Pure, like the triggers: whoever makes an event is warned with it (``warnings_of``). A change of the
clock is met by a rule that has a wall-clock time in the stretch that is skipped or shown twice,
between the rule's beginning and its end; exclusions are not looked at, so a time that is excluded
anyway is told of too.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from functools import lru_cache

import msgspec

from kalends.clock import US, from_us, to_us
from kalends.errors import ValidationFailed
from kalends.refusals import checking
from kalends.triggers.base import Trigger
from kalends.triggers.bounded import Bounded
from kalends.triggers.combine import Difference
from kalends.triggers.limit import Limited
from kalends.triggers.local import DAY_US
from kalends.triggers.zone import Spans
from kalends.triggers.zoned import ZonedTrigger

__all__ = ["Transition", "transitions", "transitions_us", "warnings_of"]

_YEAR_DAYS = 366

_MOMENT_ZERO = dt.datetime(1970, 1, 1)  # noqa: DTZ001  (a wall-clock moment, which has no zone)

_FATES = {
    "edge": "{it} once, at {edge}",
    "shift": "{it} {gap} later",
    "skip": "{it_not}",
    "first": "{it} the first time only",
    "last": "{it} the second time only",
    "both": "{it} both times",
}


class Transition(msgspec.Struct, frozen=True):
    """One change of the clock that a trigger meets."""

    at_us: int
    """The instant of the change, microseconds UTC."""
    tz: str
    kind: str
    """``gap`` (wall-clock time is skipped) or ``fold`` (it is shown twice)."""
    choice: str
    """What the rule does there: a gap's ``edge``, ``shift`` or ``skip``, a fold's ``first``,
    ``last`` or ``both``."""
    first: str
    """The first wall-clock moment of the stretch, as ``2027-03-28T02:00:00``."""
    end: str
    """The wall-clock moment at which the stretch ends, itself outside of it."""
    times: int
    """How many wall-clock times of the rule lie in the stretch."""
    words: str
    """One sentence that says so."""

    @property
    def at(self) -> dt.datetime:
        """The instant of the change, as a ``pendulum.DateTime`` in UTC."""
        return from_us(self.at_us)


@checking
def transitions(trigger: Trigger, start: dt.datetime, end: dt.datetime) -> list[Transition]:
    """The changes of the clock from ``start`` (included) to ``end`` (excluded; aware datetimes)
    that ``trigger`` meets, in order."""
    return transitions_us(trigger, to_us(start, "start"), to_us(end, "end"))


def transitions_us(trigger: Trigger, start_us: int, end_us: int) -> list[Transition]:
    """As ``transitions``, in microseconds UTC."""
    found: set[Transition] = set()
    _collect(trigger, start_us, end_us, found)
    return sorted(found, key=lambda met: (met.at_us, met.tz, met.kind, met.words))


def warnings_of(trigger: Trigger, now_us: int) -> tuple[Transition, ...]:
    """The changes of the clock that ``trigger``, made at ``now_us``, meets within a year.

    Cheap where no clock changes, and for a rule that was asked of before on the same day.
    """
    if not _goes_by_changing_clock(trigger):
        return ()
    if trigger.needs_anchor:
        trigger = _anchored(trigger, now_us)
    day = now_us // DAY_US
    return tuple(met for met in _in_year_from(trigger, day) if met.at_us > now_us)


def _goes_by_changing_clock(trigger: Trigger) -> bool:
    if isinstance(trigger, ZonedTrigger):
        return len(trigger.zone.spans.starts) > 1
    return any(map(_goes_by_changing_clock, trigger.rules))


@lru_cache(maxsize=64)
def _anchored(trigger: Trigger, at_us: int) -> Trigger:
    return trigger.anchored(at_us)


@lru_cache(maxsize=1_024)
def _in_year_from(trigger: Trigger, day: int) -> tuple[Transition, ...]:
    return tuple(transitions_us(trigger, day * DAY_US, (day + _YEAR_DAYS) * DAY_US))


def _limits(trigger: Trigger, start: int, end: int) -> tuple[int, int]:
    """The part of ``start`` to ``end`` in which ``trigger`` may be due."""
    low: int | None = None
    high: int | None = None
    if isinstance(trigger, Bounded):
        low, high = trigger.start_us, trigger.end_us
    elif isinstance(trigger, Limited) and not trigger.needs_anchor:
        with contextlib.suppress(ValidationFailed):  # the count takes too long
            low, last = trigger.bounds_us
            high = last + 1
    return start if low is None else max(start, low), end if high is None else min(end, high)


def _collect(trigger: Trigger, start: int, end: int, found: set[Transition]) -> None:
    start, end = _limits(trigger, start, end)
    if end <= start:
        return
    if isinstance(trigger, ZonedTrigger):
        spans = trigger.zone.until(end)
        for span in range(max(spans.index(start), 1), spans.index(end - 1) + 1):
            if spans.starts[span] >= start:
                met = _meeting(trigger, spans, span)
                if met is not None:
                    found.add(met)
    # What is taken out of a rule runs nowhere: nothing becomes of its times.
    for part in trigger.rules[:1] if isinstance(trigger, Difference) else trigger.rules:
        _collect(part, start, end, found)


def _meeting(trigger: ZonedTrigger, spans: Spans, span: int) -> Transition | None:
    begin, high = spans.begins[span], spans.highs[span]
    kind = "gap" if begin > high else "fold"
    first, end = (high, begin) if kind == "gap" else (begin, min(high, spans.ends[span]))
    times = trigger.moments.count(first, end)
    if not times:
        return None
    choice = trigger.dst[0 if kind == "gap" else 1]
    one = times == 1
    fate = _FATES[choice].format(
        it="runs" if one else "run",
        it_not="does not run" if one else "do not run",
        edge=_clock(spans.fresh[span]),
        gap=_length(begin - high),
    )
    does = "skips" if kind == "gap" else "repeats"
    what = (
        f"the time due in it ({_clock(_only(trigger, first))})" if one else f"{times} times in it"
    )
    words = (
        f"On {_day(first)} the clock of {trigger.tz} {does} {_clock(first)} to {_clock(end)}: "
        f"{what} {fate}."
    )
    return Transition(
        at_us=spans.starts[span],
        tz=trigger.tz,
        kind=kind,
        choice=choice,
        first=_wall(first).isoformat(),
        end=_wall(end).isoformat(),
        times=times,
        words=words,
    )


def _only(trigger: ZonedTrigger, first: int) -> int:
    moment = trigger.moments.at_or_after(first)
    assert moment is not None  # one was counted
    return moment


def _wall(moment: int) -> dt.datetime:
    return _MOMENT_ZERO + dt.timedelta(microseconds=moment)


def _day(moment: int) -> str:
    return _wall(moment).date().isoformat()


def _clock(moment: int) -> str:
    text = _wall(moment).time().isoformat()
    return text.removesuffix(":00")


def _length(us: int) -> str:
    minutes, seconds = divmod(us // US, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "hour"), (minutes, "minute"), (seconds, "second")]
    named = [f"{number} {name}{'s' if number > 1 else ''}" for number, name in parts if number]
    return " ".join(named)
