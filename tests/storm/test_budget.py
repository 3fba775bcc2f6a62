"""Past the restart budget: a scheduler that has failed says so at once, everywhere."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import Delivery, Scheduler, SchedulerFailed, every, once
from kalends.verbs import Verbs

FAR = pendulum.datetime(2090, 1, 1, tz="UTC")
PAST = pendulum.datetime(2020, 1, 1, tz="UTC")
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
AT_ONCE = 3.0
"""Seconds; nothing that waits in these tests would end by itself before 20."""

VERBS: dict[str, Callable[[Scheduler, str], Any]] = {
    "schedule_event": lambda s, id: s.schedule_event("tick", once(FAR)),
    "schedule_events": lambda s, id: s.schedule_events([{"job": "tick", "trigger": once(FAR)}]),
    "get_event": lambda s, id: s.get_event(id),
    "update_event": lambda s, id: s.update_event(id, note="x"),
    "pause_event": lambda s, id: s.pause_event(id),
    "resume_event": lambda s, id: s.resume_event(id),
    "skip_next": lambda s, id: s.skip_next(id),
    "move_next": lambda s, id: s.move_next(id, FAR),
    "backfill": lambda s, id: s.backfill(id, PAST, PAST.add(days=1)),
    "get_backfill": lambda s, id: s.get_backfill(id),
    "cancel_backfill": lambda s, id: s.cancel_backfill(id),
    "next_runs": lambda s, id: s.next_runs(),
    "heat_map": lambda s, id: s.heat_map(),
    "overdue": lambda s, id: s.overdue(),
    "verify": lambda s, id: s.verify(),
    "explain": lambda s, id: s.explain(id, FAR),
    "release_event": lambda s, id: s.release_event(id),
    "delete_event": lambda s, id: s.delete_event(id),
    "list_events": lambda s, id: s.list_events(),
    "count_events": lambda s, id: s.count_events(),
    "preview": lambda s, id: s.preview(id),
    "list_journal": lambda s, id: s.list_journal(),
    "trigger_now": lambda s, id: s.trigger_now(id),
    "get_execution": lambda s, id: s.get_execution(id),
    "cancel_execution": lambda s, id: s.cancel_execution(id),
    "reconcile": lambda s, id: s.reconcile(),
    "list_executions": lambda s, id: s.list_executions(),
    "count_executions": lambda s, id: s.count_executions(),
    "list_gaps": lambda s, id: s.list_gaps(),
    "report": lambda s, id: s.report(),
    "keep_house": lambda s, id: s.keep_house(),
}
PROXIES: dict[str, Callable[[Scheduler, str], Any]] = {
    "create": lambda s, id: s.events.create("tick", once(FAR)),
    "update": lambda s, id: s.events.update(id, note="x"),
    "trigger": lambda s, id: s.loop.trigger_now(id),
    "get": lambda s, id: s.events.get(id),
    "count": lambda s, id: s.executions.count(),
    "report": lambda s, id: s.executions.report(),
    "cleanup": lambda s, id: s.housekeeper.run_cleanup("r"),
    "round": lambda s, id: s.housekeeper.keep_house(),
}


def test_every_verb_of_the_facade_is_among_those_tried() -> None:
    # A subscription may be made in any state, to hear of the next start.
    life = {"start", "shutdown", "wait", "astart", "ashutdown", "status", "subscribe"}
    named = {**vars(Verbs), **vars(Scheduler)}
    verbs = {n for n, v in named.items() if callable(v) and not n.startswith("_")}
    assert verbs - life == set(VERBS)


class Waiters:
    """Threads and tasks that wait for something, and what became of them."""

    def __init__(self) -> None:
        self.heard: dict[str, BaseException | None] = {}
        self.threads: list[threading.Thread] = []

    def wait(self, name: str, call: Callable[[], Any]) -> None:
        def body() -> None:
            try:
                call()
            except BaseException as error:
                self.heard[name] = error
            else:
                self.heard[name] = None

        self.threads.append(threading.Thread(target=body, name=name))
        self.threads[-1].start()

    def check(self, begun: float) -> None:
        for thread in self.threads:
            thread.join(max(0.0, begun + AT_ONCE - time.monotonic()))
            assert not thread.is_alive(), f"{thread.name} waits on"
        assert {name: type(error) for name, error in self.heard.items()} == dict.fromkeys(
            self.heard, SchedulerFailed
        )


async def awaited(scheduler: Scheduler) -> None:
    await scheduler.events.create("tick", once(FAR))


def fail(storm: Any, until: Callable[..., Any], last: str) -> Waiters:
    """Fail the scheduler while something waits at every place; the writer is held all the time."""
    scheduler, waiters = storm.scheduler, Waiters()
    id = scheduler.schedule_event("tick", once(FAR), name="far").id
    tick = scheduler.schedule_event("tick", every(seconds=0.05), name="tick").id
    once_only = scheduler.schedule_event(
        "tick", every(seconds=0.07), name="once-only", delivery=Delivery.AT_MOST_ONCE
    ).id
    until(lambda: {tick, once_only} <= {event for event, _ in storm.ran})
    storm.held = storm.hold_writer()
    deferred = [PROXIES[name](scheduler, id) for name in ("create", "update", "trigger", "round")]
    waiters.wait("facade", lambda: scheduler.schedule_event("tick", once(FAR)))
    waiters.wait("awaited", lambda: asyncio.run(awaited(scheduler)))
    waiters.wait("wait()", scheduler.wait)
    until(lambda: len(storm.cell("event_manager").mailbox.unanswered) >= 4)
    other = next(name for name in ("event_manager", "loop") if name != last)
    storm.crash(other)  # it stays away for its backoff, and what is asked of it waits
    until(lambda: storm.state(other) == "restarting")
    down = {"event_manager": ("get", "create", "trigger"), "loop": ("trigger",)}[other]
    queued = [PROXIES[name](scheduler, id) for name in down for _ in range(50)]
    begun = time.monotonic()
    storm.crash(last)
    for future in deferred + queued:
        with pytest.raises(SchedulerFailed):
            future.get(timeout=max(0.01, begun + AT_ONCE - time.monotonic()))
    waiters.check(begun)
    return waiters


@pytest.mark.parametrize("last", ["execution_tracker", "event_manager"])
def test_a_failed_scheduler_says_so_at_once_to_all_who_wait_and_all_who_come(
    make_storm: Any, tools: Any, last: str
) -> None:
    heard: list[BaseException] = []
    storm = make_storm(restart_intensity=1, restart_backoff=30.0, restart_backoff_limit=30.0)
    storm.on_failure = heard.append
    scheduler = storm.scheduler
    fail(storm, tools.until, last)
    began = time.monotonic()
    for name, verb in VERBS.items():
        with pytest.raises(SchedulerFailed, match="gave up") as caught:
            verb(scheduler, ID)
        assert caught.value.details["actor"] == last, name
    for ask in PROXIES.values():
        with pytest.raises(SchedulerFailed):
            ask(scheduler, ID).get(timeout=1.0)
    with pytest.raises(SchedulerFailed):
        scheduler.wait(timeout=1.0)
    assert time.monotonic() - began < AT_ONCE
    status = scheduler.status()
    assert status.state == "failed"
    assert "gave up" in str(status.failure)
    assert storm.state(last) == "failed"
    tools.until(lambda: heard)
    assert [type(error) for error in heard] == [SchedulerFailed]


@pytest.mark.parametrize("last", ["execution_tracker", "event_manager"])
def test_no_job_starts_after_a_failure_and_the_next_start_accounts_for_everything(
    make_storm: Any, tools: Any, last: str
) -> None:
    storm = make_storm(
        restart_intensity=1, restart_backoff=30.0, restart_backoff_limit=30.0, claim_ahead=0.5
    )
    fail(storm, tools.until, last)
    before = len(storm.ran)
    storm.held.let_go.set()  # a claim that was under way commits, and must not begin
    storm.system.storage.write(lambda _: None).get(timeout=5.0)
    pause = threading.Event()
    pause.wait(0.7)
    assert len(storm.ran) == before
    began = time.monotonic()
    report = storm.scheduler.shutdown(2.0)
    assert time.monotonic() - began < 4.0
    assert (report.abandoned, report.unrecorded, report.clean) == ((), 0, True)
    assert storm.scheduler.status().state == "stopped"
    storm.scheduler.start()
    tools.until(lambda: len(storm.ran) > before + 3)
    assert storm.scheduler.status().state == "running"
    storm.settle()
    assert storm.check_accounts() > 3


@pytest.mark.parametrize("kind", ["raises", "blocks", "shuts down"])
def test_an_on_failure_that_misbehaves_harms_nothing(
    make_storm: Any, tools: Any, logged: list[Any], kind: str
) -> None:
    storm = make_storm(restart_intensity=0)
    calls, go = [], threading.Event()

    def on_failure(error: BaseException) -> None:
        calls.append(error)
        if kind == "raises":
            raise SystemExit("no")
        if kind == "blocks":
            go.wait(tools.wait)
        else:
            storm.scheduler.shutdown(0.0)

    storm.on_failure = on_failure
    storm.crash("loop")
    with pytest.raises(SchedulerFailed):
        storm.scheduler.wait(timeout=AT_ONCE)
    tools.until(lambda: calls)
    assert storm.scheduler.shutdown(1.0).abandoned == ()
    storm.scheduler.start()
    assert storm.scheduler.count_events() == 0
    go.set()
    assert len(calls) == 1
    assert ("on_failure_failed" in [entry["event"] for entry in logged]) is (kind == "raises")


def test_jobs_that_run_when_the_scheduler_fails_end_and_are_recorded(
    make_storm: Any, tools: Any
) -> None:
    storm = make_storm(restart_intensity=0)
    event = storm.scheduler.schedule_event("hold", once(FAR), delivery=Delivery.AT_MOST_ONCE)
    run = storm.scheduler.trigger_now(event.id)
    assert storm.begun.acquire(timeout=tools.wait)
    storm.crash("execution_tracker")
    with pytest.raises(SchedulerFailed):
        storm.scheduler.wait(timeout=AT_ONCE)
    storm.let_go.set()
    report = storm.scheduler.shutdown(5.0)
    assert (report.abandoned, report.unrecorded) == ((), 0)
    storm.scheduler.start()
    assert storm.scheduler.get_execution(run.id).fate == "succeeded"


def test_a_housekeeper_past_its_budget_degrades_and_a_late_round_does_not_hide_it(
    make_storm: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storm = make_storm(restart_intensity=2)
    scheduler, held = storm.scheduler, threading.Event()
    monkeypatch.setattr(storm.system.storage, "upkeep", lambda: held.wait(tools.wait))
    late = scheduler.housekeeper.keep_house()
    for _ in range(3):
        tools.until(lambda: storm.state("housekeeper") == "running")
        incarnation = storm.cell("housekeeper").incarnation
        storm.kill("housekeeper")
        tools.until(
            lambda before=incarnation: (
                storm.cell("housekeeper").incarnation > before
                or storm.state("housekeeper") == "failed"
            )
        )
    for call in (scheduler.keep_house, lambda: scheduler.housekeeper.run_cleanup("r").get()):
        with pytest.raises(SchedulerFailed):
            call()
    with contextlib.suppress(SchedulerFailed):
        late.get(timeout=AT_ONCE)
    tools.until(lambda: scheduler.status().state == "degraded")
    held.set()
    assert storm.system.chores.join(tools.wait)
    status = scheduler.status()
    assert status.state == "degraded"
    assert "given up" in str(status.degraded)
    assert status.failure is None
    scheduler.schedule_event("tick", every(seconds=0.05))
    tools.until(lambda: len(storm.ran) > 2)
    assert scheduler.wait(timeout=0.01) is False
    assert scheduler.shutdown(5.0).clean


def test_a_failed_scheduler_refuses_a_start_until_it_was_shut_down(make_storm: Any) -> None:
    storm = make_storm(restart_intensity=0)
    storm.kill("event_manager")
    with pytest.raises(SchedulerFailed):
        storm.scheduler.wait(timeout=AT_ONCE)
    with pytest.raises(Exception, match="shut it down first"):
        storm.scheduler.start()
    assert storm.scheduler.shutdown(1.0).clean
    assert storm.scheduler.start().status().state == "running"
