"""Typed jobs through a scheduler: from the call to the job and back, and what is refused where."""

from __future__ import annotations

import datetime as dt
import queue
from pathlib import Path
from typing import Any

import pytest

from kalends import Registry, Scheduler, ValidationFailed, every

FAR = every(days=300)
DAY = dt.date(2026, 3, 1)


def takes_day(day: dt.date, copies: int = 1) -> None: ...


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.register(takes_day, "report")
    return registry


@pytest.fixture
def scheduler(registry: Registry) -> Any:
    with Scheduler(":memory:", registry=registry, enabled=False) as scheduler:
        yield scheduler


def test_a_job_is_called_with_what_it_is_annotated_with() -> None:
    registry, calls = Registry(), queue.Queue[tuple[object, ...]]()

    @registry.job("report")
    def report(day: dt.date, to: list[Path], *, ratio: float = 0.5) -> None:
        calls.put((day, to, ratio))

    with Scheduler(":memory:", registry=registry) as scheduler:
        event = scheduler.schedule_event(
            report, FAR, args=[DAY], kwargs={"to": [Path("out")], "ratio": 2}
        )
        assert event.args == ("2026-03-01",)
        assert event.kwargs == {"to": ["out"], "ratio": 2}
        scheduler.trigger_now(event.id)
        assert calls.get(timeout=20) == (DAY, [Path("out")], 2.0)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "kwargs.day"),
        ({"args": ["1 March"]}, "args[0]"),
        ({"kwargs": {"day": DAY, "copies": "2"}}, "kwargs.copies"),
        ({"kwargs": {"day": DAY, "copys": 2}}, "kwargs.copys"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_submission(
    scheduler: Scheduler, fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(ValidationFailed) as caught:
        scheduler.schedule_event("report", FAR, **fields)
    assert caught.value.details["path"] == path
    assert scheduler.count_events() == 0


def test_a_change_of_the_arguments_alone_is_held_to_the_job_there_is(scheduler: Scheduler) -> None:
    event = scheduler.schedule_event("report", FAR, args=[DAY])
    with pytest.raises(ValidationFailed) as caught:
        scheduler.update_event(event.id, args=[], kwargs={"day": 5})
    assert caught.value.details["path"] == "kwargs.day"
    assert scheduler.get_event(event.id) == event
    changed = scheduler.update_event(event.id, args=[], kwargs={"day": "2026-04-01"})
    assert changed.kwargs == {"day": "2026-04-01"}


def test_a_change_of_the_job_alone_is_held_to_the_arguments_there_are(
    scheduler: Scheduler, registry: Registry
) -> None:
    registry.register(lambda day: day, "any")
    registry.register(lambda: None, "none")
    event = scheduler.schedule_event("report", FAR, args=[DAY])
    with pytest.raises(ValidationFailed) as caught:
        scheduler.update_event(event.id, job="none")
    assert caught.value.details["path"] == "args"
    assert scheduler.update_event(event.id, job="any").job == "any"


def test_arguments_that_no_longer_fit_when_they_are_to_be_run_quarantine_the_event(
    tmp_path: Path, until: Any
) -> None:
    before, after = Registry(), Registry()
    before.register(lambda day: day, "report")
    after.register(takes_day, "report")
    database = str(tmp_path / "k.db")
    with Scheduler(database, registry=before, enabled=False) as scheduler:
        event = scheduler.schedule_event("report", FAR, args=[7])
    with Scheduler(database, registry=after) as scheduler:
        scheduler.trigger_now(event.id)
        until(lambda: scheduler.get_event(event.id).status == "quarantined")
        entry = scheduler.list_journal(event_id=event.id, kind="event_quarantined").items[0]
        assert "args[0]: Expected `date`, got `int`" in str(entry.details)
