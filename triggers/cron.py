"""``cron(expr, tz)``: the times of a cron expression by the wall clock of a time zone.

Daylight saving follows Debian's cron unless ``gap`` and ``fold`` say otherwise (see ``zoned``). A
*fixed-time* rule (see ``CronFields.fixed``) runs once for each wall-clock time, which is
``gap="edge"`` and ``fold="first"``: a time that a gap skips runs at the first whole minute after
the gap, one run for all that were skipped, and a time that a fold repeats runs only the first time.
Every other rule follows real time, which is ``gap="skip"`` and ``fold="both"``: it runs whenever
the wall clock matches, so not at all in a gap and again in a fold.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kalends.errors import ValidationFailed, did_you_mean
from kalends.refusals import checking
from kalends.triggers.cron_fields import CronFields, parse_vixie
from kalends.triggers.cron_words import describe_cron, dst_words
from kalends.triggers.days import DayRule, day_table
from kalends.triggers.local import LocalRule, day_times
from kalends.triggers.quartz_fields import parse_quartz
from kalends.triggers.zoned import ZonedTrigger

__all__ = ["Cron", "cron"]

_DIALECTS = {"vixie": parse_vixie, "quartz": parse_quartz}

_USUAL = {True: ("edge", "first"), False: ("skip", "both")}
"""Debian's gap and fold, by whether the rule is fixed."""


@checking
def cron(
    expr: str,
    tz: str = "UTC",
    dialect: str = "vixie",
    *,
    gap: str | None = None,
    fold: str | None = None,
) -> Cron:
    """Due when the wall clock of ``tz`` (an IANA name) matches ``expr``; see ``cron_fields`` for
    the grammar of ``vixie`` and ``quartz_fields`` for that of ``quartz``.

    ``gap`` (``"edge"``, ``"shift"`` or ``"skip"``) and ``fold`` (``"first"``, ``"last"`` or
    ``"both"``) say what daylight saving does to it; None is what Debian's cron does. Raises
    ``ValidationFailed`` for text that is no rule, and for a day that no month has (31 April). Where
    the days of the month and of the week never meet, the rule has no instant.
    """
    return Cron(expr, tz, dialect, gap, fold)


def _of_any_weekday(rule: DayRule) -> DayRule:
    return msgspec.structs.replace(rule, weekdays=tuple(range(7)), both=True)


class Cron(ZonedTrigger):
    """A cron expression in a time zone. Made by ``cron``."""

    __slots__ = ("dialect", "expr", "fields")
    dialect: str
    expr: str
    fields: CronFields

    def __init__(
        self, expr: str, tz: str, dialect: str, gap: str | None = None, fold: str | None = None
    ) -> None:
        if not isinstance(dialect, str) or dialect not in _DIALECTS:
            near = did_you_mean(dialect, _DIALECTS)
            known = ", ".join(_DIALECTS)
            raise ValidationFailed(
                f"dialect: unknown dialect {str(dialect)[:40]!r}{near}; known: {known}",
                path="dialect",
            )
        fields = _DIALECTS[dialect](expr)
        days = day_table(fields.days)
        if not (days.possible or day_table(_of_any_weekday(fields.days)).possible):
            raise ValidationFailed(
                f"expr: {expr!r} can never be due: no month has such a day", path="expr", value=expr
            )
        times = day_times(fields.hours, fields.minutes, fields.seconds)
        self._set(expr=expr, dialect=dialect, fields=fields)
        rule = fields.days
        once_a_year = len(times) == len(rule.months) == len(rule.days) == 1 and rule.both
        usual = _USUAL[fields.fixed]
        self._begin(LocalRule(days, times), tz, gap, fold, usual, sparse=once_a_year)

    def describe(self) -> str:
        return describe_cron(self.fields, self.tz) + dst_words(self.gap, self.fold)

    def to_json(self) -> dict[str, Any]:
        stored = {"v": 1, "type": "cron", "expr": self.expr, "tz": self.tz, "dialect": self.dialect}
        return stored | {key: value for key, value in self._choices() if value is not None}

    def _choices(self) -> tuple[tuple[str, str | None], ...]:
        return (("gap", self.gap), ("fold", self.fold))

    def _key(self) -> tuple[object, ...]:
        return (self.expr, self.tz, self.dialect, self.gap, self.fold)

    def __repr__(self) -> str:
        words = [repr(self.expr)]
        if self.tz != "UTC":
            words.append(f"tz={self.tz!r}")
        if self.dialect != "vixie":
            words.append(f"dialect={self.dialect!r}")
        words += [f"{key}={value!r}" for key, value in self._choices() if value is not None]
        return f"cron({', '.join(words)})"
