"""Whether what a verdict claims is true: an opinion apart, by the calendar and the words alone."""

from __future__ import annotations

import calendar as months_of
import datetime as dt
import re
import zoneinfo

import pendulum

from kalends.clock import US, to_us
from kalends.triggers import (
    Bounded,
    Calendar,
    Cause,
    CauseKind,
    Cron,
    Difference,
    Interval,
    Limited,
    Once,
    OnDays,
    RRule,
    Trigger,
    Verdict,
    rrule,
)

EPOCH = dt.date(1970, 1, 1)
EARLIEST = to_us(pendulum.datetime(2026, 12, 30))
"""Before every rule that is asked."""


DUE = {CauseKind.MATCH, CauseKind.MOVED, CauseKind.JITTER}


def confirm(rule: Trigger, verdict: Verdict, at: int) -> None:
    """The verdict of a rule, and those of the rules that it is made of."""
    assert verdict.causes
    assert verdict.rule == rule.describe()
    for cause in verdict.causes:
        assert cause.words.endswith(".")
        if cause.kind is not CauseKind.PART:
            assert (cause.kind in DUE) == verdict.due
    assert len(verdict.parts) == len(rule.rules)
    for part, said in zip(rule.rules, verdict.parts, strict=True):
        confirm(part, said, at)
    inherited = {cause for part in verdict.parts for cause in part.causes}
    for cause in set(verdict.causes) - inherited:
        if cause.kind is CauseKind.PART:
            assert verdict.parts[int(cause.field or 0) - 1].due == verdict.due
        else:
            assert true(rule, cause, at), cause


def true(rule: Trigger, cause: Cause, at: int) -> bool:
    """Whether the claim of ``cause`` holds of ``rule`` at ``at``."""
    match cause.kind:
        case CauseKind.MATCH | CauseKind.JITTER:
            return rule.next_us(at - 1) == at
        case CauseKind.INSTANT:
            assert isinstance(rule, Once)
            return at != rule.at_us
        case CauseKind.PERIOD:
            assert isinstance(rule, Interval)
            assert rule.anchor_us is not None
            return (at - rule.anchor_us) % rule.period_us != 0
        case CauseKind.START | CauseKind.END | CauseKind.LIMIT:
            return true_bound(rule, cause, at)
        case CauseKind.EXCLUDED:
            assert isinstance(rule, Difference)
            return rule.minus.next_us(at - 1) == at
        case CauseKind.EXCLUDED_DAY | CauseKind.OTHER_DAY:
            assert isinstance(rule, OnDays)
            (name,) = {rule.days.tz or "UTC"} if rule.days.tz else zones_of(rule) or {"UTC"}
            day = local(at, name).date().toordinal() - EPOCH.toordinal()
            return rule.days.has(day) == (cause.kind is CauseKind.EXCLUDED_DAY)
        case CauseKind.FIELD:
            return true_field(rule, cause, at)
        case CauseKind.MOVED | CauseKind.GAP | CauseKind.FOLD:
            return true_clock(rule, cause, at)
    raise AssertionError(cause)


def local(at: int, tz: str) -> dt.datetime:
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=at)).astimezone(
        zoneinfo.ZoneInfo(tz)
    )


def zones_of(rule: Trigger) -> set[str]:
    own = {rule.tz} if isinstance(rule, Cron | Calendar | RRule) else set()
    return own.union(*map(zones_of, rule.rules))


def true_bound(rule: Trigger, cause: Cause, at: int) -> bool:
    if isinstance(rule, RRule):
        wall = local(at, rule.tz).replace(tzinfo=None)
        if cause.field == "DTSTART":
            return wall < dt.datetime.fromisoformat(cause.allowed or "")
        if cause.field == "COUNT":
            return rule.count_us(EARLIEST, at) == int(cause.allowed or 0)
        until = dt.datetime.fromisoformat(cause.allowed or "")
        return (local(at, "UTC") if until.tzinfo else wall) > until
    if isinstance(rule, Bounded):
        if cause.kind is CauseKind.START:
            return at < (rule.start_us or 0)
        return at >= (rule.end_us or 0)
    assert isinstance(rule, Limited)
    assert rule.anchor_us is not None
    if cause.kind is CauseKind.START:
        start = rule.rule.origin_us
        return at <= rule.anchor_us or (start is not None and at < start)
    return rule.rule.count_us(rule.anchor_us + 1, at) >= rule.n


