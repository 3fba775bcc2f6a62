"""The examples of RFC 5545, section 3.8.5.3, one by one: the dates are those that the RFC prints.

All begin in New York on 2 September 1997 at 09:00 unless they say otherwise. ``...`` at the end of
a list is the RFC's: the rule goes on. Beyond what is printed, python-dateutil is asked.
"""

from __future__ import annotations

import datetime as dt
import warnings
from itertools import islice

import pytest

from kalends.clock import MIN_US, from_us, to_us
from kalends.triggers import RRule, rrule

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dateutil.rrule import rrulestr

ZONE = "America/New_York"
START = "1997-09-02T09:00:00"

# The rule, its start where it is another one, and the days as "month/day,day month/day" by year.
EXAMPLES: list[tuple[str, str, str]] = [
    ("FREQ=DAILY;COUNT=10", START, "1997: 9/2,3,4,5,6,7,8,9,10,11"),
    ("FREQ=DAILY;INTERVAL=2", START, "1997: 9/2,4,6,8,10,12,14,16,18,20,22,24,26,28,30 10/2,4 ..."),
    ("FREQ=DAILY;INTERVAL=10;COUNT=5", START, "1997: 9/2,12,22 10/2,12"),
    ("FREQ=WEEKLY;COUNT=10", START, "1997: 9/2,9,16,23,30 10/7,14,21,28 11/4"),
    ("FREQ=WEEKLY;UNTIL=19971224T000000Z", START,
     "1997: 9/2,9,16,23,30 10/7,14,21,28 11/4,11,18,25 12/2,9,16,23"),
    ("FREQ=WEEKLY;INTERVAL=2;WKST=SU", START, "1997: 9/2,16,30 10/14,28 11/11,25 12/9,23 "
     "1998: 1/6,20 2/3,17 ..."),
    ("FREQ=WEEKLY;UNTIL=19971007T000000Z;WKST=SU;BYDAY=TU,TH", START,
     "1997: 9/2,4,9,11,16,18,23,25,30 10/2"),
    ("FREQ=WEEKLY;COUNT=10;WKST=SU;BYDAY=TU,TH", START, "1997: 9/2,4,9,11,16,18,23,25,30 10/2"),
    ("FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR", "1997-09-01T09:00:00",
     "1997: 9/1,3,5,15,17,19,29 10/1,3,13,15,17,27,29,31 11/10,12,14,24,26,28 12/8,10,12,22"),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH", START,
     "1997: 9/2,4,16,18,30 10/2,14,16"),
    ("FREQ=MONTHLY;COUNT=10;BYDAY=1FR", "1997-09-05T09:00:00",
     "1997: 9/5 10/3 11/7 12/5 1998: 1/2 2/6 3/6 4/3 5/1 6/5"),
    ("FREQ=MONTHLY;UNTIL=19971224T000000Z;BYDAY=1FR", "1997-09-05T09:00:00",
     "1997: 9/5 10/3 11/7 12/5"),
    ("FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU", "1997-09-07T09:00:00",
     "1997: 9/7,28 11/2,30 1998: 1/4,25 3/1,29 5/3,31"),
    ("FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", "1997-09-22T09:00:00",
     "1997: 9/22 10/20 11/17 12/22 1998: 1/19 2/16"),
    ("FREQ=MONTHLY;BYMONTHDAY=-3", "1997-09-28T09:00:00",
     "1997: 9/28 10/29 11/28 12/29 1998: 1/29 2/26 ..."),
    ("FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15", START,
     "1997: 9/2,15 10/2,15 11/2,15 12/2,15 1998: 1/2,15"),
    ("FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1", "1997-09-30T09:00:00",
     "1997: 9/30 10/1,31 11/1,30 12/1,31 1998: 1/1,31 2/1"),
    ("FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15", "1997-09-10T09:00:00",
     "1997: 9/10,11,12,13,14,15 1999: 3/10,11,12,13"),
    ("FREQ=MONTHLY;INTERVAL=2;BYDAY=TU", START,
     "1997: 9/2,9,16,23,30 11/4,11,18,25 1998: 1/6,13,20,27 3/3,10,17,24,31 ..."),
    ("FREQ=YEARLY;COUNT=10;BYMONTH=6,7", "1997-06-10T09:00:00",
     "1997: 6/10 7/10 1998: 6/10 7/10 1999: 6/10 7/10 2000: 6/10 7/10 2001: 6/10 7/10"),
    ("FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3", "1997-03-10T09:00:00",
     "1997: 3/10 1999: 1/10 2/10 3/10 2001: 1/10 2/10 3/10 2003: 1/10 2/10 3/10"),
    ("FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200", "1997-01-01T09:00:00",
     "1997: 1/1 4/10 7/19 2000: 1/1 4/9 7/18 2003: 1/1 4/10 7/19 2006: 1/1"),
    ("FREQ=YEARLY;BYDAY=20MO", "1997-05-19T09:00:00", "1997: 5/19 1998: 5/18 1999: 5/17 ..."),
    ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "1997-05-12T09:00:00",
     "1997: 5/12 1998: 5/11 1999: 5/17 ..."),
    ("FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "1997-03-13T09:00:00",
     "1997: 3/13,20,27 1998: 3/5,12,19,26 1999: 3/4,11,18,25 ..."),
    ("FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8", "1997-06-05T09:00:00",
     "1997: 6/5,12,19,26 7/3,10,17,24,31 8/7,14,21,28 1998: 6/4,11,18,25 7/2,9,16,23,30 "
     "8/6,13,20,27 1999: 6/3,10,17,24 7/1,8,15,22,29 8/5,12,19,26 ..."),
    ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", START,
     "1998: 2/13 3/13 11/13 1999: 8/13 2000: 10/13 ..."),
    ("FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13", "1997-09-13T09:00:00",
     "1997: 9/13 10/11 11/8 12/13 1998: 1/10 2/7 3/7 4/11 5/9 6/13 ..."),
    ("FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "1996-11-05T09:00:00",
     "1996: 11/5 2000: 11/7 2004: 11/2 ..."),
    ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "1997-09-04T09:00:00",
     "1997: 9/4 10/7 11/6"),
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "1997-09-29T09:00:00",
     "1997: 9/29 10/30 11/27 12/30 1998: 1/29 2/26 3/30 ..."),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "1997-08-05T09:00:00",
     "1997: 8/5,10,19,24"),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "1997-08-05T09:00:00",
     "1997: 8/5,17,19,31"),
    ("FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", "2007-01-15T09:00:00",
     "2007: 1/15,30 2/15 3/15,30"),
]  # fmt: skip

