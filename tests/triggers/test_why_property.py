"""For random triggers of every kind and any instant, ``why`` agrees with the trigger, and what it
claims is true: each claim is checked again by other means than the triggers' own."""

from __future__ import annotations

import calendar as months_of
import datetime as dt
import re
import zoneinfo
from collections.abc import Iterator

import msgspec
import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalends.clock import US, from_us, to_us
from kalends.errors import ValidationFailed
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
    calendar,
    cron,
    dates,
    every,
    from_json,
    holidays,
    once,
    rrule,
    search,
    weekdays,
)
from kalends.triggers.why import why_us

T0 = pendulum.datetime(2027, 1, 1)
FIRST, LAST = to_us(T0), to_us(T0.add(years=2))
ZONES = ["UTC", "Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]
EPOCH = dt.date(1970, 1, 1)
QUARTER = 900 * US

CALLS = {
    "calendar": calendar, "cron": cron, "dates": dates, "every": every, "holidays": holidays,
    "once": once, "pendulum": pendulum, "rrule": rrule, "weekdays": weekdays,
}  # fmt: skip

# -- triggers ----------------------------------------------------------------------------------


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    """One field of a cron expression, of the forms that both dialects have."""
    number = st.integers(low, high)
    pair = st.tuples(number, number).map(sorted)
    return st.one_of(
        st.just("*"),
        number.map(str),
        st.lists(number, min_size=2, max_size=4).map(lambda many: ",".join(map(str, many))),
        pair.map(lambda two: f"{two[0]}-{two[1]}"),
        st.integers(2, 20).map(lambda step: f"*/{step}" if step < high else "*"),
    )


ZONE = st.sampled_from(ZONES)
GAP = st.sampled_from([None, "edge", "shift", "skip"])
FOLD = st.sampled_from([None, "first", "last", "both"])
MINUTE, HOUR, MONTH = numbers(0, 59), numbers(0, 23), numbers(1, 12)
NIGHTLY = st.sampled_from(["1", "2", "1-3", "2,3", "*"])
MOMENT = st.integers(FIRST // US, LAST // US).map(lambda second: from_us(second * US))

VIXIE = st.tuples(
    st.one_of(MINUTE, st.sampled_from(["0", "30", "*/15"])),
    st.one_of(HOUR, NIGHTLY),
    st.one_of(numbers(1, 31), st.sampled_from(["L", "LW", "15,L", "*", "1-7"])),
    MONTH,
    st.one_of(numbers(0, 7), st.sampled_from(["MON-FRI", "5L", "1#2", "3,5#1", "*", "sun"])),
).map(" ".join)
DAYS_OF_QUARTZ = st.one_of(
    st.tuples(
        st.one_of(numbers(1, 31), st.sampled_from(["L", "L-3", "LW", "15W", "1W", "31W", "L-2W"])),
        MONTH,
        st.just("?"),
    ),
    st.tuples(
        st.just("?"),
        MONTH,
        st.one_of(numbers(1, 7), st.sampled_from(["L", "6L", "6#3", "FRI-MON", "2-6"])),
    ),
)
QUARTZ = st.tuples(
    numbers(0, 59), MINUTE, st.one_of(HOUR, NIGHTLY), DAYS_OF_QUARTZ,
    st.sampled_from(["", " *", " 2027/2", " 2028"]),
).map(lambda all_: f"{all_[0]} {all_[1]} {all_[2]} {' '.join(all_[3])}{all_[4]}")  # fmt: skip

CRONS = st.one_of(
    st.builds(cron, VIXIE, ZONE, gap=GAP, fold=FOLD),
    st.builds(
        cron, numbers(0, 59).flatmap(lambda sec: VIXIE.map(lambda five: f"{sec} {five}")), ZONE
    ),
    st.builds(cron, QUARTZ, ZONE, st.just("quartz"), gap=GAP, fold=FOLD),
)
AT = st.sampled_from(["00:00", "02:30", ["01:30", "02:00"], ["06:00", "18:00:30"]])
CALENDARS = st.one_of(
    st.builds(calendar, days=st.integers(1, 9), at=AT, tz=ZONE, anchor=MOMENT, gap=GAP, fold=FOLD),
    st.builds(
        calendar, weeks=st.integers(1, 3), at=AT, tz=ZONE, anchor=MOMENT,
        weekday=st.sampled_from([None, "mon", ["sun", "wed"]]),
    ),
    st.builds(
        calendar, months=st.integers(1, 5), at=AT, tz=ZONE, anchor=MOMENT,
        day=st.sampled_from([None, 1, -1, [15, -2], 31]),
    ),
    st.builds(
        calendar, months=st.integers(1, 2), at=AT, tz=ZONE, anchor=MOMENT,
        weekday=st.sampled_from(["sun", ["mon", "fri"]]), nth=st.sampled_from([1, 5, -1]),
    ),
    st.builds(
        calendar, years=st.integers(1, 2), at=AT, tz=ZONE, anchor=MOMENT,
        month=st.sampled_from([None, 3, [3, 10]]), day=st.sampled_from([None, 28, -1]),
    ),
)  # fmt: skip
TIMES = st.lists(
    st.sampled_from(["BYHOUR=2,3,9", "BYMINUTE=0,30", "BYSECOND=0,15"]), max_size=2, unique=True
)
DAY_PARTS = st.lists(
    st.sampled_from(
        ["BYMONTH=3,10", "BYMONTHDAY=-1,13,28", "BYDAY=SU,WE,FR", "BYYEARDAY=86,-62,200",
         "BYWEEKNO=12,43", "WKST=SU"]
    ),
    max_size=2, unique=True,
)  # fmt: skip
ENDS = st.sampled_from(["", "COUNT=7", "UNTIL=20280301T120000", "UNTIL=20280301T120000Z"])
PARTS = st.one_of(
    st.tuples(
        st.sampled_from(["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"]),
        st.sampled_from(["", "INTERVAL=2", "INTERVAL=5"]), DAY_PARTS, TIMES, ENDS,
    ).map(lambda all_: [f"FREQ={all_[0]}", all_[1], *all_[2], *all_[3], all_[4]]),
    st.tuples(
        st.sampled_from(["YEARLY", "MONTHLY"]), st.sampled_from(["", "INTERVAL=2"]),
        st.sampled_from(["BYDAY=2MO,-1SU", "BYMONTH=3,10;BYDAY=1SU,-1SU"]), ENDS,
    ).map(lambda all_: [f"FREQ={all_[0]}", *all_[1:]]),
    st.tuples(
        st.sampled_from(["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY"]),
        st.sampled_from(["BYDAY=MO,TU,WE,TH,FR", "BYHOUR=2,3,9", "BYMINUTE=0,15,30"]),
        st.sampled_from(["BYSETPOS=1,-1", "BYSETPOS=2"]), ENDS,
    ).map(lambda all_: [f"FREQ={all_[0]}", *all_[1:]]),
)  # fmt: skip
RRULES = st.builds(
    lambda parts, start, tz, dst: rrule(
        ";".join(filter(None, parts)), start=start.naive(), tz=tz, gap=dst[0], fold=dst[1]
    ),
    PARTS, MOMENT, ZONE, st.tuples(GAP, FOLD),
)  # fmt: skip
LEAVES = st.one_of(
    st.builds(once, MOMENT),
    st.builds(
        every, minutes=st.integers(1, 5_000), seconds=st.sampled_from([0, 0.5]), anchor=MOMENT
    ),
    CRONS, CALENDARS, RRULES,
)  # fmt: skip
DAYS = st.sampled_from([
    weekdays("sat", "sun"), weekdays("mon", tz="Asia/Tokyo"), dates("2027-03-28", "2027-10-31"),
    weekdays("sun") | dates("2027-05-17"), holidays("NO"),
])  # fmt: skip


def made_of(inner: st.SearchStrategy[Trigger]) -> st.SearchStrategy[Trigger]:
    return st.one_of(
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a - b, inner, inner),
        st.builds(lambda a, days: a - days, inner, DAYS),
        st.builds(lambda a, days: a & days, inner, DAYS),
        st.builds(lambda a, start: a.between(start, start.add(days=200)), inner, MOMENT),
        st.builds(lambda a, end: a.between(end=end), inner, MOMENT),
        st.builds(lambda a, n, anchor: a.limit(n, anchor=anchor), inner, st.integers(1, 9), MOMENT),
        st.builds(lambda a: a.jitter(30), inner),
    )


TRIGGERS = st.recursive(LEAVES, made_of, max_leaves=4)
NEAR = [0, 1, -1, US, -US, 60 * US, -60 * US, 3_600 * US, -3_600 * US, 86_400 * US, US // 2]


CHANGES = {
    "Europe/Oslo": ((3, 28, 1, 0), (10, 31, 1, 0)),
    "America/New_York": ((3, 14, 7, 0), (11, 7, 6, 0)),
    "Australia/Lord_Howe": ((4, 3, 15, 0), (10, 2, 15, 30)),
    "Africa/Casablanca": ((2, 7, 2, 0), (3, 14, 2, 0)),
}
"""When the clocks of a zone change in 2027: month, day, hour and minute UTC."""


@st.composite
def asked_at_night(draw: st.DrawFn) -> tuple[Trigger, int]:
    """A rule that is due at night, and an instant within hours of a change of the clock."""
    tz = draw(st.sampled_from(sorted(CHANGES)))
    gap, fold = draw(GAP), draw(FOLD)
    minutes, hours = draw(st.sampled_from(["0", "30", "15,45", "*/15", "*"])), draw(NIGHTLY)
    at = draw(st.sampled_from(["02:30", ["01:45", "02:00", "02:15"]]))
    hourly = "FREQ=DAILY;BYHOUR=1,2;BYMINUTE=0,30"
    rules: list[Trigger] = [
        cron(f"{minutes} {hours} * * *", tz=tz, gap=gap, fold=fold),
        cron(f"{minutes} {hours} * * *", tz=tz),
        calendar(days=1, at=at, tz=tz, gap=gap, fold=fold),
        rrule(hourly, start="2027-01-01", tz=tz, gap=gap, fold=fold),
    ]
    rule = draw(st.sampled_from(rules))
    if draw(st.integers(0, 4)) == 0:
        rule = (rule | once(T0)).jitter(30)
    month, day, hour, minute = draw(st.sampled_from(CHANGES[tz]))
    change = to_us(pendulum.datetime(2027, month, day, hour, minute))
    quarters = draw(st.sampled_from([-4, -2, 0, 0, 0, 1, 2, 2, 3, 4]))
    return rule, change + quarters * QUARTER + draw(st.sampled_from([0, 0, 0, 1, -1]))


@st.composite
def asked(
    draw: st.DrawFn, rules: st.SearchStrategy[Trigger], bases: st.SearchStrategy[int]
) -> tuple[Trigger, int] | None:
    """A trigger and an instant, most of them at or next to a due one."""
    try:
        rule = draw(rules)
        base = draw(bases)
        due = rule.next_us(base) if draw(st.integers(0, 3)) else None
    except ValidationFailed:  # such a rule is never due, cannot be searched, or makes no sense
        return None
    near = draw(st.sampled_from(NEAR)) if draw(st.booleans()) else 0
    return rule, (base if due is None else due) + near


RECURRING = asked(RRULES, st.integers(FIRST // US, LAST // US).map(lambda second: second * US))
ANY = asked(TRIGGERS, st.integers(FIRST, LAST))
AT_NIGHT = asked_at_night()


def check(question: tuple[Trigger, int] | None) -> None:
    if question is None:
        return
    rule, at = question
    try:
        due = rule.next_us(at - 1) == at
    except ValidationFailed:
        return
    answer = why_us(rule, at)
    assert answer.due == due
    confirm(rule, answer, at)
    assert len(answer.sentences) <= 9
    for side, search_, told in (
        ("before", rule.previous_us, answer.before_us),
        ("after", rule.next_us, answer.after_us),
    ):
        if side in answer.given_up:
            assert told is None
        else:
            assert told == search_(at)


@pytest.fixture(autouse=True, scope="module")
def _few_steps() -> Iterator[None]:
    """Rules that hardly ever meet are passed over, which bounds what an example costs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "STEPS", 1_500)
        patch.setattr(search, "COUNTED", 1_500)
        yield


@given(question=ANY)
@settings(max_examples=600)
def test_why_agrees_with_the_trigger_and_claims_what_is_true(
    question: tuple[Trigger, int] | None,
) -> None:
    check(question)


@given(question=RECURRING)
@settings(max_examples=300)
def test_why_agrees_with_recurrence_rules(question: tuple[Trigger, int] | None) -> None:
    check(question)


@given(question=AT_NIGHT)
@settings(max_examples=500)
def test_why_agrees_where_the_clock_changes(question: tuple[Trigger, int] | None) -> None:
    check(question)


@given(question=st.one_of(ANY, RECURRING))
@settings(max_examples=300)
def test_any_trigger_comes_back_from_its_text_and_its_json(
    question: tuple[Trigger, int] | None,
) -> None:
    if question is None:
        return
    rule, _ = question
    try:
        again = eval(repr(rule), dict(CALLS))  # noqa: S307  (its own text, no stranger's)
        stored = from_json(msgspec.json.decode(msgspec.json.encode(rule.to_json())))
    except ValidationFailed as refusal:  # the searches of all its parts take too many steps
        assert "steps" in refusal.message  # noqa: PT017
        return
    assert again == stored == rule
    assert repr(again) == repr(stored) == repr(rule)
    assert hash(again) == hash(stored) == hash(rule)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@given(question=st.one_of(ANY, RECURRING, AT_NIGHT))
@settings(max_examples=4_000)
def test_why_agrees_with_very_many_triggers(question: tuple[Trigger, int] | None) -> None:
    check(question)


# -- claims ------------------------------------------------------------------------------------

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
            return rule.count_us(FIRST - 2 * 86_400 * US, at) == int(cause.allowed or 0)
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
