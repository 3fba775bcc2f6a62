"""Declared schedules in a registry: what may be declared, and under which names."""

from __future__ import annotations

from typing import Any

import pytest

import kalends
from kalends import ConflictError, Registry, ValidationFailed, cron, every
from kalends.jobs.registry import default_registry


def reload(registry: Registry, minutes: int) -> None:
    """A module that is loaded, or loaded again."""
    namespace: dict[str, Any] = {"__name__": "app"}
    exec("def job(): ...", namespace)
    registry.register(namespace["job"], "steady")
    registry.scheduled(every(minutes=minutes), name="steady")(namespace["job"])


def test_a_declaration_is_kept_and_the_function_stays_what_it_was() -> None:
    registry = Registry()

    @registry.scheduled(cron("0 6 * * *"), name="daily", tags=["a"], timeout=5)
    @registry.job("reports.daily")
    def daily() -> int:
        return 7

    (one,) = registry.declarations()
    assert daily() == 7
    assert one.values() == {
        "job": "reports.daily", "trigger": cron("0 6 * * *"), "name": "daily", "tags": ["a"],
        "timeout": 5,
    }  # fmt: skip


def test_an_event_bears_its_jobs_name_unless_it_has_one() -> None:
    registry = Registry()

    @registry.scheduled(every(hours=1))
    @registry.scheduled(every(hours=2), name="rarely")
    @registry.job("reports.daily")
    def daily() -> None: ...

    assert [one.name for one in registry.declarations()] == ["rarely", "reports.daily"]
    assert {one.job for one in registry.declarations()} == {"reports.daily"}


def test_two_declarations_of_one_name_are_refused() -> None:
    registry = Registry()
    with pytest.raises(ConflictError) as caught:

        @registry.scheduled(every(hours=1))
        @registry.scheduled(every(hours=2))
        @registry.job("daily")
        def daily() -> None: ...

    assert caught.value.details == {"path": "name", "name": "daily"}
    with pytest.raises(ConflictError):

        @registry.scheduled(every(hours=1), name="daily")
        @registry.job("other")
        def other() -> None: ...


def test_a_module_that_is_loaded_again_declares_again() -> None:
    registry = Registry()
    reload(registry, 5)
    reload(registry, 6)
    (one,) = registry.declarations()
    assert one.trigger == every(minutes=6)


def test_the_same_declaration_twice_is_one() -> None:
    registry = Registry()
    registry.register(len, "len")
    for _ in range(2):
        registry.scheduled(every(hours=1), name="x", note="y")(len)
    assert len(registry.declarations()) == 1


def test_what_follows_has_to_be_a_job() -> None:
    registry = Registry()
    with pytest.raises(ValidationFailed, match="put @scheduled above the @job"):

        @registry.job("late")
        @registry.scheduled(every(hours=1))
        def late() -> None: ...

    assert registry.declarations() == ()


@pytest.mark.parametrize(
    ("trigger", "name", "path"),
    [("0 6 * * *", None, "trigger"), (None, None, "trigger"), (every(hours=1), 5, "name"),
     (every(hours=1), " ", "name"), (every(hours=1), [], "name")],
)  # fmt: skip
def test_what_is_no_rule_or_no_name_is_refused_at_once(trigger: Any, name: Any, path: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        Registry().scheduled(trigger, name=name)
    assert caught.value.details["path"] == path


def test_registries_share_no_declarations() -> None:
    one, two = Registry(), Registry()
    reload(one, 5)
    assert two.declarations() == ()


def test_the_decorator_of_the_package_is_the_default_registrys() -> None:
    assert kalends.scheduled == default_registry.scheduled