def true_clock(rule: Trigger, cause: Cause, at: int) -> bool:
    assert isinstance(rule, Cron | Calendar | RRule)
    wall = dt.datetime.fromisoformat(cause.value or "")
    zone = zoneinfo.ZoneInfo(rule.tz)
    passes = [wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)]
    first, second = passes
    assert first is not None
    assert second is not None
    if cause.kind is CauseKind.FOLD:
        shown = local(at, rule.tz)
        return first > second and shown.fold == (cause.allowed == "first")
    return first < second and abs(to_us(wall.replace(tzinfo=zone)) - at) < 4 * 3_600 * US


def true_field(rule: Trigger, cause: Cause, at: int) -> bool:
    assert isinstance(rule, Cron | Calendar | RRule)
    wall = local(at, rule.tz).replace(tzinfo=None)
    if isinstance(rule, Cron):
        return cron_field(rule.dialect, cause, wall)
    if isinstance(rule, Calendar):
        return calendar_field(rule, cause, wall)
    return rrule_field(rule, cause, wall)


NAMES = {
    "month": "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(),
    "day of week": "SUN MON TUE WED THU FRI SAT".split(),
}
LOWEST = {"day of month": 1, "month": 1, "year": 1970}


def cron_field(dialect: str, cause: Cause, wall: dt.datetime) -> bool:
    """Whether the field indeed does not have what the clock shows."""
    field, text = cause.field or "", (cause.allowed or "").upper()
    weekday = wall.isoweekday() % 7
    shown = {
        "second": wall.second, "minute": wall.minute, "hour": wall.hour, "day of month": wall.day,
        "month": wall.month, "year": wall.year, "day of week": weekday,
    }[field]  # fmt: skip
    if field == "second" and wall.microsecond:
        return True
    return not any(item_has(field, item, shown, wall, dialect) for item in text.split(","))


def item_has(field: str, item: str, shown: int, wall: dt.datetime, dialect: str) -> bool:
    length = months_of.monthrange(wall.year, wall.month)[1]
    shift = dialect == "quartz" and field == "day of week"
    if field == "day of month" and item[0] == "L":
        before = int(re.sub("[LW-]", "", item) or 0)
        return wall.day == (nearest(length - before, wall) if item[-1] == "W" else length - before)
    if field == "day of month" and item[-1] == "W":
        return int(item[:-1]) <= length and wall.day == nearest(int(item[:-1]), wall)
    if field == "day of week" and item[-1] == "L":
        if item == "L":
            return shown == 6
        return shown == (int(item[:-1]) - shift) % 7 and wall.day + 7 > length
    if "#" in item:
        name, which = item.split("#")
        return shown == (int(name) - shift) % 7 and (wall.day + 6) // 7 == int(which)
    head, _, step = item.partition("/")
    first, _, last = head.partition("-")
    low = LOWEST.get(field, 1 if shift else 0)
    if head == "*":
        return (shown + shift - low) % int(step or 1) == 0
    begin, end = value(field, first, shift), value(field, last or first, shift)
    if step and not last:
        end = 10_000
    values = {shown + shift, shown + shift + 7} if field == "day of week" else {shown}
    if field == "day of week" and not shift:
        values = {shown, shown + 7} if shown == 0 else {shown}
    return any(begin <= one <= end and (one - begin) % int(step or 1) == 0 for one in values) or (
        end < begin and (shown + shift >= begin or shown + shift <= end)
    )


def value(field: str, text: str, shift: bool) -> int:
    names = NAMES.get(field, [])
    if text not in names:
        return int(text)
    return names.index(text) + (field == "month") + shift


def nearest(day: int, wall: dt.datetime) -> int:
    length = months_of.monthrange(wall.year, wall.month)[1]
    near = [wall.replace(day=one) for one in range(1, length + 1)]
    working = [one for one in near if one.isoweekday() < 6]
    return min(working, key=lambda one: (abs(one.day - day), one.day)).day


