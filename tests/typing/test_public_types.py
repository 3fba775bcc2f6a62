"""What a type checker knows of the public surface.

The functions here are checked and never called: `tox -e types` reads them. The ignores are part of
the test: mypy is told to complain where one is not needed. What is called below holds the keywords
that are described to those that are taken.
"""

from __future__ import annotations

import datetime as dt
from typing import assert_type, get_type_hints

import msgspec
import pendulum

import kalends
from kalends import Event, Execution, Page, Policies, Scheduler, every, keywords
from kalends.actors.proxies import ExecutionsProxy
from kalends.definitions import EVENT_FIELDS
from kalends.explanation import Explanation
from kalends.futures import Future
from kalends.queries import EventQuery, ExecutionQuery, GapQuery, JournalQuery


@kalends.job("typing.report")
def report(day: dt.date, copies: int = 1) -> str:
    return day.isoformat() * copies


def answers_have_their_types(scheduler: Scheduler, id: str, at: pendulum.DateTime) -> None:
    assert_type(report(dt.date(2026, 1, 1)), str)
    assert_type(scheduler.get_event(id), Event)
    assert_type(scheduler.events.get(id), Future[Event])
    assert_type(scheduler.events.get(id).get(timeout=5), Event)
    assert_type(scheduler.events.get(id).value, Event | None)
    assert_type(scheduler.list_executions(fate="failed"), Page[Execution])
    assert_type(scheduler.executions.explain(id, at), Future[Explanation])
    assert_type(scheduler.executions, ExecutionsProxy)
    assert_type(scheduler.preview(id, 3)[0], pendulum.DateTime)


async def futures_can_be_awaited(scheduler: Scheduler, id: str) -> None:
    assert_type(await scheduler.events.get(id), Event)
    assert_type(await scheduler.executions.count(event_id=id, fate="failed"), int)


def keywords_are_known(scheduler: Scheduler, id: str, at: dt.datetime) -> None:
    scheduler.schedule_event(report, every(hours=1), name="r", retries=2, overlap="skip")
    scheduler.schedule_event(report, every(hours=1), retrys=2)  # type: ignore[call-arg]
    scheduler.schedule_event(report, every(hours=1), retries="2")  # type: ignore[arg-type]
    scheduler.schedule_event(report, "0 9 * * *")  # type: ignore[arg-type]
    scheduler.update_event(id, version=3, trigger=every(hours=2))
    scheduler.update_event(id, triger=every(hours=2))  # type: ignore[call-arg]
    scheduler.list_events(status="active", limit=3)
    scheduler.list_events(stat="active")  # type: ignore[call-arg]
    scheduler.events.list(due_from=at)
    scheduler.events.list(due_from="today")  # type: ignore[arg-type]
    scheduler.pause_event(id, until=at, note="disk swap")
    scheduler.pause_event(id, until=5)  # type: ignore[arg-type]
    shared: keywords.PolicyFields = {"retries": 3, "timeout": 60}
    scheduler.schedule_event(report, every(hours=1), **shared)


def declarations_keep_what_they_decorate() -> None:
    @kalends.scheduled(every(hours=1), name="hourly", kwargs={"copies": 2}, retries=2)
    @kalends.job("typing.declared")
    def declared(copies: int) -> str:
        return "x" * copies

    assert_type(declared(2), str)
    kalends.scheduled(every(hours=1), retrys=2)  # type: ignore[call-arg]
    kalends.scheduled("0 9 * * *")  # type: ignore[arg-type]


def fields_of(described: type) -> set[str]:
    return set(get_type_hints(described))


def test_every_policy_is_described() -> None:
    assert fields_of(keywords.PolicyFields) == set(Policies.__struct_fields__)


def test_every_field_of_an_event_is_described() -> None:
    assert fields_of(keywords.EventChanges) == set(EVENT_FIELDS)
    assert fields_of(keywords.EventFields) == set(EVENT_FIELDS) - {"job", "trigger"}
    assert fields_of(keywords.NewEvent) == fields_of(keywords.EventFields) | {
        "author",
        "on_conflict",
    }


def test_every_condition_is_described() -> None:
    pairs: dict[type, type[msgspec.Struct]] = {
        keywords.EventConditions: EventQuery,
        keywords.ExecutionConditions: ExecutionQuery,
        keywords.GapConditions: GapQuery,
        keywords.JournalConditions: JournalQuery,
    }
    for described, taken in pairs.items():
        assert fields_of(described) == set(taken.__struct_fields__)
