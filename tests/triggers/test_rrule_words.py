"""Recurrence rules in plain English."""

from __future__ import annotations

import pytest

from kalends.triggers import rrule

START = "2026-03-02T09:15:30"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FREQ=DAILY", "every day, from 2026-03-02T09:15:30, UTC"),
        (
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH;COUNT=10",
            "every 2 weeks, on Tuesday and Thursday, from 2026-03-02T09:15:30, 10 times, UTC",
        ),
        (
            "FREQ=MONTHLY;BYDAY=-1FR,2MO;COUNT=1",
            "every month, on the last Friday and the second Monday of the month, "
            "from 2026-03-02T09:15:30, once only, UTC",
        ),
        (
            "FREQ=YEARLY;BYDAY=20MO;UNTIL=20300101T000000Z",
            "every year, on the 20th Monday of the year, from 2026-03-02T09:15:30, "
            "until 2030-01-01T00:00:00Z, UTC",
        ),
        (
            "FREQ=YEARLY;BYMONTH=1,2,3;BYMONTHDAY=-1,5;BYHOUR=6,18",
            "every year, in January to March, on day 5 and the last day of the month, "
            "at hours 6 and 18, from 2026-03-02T09:15:30, UTC",
        ),
        (
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2,1",
            "every month, on Monday, Tuesday, Wednesday, Thursday and Friday, only the second last "
            "and first of these in each month, from 2026-03-02T09:15:30, UTC",
        ),
        (
            "FREQ=YEARLY;BYWEEKNO=20,-1;BYYEARDAY=141",
            "every year, in week 20 and the last week of the year, on day 141 of the year, "
            "from 2026-03-02T09:15:30, UTC",
        ),
    ],
)
def test_a_rule_in_words(text: str, words: str) -> None:
    assert rrule(text, start=START).describe() == words
