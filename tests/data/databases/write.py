"""Writes a database with something of everything that its schema holds.

usage: write.py FILE. Lives three lives in virtual time on a new file and is killed in the middle of
the last, so that executions are left open. Equal code and equal data of time zones write equal
bytes. It is run once for each version of the schema, by the last code that has it; see README.md.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import pendulum
import structlog

from kalends import Cancel, Registry, Retry, Snooze, current, once
from kalends import triggers as t
from kalends.actors.exits import Crash
from kalends.testing import VirtualScheduler

START = pendulum.datetime(2027, 1, 1, tz="UTC")
HOUR = 3600.0
PLAYED = {"long": 900.0, "hang": 90_000.0, "slow": 40.0}
"""Jobs that take their time, in seconds; the others are called and take none."""
SETTINGS: dict[str, Any] = {
    "concurrency_limits": {"printer": 1},
    "housekeeping_every": HOUR,
    "lease": 60.0,
    "retain_count": 8,
    "greenlets": 1,
    "queue_limit": 2,
    "workers": 100,
}


def work(**_: Any) -> dict[str, Any]:
    """Tells how it goes, and has a result."""
    here = current()
    here.progress(0.5, "half-way")
    here.log.info("at work", due=str(here.due))
    here.log.warning("a second line")
    return {"due": str(here.due), "many": [1, 2.5, None, "ünïcödé"]}


def fail(**_: Any) -> None:
    raise ValueError("it was to fail")


def flaky(**_: Any) -> str:
    current().log.error("it is not there", attempt=current().attempt)
    if current().attempt < 3:
        raise ConnectionError("not yet")
    return "at the third attempt"


def again(**_: Any) -> None:
    raise Retry(600.0)


def snooze(**_: Any) -> None:
    raise Snooze(1800.0)


def cancel(**_: Any) -> None:
    raise Cancel("not today")


def unstorable(**_: Any) -> object:
    return object()


def registry(*, first: bool) -> Registry:
    """The application's jobs. Later it has one job less, and declares other events."""
    made = Registry()
    for job in (work, fail, flaky, again, snooze, cancel, unstorable):
        made.register(job, job.__name__)
    made.register(_declared, "declared")
    for name in PLAYED:
        made.register(lambda **_: None, name)
    made.scheduled(t.every(hours=2), name="declared-always", tags=["declared"])(_declared)
    if first:
        made.register(work, "gone")
        made.scheduled(t.every(hours=3), name="declared-once")(_declared)
    return made


def _declared() -> None:
    """What the code declares to be run."""


def rules() -> dict[str, t.Trigger]:
    """A rule of each kind, and of several kinds together."""
    workdays = t.weekdays("mon", "tue", "wed", "thu", "fri")
    return {
        "once": once(START.add(minutes=90)),
        "once-far": once(START.add(years=60)),
        "every": t.every(minutes=20),
        "every-anchor": t.every(hours=1, minutes=30, anchor=START),
        "cron": t.cron("*/30 * * * *"),
        "cron-seconds": t.cron("15 */20 * * * *", tz="Asia/Kathmandu"),
        "cron-dst": t.cron("30 2 * * *", tz="Europe/Berlin", gap="shift", fold="both"),
        "cron-quartz": t.cron("0 30 9 15W * ?", tz="America/New_York", dialect="quartz"),
        "calendar": t.calendar(months=1, day=-1, at="18:00", tz="Europe/Oslo"),
        "calendar-week": t.calendar(weeks=1, weekday="fri", at=["06:00", "12:30"]),
        "rrule": t.rrule("FREQ=HOURLY;INTERVAL=2", start=START),
        "union": t.every(hours=5, anchor=START) | t.cron("0 3 * * *"),
        "intersection": t.every(hours=1, anchor=START) & t.cron("0 */4 * * *"),
        "difference": t.every(hours=1, anchor=START) - t.cron("0 */3 * * *"),
        "on-days": t.cron("0 6 * * *") & workdays,
        "off-days": t.cron("0 7 * * *") - t.dates("2027-01-02", "2027-12-24"),
        "holidays": t.cron("0 8 * * *") - t.holidays("NO"),
        "working-day": t.cron("0 9 * * *") & t.working_day(-1, closed=t.weekdays("sat", "sun")),
        "limited": t.every(minutes=15).limit(3),
        "jittered": t.every(hours=1, anchor=START).jitter(60),
        "bounded": t.every(hours=1, anchor=START).between(START.add(hours=2), START.add(days=9)),
    }


