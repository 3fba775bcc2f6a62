"""Constructors and settings refuse junk by a KalendsError, and open nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalends import (
    CleanupRule,
    Registry,
    Scheduler,
    Settings,
    cron,
    every,
    once,
)


@pytest.mark.parametrize(
    "argument", ["database", "settings", "registry", "clock", "on_failure", "workers", "nonsense"]
)
def test_the_constructor_refuses_junk(
    name: str, argument: str, tmp_path: Path, junk: Any, refused: Any
) -> None:
    given_: dict[str, Any] = {"database": tmp_path / "x.db", "environ": {}}
    given_[argument] = junk[name]()
    if argument == "settings":
        del given_["environ"]
    refused(lambda: Scheduler(**given_))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["nul", "surrogate", "long", "sql", "bell", "blank"])
def test_a_database_that_cannot_be_opened_is_refused_at_start(
    kind: str, tmp_path: Path, junk: Any, refused: Any
) -> None:
    scheduler = Scheduler(":memory:", environ={})
    assert scheduler.status().state == "new"

    def start() -> None:
        Scheduler(str(tmp_path / "no" / junk[kind]()), environ={}).start()

    assert refused(start) is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting", Settings.__struct_fields__)
def test_a_setting_refuses_junk(setting: str, name: str, junk: Any, refused: Any) -> None:
    refused(lambda: Settings.load(environ={}, **{setting: junk[name]()}))
    refused(lambda: Scheduler(":memory:", settings=Settings(**{setting: junk[name]()})))


@settings(max_examples=200, deadline=None)
@given(
    setting=st.sampled_from(Settings.__struct_fields__),
    text=st.text(max_size=200) | st.just("[" * 100_000),
)
def test_an_environment_variable_refuses_junk(setting: str, text: str, refused: Any) -> None:
    refused(lambda: Settings.load(environ={f"KALENDS_{setting.upper()}": text}))


def test_sources_of_settings_refuse_junk(name: str, junk: Any, refused: Any) -> None:
    if name != "none":
        assert refused(lambda: Settings.load(junk[name]())) is not None
    refused(lambda: Settings.load(environ=junk[name]()))


@pytest.mark.parametrize(
    "call",
    [
        once,
        lambda junk: every(seconds=junk),
        lambda junk: every(seconds=1, anchor=junk),
        cron,
        lambda junk: cron("* * * * *", tz=junk),
        lambda junk: cron("* * * * *", dialect=junk),
        lambda junk: every(seconds=1).between(junk, None),
        lambda junk: every(seconds=1).next(junk),
        lambda junk: Registry().register(junk),
        lambda junk: Registry().register(print, junk),
        lambda junk: Registry().register(print, "a", junk),
        lambda junk: Registry().job(junk),
        lambda junk: Registry().get(junk),
        lambda junk: Registry().name_of(junk),
        lambda junk: Registry([junk]),
        lambda junk: CleanupRule.checked(name=junk, directory="/x/y", pattern="*", keep_last=1),
        lambda junk: CleanupRule.checked(name="a", directory=junk, pattern="*", keep_last=1),
        lambda junk: CleanupRule.checked(name="a", directory="/x/y", pattern=junk, keep_last=1),
        lambda junk: CleanupRule.checked(name="a", directory="/x/y", pattern="*", keep_last=junk),
        lambda junk: CleanupRule.checked(name="a", directory="/x/y", pattern="*", older_than=junk),
    ],
)
def test_values_refuse_junk(call: Callable[[Any], Any], name: str, junk: Any, refused: Any) -> None:
    refused(lambda: call(junk[name]()))
