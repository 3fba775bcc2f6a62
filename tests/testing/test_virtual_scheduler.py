"""A scheduler in virtual time is a scheduler: its verbs, its time, its jobs."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pendulum
import pytest

from kalends import (
    AskTimeout,
    EventNotFound,
    Registry,
    Scheduler,
    ValidationFailed,
    cron,
    current,
    every,
    once,
)
from kalends.testing import ManualClock, VirtualScheduler, sleep

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def fates(scheduler: Scheduler, **query: Any) -> list[tuple[float, str]]:
    """Executions oldest first: seconds since START, and the fate or why it was skipped."""
    page = scheduler.list_executions(descending=False, limit=1000, **query)
    return [((x.due - START).total_seconds(), (x.reason or x.fate).value) for x in page.items]


def test_what_is_due_on_the_way_happens_at_its_instant_and_in_order(make: Any) -> None:
    ran: list[tuple[str, str]] = []
    scheduler = make()

    @scheduler.registry.job("note")  # type: ignore[untyped-decorator]
    def note() -> None:
        ran.append((current().event_name, scheduler.now.to_time_string()))

    scheduler.schedule_event("note", cron("0 */6 * * *"), name="six")
    scheduler.schedule_event("note", cron("30 9 * * *"), name="half")
    scheduler.advance(86_400)
    assert ran == [
        ("six", "06:00:00"),
        ("half", "09:30:00"),
        ("six", "12:00:00"),
        ("six", "18:00:00"),
        ("six", "00:00:00"),
    ]
    assert scheduler.now == START.add(days=1)


def test_it_is_a_scheduler_with_real_actors_under_real_supervisors(
    virtual: VirtualScheduler,
) -> None:
    assert isinstance(virtual, Scheduler)
    status = virtual.status()
    assert (status.state, status.storage, status.stalls) == ("running", "ok", 0)
    names = ["execution_tracker", "event_manager", "loop", "housekeeper"]
    assert [actor.name for actor in status.actors] == names
    assert {actor.state.value for actor in status.actors} == {"running"}


def test_no_thread_is_made_and_no_real_time_passes(make: Any) -> None:
    before = threading.active_count()
    scheduler = make()
    scheduler.schedule_event("tick", every(hours=1))
    scheduler.advance_to(START.add(days=30))
    scheduler.keep_house()
    assert threading.active_count() == before
    assert scheduler.count_executions(fate="succeeded") == 30 * 24


def test_a_verb_returns_when_all_that_it_set_going_has_come_to_rest(
    virtual: VirtualScheduler,
) -> None:
    event = virtual.schedule_event("tick", once(START.add(years=1)))
    claimed = virtual.trigger_now(event.id)
    assert virtual.get_execution(claimed.id).fate == "succeeded"
    assert virtual.status().unrecorded == 0


def test_refusals_are_those_of_a_scheduler(virtual: VirtualScheduler) -> None:
    with pytest.raises(EventNotFound):
        virtual.get_event("01890a5d-ac96-774b-bcce-b302099a8057")
    with pytest.raises(ValidationFailed):
        virtual.schedule_event("tick", every(hours=1), nmae="x")  # type: ignore[call-arg]  # the point


def test_what_a_job_raises_is_its_outcome(virtual: VirtualScheduler) -> None:
    virtual.schedule_event("boom", once(START.add(seconds=1)))
    virtual.advance(2)
    (execution,) = virtual.list_executions().items
    assert execution.fate == "failed"
    assert execution.error is not None
    assert execution.error.type == "ZeroDivisionError"


def test_a_job_may_let_virtual_time_pass(make: Any) -> None:
    scheduler = make()
    scheduler.registry.register(lambda: sleep(90), "slow")
    scheduler.schedule_event("slow", every(minutes=1), overlap="skip")
    scheduler.advance(240)
    # At 60 it runs until 150: what is due at 120 overlaps; at 180 the next one is begun.
    assert fates(scheduler) == [(60.0, "succeeded"), (180.0, "running")]
    (gap,) = scheduler.list_gaps().items[:1]
    assert gap.reason == "overlap"
    (done,) = scheduler.list_executions(fate="succeeded").items
    assert done.ended_at is not None
    assert done.started_at is not None
    assert (done.ended_at - done.started_at).total_seconds() == 90.0


def test_a_job_may_call_the_scheduler_it_runs_in(make: Any) -> None:
    scheduler = make()
    scheduler.registry.register(
        lambda: scheduler.schedule_event("tick", once(START.add(seconds=30)), name="child").name,
        "parent",
    )
    scheduler.schedule_event("parent", once(START.add(seconds=10)))
    scheduler.advance(60)
    assert fates(scheduler) == [(10.0, "succeeded"), (30.0, "succeeded")]


def test_time_cannot_be_moved_from_inside_a_job(make: Any) -> None:
    scheduler = make()
    scheduler.registry.register(lambda: scheduler.advance(1), "mover")
    scheduler.schedule_event("mover", once(START.add(seconds=10)))
    scheduler.advance(60)
    (execution,) = scheduler.list_executions().items
    assert execution.error is not None
    assert "from inside" in execution.error.message


def test_a_proxys_future_can_be_awaited(virtual: VirtualScheduler) -> None:
    async def look() -> int:
        event = await virtual.events.create("tick", every(hours=1))
        assert (await virtual.events.get(event.id)).id == event.id
        return await virtual.events.count()

    assert asyncio.run(look()) == 1


def test_another_thread_is_refused(virtual: VirtualScheduler) -> None:
    caught: list[BaseException] = []

    def look() -> None:
        try:
            virtual.count_events()
        except ValidationFailed as error:
            caught.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(10)
    assert "thread that made it" in str(caught[0])


# -- clocks ------------------------------------------------------------------------------------


def test_a_clock_of_the_tests_own_drives_it(make: Any) -> None:
    clock = ManualClock(START)
    scheduler = make(clock=clock)
    scheduler.schedule_event("tick", every(minutes=10))
    clock.advance(3600)
    assert scheduler.count_executions(fate="succeeded") == 6


def test_a_jump_forward_is_an_outage_for_what_was_due_meanwhile(virtual: VirtualScheduler) -> None:
    event = virtual.schedule_event("tick", every(minutes=10), catch_up="latest")
    virtual.advance(600)
    virtual.jump(3600)
    virtual.advance(0)
    assert fates(virtual) == [(600.0, "succeeded"), (4200.0, "succeeded")]
    (gap,) = virtual.list_gaps(event_id=event.id).items
    assert (gap.count, gap.reason) == (5, "coalesced")
    assert virtual.now == START.add(seconds=4200)
    (jump,) = virtual.list_journal(kind="clock_jumped").items
    assert jump.details["seconds"] == 3600.0


def test_after_a_jump_back_no_instant_runs_twice(virtual: VirtualScheduler) -> None:
    virtual.schedule_event("tick", every(minutes=10))
    virtual.advance(1800)
    virtual.jump(-1200)
    virtual.advance(2400)
    assert fates(virtual) == [(600.0 * n, "succeeded") for n in range(1, 6)]


def test_a_shutdown_lets_as_much_time_pass_as_its_jobs_need(make: Any) -> None:
    scheduler = make(durations={"tick": 20})
    scheduler.schedule_event("tick", once(START.add(seconds=10)))
    scheduler.advance(15)
    report = scheduler.shutdown(timeout=60)
    assert (report.abandoned, report.unrecorded, report.clean) == ((), 0, True)
    assert 30.0 <= (scheduler.now - START).total_seconds() < 31.0
    assert scheduler.status().state == "stopped"


def test_a_shutdown_abandons_what_takes_longer_than_it_may(make: Any) -> None:
    scheduler = make(durations={"tick": 600})
    scheduler.schedule_event("tick", once(START.add(seconds=10)))
    scheduler.advance(15)
    assert len(scheduler.shutdown(timeout=5).abandoned) == 1
    scheduler.start()
    scheduler.advance(1200)
    (execution,) = scheduler.list_executions().items
    assert [attempt.outcome for attempt in execution.attempts] == ["lost", "succeeded"]


def test_wait_until_jumps_from_one_thing_due_to_the_next(virtual: VirtualScheduler) -> None:
    virtual.schedule_event("tick", cron("0 12 * * *"))
    virtual.wait_until(lambda: virtual.count_executions(fate="succeeded") == 3, timeout=86_400 * 5)
    assert virtual.now.subtract(days=2) == START.add(hours=12)
    with pytest.raises(AssertionError, match="within 60 s"):
        virtual.wait_until(lambda: False, timeout=60)


def test_next_wake_says_what_comes_first(make: Any) -> None:
    scheduler = make(claim_ahead=0.0)
    scheduler.schedule_event("tick", once(START.add(seconds=10)))
    scheduler.advance(1)
    assert scheduler.next_wake() == START.add(seconds=10)


def test_the_past_is_refused(virtual: VirtualScheduler) -> None:
    with pytest.raises(ValidationFailed, match="is past"):
        virtual.advance_to(START.subtract(seconds=1))


def test_an_ask_that_nothing_will_answer_ends_after_its_time_out(
    virtual: VirtualScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = virtual._system
    assert system is not None
    monkeypatch.setattr(type(system.storage), "read", lambda self, query: system.hub.future(1.0))
    with pytest.raises(AskTimeout):
        virtual.events.count().get(timeout=5)


# -- starting and ending ------------------------------------------------------------------------


def test_memory_outlives_a_shutdown(virtual: VirtualScheduler) -> None:
    virtual.schedule_event("tick", every(minutes=10), name="kept")
    virtual.shutdown()
    with pytest.raises(Exception, match="stopped"):
        virtual.count_events()
    virtual.start()
    assert [event.name for event in virtual.list_events().items] == ["kept"]


def test_starting_and_stopping_twice_changes_nothing(virtual: VirtualScheduler) -> None:
    assert virtual.start().start() is virtual
    assert virtual.shutdown().clean
    assert virtual.shutdown().clean
    with VirtualScheduler(registry=Registry()) as other:
        assert other.alive
    assert not other.alive


def test_a_job_may_shut_the_scheduler_down(make: Any) -> None:
    scheduler = make()
    scheduler.registry.register(lambda: scheduler.shutdown().under_way, "last")
    scheduler.schedule_event("last", once(START.add(seconds=10)))
    scheduler.advance(60)
    assert scheduler.status().state == "stopped"
    scheduler.start()
    assert fates(scheduler) == [(10.0, "succeeded")]


def test_async_start_and_shutdown_do_the_same(registry: Registry) -> None:
    async def live() -> str:
        async with VirtualScheduler(registry=registry) as scheduler:
            return scheduler.status().state

    assert asyncio.run(live()) == "running"


def test_a_virtual_scheduler_beside_a_world_of_another_is_a_second_node(
    make: Callable[..., VirtualScheduler],
) -> None:
    first = make()
    second = first.peer().start()
    event = first.schedule_event("tick", every(minutes=10))
    second.advance(3600)
    nodes = {execution.node for execution in first.list_executions().items}
    assert first.count_executions(fate="succeeded", event_id=event.id) == 6
    assert nodes <= {first.status().node, second.status().node}
    second.kill()
    first.advance(3600)
    assert second.now == first.now
    assert first.count_executions(fate="succeeded") == 12


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as Python has it: what runs in a shell's background has been told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_test_and_no_actor(make: Any) -> None:
    scheduler = make()
    scheduler.registry.register(lambda: signal.raise_signal(signal.SIGINT), "interrupt")
    scheduler.schedule_event("interrupt", once(START.add(seconds=10)))
    with pytest.raises(KeyboardInterrupt):
        scheduler.advance(60)
    assert scheduler.now == START.add(seconds=10)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    scheduler.advance(60)
    assert [actor.restarts for actor in scheduler.status().actors] == [0, 0, 0, 0]
    assert fates(scheduler) == [(10.0, "succeeded")]


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_strikes_what_blocks(make: Any) -> None:
    scheduler = make()

    def block() -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    scheduler.registry.register(block, "block")
    scheduler.schedule_event("block", once(START.add(seconds=10)))
    with pytest.raises(KeyboardInterrupt):
        scheduler.advance(60)
    scheduler.advance(0)
    (execution,) = scheduler.list_executions().items
    assert execution.error is not None
    assert execution.error.type == "KeyboardInterrupt"


def test_a_hosts_own_handler_is_left_alone(make: Any) -> None:
    scheduler, heard = make(), []
    scheduler.registry.register(lambda: signal.raise_signal(signal.SIGINT), "interrupt")
    scheduler.schedule_event("interrupt", once(START.add(seconds=10)))
    before = signal.signal(signal.SIGINT, lambda number, _frame: heard.append(number))
    try:
        scheduler.advance(60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]
