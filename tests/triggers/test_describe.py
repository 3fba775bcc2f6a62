"""What triggers say of themselves."""

from __future__ import annotations

import pendulum
import pytest

from kalends.triggers import Trigger, cron, every, once

T0 = pendulum.datetime(2026, 1, 1)


@pytest.mark.parametrize(
    ("expr", "tz", "words"),
    [
        ("* * * * *", "UTC", "every minute"),
        ("*/5 * * * *", "UTC", "every 5 minutes"),
        ("*/5 * * * *", "Europe/Oslo", "every 5 minutes, Europe/Oslo time"),
        ("*/7 * * * *", "UTC", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
        ("0 * * * *", "UTC", "every hour, on the hour"),
        ("@hourly", "UTC", "every hour, on the hour"),
        ("15 * * * *", "UTC", "at minute 15 of every hour"),
        ("5,6,7,30 * * * *", "UTC", "at minutes 5 to 7 and 30 of every hour"),
        ("0 6 * * 1-5", "Europe/Oslo", "at 06:00 on weekdays, Europe/Oslo time"),
        ("0 6 * * *", "UTC", "at 06:00 every day, UTC"),
        ("0 6,18 * * *", "UTC", "at 06:00 and 18:00 every day, UTC"),
        (
            "0 1,3,5,7,9,12,13 * * *",
            "UTC",
            "at 01:00, 03:00, 05:00, 07:00, 09:00, 12:00 and 13:00 every day, UTC",
        ),
        ("0 */2 * * *", "UTC", "every 2 hours from 00:00 every day, UTC"),
        ("0 0-8 * * *", "UTC", "every hour from 00:00 to 08:00 every day, UTC"),
        ("*/15 9-17 * * *", "UTC", "every 15 minutes from 09:00 to 17:59 every day, UTC"),
        ("* 9,11 * * *", "UTC", "every minute of hours 9 and 11 every day, UTC"),
        ("1,2,3 9,11,12 * * *", "UTC", "at minutes 1 to 3 of hours 9, 11 and 12 every day, UTC"),
        ("0 0 1 * *", "UTC", "at 00:00 on day 1 of the month, UTC"),
        ("0 0 1,15 * *", "UTC", "at 00:00 on days 1 and 15 of the month, UTC"),
        ("0 0 1,15 * 0", "UTC", "at 00:00 on days 1 and 15 of the month and also on Sundays, UTC"),
        ("0 0 1-7 * */7", "UTC", "at 00:00 on days 1 to 7 of the month, but only on Sundays, UTC"),
        ("0 0 L * *", "UTC", "at 00:00 on the last day of the month, UTC"),
        (
            "0 0 LW * *",
            "UTC",
            "at 00:00 on the last weekday (Monday to Friday) of the month, UTC",
        ),
        ("0 0 15,L * *", "UTC", "at 00:00 on day 15 and the last day of the month, UTC"),
        ("0 0 * * 5L", "UTC", "at 00:00 on the last Friday of the month, UTC"),
        ("0 0 * * 1#2", "UTC", "at 00:00 on the second Monday of the month, UTC"),
        ("0 0 * * 3,1#2", "UTC", "at 00:00 on Wednesdays and the second Monday of the month, UTC"),
        ("0 0 * * 0,6", "UTC", "at 00:00 on Saturdays and Sundays, UTC"),
        ("0 0 29 2 *", "UTC", "at 00:00 on day 29 of the month in February, UTC"),
        ("0 0 * 6-8,12 *", "UTC", "at 00:00 every day in June to August and December, UTC"),
        (
            "0 0 1,15 3 5",
            "UTC",
            "at 00:00 on days 1 and 15 of the month and also on Fridays, in March, UTC",
        ),
        ("* * * 2 *", "UTC", "every minute in February, UTC"),
        ("* * * * 1", "UTC", "every minute on Mondays, UTC"),
        ("0 0 1 * 0-7", "UTC", "at 00:00 every day, UTC"),  # either matches, so all do
        ("0 0 1-31 * 1", "UTC", "at 00:00 every day, UTC"),
        ("0 0 */1 * 1", "UTC", "at 00:00 on Mondays, UTC"),
        ("* * * * * *", "UTC", "every second"),
        ("*/15 * * * * *", "UTC", "every 15 seconds"),
        ("30 * * * * *", "UTC", "at second 30 of every minute"),
        ("0 * * * * *", "UTC", "every minute"),
        ("30 0 9 * * *", "UTC", "at 09:00:30 every day, UTC"),
        (
            "*/10 0 9-17 * * 1-5",
            "UTC",
            "every 10 seconds of minute 0 of hours 9 to 17 on weekdays, UTC",
        ),
        ("* 5 * * * *", "UTC", "every second of minute 5 of every hour"),
    ],
)
def test_cron_in_words(expr: str, tz: str, words: str) -> None:
    assert cron(expr, tz=tz).describe() == words


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (once(T0), "once, at 2026-01-01T00:00:00Z"),
        (every(minutes=5), "every 5 minutes"),
        (every(minutes=1), "every minute"),
        (every(hours=1, minutes=30), "every 1 hour and 30 minutes"),
        (every(weeks=1, days=1, seconds=0.5), "every 1 week, 1 day and 0.5 seconds"),
        (every(days=1, anchor=T0), "every day, counted from 2026-01-01T00:00:00Z"),
        (
            every(minutes=5).between(T0, T0.add(days=1)),
            "every 5 minutes, from 2026-01-01T00:00:00Z, until before 2026-01-02T00:00:00Z",
        ),
    ],
)
def test_other_triggers_in_words(trigger: Trigger, words: str) -> None:
    assert trigger.describe() == words
