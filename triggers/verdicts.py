"""Why an instant is due or not, as data: what ``why`` answers with.

A ``Verdict`` is one rule's answer for one instant, with its causes; a rule made of rules has theirs
as ``parts``. ``Why`` is the verdict on a whole trigger, with the nearest due instants. Frozen
values of text, numbers and each other: they compare, and msgspec encodes them as JSON.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
import pendulum

from kalends.clock import MAX_US, MIN_US, from_us
from kalends.triggers.base import iso

__all__ = ["Cause", "CauseKind", "Verdict", "Why"]

_TOLD = 6
"""Causes that the sentences tell, at most; the data has all."""


class CauseKind(StrEnum):
    """What a cause speaks of. The first three are causes of a due instant, ``part`` may be either,
    and all others are causes of an instant that is not due."""

    MATCH = "match"
    """The rule says this instant, and no change of the clock interferes."""
    MOVED = "moved"
    """A gap of daylight saving skipped a wall-clock time, which runs at this instant instead."""
    JITTER = "jitter"
    """The instant is due, and its execution begins a little later."""
    PART = "part"
    """One of the rules that a union or an intersection is made of."""

    FIELD = "field"
    """A field or part of the rule does not have what the wall clock shows."""
    INSTANT = "instant"
    """``once``: another instant."""
    PERIOD = "period"
    """``every``: between two instants of the period."""
    START = "start"
    """Before the rule begins."""
    END = "end"
    """After the rule has ended."""
    LIMIT = "limit"
    """After the last instant that ``limit`` allows."""
    GAP = "gap"
    """The wall-clock time that would be now was skipped, and runs at another instant or not at
    all."""
    FOLD = "fold"
    """The wall clock shows a time twice, and the rule does not run this time."""
    EXCLUDED = "excluded"
    """The rule is due, and a rule that is taken out of it with ``-`` is due too."""
    EXCLUDED_DAY = "excluded_day"
    """The rule leaves out this day."""
    OTHER_DAY = "other_day"
    """The rule keeps to other days than this one."""
    UNANCHORED = "unanchored"
    """The rule counts from an instant that it has not been given yet, so it has no instants."""
    OUTSIDE = "outside"
    """Nothing is due before the year 1 or after the year 9999."""
    UNKNOWN = "unknown"
    """It cannot be told: the rule is of a class that is not Kalends' own, or counting the instants
    of a limit takes too long."""


class Cause(msgspec.Struct, frozen=True):
    """One reason for an answer."""

    kind: CauseKind
    words: str
    """One sentence, true by itself."""
    field: str | None = None
    """What of the rule says so: a field of a cron expression (``minute``, ``day of month``, …), a
    keyword of ``calendar``, a part of a recurrence rule (``BYDAY``)."""
    value: str | None = None
    """What this instant has there, such as ``17``, ``Tuesday (2)``, or the wall-clock time that was
    moved."""
    allowed: str | None = None
    """What the rule has there, as it was written."""


class Verdict(msgspec.Struct, frozen=True):
    """Whether one rule is due at one instant, and why."""

    rule: str
    """The rule in words, as ``describe()`` has it."""
    due: bool
    causes: tuple[Cause, ...]
    """At least one. A rule that changes another one (``between``, ``limit``, ``jitter``, ``-``)
    has that one's causes among its own."""
    parts: tuple[Verdict, ...] = ()
    """What the rules that this one is made of say, in order."""
    tz: str | None = None
    """The zone whose wall clock the rule goes by; None where it goes by none or by several."""
    clock: str | None = None
    """What that wall clock shows, such as ``2027-03-28 03:00``."""


class Why(Verdict, frozen=True, kw_only=True):
    """Whether a trigger is due at an instant, why, and when it is due before and after."""

    instant_us: int
    """Microseconds UTC."""
    before_us: int | None
    """The last due instant before this one; None if there is none."""
    after_us: int | None
    """The first due instant after this one; None if there is none."""
    given_up: tuple[str, ...] = ()
    """``before`` or ``after``, where the search for it took too long: None means nothing there."""

    @property
    def before(self) -> pendulum.DateTime | None:
        """The last due instant before this one, in UTC."""
        return None if self.before_us is None else from_us(self.before_us)

    @property
    def after(self) -> pendulum.DateTime | None:
        """The first due instant after this one, in UTC."""
        return None if self.after_us is None else from_us(self.after_us)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer in a few plain English sentences."""
        inside = MIN_US <= self.instant_us <= MAX_US
        instant = iso(self.instant_us) if inside else "That instant"
        shown = ""
        if self.clock is not None and self.tz != "UTC":
            shown = f" ({self.clock} by the clock of {self.tz})"
        told = [f"{instant}{shown} is {'' if self.due else 'not '}due."]
        told += [cause.words for cause in self.causes[:_TOLD]]
        rest = len(self.causes) - _TOLD
        if rest > 0:
            told.append(f"There {'is' if rest == 1 else 'are'} {rest} more of these.")
        return (*told, self._nearest())

    @property
    def words(self) -> str:
        """The sentences as one text."""
        return " ".join(self.sentences)

    def _nearest(self) -> str:
        if self.before_us is not None and self.after_us is not None:
            before, after = iso(self.before_us), iso(self.after_us)
            return f"The nearest due instants are {before} before it and {after} after it."
        sides = []
        for side, us in (("before", self.before_us), ("after", self.after_us)):
            if us is not None:
                sides.append(f"the nearest due instant {side} it is {iso(us)}")
            elif side in self.given_up:
                sides.append(f"the search for a due instant {side} it was given up")
            else:
                sides.append(f"nothing is due {side} it")
        text = " and ".join(sides)
        return f"{text[0].upper()}{text[1:]}."