HOURS: list[tuple[str, list[str]]] = [
    ("FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T170000Z", ["09:00", "12:00"]),
    ("FREQ=MINUTELY;INTERVAL=15;COUNT=6", ["09:00", "09:15", "09:30", "09:45", "10:00", "10:15"]),
    ("FREQ=MINUTELY;INTERVAL=90;COUNT=4", ["09:00", "10:30", "12:00", "13:30"]),
]


def dates(printed: str) -> list[str]:
    """The dates that ``1997: 9/2,3 10/1`` stands for."""
    found, year = [], ""
    for word in printed.removesuffix(" ...").split():
        if word.endswith(":"):
            year = word[:-1]
            continue
        month, _, days = word.partition("/")
        found += [f"{year}-{int(month):02}-{int(day):02}" for day in days.split(",")]
    return found


def first(rule: RRule, number: int) -> list[dt.datetime]:
    """The first instants by the wall clock."""
    found: list[dt.datetime] = []
    due = rule.next_us(MIN_US)
    while due is not None and len(found) < number:
        found.append(from_us(due).in_timezone(rule.tz).naive())
        due = rule.next_us(due)
    return found


@pytest.mark.parametrize(("text", "start", "printed"), EXAMPLES)
def test_an_example_has_the_dates_that_the_rfc_prints(text: str, start: str, printed: str) -> None:
    rule = rrule(text, start=start, tz=ZONE)
    expected = dates(printed)
    more = printed.endswith(" ...")
    found = first(rule, len(expected) if more else 10_000)
    assert [str(at.date()) for at in found] == expected
    assert {str(at.time()) for at in found} == {"09:00:00"}
    known = rule.count_us(MIN_US, to_us(dt.datetime(2040, 1, 1, tzinfo=dt.UTC)))
    assert known > len(expected) if more else known == len(expected)


@pytest.mark.parametrize(("text", "start"), [example[:2] for example in EXAMPLES])
def test_an_example_goes_on_as_dateutil_says(text: str, start: str) -> None:
    naive = text.replace("T000000Z", "T000000")
    theirs = list(islice(rrulestr(naive, dtstart=dt.datetime.fromisoformat(start)), 200))
    assert first(rrule(naive, start=start, tz=ZONE), len(theirs)) == theirs


@pytest.mark.parametrize(("text", "times"), HOURS)
def test_an_example_within_a_day_has_the_times_that_the_rfc_prints(
    text: str, times: list[str]
) -> None:
    # UNTIL=...170000Z is 13:00 in New York: the RFC's list goes on to 15:00, as if it were local.
    found = first(rrule(text, start=START, tz=ZONE), 100)
    assert [at.strftime("%H:%M") for at in found] == times


def test_every_day_in_january_for_three_years_in_two_ways() -> None:
    start = "1998-01-01T09:00:00"
    end = "UNTIL=20000131T140000Z"
    one = rrule(f"FREQ=YEARLY;{end};BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA", start=start, tz=ZONE)
    other = rrule(f"FREQ=DAILY;{end};BYMONTH=1", start=start, tz=ZONE)
    expected = [
        f"{year}-01-{day:02} 09:00:00" for year in (1998, 1999, 2000) for day in range(1, 32)
    ]
    assert [str(at) for at in first(one, 1_000)] == expected
    assert first(other, 1_000) == first(one, 1_000)


def test_every_twenty_minutes_of_the_working_day_in_two_ways() -> None:
    minutes = "BYMINUTE=0,20,40"
    hours = "BYHOUR=9,10,11,12,13,14,15,16"
    one = rrule(f"FREQ=DAILY;{hours};{minutes}", start=START, tz=ZONE)
    other = rrule(f"FREQ=MINUTELY;INTERVAL=20;{hours}", start=START, tz=ZONE)
    found = first(one, 48)
    assert [at.strftime("%d %H:%M") for at in (found[0], found[23], found[24])] == [
        "02 09:00", "02 16:40", "03 09:00",
    ]  # fmt: skip
    assert first(other, 48) == found


def test_what_an_invalid_date_means() -> None:
    """Section 3.3.10: recurrence rules may generate dates that do not exist; those are ignored."""
    rule = rrule("FREQ=MONTHLY", start="2007-01-31T09:00:00", tz=ZONE)
    assert [str(at.date()) for at in first(rule, 4)] == [
        "2007-01-31", "2007-03-31", "2007-05-31", "2007-07-31",
    ]  # fmt: skip
    leap = rrule("FREQ=YEARLY", start="2004-02-29T09:00:00", tz=ZONE)
    assert [at.year for at in first(leap, 3)] == [2004, 2008, 2012]
