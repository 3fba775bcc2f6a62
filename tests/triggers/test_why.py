"""Why an instant is due or not: each kind of cause, in data and in words."""

from __future__ import annotations

from typing import Any

import msgspec
import pendulum
import pytest

from kalends.clock import MAX_US, MIN_US, US, to_us
from kalends.errors import ValidationFailed
from kalends.triggers import (
    CauseKind,
    Trigger,
    Why,
    calendar,
    cron,
    dates,
    every,
    holidays,
    once,
    rrule,
    search,
    weekdays,
    why,
)
from kalends.triggers.why import why_us

at = pendulum.datetime
T0 = at(2027, 1, 1)
OSLO = "Europe/Oslo"
NIGHT = cron("30 2 * * *", tz=OSLO)
NINE = cron("0 9 * * *")


def told(rule: Trigger, instant: pendulum.DateTime, **more: Any) -> list[str]:
    """The words of the causes, after the answer was compared with the rule's own."""
    answer = why(rule, instant, **more)
    assert answer.due == (rule.next_us(to_us(instant) - 1) == to_us(instant))
    assert (answer.before, answer.after) == (rule.previous(instant), rule.next(instant))
    return [cause.words for cause in answer.causes]


CRON: list[tuple[Trigger, pendulum.DateTime, list[str]]] = [
    (cron("*/5 6 * * *"), at(2027, 1, 1, 0, 17),
     ["Minute field: 17 is not in */5.", "Hour field: 0 is not in 6."]),
    (cron("*/5 * * * *"), at(2027, 1, 1, 0, 0, 7),
     ["Second: 7 is not 0, as it is for an expression of five fields."]),
    (cron("*/5 * * * * *"), at(2027, 1, 1, 0, 0, 7), ["Second field: 7 is not in */5."]),
    (cron("* * * * *"), at(2027, 1, 1, 0, 0, 0, 250_000),
     ["Second: 0.25 is not a whole second, and nothing else is due."]),
    (cron("@yearly"), at(2027, 4, 1), ["Month field: April (4) is not in 1."]),
    (cron("0 0 13 * 5"), at(2027, 1, 14),
     ["Day of month field: 14 is not in 13, and the other day field does not match either.",
      "Day of week field: Thursday (4) is not in 5, and the other day field does not match "
      "either."]),
    (cron("0 0 */2 * 1"), at(2027, 1, 4),
     ["Day of month field: 4 is not in */2, and the match of the other day field alone does not "
      "suffice."]),
    (cron("0 0 */2 * 1"), at(2027, 1, 5),
     ["Day of week field: Tuesday (2) is not in 1, and the match of the other day field alone does "
      "not suffice."]),
    (cron("0 0 */2 * 1"), at(2027, 1, 6),
     ["Day of month field: 6 is not in */2.", "Day of week field: Wednesday (3) is not in 1."]),
    (cron("0 0 * * MON"), at(2027, 1, 6), ["Day of week field: Wednesday (3) is not in MON."]),
    (cron("0 0 L * *"), at(2027, 2, 27),
     ["Day of month field: 27 is not in L, which in February 2027 is day 28."]),
    (cron("0 0 LW * *"), at(2027, 1, 31),
     ["Day of month field: 31 is not in LW, which in January 2027 is day 29."]),
    (cron("0 0 * * 5#5"), at(2027, 2, 26),
     ["Day of week field: Friday 2027-02-26 is not in 5#5, which February 2027 does not have."]),
    (cron("0 0 * * 5L,1#1"), at(2027, 2, 19),
     ["Day of week field: Friday 2027-02-19 is not in 5L,1#1, which in February 2027 are days 1 "
      "and 26."]),
    (cron("0 0 6 15W * ? 2030", dialect="quartz"), at(2027, 5, 15, 6),
     ["Day of month field: 15 is not in 15W, which in May 2027 is day 14.",
      "Year field: 2027 is not in 2030."]),
    (cron("0 0 6 L-3 * ?", dialect="quartz"), at(2027, 5, 31, 6),
     ["Day of month field: 31 is not in L-3, which in May 2027 is day 28."]),
    (cron("0 0 6 ? * L", dialect="quartz"), at(2027, 5, 14, 6),
     ["Day of week field: Friday (6) is not in L, which is Saturday."]),
    (cron("0 0 6 ? * 6#3", dialect="quartz"), at(2027, 5, 14, 6),
     ["Day of week field: Friday 2027-05-14 is not in 6#3, which in May 2027 is day 21."]),
]  # fmt: skip

