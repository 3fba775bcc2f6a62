"""What cron accepts, refuses, prints and promises at the ends of time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.clock import MAX_US, MIN_US, US, from_us, to_us
from kalends.errors import PayloadTooLarge, ValidationFailed
from kalends.triggers import Trigger, cron, from_json
from kalends.triggers.cron_fields import MACROS

T0 = to_us(pendulum.datetime(2026, 1, 1))


def local(trigger: Trigger, tz: str, after: pendulum.DateTime, number: int) -> list[str]:
    found: list[str] = []
    due = trigger.next(after)
    while due is not None and len(found) < number:
        found.append(due.in_timezone(tz).format("YYYY-MM-DD HH:mm Z"))
        due = trigger.next(due)
    return found


@pytest.mark.parametrize(
    ("expr", "field", "value", "position"),
    [
        ("61 * * * *", "minute", "61", 1),
        ("0  25 * * *", "hour", "25", 4),
        ("0 0 0 * *", "day of month", "0", 5),
        ("0 0 1,32 * *", "day of month", "32", 5),
        ("0 0 * JANUARY *", "month", "JANUARY", 7),
        ("0 0 * * 8", "day of week", "8", 9),
        ("60 0 0 * * *", "second", "60", 1),
        ("*/0 * * * *", "minute", "*/0", 1),
        ("*/00 * * * *", "minute", "*/00", 1),
        ("9-5 * * * *", "minute", "9-5", 1),
        ("0 0 * * sat-sun", "day of week", "sat-sun", 9),
        ("0 0 ? * *", "day of month", "?", 5),
        ("0 0 * * 1#6", "day of week", "1#6", 9),
        ("0 0 * * L", "day of week", "L", 9),
        ("0 0 15W * *", "day of month", "15W", 5),
        ("٣ * * * *", "minute", "٣", 1),
        ("0 0 * * 1,", "day of week", "", 9),
        ("0-99999999999999999999 * * * *", "minute", "0-99999999999999999999", 1),
    ],
)
def test_a_refusal_names_field_value_and_position(
    expr: str, field: str, value: str, position: int
) -> None:
    with pytest.raises(ValidationFailed) as caught:
        cron(expr)
    assert caught.value.details == {
        "path": "expr",
        "field": field,
        "value": value,
        "position": position,
    }
    assert field in caught.value.message
    assert repr(value) in caught.value.message
    assert f"position {position}" in caught.value.message


@pytest.mark.parametrize(
    ("expr", "hint"),
    [
        ("0 0 * JANUARY *", "did you mean 'JAN'"),
        ("0 0 ? * *", "quartz"),
        ("@reboot", "when your program starts"),
        ("@dayly", "did you mean '@daily'"),
        ("", "this one has 0"),
        ("* * * *", "this one has 4"),
        ("* * * * * * *", "6 with seconds first"),
    ],
)
def test_a_refusal_says_what_to_write(expr: str, hint: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        cron(expr)
    assert hint in caught.value.message


@pytest.mark.parametrize("expr", [None, 5, b"* * * * *", ["*"], float("nan")])
def test_an_expression_that_is_not_text_is_refused(expr: object) -> None:
    with pytest.raises(ValidationFailed):
        cron(expr)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    "expr",
    [
        "0 0 31 4 *",
        "0 0 30 2 *",
        "0 0 31 2,4,6,9,11 *",
        "0 0 30,31 2 */1",
        "0 0 31 4-6/2 *",
        "0 0 0 30 2 *",
    ],
)
def test_a_rule_that_can_never_be_due_is_refused(expr: str) -> None:
    with pytest.raises(ValidationFailed, match="never be due"):
        cron(expr)


@pytest.mark.parametrize("expr", ["1 1 */100 * MON#4", "0 0 */31 * 5L", "0 0 */22 * MON#2"])
def test_days_of_month_and_week_that_never_meet_are_a_rule_without_instants(expr: str) -> None:
    rule, start = cron(expr), pendulum.datetime(2027, 1, 1, tz="UTC")
    assert rule.next(start) is rule.previous(start) is None
    assert rule.count(start, start.add(years=400)) == 0
    with pytest.raises(ValidationFailed):
        rule & cron("0 0 * * *")


@pytest.mark.parametrize("size", [1_001, 100_000, 5_000_000])
def test_a_text_that_is_too_long_is_refused_at_once(size: int) -> None:
    begin = time.perf_counter()
    with pytest.raises(PayloadTooLarge) as caught:
        cron("0," * (size // 2) + "0" * (size % 2))
    assert time.perf_counter() - begin < 0.1
    assert caught.value.details["limit"] == 1_000


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Olso", "did you mean 'Europe/Oslo'"),
        ("europe/oslo", "Europe/Oslo"),
        ("Mars/Phobos", "no time zone"),
        ("", "no time zone"),
        ("Europe", "no time zone"),
        ("../../etc/passwd", "no time zone"),
        ("/etc/passwd", "no time zone"),
        ("UTC\0", "no time zone"),
        ("\ud800", "no time zone"),
        ("x" * 100_000, "no time zone"),
        (None, "not NoneType"),
        (3, "not int"),
    ],
)
def test_an_unknown_zone_is_refused(name: object, hint: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        cron("0 0 * * *", tz=name)  # type: ignore[arg-type]  # the point of the test
    assert caught.value.details["path"] == "tz"
    assert hint in caught.value.message
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("dialect", ["quarzt", "", None, ["vixie"]])
def test_an_unknown_dialect_is_refused(dialect: object) -> None:
    with pytest.raises(ValidationFailed) as caught:
        cron("0 0 * * *", dialect=dialect)  # type: ignore[arg-type]  # the point of the test
    assert caught.value.details["path"] == "dialect"


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("0 0 * * 0", ["2026-01-04", "2026-01-11"]),
        ("0 0 * * 7", ["2026-01-04", "2026-01-11"]),
        ("0 0 * * Sun", ["2026-01-04", "2026-01-11"]),
        ("0 0 L * *", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("0 0 LW * *", ["2026-01-30", "2026-02-27", "2026-03-31"]),
        ("0 0 * * 5L", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 0 * * 0L", ["2026-01-25", "2026-02-22"]),
        ("0 0 * * 1#2", ["2026-01-12", "2026-02-09"]),
        ("0 0 * * mon#5", ["2026-03-30", "2026-06-29"]),
        ("0 0 13 * 5", ["2026-01-02", "2026-01-09", "2026-01-13"]),  # either
        ("0 0 */13 * 5", ["2026-02-27", "2026-03-27"]),  # both: begins with *
        ("0 0 13 * *", ["2026-01-13", "2026-02-13"]),
        ("0 0 1-7 * */7", ["2026-01-04", "2026-02-01"]),
        ("0 0 1,L * *", ["2026-01-31", "2026-02-01", "2026-02-28"]),
        ("0 0 5-5/2 * *", ["2026-01-05", "2026-02-05"]),
        ("0 0 28/2 * *", ["2026-01-28", "2026-01-30", "2026-02-28"]),
        ("0 0 * * 5/2", ["2026-01-02", "2026-01-04", "2026-01-09"]),  # Friday, Sunday
        ("0 0 1 jan-mar/2 *", ["2026-03-01", "2027-01-01"]),
        ("0 0 29 2 *", ["2028-02-29", "2032-02-29"]),
        ("@daily", ["2026-01-02", "2026-01-03"]),
        ("  @Weekly ", ["2026-01-04", "2026-01-11"]),
        ("@monthly", ["2026-02-01", "2026-03-01"]),
        ("@annually", ["2027-01-01", "2028-01-01"]),
    ],
)
def test_days_are_matched_as_debian_does(expr: str, expected: list[str]) -> None:
    after = pendulum.datetime(2026, 1, 1)
    found = local(cron(expr), "UTC", after, len(expected))
    assert found == [f"{day} 00:00 +00:00" for day in expected]


def test_a_leap_day_that_falls_on_a_weekday_is_found_across_the_century() -> None:
    leap_day = cron("0 0 29 2 *", tz="America/New_York")
    after = pendulum.datetime(2096, 3, 1)
    assert local(leap_day, "America/New_York", after, 1) == ["2104-02-29 00:00 -05:00"]
    leap_sunday = cron("0 0 29 2 */7")
    found = local(leap_sunday, "UTC", pendulum.datetime(2072, 3, 1), 2)
    assert found == ["2088-02-29 00:00 +00:00", "2128-02-29 00:00 +00:00"]


def test_seconds_come_first_and_follow_real_time() -> None:
    oslo = cron("30 15 2 * * *", tz="Europe/Oslo")
    spring = local(oslo, "Europe/Oslo", pendulum.datetime(2026, 3, 28), 2)
    assert spring == ["2026-03-28 02:15 +01:00", "2026-03-30 02:15 +02:00"]
    autumn = local(oslo, "Europe/Oslo", pendulum.datetime(2026, 10, 24, 12), 2)
    assert autumn == ["2026-10-25 02:15 +02:00", "2026-10-25 02:15 +01:00"]


def test_a_fixed_time_rule_runs_once_after_a_gap_and_once_in_a_fold() -> None:
    oslo = cron("15,45 2 * * *", tz="Europe/Oslo")
    spring = local(oslo, "Europe/Oslo", pendulum.datetime(2026, 3, 28, 12), 2)
    assert spring == ["2026-03-29 03:00 +02:00", "2026-03-30 02:15 +02:00"]
    autumn = local(oslo, "Europe/Oslo", pendulum.datetime(2026, 10, 24, 12), 3)
    assert autumn == [
        "2026-10-25 02:15 +02:00",
        "2026-10-25 02:45 +02:00",
        "2026-10-26 02:15 +01:00",
    ]


@pytest.mark.parametrize("tz", ["UTC", "America/New_York", "Pacific/Kiritimati", "Pacific/Niue"])
@pytest.mark.parametrize(
    "expr", ["* * * * *", "59 23 31 12 *", "0 0 1 1 *", "*/7 * * * * *", "0 0 29 2 *"]
)
def test_the_ends_of_time_are_none_and_not_an_overflow(expr: str, tz: str) -> None:
    trigger = cron(expr, tz=tz)
    assert trigger.next_us(MAX_US) is None
    assert trigger.next_us(MAX_US + 10**18) is None
    assert trigger.previous_us(MIN_US) is None
    assert trigger.previous_us(MIN_US - 10**18) is None
    last = trigger.previous_us(MAX_US + 10**18)
    first = trigger.next_us(MIN_US - 10**18)
    assert last is not None
    assert first is not None
    assert MIN_US <= first < last <= MAX_US
    assert trigger.next_us(last) is None
    assert trigger.previous_us(first) is None
    assert trigger.previous_us(last + 1) == last
    assert trigger.next_us(first - 1) == first
    from_us(first), from_us(last)  # both can be shown
    whole = trigger.count_us(MIN_US - 10**18, MAX_US + 10**18)
    assert whole == trigger.count_us(first, last) + 1
    assert trigger.next_us(last - 1) == last


def test_counting_long_spans_is_arithmetic() -> None:
    rule = cron("* * * * * *", tz="America/New_York")
    year = to_us(pendulum.datetime(2027, 1, 1, tz="America/New_York"))
    following = to_us(pendulum.datetime(2028, 1, 1, tz="America/New_York"))
    assert rule.count_us(year, following) == 365 * 86_400
    hourly = cron("0 0-23 * * *", tz="America/New_York")
    assert hourly.count_us(year, following) == 365 * 24 - 1  # 02:00 is 03:00 once
    assert cron("0 * * * *", tz="America/New_York").count_us(year, following) == 365 * 24
    assert cron("0 0 * * *").count_us(MIN_US, MAX_US + 1) == 3_652_059
    assert cron("0 0 * * *").count_us(following, year) == 0


def test_the_answer_does_not_depend_on_what_was_asked_before() -> None:
    asked = cron("*/20 1-3 * * 1-5", tz="Europe/Oslo")
    points = [T0 + step * 7_777_777 * US for step in range(400)]
    fresh = [cron(asked.expr, tz=asked.tz).next_us(point) for point in points]
    assert [asked.next_us(point) for point in points] == fresh
    assert [asked.next_us(point) for point in reversed(points)] == fresh[::-1]


def test_several_threads_may_ask_one_trigger() -> None:
    asked = cron("*/20 1-3 * * 1-5", tz="Europe/Oslo")
    points = [T0 + step * 7_777_777 * US for step in range(2_000)]
    expected = [cron(asked.expr, tz=asked.tz).next_us(point) for point in points]
    orders = [points, points[::-1], points[1_000:] + points[:1_000]] * 2
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda order: {point: asked.next_us(point) for point in order}, orders)
        )
    for answer in answers:
        assert [answer[point] for point in points] == expected


def test_the_zone_is_kept_as_typed() -> None:
    alias = cron("0 6 * * *", tz="US/Pacific")
    assert alias.tz == "US/Pacific"
    assert alias.to_json()["tz"] == "US/Pacific"


def test_macros_say_what_they_stand_for() -> None:
    for macro, expr in MACROS.items():
        assert cron(macro).fields == cron(expr).fields


_TEXT = st.text("0123456789*/-,#LWlw?@ \tJANFEBSUNMO¹٣\0é", max_size=40)
_FIELD = st.text("0123456789*/-,#LW", min_size=1, max_size=6)
_FIVE = st.lists(_FIELD, min_size=5, max_size=6).map(" ".join)
_PLAIN = st.sampled_from("* */2 5 1-3 2,4 1-9/3 7/2 0 L LW 5L 1#2 mon feb */7".split())
_LIKELY = st.lists(_PLAIN, min_size=5, max_size=6).map(" ".join)


def _made(text: str) -> Trigger | ValidationFailed:
    try:
        return cron(text, tz="Europe/Oslo")
    except ValidationFailed as refusal:
        return refusal


@given(text=st.one_of(_TEXT, _FIVE, _LIKELY), at=st.integers(MIN_US, MAX_US))
def test_any_text_is_a_sound_rule_or_refused(text: str, at: int) -> None:
    trigger = _made(text)
    if isinstance(trigger, ValidationFailed):
        assert trigger.details["path"] == "expr"
        return
    assert from_json(trigger.to_json()) == trigger
    again = eval(repr(trigger), {"cron": cron})  # noqa: S307  (its own text, no stranger's)
    assert again == trigger
    assert trigger.describe()
    due = trigger.next_us(at)
    if due is not None:
        assert due > at
        assert trigger.previous_us(due + 1) == due
        assert trigger.count_us(at + 1, due + 1) == 1
    earlier = trigger.previous_us(at)
    if earlier is not None:
        assert earlier < at
        assert trigger.next_us(earlier - 1) == earlier
        assert trigger.count_us(earlier, at) == 1
