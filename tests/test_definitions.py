"""Definitions: checked whole on the caller's thread, each refusal with its path."""

from __future__ import annotations

from typing import Any

import msgspec
import pendulum
import pytest

from kalends import (
    CatchUp,
    JobNotFound,
    PayloadTooLarge,
    Policies,
    Registry,
    RetryBackoff,
    Settings,
    ValidationFailed,
    every,
    once,
)
from kalends.definitions import MAX_BULK, DefinitionChecker
from kalends.jobs.executors.thread import ThreadExecutor
from kalends.jobs.registry import Kind
from kalends.testing import ManualClock
from kalends.triggers import Trigger

THREADS: dict[str, Kind] = {"thread": ThreadExecutor(1)}
FAR = once(pendulum.datetime(2090, 1, 1, tz="UTC"))


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.register(noop, "reports.daily")
    return registry


def noop(*_: object, **__: object) -> None:
    """Takes anything and does nothing."""


@pytest.fixture
def checker(registry: Registry) -> DefinitionChecker:
    return DefinitionChecker(
        registry, Settings(policies=Policies(max_attempts=7)), ManualClock(), THREADS
    )


def test_a_definition_takes_the_defaults_of_the_settings(checker: DefinitionChecker) -> None:
    found = checker.definition({"job": noop, "trigger": FAR})
    assert (found.name, found.job, found.trigger) == (None, "reports.daily", FAR)
    assert found.arguments == '{"args":[],"kwargs":{}}'
    assert found.policies == Policies(max_attempts=7)


def test_a_definition_keeps_what_it_says(checker: DefinitionChecker) -> None:
    found = checker.definition(
        {
            "job": "reports.daily",
            "trigger": FAR,
            "name": "æøå 日報",
            "args": (1, "a"),
            "kwargs": {"when": [1.5, None]},
            "tags": ["b", "a", "b"],
            "note": "line\nline",
            "catch_up": "all",
            "catch_up_window": 60,
        }
    )
    assert msgspec.json.decode(found.arguments) == {
        "args": [1, "a"],
        "kwargs": {"when": [1.5, None]},
    }
    assert found.tags == ("b", "a")
    assert (found.policies.catch_up, found.policies.catch_up_window) == (CatchUp.ALL, 60.0)
    assert type(found.policies.catch_up_window) is float


def test_a_definition_keeps_its_policies_of_failure(checker: DefinitionChecker) -> None:
    given: dict[str, Any] = {
        "retries": 3,
        "retry_delay": 1,
        "retry_backoff": "linear",
        "retry_max_delay": 60,
        "retry_jitter": 0,
        "retry_on": ["OSError", "app.errors.Busy", "app.make.<locals>.Busy", "OSError"],
        "give_up_on": {"KeyError", "IndexError"},
        "timeout": None,
        "pause_after_failures": None,
    }
    found = checker.definition({"job": "reports.daily", "trigger": FAR, **given}).policies
    assert found.retry_backoff is RetryBackoff.LINEAR
    assert found.retry_on == ("OSError", "app.errors.Busy", "app.make.<locals>.Busy")
    assert found.give_up_on == ("IndexError", "KeyError")
    assert (found.retries, found.retry_delay, found.timeout) == (3, 1.0, None)
    changed = checker.changes({"timeout": 5, "pause_after_failures": 2})
    assert changed.policies == {"timeout": 5.0, "pause_after_failures": 2}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"job": 5}, "job"),
        ({"job": "reports.dayly"}, "job"),
        ({"trigger": "daily"}, "trigger"),
        ({"trigger": Trigger}, "trigger"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"args": "abc"}, "args"),
        ({"args": {"a": 1}}, "args"),
        ({"kwargs": [1]}, "kwargs"),
        ({"kwargs": {"a": [{"b": object()}]}}, "kwargs.a[0].b"),
        ({"tags": "abc"}, "tags"),
        ({"tags": ["a", 5]}, "tags[1]"),
        ({"tags": ["a"] * 33}, "tags"),
        ({"note": "x" * 2001}, "note"),
        ({"note": "\a"}, "note"),
        ({"catch_up": "al"}, "catch_up"),
        ({"catch_up_window": -1}, "catch_up_window"),
        ({"catch_up_window": float("nan")}, "catch_up_window"),
        ({"catch_up_limit": 1.5}, "catch_up_limit"),
        ({"overlap": None}, "overlap"),
        ({"max_attempts": True}, "max_attempts"),
        ({"retries": 101}, "retries"),
        ({"retries": 1.5}, "retries"),
        ({"retry_delay": -1}, "retry_delay"),
        ({"retry_backoff": "quadratic"}, "retry_backoff"),
        ({"retry_jitter": 1.1}, "retry_jitter"),
        ({"retry_on": "OSError"}, "retry_on"),
        ({"retry_on": [OSError]}, "retry_on[0]"),
        ({"retry_on": ["a b"]}, "retry_on[0]"),
        ({"give_up_on": ["OSError", "socket."]}, "give_up_on[1]"),
        ({"give_up_on": ["E"] * 33}, "give_up_on"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"pause_after_failures": 0}, "pause_after_failures"),
        ({"retries": 1, "delivery": "at_most_once"}, "retries"),
        ({"catchup": "all"}, "event.catchup"),
    ],
)
def test_a_wrong_field_is_refused_with_its_path(
    checker: DefinitionChecker, fields: dict[str, Any], path: str
) -> None:
    with pytest.raises((ValidationFailed, JobNotFound)) as caught:
        checker.definition({"job": "reports.daily", "trigger": FAR, **fields})
    assert caught.value.details["path"] == path