OTHERS: list[tuple[Trigger, pendulum.DateTime, list[str]]] = [
    (once(T0), at(2026, 12, 30),
     ["The rule is due once only, at 2027-01-01T00:00:00Z, which is 2 days later."]),
    (once(T0), T0, ["It is the one instant of the rule."]),
    (every(minutes=5, anchor=T0), at(2027, 1, 1, 0, 2),
     ["The rule has one every 5 minutes, counted from 2027-01-01T00:00:00Z: this is 2 minutes "
      "after one of them and 3 minutes before the next."]),
    (every(days=1.5, anchor=T0), at(2027, 1, 2, 12),
     ["The rule has one every 1 day 12 hours, counted from 2027-01-01T00:00:00Z, and this is one "
      "of them."]),
    (calendar(months=3, day=[1, -1], at=["06:00", "18:00"], anchor=T0), at(2027, 2, 2, 18, 1),
     ["Time of day: 18:01 is not 06:00 or 18:00.",
      "Day: 2027-02-02 is not day 1 and the last day, which in February 2027 are days 1 and 28.",
      "Period: 2027-02-02 lies in a month that is passed over; due is one in every 3 months, "
      "counted from that of 2027-01-01."]),
    (calendar(months=1, weekday="friday", nth=-1), at(2027, 2, 19),
     ["Weekday: Friday 2027-02-19 is not the last Friday, which in February 2027 is day 26."]),
    (calendar(weeks=1, weekday=["tue", "thu"]), at(2027, 2, 19),
     ["Weekday: Friday 2027-02-19 is not Tuesday and Thursday."]),
    (calendar(years=1, month=[3, 6], day=29), at(2027, 2, 28),
     ["Month: February is not March and June.",
      "Day: 2027-02-28 is not day 29, which February 2027 does not have."]),
    (calendar(days=1, at=[f"{hour:02}:00" for hour in range(8, 20)]), at(2027, 2, 28),
     ["Time of day: 00:00 is not one of its 12 times of day."]),
    (NINE.between(T0, at(2027, 2, 1)), at(2026, 12, 31, 9),
     ["The rule begins at 2027-01-01T00:00:00Z, which is later."]),
    (NINE.between(T0, at(2027, 2, 1)), at(2027, 2, 1),
     ["The rule ends before 2027-02-01T00:00:00Z, which is not later.",
      "Hour field: 0 is not in 9."]),
    (NINE.limit(3, anchor=T0), at(2027, 1, 4, 9),
     ["The rule is limited to 3 instants, and the last of them is 2027-01-03T09:00:00Z."]),
    (NINE.limit(1, anchor=T0), at(2027, 1, 4, 9),
     ["The rule is limited to one instant, and that is 2027-01-01T09:00:00Z."]),
    (NINE.limit(3, anchor=T0), at(2026, 12, 31, 9),
     ["The 3 instants of the rule are counted from 2027-01-01T00:00:00.000001Z on, which is "
      "later."]),
    (NINE - cron("0 9 1 * *"), at(2027, 1, 1, 9),
     ["The rule is due, but what is taken out of it is due too: at 09:00 on day 1 of the month, "
      "UTC."]),
    (NINE - cron("0 9 1 * *"), at(2027, 1, 1, 10), ["Hour field: 10 is not in 9."]),
    (NINE - weekdays("sat", "sun"), at(2027, 1, 2, 9),
     ["2027-01-02 is left out: Saturday (Saturdays and Sundays)."]),
    (NINE - (dates("2027-01-02") | weekdays("sat")), at(2027, 1, 2, 9),
     ["2027-01-02 is left out: 2027-01-02 and Saturday (2027-01-02 or Saturdays)."]),
    (NINE - dates("2027-01-02"), at(2027, 1, 2, 9), ["2027-01-02 is left out (2027-01-02)."]),
    (cron("0 9 * * *", tz=OSLO) - holidays("NO"), at(2027, 5, 17, 7),
     ["2027-05-17 is left out: Constitution Day; Pentecost Monday (public holidays of NO)."]),
    (NINE & weekdays("sat"), at(2027, 1, 3, 9),
     ["2027-01-03 is none of the days that the rule keeps to: Saturdays."]),
    (NINE & weekdays("sat"), at(2027, 1, 3, 10),
     ["2027-01-03 is none of the days that the rule keeps to: Saturdays.",
      "Hour field: 10 is not in 9."]),
    (NINE | cron("0 10 * * *"), at(2027, 1, 1, 11),
     ["Part 1 (at 09:00 every day, UTC) is not due. Hour field: 11 is not in 9.",
      "Part 2 (at 10:00 every day, UTC) is not due. Hour field: 11 is not in 10."]),
    (NINE | cron("0 10 * * *"), at(2027, 1, 1, 10),
     ["Part 2 (at 10:00 every day, UTC) is due. The clock shows 2027-01-01 10:00, which the rule "
      "matches."]),
    (NINE & cron("* * * * 1"), at(2027, 1, 1, 9),
     ["Part 2 (every minute on Mondays, UTC) is not due. Day of week field: Friday (5) is not in "
      "1."]),
    (NINE.jitter(90), at(2027, 1, 1, 9),
     ["The clock shows 2027-01-01 09:00, which the rule matches.",
      "Its execution begins up to 1 minute 30 seconds late (jitter)."]),
    (NINE.jitter(90), at(2027, 1, 1, 10), ["Hour field: 10 is not in 9."]),
]  # fmt: skip

