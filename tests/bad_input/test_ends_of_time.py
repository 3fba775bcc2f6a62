"""Every verb that takes an instant, at both ends of time: inside them an answer, outside a refusal,
and a scheduler that goes on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from kalends import KalendsError, ValidationFailed
from kalends.clock import MAX_US, MIN_US, from_us

TOO_LATE = dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(dt.timedelta(hours=-5)))
TOO_EARLY = dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=14)))
ENDS = (from_us(MIN_US), from_us(MAX_US))

INSTANTS = [
    ("explain", "instant"),
    ("pause_event", "until"),
    ("move_next", "to"),
    ("backfill", "start"),
    ("backfill", "end"),
    ("list_events", "due_from"),
    ("list_events", "due_until"),
    ("count_events", "due_from"),
    ("count_events", "due_until"),
    ("next_runs", "until"),
    *(
        (verb, path)
        for verb in (
            "list_executions", "count_executions", "list_gaps", "list_journal", "report",
        )
        for path in ("since", "until")
    ),
]  # fmt: skip
"""Each verb, and the argument that is an instant."""

NEEDED = {
    "explain": ("event_id",),
    "pause_event": ("event_id",),
    "move_next": ("event_id",),
    "backfill": ("event_id", "start", "end"),
}


def _call(target: Any, verb: str, path: str, value: dt.datetime) -> Callable[[], object]:
    arguments = {name: target.valid[name] for name in NEEDED.get(verb, ())} | {path: value}
    return lambda: getattr(target.scheduler, verb)(**arguments)


@pytest.mark.parametrize("value", [TOO_EARLY, TOO_LATE], ids=["early", "late"])
@pytest.mark.parametrize(("verb", "path"), INSTANTS)
def test_an_instant_outside_the_years_of_utc_is_refused(
    target: Any, verb: str, path: str, value: dt.datetime
) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        _call(target, verb, path, value)()
    assert refusal.value.message == f"{path} lies outside the years 1 to 9999 in UTC"
    assert refusal.value.details["path"] == path


@pytest.mark.parametrize("value", ENDS, ids=["first", "last"])
@pytest.mark.parametrize(("verb", "path"), INSTANTS)
def test_the_first_and_the_last_instant_crash_nothing(
    target: Any, verb: str, path: str, value: dt.datetime
) -> None:
    try:
        _call(target, verb, path, value)()
    except KalendsError as refusal:
        assert refusal.code not in {"ACTOR_CRASHED", "SCHEDULER_FAILED"}  # noqa: PT017
    assert target.scheduler.get_event(target.valid["event_id"]).name == "known"