@pytest.mark.parametrize(
    ("fields", "near"),
    [({"job": "reports.dayly"}, "reports.daily"), ({"catch_up": "lates"}, "latest"),
     ({"triger": 1}, "trigger")],
)  # fmt: skip
def test_the_near_name_is_suggested(
    checker: DefinitionChecker, fields: dict[str, Any], near: str
) -> None:
    with pytest.raises((ValidationFailed, JobNotFound), match=f"did you mean {near!r}"):
        checker.definition({"job": "reports.daily", "trigger": FAR, **fields})


def test_a_missing_field_is_named(checker: DefinitionChecker) -> None:
    with pytest.raises(ValidationFailed) as caught:
        checker.definition({"job": "reports.daily"})
    assert caught.value.details["path"] == "event.trigger"


def test_arguments_beyond_the_limit_are_refused(registry: Registry) -> None:
    checker = DefinitionChecker(registry, Settings(max_arguments=100), ManualClock(), THREADS)
    with pytest.raises(PayloadTooLarge) as caught:
        checker.definition({"job": noop, "trigger": FAR, "args": ["x" * 200]})
    assert caught.value.details["limit"] == 100


def test_the_place_of_a_wrong_definition_leads_its_path(checker: DefinitionChecker) -> None:
    good = {"job": noop, "trigger": FAR}
    for wrong, path in (({**good, "tags": [5]}, "[1].tags[0]"), ({"job": noop}, "[1].trigger"),
                        ({**good, "job": "x"}, "[1].job"), (5, "[1]")):  # fmt: skip
        with pytest.raises((ValidationFailed, JobNotFound)) as caught:
            checker.definitions([good, wrong])  # type: ignore[list-item]
        assert caught.value.details["path"] == path


def test_a_bulk_has_a_limit(checker: DefinitionChecker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_BULK == 1_000_000
    monkeypatch.setattr("kalends.definitions.MAX_BULK", 3)
    good = {"job": noop, "trigger": FAR}
    assert len(checker.definitions(good for _ in range(3))) == 3
    with pytest.raises(ValidationFailed, match="more than 3"):
        checker.definitions(good for _ in range(10**9))


def test_changes_hold_what_was_given_and_nothing_else(checker: DefinitionChecker) -> None:
    changes = checker.changes({"note": None, "overlap": "allow_all"})
    assert changes.note is None
    assert changes.policies == {"overlap": "allow_all"}
    assert changes.name is changes.trigger is changes.tags is msgspec.UNSET


def test_changes_are_checked_like_definitions(checker: DefinitionChecker) -> None:
    with pytest.raises(ValidationFailed, match="nothing to change"):
        checker.changes({})
    with pytest.raises(ValidationFailed, match="give both"):
        checker.changes({"args": [1]})
    with pytest.raises(ValidationFailed) as caught:
        checker.changes({"status": "paused"})
    assert caught.value.details["path"] == "changes.status"
    changes = checker.changes(
        {"job": noop, "args": [], "kwargs": {"a": 1}, "trigger": every(seconds=1), "tags": ["x"]}
    )
    assert changes.job == "reports.daily"
    assert changes.arguments == '{"args":[],"kwargs":{"a":1}}'
    assert changes.tags == ("x",)


# -- named limits ------------------------------------------------------------------------------


def test_a_limit_is_one_that_the_settings_have(registry: Registry) -> None:
    settings = Settings.load(environ={}, concurrency_limits={"warehouse": 2})
    checker = DefinitionChecker(registry, settings, ManualClock(), THREADS)
    values = {"job": noop, "trigger": FAR, "concurrency_limit": "warehouse"}
    assert checker.definition(values).policies.concurrency_limit == "warehouse"
    assert checker.changes({"concurrency_limit": None}).policies == {"concurrency_limit": None}
    for call in (checker.definition, checker.changes):
        with pytest.raises(ValidationFailed, match="did you mean 'warehouse'") as caught:
            call({**values, "concurrency_limit": "warehuose"})
        assert caught.value.details["path"] == "concurrency_limit"
    with pytest.raises(ValidationFailed):
        checker.definition({**values, "concurrency_limit": 2})


def test_what_the_settings_say_of_a_limit_can_be_left_out_by_an_event(registry: Registry) -> None:
    settings = Settings.load(
        environ={}, concurrency_limits={"db": 2}, policies={"concurrency_limit": "db"}
    )
    checker = DefinitionChecker(registry, settings, ManualClock(), THREADS)
    values = {"job": noop, "trigger": FAR}
    assert checker.definition(values).policies.concurrency_limit == "db"
    free = checker.definition({**values, "concurrency_limit": None})
    assert free.policies.concurrency_limit is None
