"""Triggers: pure rules that say when something is due.

``once(at)``, ``every(minutes=5)``, ``cron("0 6 * * 1-5", tz="Europe/Oslo")``; joined by ``|``,
``&`` and ``-``, also with days (``dates``, ``weekdays``, ``holidays``, ``working_day``); bounded by
``.between(start, end)`` and ``.limit(n)``, spread out by ``.jitter(seconds)``. Values: they read no
clock, compare by what they say, print back as they were written, and are stored as JSON that
``from_json`` reads. ``why(rule, instant)`` says why an instant is due or not.
"""

from kalends.triggers.base import Trigger
from kalends.triggers.bounded import Bounded
from kalends.triggers.calendar import Calendar, calendar
from kalends.triggers.codec import from_json
from kalends.triggers.combine import Difference, Intersection, Union
from kalends.triggers.cron import Cron, cron
from kalends.triggers.day_sets import Dates, Days, Weekdays, dates, weekdays
from kalends.triggers.interval import Interval, every
from kalends.triggers.jitter import Jittered
from kalends.triggers.limit import Limited
from kalends.triggers.on_days import OnDays
from kalends.triggers.once import Once, once
from kalends.triggers.public_holidays import Holidays, holidays
from kalends.triggers.rrule import RRule, rrule
from kalends.triggers.transitions import Transition, transitions
from kalends.triggers.verdicts import Cause, CauseKind, Verdict, Why
from kalends.triggers.why import why
from kalends.triggers.working_days import WorkingDays, working_day

__all__ = [
    "Bounded", "Calendar", "Cause", "CauseKind", "Cron", "Dates", "Days", "Difference",
    "Holidays", "Intersection", "Interval", "Jittered", "Limited", "OnDays", "Once", "RRule",
    "Transition", "Trigger", "Union", "Verdict", "Weekdays", "Why", "WorkingDays", "calendar",
    "cron", "dates", "every", "from_json", "holidays", "once", "rrule", "transitions",
    "weekdays", "why", "working_day",
]  # fmt: skip
