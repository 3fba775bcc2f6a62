"""For random triggers of every kind and any instant, ``why`` agrees with the trigger, and what it
claims is true: each claim is checked again by other means than the triggers' own."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.triggers.claims import confirm

from kalends.clock import US, from_us, to_us
from kalends.errors import ValidationFailed
from kalends.triggers import (
    Trigger,
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