def schedule(scheduler: VirtualScheduler) -> dict[str, str]:
    """An event of each kind of rule, and one for each thing that may become of an execution."""
    made = scheduler.schedule_events(
        {
            "job": "work",
            "trigger": rule,
            "name": name,
            "kwargs": {"text": name, "numbers": [1, -2.5, None, True]},
            "tags": ["rule", name.split("-")[0]],
            "note": f"a rule of kind {name}",
        }
        for name, rule in rules().items()
    )
    ids = {event.name: event.id for event in made}

    def minutes(number: int) -> t.Trigger:
        return t.every(minutes=number)

    for name, job, rule, fields in (
        ("fails", "fail", minutes(60), {}),
        ("exhausts", "fail", minutes(180), {"retries": 2, "retry_on": ["ValueError"]}),
        ("flaky", "flaky", minutes(120), {"retries": 5, "retry_backoff": "linear"}),
        ("retries", "again", minutes(50), {"max_attempts": 3}),
        ("snoozes", "snooze", minutes(240), {}),
        ("cancels", "cancel", minutes(240), {}),
        ("unstorable", "unstorable", minutes(240), {}),
        ("hangs", "hang", minutes(70), {"timeout": 60.0, "retries": 1}),
        ("pauses-itself", "fail", minutes(30), {"pause_after_failures": 3}),
        ("skips", "long", minutes(5), {}),
        ("buffers-one", "long", minutes(10), {"overlap": "buffer_one"}),
        ("buffers-all", "long", minutes(9), {"overlap": "buffer_all", "buffer_limit": 3}),
        ("cancels-other", "long", minutes(13), {"overlap": "cancel_other"}),
        ("terminates-other", "long", minutes(13), {"overlap": "terminate_other"}),
        ("beside", "long", minutes(10), {"overlap": "allow_all", "priority": 5}),
        ("finds-no-room", "long", minutes(4), {"overlap": "allow_all", "executor": "greenlet"}),
        ("limited-a", "slow", minutes(17), {"concurrency_limit": "printer", "priority": 9}),
        ("limited-b", "slow", minutes(17), {"concurrency_limit": "printer"}),
        ("never-twice", "long", minutes(25), {"delivery": "at_most_once"}),
        ("catches-up", "work", minutes(30), {"catch_up": "all", "catch_up_limit": 4}),
        ("lets-go", "work", minutes(30), {"catch_up": "skip"}),
        ("goes", "gone", minutes(45), {}),
        ("moves", "work", minutes(60), {}),
        ("fills", "work", minutes(60), {}),
        ("paused", "work", minutes(60), {}),
        ("paused-until", "work", minutes(60), {}),
        ("deleted", "work", minutes(30), {}),
        ("changes", "work", minutes(30), {}),
    ):
        asked: Any = fields
        event = scheduler.schedule_event(job, rule, name=name, author="ada", tags=["way"], **asked)
        ids[name] = event.id
    return ids


def operate(scheduler: VirtualScheduler, ids: dict[str, str]) -> None:
    """What people do to events."""
    scheduler.advance(2 * HOUR + 10)
    scheduler.skip_next(ids["moves"], 2, note="a holiday", author="ada")
    scheduler.move_next(ids["moves"], scheduler.now.add(minutes=7), author="ada")
    scheduler.pause_event(ids["paused"], note="the disk is swapped", author="ada")
    scheduler.pause_event(ids["paused-until"], until=scheduler.now.add(hours=9), author="ada")
    scheduler.delete_event(ids["deleted"], note="no longer wanted", author="ada")
    scheduler.update_event(ids["changes"], trigger=t.every(minutes=40), tags=["way", "new"])
    scheduler.trigger_now(ids["once-far"], author="ada")
    for days, cancelled in ((2, False), (3, True)):
        began = START.subtract(days=days)
        backfill = scheduler.backfill(ids["fills"], began, began.add(hours=6), author="ada")
        if cancelled:
            scheduler.cancel_backfill(backfill.id, note="a mistake", author="ada")
    running = scheduler.trigger_now(ids["long-by-hand"], author="ada")
    scheduler.cancel_execution(running.id, note="it takes too long", author="ada")
    (waiting,) = scheduler.list_executions(event_id=ids["moves"], fate="pending").items
    scheduler.cancel_execution(waiting.id, note="it is not needed", author="ada")
    scheduler.move_next(ids["moves"], scheduler.now.add(minutes=9), author="ada")
    scheduler.advance(HOUR)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without a log."""

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])
    yield
    structlog.reset_defaults()


def crash(scheduler: VirtualScheduler) -> None:
    """Of an actor, for the journal."""
    system = scheduler._system
    assert system is not None
    system.event_manager.tell_urgent(Crash(RuntimeError("a bug")))
    scheduler.advance(60)


def live(path: str) -> None:
    """Three lives of one application, and a peer beside the second."""
    asked: dict[str, Any] = {"durations": PLAYED, **SETTINGS}
    first = VirtualScheduler(path, start=START, seed=5, registry=registry(first=True), **asked)
    first.start()
    ids = schedule(first)
    ids["long-by-hand"] = first.schedule_event("long", once(START.add(years=50)), name="by hand").id
    operate(first, ids)
    crash(first)
    first.kill()
    first.clock.advance(5 * HOUR)  # nobody runs it

    second = first.peer(registry=registry(first=False), **asked).start()
    second.advance(HOUR)
    other = second.peer(registry=registry(first=False), application="another", **asked).start()
    other.schedule_event("slow", t.every(minutes=11), name="of another node", tags=["other"])
    second.jump(2 * HOUR)
    second.advance(HOUR)
    second.clock.suspend(HOUR)
    second.advance(3 * HOUR)
    other.shutdown(0.0)
    second.update_event(ids["off-days"], note="a last change", author="ada")
    second.kill()
    second.clock.advance(600)

    third = second.peer(registry=registry(first=False), **asked).start()
    third.advance(2 * HOUR + 300)
    third.backfill(ids["fills"], START.subtract(days=5), START.subtract(days=4), author="ada")
    third.trigger_now(ids["long-by-hand"], author="grace")
    third.move_next(ids["moves"], third.now.add(hours=5), note="later", author="grace")
    third.advance(20)
    third.kill()


if __name__ == "__main__":
    with quiet():
        live(sys.argv[1])
