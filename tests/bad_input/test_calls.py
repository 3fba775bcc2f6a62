"""Verbs and proxies: a KalendsError for whatever is wrong, and nothing half-written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kalends import (
    Result,
    Scheduler,
    ValidationFailed,
    every,
)

QUERY = ("limit", "cursor", "since", "until")
EVENT_QUERY = ("status", "tag", "job", "name", "due_from", "due_until", "sort", "descending")
FIELDS = (
    "name", "args", "kwargs", "tags", "note", "author", "on_conflict", "catch_up",
    "catch_up_window", "catch_up_limit", "overlap", "delivery", "max_attempts",
    "retries", "retry_delay", "retry_backoff", "retry_max_delay", "retry_jitter", "retry_on",
    "give_up_on", "timeout", "pause_after_failures",
)  # fmt: skip
WHO = ("event_id", "note", "author")
VERBS: dict[str, tuple[str, ...]] = {
    "schedule_event": ("job", "trigger", *FIELDS),
    "schedule_events": ("events", "on_conflict", "author"),
    "get_event": ("event_id", "deleted"),
    "update_event": ("event_id", "version", "job", "trigger", *FIELDS),
    "pause_event": (*WHO, "until"),
    "resume_event": WHO,
    "skip_next": (*WHO, "count"),
    "move_next": (*WHO, "to"),
    "backfill": (*WHO, "start", "end", "limit"),
    "get_backfill": ("backfill_id",),
    "cancel_backfill": ("backfill_id", "note", "author"),
    "release_event": WHO,
    "list_events": (*EVENT_QUERY, "limit", "cursor"),
    "count_events": (*EVENT_QUERY, "limit", "cursor"),
    "preview": ("event_id", "count"),
    "list_journal": ("event_id", "kind", *QUERY),
    "trigger_now": ("event_id", "author", "overlap"),
    "get_execution": ("execution_id",),
    "cancel_execution": ("execution_id", "note", "author"),
    "list_executions": ("event_id", "fate", "manual", "backfill", "descending", *QUERY),
    "count_executions": ("event_id", "fate", "manual", "backfill", "descending", *QUERY),
    "list_gaps": ("event_id", *QUERY),
    "report": ("event_id", "since", "until", "bucket"),
    "next_runs": ("limit", "until", "tag", "job", "name"),
    "heat_map": ("days", "tz", "busiest", "tag", "job", "name"),
    "overdue": ("grace", "limit"),
    "delete_event": WHO,  # last: what comes after it finds no event
    "verify": ("event_id", "limit", "integrity"),
}
PROXIES: dict[tuple[str, str], tuple[str, ...]] = {
    ("events", "create"): VERBS["schedule_event"],
    ("events", "create_many"): VERBS["schedule_events"],
    ("events", "get"): VERBS["get_event"],
    ("events", "update"): VERBS["update_event"],
    ("events", "pause"): VERBS["pause_event"],
    ("events", "resume"): WHO,
    ("events", "skip_next"): VERBS["skip_next"],
    ("events", "move_next"): VERBS["move_next"],
    ("events", "backfill"): VERBS["backfill"],
    ("events", "get_backfill"): VERBS["get_backfill"],
    ("events", "cancel_backfill"): VERBS["cancel_backfill"],
    ("events", "release"): WHO,
    ("events", "delete"): WHO,
    ("events", "list"): VERBS["list_events"],
    ("events", "count"): VERBS["count_events"],
    ("events", "journal"): VERBS["list_journal"],
    ("events", "preview"): VERBS["preview"],
    ("executions", "get"): VERBS["get_execution"],
    ("executions", "cancel"): VERBS["cancel_execution"],
    ("executions", "list"): VERBS["list_executions"],
    ("executions", "count"): VERBS["count_executions"],
    ("executions", "gaps"): VERBS["list_gaps"],
    ("executions", "report"): VERBS["report"],
    ("events", "next_runs"): VERBS["next_runs"],
    ("events", "heat_map"): VERBS["heat_map"],
    ("executions", "overdue"): VERBS["overdue"],
    ("executions", "verify"): VERBS["verify"],
    ("loop", "trigger_now"): VERBS["trigger_now"],
    ("housekeeper", "keep_house"): (),
    ("housekeeper", "run_cleanup"): ("rule", "dry_run"),
}


def keywords(
    names: tuple[str, ...], valid: dict[str, Any], junk: Any, data: st.DataObject
) -> dict[str, Any]:
    """Valid required arguments, some of them and some others replaced by junk."""
    given = {name: valid[name] for name in names if name in valid}
    wrong = data.draw(st.lists(st.sampled_from([*names, "nonsense", "self", "call"]), max_size=3))
    for name in wrong:
        given[name] = junk[data.draw(st.sampled_from(sorted(junk)))]()
    return given


@pytest.mark.parametrize("verb", VERBS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_verb_refuses_junk_by_a_kalends_error(
    target: Any, verb: str, data: st.DataObject, junk: Any, refused: Any
) -> None:
    given_ = keywords(VERBS[verb], target.valid, junk, data)
    refused(lambda: getattr(target.scheduler, verb)(**given_), target)


@pytest.mark.parametrize(("proxy", "call"), PROXIES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_proxy_puts_the_refusal_of_junk_into_the_future(
    target: Any, proxy: str, call: str, data: st.DataObject, junk: Any, refused: Any
) -> None:
    given_ = keywords(PROXIES[proxy, call], target.valid, junk, data)
    future = getattr(getattr(target.scheduler, proxy), call)(**given_)
    refused(lambda: future.get(timeout=20), target)


@pytest.mark.parametrize("verb", VERBS)
def test_every_kind_of_junk_in_every_first_place(
    target: Any, verb: str, name: str, junk: Any, refused: Any
) -> None:
    refused(lambda: getattr(target.scheduler, verb)(junk[name]()), target)


@pytest.mark.parametrize(
    ("verb", "field"), [(verb, field) for verb in VERBS for field in VERBS[verb]]
)
def test_every_kind_of_junk_in_every_field(
    target: Any, verb: str, field: str, junk: Any, refused: Any
) -> None:
    valid = {name: target.valid[name] for name in VERBS[verb] if name in target.valid}
    for make in junk.values():
        given_ = {**valid, field: make()}
        refused(lambda given_=given_: getattr(target.scheduler, verb)(**given_), target)


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_keyword_is_refused_and_the_near_one_suggested(
    target: Any, verb: str, refused: Any
) -> None:
    known = VERBS[verb][-1]
    given_ = {name: target.valid[name] for name in VERBS[verb] if name in target.valid}
    error = refused(lambda: getattr(target.scheduler, verb)(**given_, **{f"{known}s": 1}), target)
    assert isinstance(error, ValidationFailed)
    assert repr(known) in error.message
    assert error.details["path"].endswith(f"{known}s")


@pytest.mark.parametrize("verb", ["wait", "shutdown"])
def test_a_time_limit_refuses_junk(verb: str, name: str, junk: Any, refused: Any) -> None:
    scheduler = Scheduler(":memory:", environ={})
    refused(lambda: getattr(scheduler, verb)(junk[name]()))
    refused(lambda: getattr(scheduler, verb)(nonsense=junk[name]()))


@pytest.mark.parametrize("verb", ["get_event", "schedule_event", "trigger_now", "get_execution"])
def test_missing_arguments_are_refused(target: Any, verb: str, refused: Any) -> None:
    assert isinstance(refused(getattr(target.scheduler, verb), target), ValidationFailed)


def test_one_wrong_definition_among_many_stores_none_of_them(
    target: Any, junk: Any, refused: Any
) -> None:
    good = {"job": "tick", "trigger": every(seconds=3600)}
    before = target.rows()
    error = refused(
        lambda: target.scheduler.schedule_events([good, good, {**good, "catch_up": "al"}]), target
    )
    assert error is not None
    assert error.details["path"] == "[2].catch_up"
    error = refused(
        lambda: target.scheduler.schedule_events(
            [{**good, "name": "twice"}, {**good, "name": "twice"}]
        ),
        target,
    )
    assert error is not None
    assert error.code == "CONFLICT"
    error = refused(lambda: target.scheduler.schedule_events(junk["generator"]()), target)
    assert error is not None
    assert target.rows() == before


def test_after_all_of_it_no_actor_has_been_restarted(target: Any) -> None:
    status = target.scheduler.status()
    assert status.state == "running"
    assert [actor.restarts for actor in status.actors] == [0, 0, 0, 0]
    assert Result.capture(target.scheduler.events.count()).ok