RRULES = [
    ("FREQ=DAILY", at(2026, 12, 31, 9), ["The rule begins at 2027-01-01 09:00, which is later."]),
    ("FREQ=DAILY", at(2027, 1, 2, 10),
     ["BYHOUR: 10 is not 9, which the rule has from its start."]),
    ("FREQ=DAILY", at(2027, 1, 2, 9, 0, 0, 5),
     ["Second: 09:00:00.000005 is not a whole second, and nothing else is due."]),
    ("FREQ=DAILY;COUNT=3", at(2027, 1, 4, 9),
     ["The rule is due 3 times (COUNT), and the last of them is 2027-01-03 09:00."]),
    ("FREQ=DAILY;UNTIL=20270103T090000Z", at(2027, 1, 4, 9),
     ["The rule ends at 2027-01-03T09:00:00Z (UNTIL), which is earlier."]),
    ("FREQ=DAILY;UNTIL=20270103", at(2027, 1, 4, 9),
     ["The rule ends at 2027-01-03 00:00 (UNTIL), which is earlier."]),
    ("FREQ=DAILY;INTERVAL=2", at(2027, 1, 2, 9),
     ["INTERVAL: 2027-01-02 09:00 lies in a day that is passed over; due is one in every 2 days, "
      "counted from that of 2027-01-01 09:00."]),
    ("FREQ=HOURLY;INTERVAL=5", at(2027, 1, 1, 10),
     ["INTERVAL: 2027-01-01 10:00 lies in an hour that is passed over; due is one in every 5 "
      "hours, counted from that of 2027-01-01 09:00."]),
    ("FREQ=YEARLY;BYMONTH=3;BYDAY=1MO", at(2027, 2, 2, 9),
     ["BYMONTH: February is not March.",
      "BYDAY: Tuesday 2027-02-02 is not the first Monday of the month."]),
    ("FREQ=MONTHLY;BYMONTHDAY=-1,13", at(2027, 2, 27, 9),
     ["BYMONTHDAY: 2027-02-27 is not day 13 and the last day of the month."]),
    ("FREQ=WEEKLY", at(2027, 1, 2, 9),
     ["BYDAY: Saturday 2027-01-02 is not Friday, which the rule has from its start."]),
    ("FREQ=YEARLY;BYYEARDAY=100;BYWEEKNO=20", at(2027, 3, 2, 9),
     ["BYYEARDAY: 2027-03-02 is not day 100 of the year.",
      "BYWEEKNO: 2027-03-02 is not in week 20."]),
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", at(2027, 5, 28, 9),
     ["BYSETPOS: 2027-05-28 09:00 is not the last moment of those that the other parts allow in "
      "its month."]),
]  # fmt: skip

