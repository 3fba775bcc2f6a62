"""Actors that crash while everybody talks to them, and a scheduler that gives up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pendulum
import pykka
import pytest

from kalends import (
    ActorCrashed,
    CleanupRule,
    JournalKind,
    KalendsError,
    Registry,
    Scheduler,
    SchedulerFailed,
    every,
    once,
)
from kalends.actors.exits import Crash
from kalends.actors.runtime import Cell

FAR = pendulum.datetime(2090, 1, 1, tz="UTC")
PAST = pendulum.datetime(2020, 1, 1, tz="UTC")
ACTORS = ("execution_tracker", "event_manager", "loop", "housekeeper")


def cell_of(scheduler: Scheduler, actor: str) -> Cell[Any]:
    system = scheduler._system
    assert system is not None
    cells = (system.tracker, system.event_manager, system.loop, system.housekeeper)
    return next(cell for cell in cells if cell.name == actor)


def crash(scheduler: Scheduler, actor: str, error: BaseException | None = None) -> None:
    """Make the actor meet a bug, before whatever waits for it."""
    cell_of(scheduler, actor).tell_urgent(Crash(error or RuntimeError("a bug")))


def restarts(scheduler: Scheduler, actor: str) -> int:
    return next(item.restarts for item in scheduler.status().actors if item.name == actor)


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    pause, end = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        pause.wait(0.002)


def wait_for_restarts(scheduler: Scheduler, actor: str, beyond: int) -> None:
    wait_until(lambda: restarts(scheduler, actor) > beyond)


def release(semaphore: threading.Semaphore) -> Callable[[], None]:
    def job() -> None:
        semaphore.release()

    return job


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.register(lambda: None, "noop")
    return registry


def asks(scheduler: Scheduler, actor: str) -> Callable[[], Any]:
    """A question to the actor, and what its answer has to look like."""
    event = scheduler.schedule_event("noop", once(FAR), name=f"known-{actor}")
    if actor == "event_manager":
        return lambda: scheduler.events.get(event.id).get(timeout=15).id == event.id
    if actor == "execution_tracker":
        return lambda: scheduler.executions.count(event_id=event.id).get(timeout=15) == 0
    if actor == "loop":
        return lambda: scheduler.loop.trigger_now(event.id).get(timeout=15).event_id == event.id
    return lambda: scheduler.housekeeper.run_cleanup("r", dry_run=True).get(timeout=15).dry_run


@pytest.mark.parametrize("actor", ACTORS)
def test_an_actor_crashed_a_hundred_times_loses_no_reply_and_gives_no_wrong_one(
    tmp_path: Path, registry: Registry, actor: str
) -> None:
    (tmp_path / "x").mkdir()
    rule = CleanupRule.checked(name="r", directory=str(tmp_path / "x"), pattern="*", keep_last=1)
    stop = threading.Event()
    wrong: list[BaseException | str] = []
    answered = [0] * 8
    slowest = [0.0] * 8
    with Scheduler(
        tmp_path / "k.db",
        registry=registry,
        environ={},
        cleanup=[rule],
        restart_intensity=1000,
        restart_backoff=0.001,
        restart_backoff_limit=0.002,
        ask_timeout=15.0,
    ) as scheduler:
        ask = asks(scheduler, actor)

        def talk(number: int) -> None:
            while not stop.is_set():
                began = time.monotonic()
                try:
                    if not ask():
                        wrong.append("a wrong answer")
                except ActorCrashed:
                    pass  # an answer, too: it was being handled when the actor crashed
                except BaseException as error:
                    wrong.append(error)
                slowest[number] = max(slowest[number], time.monotonic() - began)
                answered[number] += 1

        threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        before = restarts(scheduler, actor)
        for number in range(100):
            crash(scheduler, actor)
            wait_for_restarts(scheduler, actor, before + number)
        stop.set()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []
        assert min(answered) > 0
        assert max(slowest) < 15.0
        assert scheduler.status().state == "running"
        for kind in (JournalKind.ACTOR_CRASHED, JournalKind.ACTOR_RESTARTED):
            assert number_journalled(scheduler, kind, actor) == 100


def number_journalled(scheduler: Scheduler, kind: JournalKind, actor: str) -> int:
    """How many entries there are of an actor: written without anybody waiting for them."""

    def look() -> int:
        found = scheduler.list_journal(kind=kind, limit=1000).items
        return len([entry for entry in found if entry.details["actor"] == actor])

    wait_until(lambda: look() >= 100)
    return look()


@pytest.mark.parametrize("actor", ACTORS[:3])
def test_work_goes_on_over_crashes_and_every_instant_has_one_fate(
    tmp_path: Path, registry: Registry, actor: str
) -> None:
    ran = threading.Semaphore(0)
    registry.register(release(ran), "tick")
    with Scheduler(
        tmp_path / "k.db", registry=registry, environ={}, restart_intensity=1000,
        restart_backoff=0.001, restart_backoff_limit=0.002,
    ) as scheduler:  # fmt: skip
        event = scheduler.schedule_event("tick", every(seconds=0.02))
        for _ in range(30):
            assert ran.acquire(timeout=10)
            crash(scheduler, actor)
        scheduler.pause_event(event.id)
        accounts_agree(scheduler, event.id)


def accounts_agree(scheduler: Scheduler, event_id: str) -> None:
    """Every due instant up to the last accounted one has exactly one fate."""
    event = scheduler.get_event(event_id)
    told = [item.due for item in scheduler.list_executions(event_id=event_id, limit=1000).items]
    for gap in scheduler.list_gaps(event_id=event_id, limit=1000).items:
        told += list(event.trigger.between(gap.first, gap.last.add(microseconds=1)))
    due = event.next_due
    assert due is not None
    assert sorted(told) == list(event.trigger.between(event.accounted_from, due))


@pytest.fixture
def broken(tmp_path: Path, registry: Registry) -> Any:
    """A scheduler without a restart to spend, and what its callback has heard."""
    heard: list[BaseException] = []
    called = threading.Event()

    def on_failure(error: BaseException) -> None:
        heard.append(error)
        called.set()
        raise SystemExit(1)  # a host's callback may do anything

    scheduler = Scheduler(
        tmp_path / "k.db", registry=registry, environ={}, restart_intensity=0, on_failure=on_failure
    )
    scheduler.heard, scheduler.called = heard, called  # type: ignore[attr-defined]
    with scheduler:
        yield scheduler


@pytest.mark.parametrize("actor", ACTORS[:3])
def test_past_the_restart_budget_everybody_hears_of_it_at_once(broken: Any, actor: str) -> None:
    event = broken.schedule_event("noop", once(FAR))
    waited: list[BaseException] = []

    def wait() -> None:
        try:
            broken.wait()
        except SchedulerFailed as error:
            waited.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    queued = [broken.events.get(event.id) for _ in range(50)]
    began = time.monotonic()
    crash(broken, actor)
    queued += [broken.events.get(event.id) for _ in range(50)]
    assert broken.called.wait(10)
    waiter.join(10)
    assert len(waited) == 1
    for future in queued:
        try:
            assert future.get(timeout=5).id == event.id
        except SchedulerFailed:
            continue
    calls: list[Callable[[], Any]] = [
        lambda: broken.get_event(event.id),
        lambda: broken.schedule_event("noop", once(FAR)),
        broken.list_executions,
        lambda: broken.trigger_now(event.id),
        broken.keep_house,
        lambda: broken.events.count().get(),
        lambda: broken.executions.count().get(),
        lambda: broken.loop.trigger_now(event.id).get(),
        lambda: broken.housekeeper.keep_house().get(),
        broken.wait,
    ]
    for call in calls:
        with pytest.raises(SchedulerFailed, match=actor) as caught:
            call()
        assert caught.value.details["actor"] == actor
    assert time.monotonic() - began < 10
    assert [type(error) for error in broken.heard] == [SchedulerFailed]
    status = broken.status()
    assert status.state == "failed"
    assert actor in status.failure


def test_a_deferred_answer_fails_at_once_when_the_scheduler_gives_up(broken: Any) -> None:
    holding, go_on = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        holding.set()
        assert go_on.wait(20)

    broken._system.storage.write(hold)
    assert holding.wait(10)
    deferred = broken.events.create("noop", once(FAR))  # waits for the writer
    crash(broken, "loop")
    with pytest.raises(SchedulerFailed):
        deferred.get(timeout=5)
    go_on.set()


def test_a_failed_scheduler_shuts_down_and_starts_again(broken: Any) -> None:
    event = broken.schedule_event("noop", once(FAR))
    crash(broken, "loop")
    assert broken.called.wait(10)
    with pytest.raises(KalendsError):
        broken.start()
    before = time.monotonic()
    assert broken.shutdown(5).clean
    assert time.monotonic() - before < 10
    assert broken.status().state == "stopped"
    with broken:
        assert broken.get_event(event.id) == event
        assert broken.status().state == "running"


def test_no_job_begins_after_the_scheduler_has_failed(tmp_path: Path, registry: Registry) -> None:
    ran: list[int] = []
    registry.register(lambda: ran.append(1), "tick")
    failed = threading.Event()
    with Scheduler(
        tmp_path / "k.db", registry=registry, environ={}, restart_intensity=0,
        on_failure=lambda _: failed.set(), claim_ahead=1.0,
    ) as scheduler:  # fmt: skip
        scheduler.schedule_event("tick", every(seconds=0.05))
        wait_until(lambda: ran)
        crash(scheduler, "event_manager")
        assert failed.wait(10)
        count = len(ran)
        assert not threading.Event().wait(0.2)
        assert len(ran) <= count + 1  # one may have been on its way


def test_a_housekeeper_past_its_budget_degrades_and_never_stops(
    tmp_path: Path, registry: Registry
) -> None:
    ran = threading.Semaphore(0)
    registry.register(release(ran), "tick")
    with Scheduler(
        tmp_path / "k.db", registry=registry, environ={}, restart_intensity=0
    ) as scheduler:
        crash(scheduler, "housekeeper")
        wait_until(lambda: scheduler.status().state == "degraded")
        assert "housekeeper" in (scheduler.status().degraded or "")
        with pytest.raises(SchedulerFailed):
            scheduler.keep_house()
        scheduler.schedule_event("tick", every(seconds=0.02))
        for _ in range(3):
            assert ran.acquire(timeout=10)


class Bystander(pykka.ThreadingActor):
    """An actor of the host's, which has nothing to do with Kalends."""

    def on_receive(self, message: Any) -> Any:
        return message


