"""Every kind of message an actor takes, a bomb in its handler, and a story that has them all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pendulum

from kalends import Event, KalendsError, Registry, StorageUnavailable, every, once
from kalends.actors.event_manager import EventManagerActor
from kalends.actors.execution_tracker import ExecutionTrackerActor
from kalends.actors.housekeeper import HousekeeperActor
from kalends.actors.loop import LoopActor
from kalends.messages import OthersCommitted
from kalends.testing import VirtualScheduler
from kalends.testing.probing import StorageStep

START = pendulum.datetime(2027, 1, 1, tz="UTC")
ACTORS = (EventManagerActor, ExecutionTrackerActor, HousekeeperActor, LoopActor)
KINDS = [
    (actor, message, name)
    for actor in ACTORS
    for message, name in sorted(actor._handlers.items(), key=lambda item: item[0].__name__)
]


class Bomb:
    """Makes a handler raise, before or after it has done its work: so often at most."""

    def __init__(self, when: str, times: float = 1) -> None:
        self.when = when
        self.left = times
        self.armed = False
        """Not before the start: an actor that fails there fails the start, as it should."""
        self.struck = 0

    def wrap(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(actor: Any, message: Any) -> Any:
            if not self.armed or self.struck >= self.left:
                return method(actor, message)
            self.struck += 1
            if self.when == "after":
                method(actor, message)
            raise RuntimeError("a bug")

        return wrapper


def attempt(call: Callable[[], Any]) -> Any:
    """Its answer; None where the actor crashed, or the answer refuses."""
    with contextlib.suppress(KalendsError):
        return call()
    return None


def registry() -> Registry:
    """The jobs of the story."""
    made = Registry()
    for job in ("tick", "long", "gone", "vanishes"):
        made.register(lambda: None, job)
    return made


def scheduler_in_a_story(**settings: Any) -> VirtualScheduler:
    """One whose jobs take their time, on a database that can be put out of order."""
    durations = {"tick": 5.0, "long": 300.0}
    return VirtualScheduler(
        start=START, registry=registry(), durations=durations, probe=Outage(), **settings
    )


def cast(scheduler: VirtualScheduler) -> list[Event]:
    """The events that the story is about."""
    made: list[Event] = []
    for job, rule, name in (
        ("tick", every(minutes=1), "ticking"),
        ("long", every(minutes=7), "other"),
        ("gone", once(START.add(hours=1)), "gone"),
    ):
        ask = partial(scheduler.schedule_event, job, rule, name=name, on_conflict="keep")
        made.append(attempt(ask) or ask())  # whoever is told of a crash asks again
    return made


def story(scheduler: VirtualScheduler, events: Sequence[Event]) -> None:
    """An hour in which every verb is called, and jobs end in every way."""
    start, (ticking, other, gone) = START, events
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
    trouble(scheduler)


class Outage:
    """A database that takes nothing for a while."""

    def __init__(self) -> None:
        self.lasts = False

    def __call__(self, step: StorageStep) -> None:
        if self.lasts and step is StorageStep.BEGIN:
            raise StorageUnavailable("out of order", reason="locked")


def trouble(scheduler: VirtualScheduler) -> None:
    """What is told of only where something is wrong: an outage, a job that is gone, others."""
    system, outage = scheduler._system, scheduler.probe
    assert isinstance(outage, Outage)
    if system is None or system.failure is not None:
        return
    soon = once(scheduler.now.add(seconds=1))
    for job in ("vanishes", "tick"):
        attempt(partial(scheduler.schedule_event, job, soon, name=job))
        scheduler.registry._jobs.pop("vanishes", None)
    system.tracker.tell_urgent(OthersCommitted())
    scheduler.advance(3)  # a job runs by now that takes five seconds
    outage.lasts = True
    scheduler.advance(90)
    outage.lasts = False
    scheduler.advance(60)


def backfill(scheduler: VirtualScheduler, event_id: str, start: Any, end: Any) -> None:
    made = scheduler.backfill(event_id, start, end)
    scheduler.get_backfill(made.id)
    scheduler.cancel_backfill(made.id)


def cancel(scheduler: VirtualScheduler, event_id: str) -> None:
    execution = scheduler.trigger_now(event_id)
    scheduler.get_execution(execution.id)
    scheduler.cancel_execution(execution.id)