CLOCK: list[tuple[Trigger, pendulum.DateTime, list[tuple[CauseKind, str]]]] = [
    (NIGHT, at(2027, 3, 28, 1),
     [(CauseKind.MOVED, "The clock of Europe/Oslo skips 2027-03-28 02:00 to 03:00: 02:30, which is "
       "due in that time, runs now instead, at 03:00.")]),
    (NIGHT, at(2027, 3, 28, 1, 30),
     [(CauseKind.GAP, "The clock of Europe/Oslo skips 2027-03-28 02:00 to 03:00: 02:30, which "
       "would be now, runs at 03:00 instead."), (CauseKind.FIELD, "Hour field: 3 is not in 2.")]),
    (cron("15,30 2,3 * * *", tz=OSLO), at(2027, 3, 28, 1),
     [(CauseKind.MOVED, "The clock of Europe/Oslo skips 2027-03-28 02:00 to 03:00: the times due "
       "in it, 02:15 to 02:30, run once and now instead, at 03:00.")]),
    (cron("0,30 2,3 * * *", tz=OSLO), at(2027, 3, 28, 1),
     [(CauseKind.MATCH, "The clock of Europe/Oslo shows 2027-03-28 03:00, which the rule matches."),
      (CauseKind.MOVED, "The clock of Europe/Oslo skips 2027-03-28 02:00 to 03:00: the times due "
       "in it, 02:00 to 02:30, run once and now instead, at 03:00.")]),
    (cron("30 2 * * *", tz=OSLO, gap="shift"), at(2027, 3, 28, 1, 30),
     [(CauseKind.MOVED, "The clock of Europe/Oslo skips 2027-03-28 02:00 to 03:00: 02:30, which is "
       "due in that time, runs now instead, at 03:30.")]),
    (cron("30 2 * * *", tz=OSLO, gap="shift"), at(2027, 3, 28, 1),
     [(CauseKind.FIELD, "Minute field: 0 is not in 30."),
      (CauseKind.FIELD, "Hour field: 3 is not in 2.")]),
    (cron("*/30 2 * * *", tz=OSLO), at(2027, 3, 28, 1),
     [(CauseKind.GAP, "The clock of Europe/Oslo skips 2027-03-28 02:00 to 03:00: 02:00, which "
       "would be now, does not run."), (CauseKind.FIELD, "Hour field: 3 is not in 2.")]),
    (NIGHT, at(2027, 10, 31, 0, 30),
     [(CauseKind.MATCH, "The clock of Europe/Oslo shows 2027-10-31 02:30, which the rule matches; "
       "it will show this time a second time.")]),
    (NIGHT, at(2027, 10, 31, 1, 30),
     [(CauseKind.FOLD, "The clock of Europe/Oslo shows 2027-10-31 02:30 twice: this is the second "
       "time, and the rule runs the first time only.")]),
    (cron("30 2 * * *", tz=OSLO, fold="last"), at(2027, 10, 31, 0, 30),
     [(CauseKind.FOLD, "The clock of Europe/Oslo shows 2027-10-31 02:30 twice: this is the first "
       "time, and the rule runs the last time only.")]),
    (cron("30 2 * * *", tz=OSLO, fold="both"), at(2027, 10, 31, 1, 30),
     [(CauseKind.MATCH, "The clock of Europe/Oslo shows 2027-10-31 02:30, which the rule matches; "
       "it shows this time for the second time.")]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "instant", "words"), CRON + OTHERS)
def test_each_cause_is_told_in_a_sentence(
    rule: Trigger, instant: pendulum.DateTime, words: list[str]
) -> None:
    assert told(rule, instant) == words


@pytest.mark.parametrize(("text", "instant", "words"), RRULES)
def test_a_recurrence_rule_names_its_part(
    text: str, instant: pendulum.DateTime, words: list[str]
) -> None:
    assert told(rrule(text, start="2027-01-01T09:00:00"), instant) == words


@pytest.mark.parametrize(("rule", "instant", "causes"), CLOCK)
def test_what_daylight_saving_moved_or_left_out_is_told(
    rule: Trigger, instant: pendulum.DateTime, causes: list[tuple[CauseKind, str]]
) -> None:
    assert told(rule, instant) == [words for _, words in causes]
    assert [cause.kind for cause in why(rule, instant).causes] == [kind for kind, _ in causes]


def test_an_answer_reads_as_a_few_sentences() -> None:
    assert why(NIGHT, at(2027, 10, 31, 1, 30)).words == (
        "2027-10-31T01:30:00Z (2027-10-31 02:30 by the clock of Europe/Oslo) is not due. The clock "
        "of Europe/Oslo shows 2027-10-31 02:30 twice: this is the second time, and the rule runs "
        "the first time only. The nearest due instants are 2027-10-31T00:30:00Z before it and "
        "2027-11-01T01:30:00Z after it."
    )
    assert why(once(T0), T0).words == (
        "2027-01-01T00:00:00Z is due. It is the one instant of the rule. Nothing is due before it "
        "and nothing is due after it."
    )
    many: Trigger = NINE
    for hour in range(10, 19):
        many = many | cron(f"0 {hour} * * *")
    sentences = why(many, T0).sentences
    assert len(sentences) == 9
    assert sentences[-2] == "There are 4 more of these."