@pytest.mark.parametrize(
    "error", [SystemExit(3), gevent.GreenletExit(), KeyboardInterrupt(), GeneratorExit()]
)
def test_a_base_exception_never_stops_the_hosts_own_actors(
    tmp_path: Path, registry: Registry, error: BaseException
) -> None:
    def fatal() -> None:
        raise error

    registry.register(fatal, "fatal")
    bystander = Bystander.start()
    try:
        with Scheduler(
            tmp_path / "k.db", registry=registry, environ={}, restart_backoff=0.001
        ) as scheduler:
            event = scheduler.schedule_event("fatal", once(PAST), catch_up_window=1e9)
            wait_until(lambda: scheduler.count_executions(event_id=event.id, fate="failed"))
            (execution,) = scheduler.list_executions(event_id=event.id).items
            assert execution.error is not None
            assert type(error).__name__ in execution.error.type
            for actor in ACTORS:
                before = restarts(scheduler, actor)
                crash(scheduler, actor, error)
                wait_for_restarts(scheduler, actor, before)
            assert scheduler.status().state == "running"
            assert bystander.ask("alive", timeout=5) == "alive"
        assert bystander.ask("still", timeout=5) == "still"
    finally:
        bystander.stop()
    assert pykka.ActorRegistry.get_all() == []
