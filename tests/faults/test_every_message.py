"""Each actor crashed at each kind of message it takes, before and after it has handled it.

In virtual time, with the real actors under their real supervisors: the ledger is whole afterwards,
all that is due runs, and the shutdown ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import KalendsError, Registry, every, once
from kalends.actors.event_manager import EventManagerActor
from kalends.actors.execution_tracker import ExecutionTrackerActor
from kalends.actors.housekeeper import HousekeeperActor
from kalends.actors.loop import LoopActor
from kalends.testing import VirtualScheduler

START = pendulum.datetime(2027, 1, 1, tz="UTC")
ACTORS = (EventManagerActor, ExecutionTrackerActor, HousekeeperActor, LoopActor)
KINDS = [
    (actor, message, name)
    for actor in ACTORS
    for message, name in sorted(actor._handlers.items(), key=lambda item: item[0].__name__)
]
ONLY_IN_TROUBLE = {"ClaimRefused", "ClaimUnrunnable", "OutcomesRefused", "OthersCommitted"}
"""What comes only where the database refuses, a job is gone, or others change the ledger: see
tests/storm."""


class Bomb:
    """Makes a handler raise once, before or after it has done its work."""

    def __init__(self, when: str) -> None:
        self.when = when
        self.armed = False
        """Not before the start: an actor that fails there fails the start, as it should."""
        self.struck = False

    def wrap(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(actor: Any, message: Any) -> Any:
            if self.struck or not self.armed:
                return method(actor, message)
            self.struck = True
            if self.when == "after":
                method(actor, message)
            raise RuntimeError("a bug")

        return wrapper


def attempt(call: Callable[[], Any]) -> Any:
    """Its answer; None where the actor crashed, or the answer refuses."""
    with contextlib.suppress(KalendsError):
        return call()
    return None


def story(scheduler: VirtualScheduler) -> None:
    """An hour in which every verb is called, and jobs end in every way."""
    start, end = START, START.add(hours=1)
    ticking = once_more(
        lambda: scheduler.schedule_event(
            "tick", every(minutes=1), name="ticking", on_conflict="keep"
        )
    )
    other = once_more(
        lambda: scheduler.schedule_event("long", every(minutes=7), name="other", on_conflict="keep")
    )
    gone = once_more(
        lambda: scheduler.schedule_event("gone", once(end), name="gone", on_conflict="keep")
    )
    calls: list[Callable[[], Any]] = [
        lambda: scheduler.get_event(ticking.id),
        lambda: scheduler.update_event(other.id, note="a note"),
        lambda: scheduler.pause_event(other.id),
        lambda: scheduler.resume_event(other.id),
        lambda: scheduler.release_event(gone.id),
        lambda: scheduler.skip_next(ticking.id),
        lambda: scheduler.move_next(other.id, to=scheduler.now.add(minutes=2)),
        lambda: scheduler.trigger_now(ticking.id),
        lambda: backfill(scheduler, ticking.id, start.subtract(minutes=9), start),
        scheduler.list_events,
        scheduler.count_events,
        scheduler.list_journal,
        lambda: scheduler.preview(ticking.id, 3),
        lambda: scheduler.next_runs(limit=3),
        lambda: scheduler.heat_map(days=1),
        lambda: cancel(scheduler, other.id),
        scheduler.list_executions,
        scheduler.count_executions,
        scheduler.list_gaps,
        scheduler.report,
        lambda: scheduler.explain(ticking.id, start.add(minutes=1)),
        scheduler.overdue,
        scheduler.verify,
        scheduler.keep_house,
        lambda: scheduler.housekeeper.run_cleanup("none").get(),
        scheduler.reconcile,
        lambda: scheduler.delete_event(gone.id),
    ]
    for call in calls:
        attempt(call)
        scheduler.advance(130)


def once_more(call: Callable[[], Any]) -> Any:
    """Whoever is told of a crash asks again."""
    return attempt(call) or call()


def backfill(scheduler: VirtualScheduler, event_id: str, start: Any, end: Any) -> None:
    made = scheduler.backfill(event_id, start, end)
    scheduler.get_backfill(made.id)
    scheduler.cancel_backfill(made.id)


def cancel(scheduler: VirtualScheduler, event_id: str) -> None:
    execution = scheduler.trigger_now(event_id)
    scheduler.get_execution(execution.id)
    scheduler.cancel_execution(execution.id)


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("actor", "message", "name"), KINDS, ids=[message.__name__ for _, message, _ in KINDS]
)
def test_a_crash_at_a_message_loses_nothing_and_all_goes_on(
    monkeypatch: pytest.MonkeyPatch, actor: Any, message: type, name: str, when: str
) -> None:
    bomb = Bomb(when)
    monkeypatch.setattr(actor, name, bomb.wrap(getattr(actor, name)))
    registry = Registry()
    for job in ("tick", "long", "gone"):
        registry.register(lambda: None, job)
    scheduler = VirtualScheduler(
        start=START, registry=registry, durations={"tick": 5.0, "long": 300.0}
    )
    scheduler.start()
    bomb.armed = True
    story(scheduler)
    scheduler.advance(3600)
    status = scheduler.status()
    assert status.state == "running"
    crashes = sum(item.restarts for item in status.actors)
    found = scheduler.verify()
    assert [item.words for item in found.violations] == []
    (ticking,) = scheduler.list_events(name="ticking").items
    assert ticking.next_due is not None
    assert ticking.next_due > scheduler.now, "all that was due has its fate"
    scheduler.shutdown(30.0)
    assert scheduler.status().state == "stopped"
    if message.__name__ not in ONLY_IN_TROUBLE:
        assert bomb.struck, "the story has such a message"
        refused = message.__name__ == "RunCleanup" and when == "after"  # there is no such rule
        assert crashes >= (message.__name__ != "Drain" and not refused)