def test_the_field_its_value_and_what_the_rule_has_are_data() -> None:
    (cause,) = why(cron("0 9 * * MON-FRI", tz=OSLO), at(2027, 1, 2, 8)).causes
    assert (cause.kind, cause.field) == (CauseKind.FIELD, "day of week")
    assert (cause.value, cause.allowed) == ("Saturday (6)", "MON-FRI")
    moved = why(NIGHT, at(2027, 3, 28, 1))
    assert (moved.tz, moved.clock) == (OSLO, "2027-03-28 03:00")
    assert moved.causes[0].value == "2027-03-28 02:30"


def test_the_parts_of_a_rule_of_rules_are_nested() -> None:
    inner = cron("0 9 * * *", tz=OSLO).between(T0)
    answer = why((inner | once(T0)) - dates("2027-01-02"), at(2027, 1, 3, 8))
    assert answer.due
    (both,) = answer.parts
    assert [part.due for part in both.parts] == [True, False]
    assert [part.due for part in both.parts[0].parts] == [True]
    assert both.parts[0].parts[0].clock == "2027-01-03 09:00"
    assert answer.clock is None
    assert why(inner & inner, at(2027, 1, 3, 8)).clock == "2027-01-03 09:00"


def test_an_answer_is_a_value_that_json_holds() -> None:
    for rule, instant, _ in CRON + OTHERS:
        answer = why(rule, instant)
        assert msgspec.json.decode(msgspec.json.encode(answer), type=Why) == answer
        assert hash(answer) == hash(why(rule, instant))


def test_the_delay_of_jitter_is_told_exactly_to_whoever_names_the_event() -> None:
    rule, due = NINE.jitter(60), at(2027, 1, 1, 9)
    seconds = rule.delay_us(to_us(due), "an event") / US
    told_words = told(rule, due, seed="an event")
    assert told_words[-1] == f"Its execution begins {seconds:.6f} seconds late (jitter)."


@pytest.mark.parametrize(
    "rule",
    [
        every(minutes=5),
        NINE.limit(3),
        every(hours=1) | NINE,
        rrule("FREQ=DAILY"),
        calendar(weeks=2),
    ],
    ids=repr,
)
def test_a_rule_without_its_anchor_is_due_at_no_instant(rule: Trigger) -> None:
    answer = why(rule, T0)
    assert not answer.due
    assert [cause.kind for cause in answer.causes] == [CauseKind.UNANCHORED]
    assert (answer.before, answer.after) == (None, None)


@pytest.mark.parametrize("us", [MIN_US - 1, MAX_US + 1, -(10**18), 10**18])
@pytest.mark.parametrize("rule", [rule for rule, *_ in CRON[:3] + OTHERS], ids=repr)
def test_nothing_is_due_outside_the_years_there_are(rule: Trigger, us: int) -> None:
    answer = why_us(rule, us)
    assert not answer.due
    assert [cause.kind for cause in answer.causes] == [CauseKind.OUTSIDE]
    assert answer.sentences[0] == "That instant is not due."
    assert (answer.before_us is None, answer.after_us is None) == (us < 0, us > 0)


def test_a_search_that_is_given_up_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = NINE - NINE.between(at(2026, 1, 1), at(2028, 1, 1))
    monkeypatch.setattr(search, "STEPS", 50)
    answer = why(rule, at(2027, 1, 1, 9))
    assert not answer.due
    assert [cause.kind for cause in answer.causes] == [CauseKind.EXCLUDED]
    assert answer.given_up == ("before", "after")
    assert "The search for a due instant before it was given up" in answer.sentences[-1]


def test_a_rule_of_a_strange_class_says_what_it_can() -> None:
    class Odd(Trigger):
        __slots__ = ()

        def next_us(self, after_us: int) -> int | None:
            return after_us + 1 + after_us % 2

        def previous_us(self, before_us: int) -> int | None:
            return before_us - 1 - before_us % 2

        def count_us(self, a: int, b: int) -> int:
            return b // 2 - a // 2

        def describe(self) -> str:
            return "at odd microseconds"

        def to_json(self) -> dict[str, Any]:
            return {}

        def _key(self) -> tuple[object, ...]:
            return ()

    kinds = [(why_us(Odd(), us).due, why_us(Odd(), us).causes[0].kind) for us in (1, 2)]
    assert kinds == [(True, CauseKind.MATCH), (False, CauseKind.UNKNOWN)]


def test_what_is_no_trigger_and_no_instant_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="trigger must be a trigger"):
        why("0 9 * * *", T0)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(ValidationFailed, match="no time zone"):
        why(NINE, T0.naive())
    with pytest.raises(ValidationFailed, match="instant"):
        why(NINE)  # type: ignore[call-arg]  # the point of the test