def calendar_field(rule: Calendar, cause: Cause, wall: dt.datetime) -> bool:
    length = months_of.monthrange(wall.year, wall.month)[1]
    name = months_of.day_name[wall.weekday()].lower()
    chosen = [NAMES["day of week"][number].lower() for number in rule.weekday]
    match cause.field:
        case "at":
            return wall.time() not in {dt.time.fromisoformat(text) for text in rule.at}
        case "month":
            return wall.month not in (rule.month or (1,))
        case "day":
            return not {wall.day, wall.day - length - 1} & set(rule.day or (1,))
        case "weekday":
            if rule.nth is None:
                return name[:3] not in (chosen or ["mon"])
            counted = {(wall.day + 6) // 7, -((length - wall.day) // 7 + 1)}
            return name[:3] not in chosen or rule.nth not in counted
    assert cause.field == rule.unit
    assert rule.anchor_us is not None
    return apart(rule.unit, wall, local(rule.anchor_us, rule.tz), 0) % rule.interval != 0


def apart(unit: str, one: dt.datetime, other: dt.datetime, week_start: int) -> int:
    """How many periods lie between two times."""
    match unit:
        case "years":
            return one.year - other.year
        case "months":
            return (one.year - other.year) * 12 + one.month - other.month
    days = [moment.date().toordinal() for moment in (one, other)]
    if unit == "days":
        return days[0] - days[1]
    return (days[0] - 1 - week_start) // 7 - (days[1] - 1 - week_start) // 7


SHORT = {"HOURLY": 3_600, "MINUTELY": 60, "SECONDLY": 1}
LONG = {"YEARLY": "years", "MONTHLY": "months", "WEEKLY": "weeks", "DAILY": "days"}


def rrule_field(rule: RRule, cause: Cause, wall: dt.datetime) -> bool:  # noqa: PLR0911
    parts = rule.completed
    length = months_of.monthrange(wall.year, wall.month)[1]
    days = 366 if months_of.isleap(wall.year) else 365
    yearday = wall.timetuple().tm_yday
    start = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=rule.start_moment or 0)  # noqa: DTZ001
    match cause.field:
        case "BYSECOND" if wall.microsecond:
            return True
        case "BYHOUR" | "BYMINUTE" | "BYSECOND" | "BYMONTH" as name:
            key = name[2:].lower()
            return getattr(wall, key) not in getattr(parts, f"by_{key}")
        case "BYMONTHDAY":
            return not {wall.day, wall.day - length - 1} & set(parts.by_monthday)
        case "BYYEARDAY":
            return not {yearday, yearday - days - 1} & set(parts.by_yearday)
        case "BYWEEKNO":
            shifted = wall.date() - dt.timedelta(days=parts.week_start)
            return parts.week_start != 0 or shifted.isocalendar().week not in parts.by_weekno
        case "BYDAY":
            yearly = parts.freq == "YEARLY" and not parts.by_month
            day, size = (yearday, days) if yearly else (wall.day, length)
            counted = {0, (day + 6) // 7, -((size - day) // 7 + 1)}
            return not any(
                weekday == wall.weekday() and which in counted for which, weekday in parts.by_day
            )
        case "INTERVAL" if parts.freq in SHORT:
            unit = dt.timedelta(seconds=SHORT[parts.freq])
            zero = dt.datetime(1970, 1, 1)  # noqa: DTZ001
            return ((wall - zero) // unit - (start - zero) // unit) % parts.interval != 0
        case "INTERVAL":
            return apart(LONG[parts.freq], wall, start, parts.week_start) % parts.interval != 0
    assert cause.field == "BYSETPOS"
    text = re.sub("(BYSETPOS|COUNT)=[^;]*;?", "", rule.rule).removesuffix(";")
    moments = rrule(text, start=start, tz=rule.tz).moments
    shown = to_us(wall.replace(tzinfo=dt.UTC))
    return bool(parts.by_setpos) and moments.count(shown, shown + 1) == 1
