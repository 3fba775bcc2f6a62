"""Texts near the grammar of each parser, and any other: a value that comes back from its own text,
or a refusal; within a number of steps that grows with the text and no faster.

Steps are lines of Python that run, so no machine and no load changes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pendulum
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.counting import lines_run

from kalends import KalendsError, Settings
from kalends.storage import open_storage
from kalends.triggers import (
    Trigger,
    calendar,
    cron,
    dates,
    every,
    from_json,
    once,
    rrule,
    weekdays,
)

EXAMPLES = 5000 if os.environ.get("TEST_FULL") == "1" else 40
NAMES = {
    "calendar": calendar, "cron": cron, "dates": dates, "every": every, "once": once,
    "pendulum": pendulum, "rrule": rrule, "weekdays": weekdays,
}  # fmt: skip
T0 = pendulum.datetime(2026, 1, 1)
BASE, EACH = 20_000, 100
"""Steps that reading a text may take, whatever it is, and for each of its characters."""
SUGGESTED = 200_000
"""Steps that may come to it where the nearest of hundreds of time zones is suggested."""
ASKED = 1_000_000
"""Steps that asking a rule may take: of one that is never due, to the year 9999."""


def json_of(text: str) -> Any:
    """What a text of JSON says; one that is none stands for itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


# -- texts near a grammar ------------------------------------------------------------------------

GRAMMAR = {
    "cron": (
        "*/5 * * * *", "0 9 * * 1-5", "0 0 29 2 *", "15,45 0-23/2 1-15,L * mon-fri", "@daily",
        "30 0 6 LW jan-mar,12 *", "0 0 * * 5L", "0 0 * * 1#2", "0 0 1 1 0,7", "59 23 31 12 *",
    ),
    "quartz": (
        "0 0 6 ? * 6#3 2030", "0 0/5 14 * * ?", "0 15 10 L-3 * ?", "0 0 12 15W * ? 2026-2030",
        "0 0 0 LW * ?", "0 0 22-2 ? JAN-MAR,DEC FRI-MON", "*/7 * * * * ? */3",
    ),
    "rrule": (
        "FREQ=MONTHLY;BYDAY=-1FR", "FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29;COUNT=5",
        "FREQ=WEEKLY;BYDAY=MO,WE;WKST=SU;UNTIL=20301224T000000Z", "FREQ=YEARLY;BYWEEKNO=20,53",
        "FREQ=SECONDLY;INTERVAL=997;BYHOUR=0,12;BYMINUTE=0", "FREQ=YEARLY;BYYEARDAY=1,100,-1",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1,2", "RRULE:FREQ=DAILY",
    ),
}  # fmt: skip
WORDS = {
    "calendar at": ("18:00", "00:00:59", "24:00", "7:5"),
    "calendar weekday": ("mon", "friday", "Sunday", "SAT"),
    "zone": ("UTC", "Europe/Oslo", "America/New_York", "+02:00", "../../etc/passwd"),
    "start": ("2026-01-01T09:00:00", "2026-02-29T00:00:00", "2026-01-01T09:00:00+02:00"),
    "weekdays": ("sat", "sunday"),
    "dates": ("2026-12-24", "2027-02-29", "20261224"),
    "json": (
        '{"v":1,"type":"cron","expr":"0 6 * * *","tz":"UTC","dialect":"vixie"}',
        '{"v":1,"type":"once","at":"2027-01-01T00:00:00Z"}',
        '{"v":1,"type":"union","rules":[{"v":1,"type":"once","at":"2027-01-01T00:00:00Z"}]}',
    ),
}
READERS: dict[str, Callable[[str], Trigger]] = {
    "cron": cron,
    "quartz": lambda text: cron(text, dialect="quartz"),
    "rrule": lambda text: rrule(text, start=T0),
    "calendar at": lambda text: calendar(days=1, at=text),
    "calendar weekday": lambda text: calendar(weeks=1, weekday=text, anchor=T0),
    "zone": lambda text: cron("30 2 * * *", tz=text),
    "start": lambda text: rrule("FREQ=MONTHLY", start=text),
    "weekdays": lambda text: cron("0 6 * * *") - weekdays(text),
    "dates": lambda text: cron("0 6 * * *") - dates(text),
    "json": lambda text: from_json(json_of(text)),
}
OTHERS = {
    "setting": ("4", "2.5", "true", "none", "[]", '["*pin*"]', '{"retries": 2}', "full", "1e400"),
    "file": (
        "workers = 4\n[policies]\ncatch_up = 'all'\n",
        "[[cleanup]]\nname = 'a'\ndirectory = '/tmp/x'\npattern = '*.log'\nolder_than = 60\n",
        "secret_keys = ['*pin*']\nlease = 30\n",
    ),
    "database": (
        "sqlite:///kalends.db", "sqlite:////tmp/kalends.db", "sqlite://", ":memory:", "kalends.db",
        "postgresql://me:hunter2@host:5432/name?schema=kalends&sslmode=require",
        "postgresql://me:hunter2@[::1]/name", "postgresql:///name?host=/tmp",
    ),
}  # fmt: skip
PIECES = [
    *"0123456789*/,-#?LW=;: \t\x00é٣", "SU", "60", "2147483648", "99999999999999999999", "BYDAY=",
    "FREQ=", "COUNT=", "jan", "mon", "*/", "-1", "L-", "1-", "0-99999999",
]  # fmt: skip


