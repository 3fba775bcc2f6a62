"""Why a rule by a wall clock is due or not: its fields, and what daylight saving does.

Of each instant three things are asked. Does the moment that the clock shows match, and does the
rule run it when the clock shows it so (``ZonedTrigger.runs_in``)? Does the gap before the current
span move a moment here? And would the clock show a matching moment now, had no gap skipped it?
"""

from __future__ import annotations

from kalends.triggers.calendar import Calendar
from kalends.triggers.cron import Cron
from kalends.triggers.moments import Moments
from kalends.triggers.rrule import RRule
from kalends.triggers.verdicts import Cause, CauseKind, Verdict
from kalends.triggers.wall import Wall, wall_of
from kalends.triggers.why_calendar import calendar_causes
from kalends.triggers.why_cron import cron_causes
from kalends.triggers.why_rrule import rrule_causes
from kalends.triggers.zone import Spans
from kalends.triggers.zoned import ZonedTrigger

__all__ = ["clock_verdict"]


def clock_verdict(rule: ZonedTrigger, at: int) -> Verdict:
    """Whether ``rule`` is due at the instant ``at``, and why."""
    spans = rule.zone.until(at)
    span = spans.index(at)
    wall = wall_of(at + spans.offsets[span])
    due = rule.next_us(at - 1) == at
    causes = _due(rule, spans, span, wall) if due else _not_due(rule, spans, span, wall, at)
    return Verdict(rule=rule.describe(), due=due, causes=tuple(causes), tz=rule.tz, clock=wall.text)


def _due(rule: ZonedTrigger, spans: Spans, span: int, wall: Wall) -> list[Cause]:
    causes = []
    begin, end = rule.runs_in(spans, span)
    if begin <= wall.moment < end and _matches(rule.moments, wall.moment):
        again = ""
        if wall.moment < spans.highs[span]:
            again = "; it shows this time for the second time"
        elif wall.moment >= spans.lows[span]:
            again = "; it will show this time a second time"
        words = f"{_clock_of(rule)} shows {wall.text}, which the rule matches{again}."
        causes.append(Cause(CauseKind.MATCH, words, value=wall.text))
    moved = _moved_to(rule, spans, span, wall.moment)
    if moved is not None:
        first, last = moved
        what = f"{_time(first)}, which is due in that time, runs"
        if first != last:
            what = f"the times due in it, {_time(first)} to {_time(last)}, run once and"
        words = f"{_gap_words(rule, spans, span)}: {what} now instead, at {wall.time}."
        causes.append(Cause(CauseKind.MOVED, words, value=wall_of(first).text))
    return causes


def _not_due(rule: ZonedTrigger, spans: Spans, span: int, wall: Wall, at: int) -> list[Cause]:
    causes = []
    skipped = spans.highs[span] + at - spans.starts[span]
    if skipped < spans.begins[span] and _matches(rule.moments, skipped):
        causes.append(_skipped(rule, spans, span, skipped))
    if _matches(rule.moments, wall.moment):
        begin, end = rule.runs_in(spans, span)
        if begin > wall.moment and begin == spans.fresh[span] > spans.highs[span]:
            words = (
                f"{_gap_words(rule, spans, span)}: {wall.time} runs at {_time(begin)}, "
                "the first whole minute after it."
            )
            causes.append(Cause(CauseKind.GAP, words, value=wall.text))
        elif not begin <= wall.moment < end:
            causes.append(_repeated(rule, wall))
    return causes + _fields(rule, wall, at)


def _fields(rule: ZonedTrigger, wall: Wall, at: int) -> list[Cause]:
    if isinstance(rule, Cron):
        return cron_causes(rule, wall)
    if isinstance(rule, Calendar):
        return calendar_causes(rule, wall)
    return rrule_causes(rule, wall, at) if isinstance(rule, RRule) else []


def _skipped(rule: ZonedTrigger, spans: Spans, span: int, skipped: int) -> Cause:
    """Why a moment that the clock would show now, were it not for a gap, does not run now."""
    fate = "does not run"
    if rule.dst[0] == "edge":
        fate = f"runs at {_time(spans.fresh[span])} instead"
    elif rule.dst[0] == "shift":  # another change of the clock came before it could run
        fate = f"runs at {_time(spans.begins[span])} instead"
    words = f"{_gap_words(rule, spans, span)}: {_time(skipped)}, which would be now, {fate}."
    return Cause(CauseKind.GAP, words, value=wall_of(skipped).text, allowed=rule.dst[0])


def _repeated(rule: ZonedTrigger, wall: Wall) -> Cause:
    first = rule.dst[1] == "first"
    words = (
        f"{_clock_of(rule)} shows {wall.text} twice: this is the "
        f"{'second' if first else 'first'} time, and the rule runs the "
        f"{'first' if first else 'last'} time only."
    )
    return Cause(CauseKind.FOLD, words, value=wall.text, allowed=rule.dst[1])


def _moved_to(rule: ZonedTrigger, spans: Spans, span: int, moment: int) -> tuple[int, int] | None:
    """The first and the last of the moments that the gap before ``span`` skips and that run at
    ``moment`` instead; None if there are none."""
    low, high = spans.highs[span], spans.begins[span]
    if low >= high:
        return None
    moments, gap = rule.moments, rule.dst[0]
    if gap == "edge" and moment == spans.fresh[span]:
        return _ends(moments, low, moment)
    if gap == "shift":
        earlier = moment - (high - low)
        if low <= earlier < high and _matches(moments, earlier):
            return earlier, earlier
        if moment == high:  # what another change of the clock leaves no room for runs at once
            return _ends(moments, low + spans.ends[span] - high, high)
    return None


def _ends(moments: Moments, low: int, high: int) -> tuple[int, int] | None:
    """The first and the last of the moments from ``low`` to before ``high``."""
    if low >= high:
        return None
    first, last = moments.at_or_after(low), moments.before(high)
    if first is None or last is None or first >= high:
        return None
    return first, last


def _matches(moments: Moments, moment: int) -> bool:
    return moments.count(moment, moment + 1) > 0


def _gap_words(rule: ZonedTrigger, spans: Spans, span: int) -> str:
    low, high = spans.highs[span], spans.begins[span]
    first, end = wall_of(low), wall_of(high)
    until = end.time if first.date == end.date else end.text
    return f"{_clock_of(rule)} skips {first.text} to {until}"


def _clock_of(rule: ZonedTrigger) -> str:
    return "The clock" if rule.tz == "UTC" else f"The clock of {rule.tz}"


def _time(moment: int) -> str:
    return wall_of(moment).time