@st.composite
def near(draw: st.DrawFn, kind: str) -> str:
    """A text of the grammar with pieces cut out, doubled, moved and put in."""
    text = draw(st.sampled_from((GRAMMAR | WORDS | OTHERS)[kind]))
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(text)))
        end = draw(st.integers(begin, min(len(text), begin + 12)))
        middle = draw(
            st.sampled_from(["", text[begin:end] * 2, text[begin:end] * 40])
            | st.sampled_from(PIECES)
            | st.text(max_size=3)
        )
        text = text[:begin] + middle + text[end:]
    return text


def sound(found: Trigger) -> None:
    """It comes back from its text and its JSON, and can be asked."""
    again = eval(repr(found), NAMES)  # noqa: S307  (its own text, no stranger's)
    assert again == found
    assert from_json(json.loads(json.dumps(found.to_json()))) == found
    following = found.next(T0)
    assert following is None or following > T0
    assert again.next(T0) == following
    assert found.describe()


def read(reader: Callable[[str], Any], text: str, base: int = BASE) -> Any:
    """What it reads from the text, None where it refuses it in few words; within its steps."""
    found: list[Any] = []
    refused: list[KalendsError] = []

    def call() -> None:
        try:
            found.append(reader(text))
        except KalendsError as error:
            refused.append(error)

    assert lines_run(call) <= base + EACH * len(text)
    for error in refused:
        assert error.code in ("VALIDATION_FAILED", "PAYLOAD_TOO_LARGE")
        assert len(str(error)) < 700
    return found[0] if found else None


@pytest.fixture(scope="module", autouse=True)
def zones_are_known() -> None:
    """Their names are listed once, for suggestions."""
    with pytest.raises(KalendsError):
        cron("0 6 * * *", tz="Europe/Olso")


fuzzed = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", READERS)
@fuzzed
@given(data=st.data())
def test_a_text_near_the_grammar_is_a_sound_rule_or_refused_in_bounded_steps(
    kind: str, data: st.DataObject
) -> None:
    text = data.draw(near(kind) | st.text(max_size=60), label="text")
    found = read(READERS[kind], text, SUGGESTED if kind in ("zone", "json") else BASE)
    if found is not None:
        assert lines_run(lambda: sound(found)) <= ASKED


# -- settings and databases ----------------------------------------------------------------------


@fuzzed
@given(data=st.data(), name=st.sampled_from(Settings.__struct_fields__))
def test_a_setting_of_any_text_is_taken_whole_or_refused(data: st.DataObject, name: str) -> None:
    text = data.draw(near("setting") | st.text(max_size=20), label="text")
    environ = {f"KALENDS_{name.upper()}": text}
    found = read(lambda _: Settings.load(environ=environ), text)
    assert found is None or found.checked() == found


@fuzzed
@given(data=st.data())
def test_a_file_of_settings_of_any_text_is_taken_whole_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = data.draw(near("file") | st.text(max_size=40), label="text")
    file = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    file.write_text(text, encoding="utf-8", errors="surrogateescape")
    found = read(lambda _: Settings.load(file, environ={}), text)
    assert found is None or found.checked() == found


@fuzzed
@given(data=st.data())
def test_a_database_of_any_name_is_one_or_refused_without_its_password(
    data: st.DataObject,
) -> None:
    text = data.draw(near("database") | st.text(max_size=40), label="text")
    refusals: list[str] = []

    def reader(name: str) -> object:
        try:
            return open_storage(name, Settings())
        except KalendsError as error:
            refusals.append(f"{error} {error.details}")
            return None

    assert lines_run(lambda: reader(text)) <= BASE + EACH * len(text)
    if "://me:hunter2@" in text:
        assert not any("hunter2" in told for told in refusals)
