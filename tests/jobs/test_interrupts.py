"""When the runner interrupts jobs, and when it has no room for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from kalends.clock import US
from kalends.errors import KalendsError
from kalends.jobs.executors.base import Task
from kalends.jobs.executors.queue import TaskQueue
from kalends.jobs.outbox import Outbox
from kalends.jobs.registry import Registry
from kalends.jobs.runner import Runner
from kalends.model import Fate, Reason
from kalends.testing import ManualClock
from kalends.work import Claim, WrittenOff

Make = Callable[..., Any]
START = 1_800_000_000 * US


class Desk:
    """An executor whose tasks begin and end when a test says so, and what it was asked."""

    name = "desk"
    interrupts = True

    def __init__(
        self, capacity: int = 100, queue_limit: int = 100, coroutines: bool = False
    ) -> None:
        self.capacity = capacity
        self.queue_limit = queue_limit
        self.coroutines = coroutines
        self.isolated = False
        self.queue = TaskQueue(queue_limit)
        self.tasks: dict[str, Task] = {}
        self.asked: list[tuple[str, str]] = []
        self.interrupted = threading.Semaphore(0)

    @property
    def running(self) -> int:
        return len(self.tasks)

    @property
    def queued(self) -> int:
        return len(self.queue)

    def fresh(self, name: str) -> Desk:
        raise NotImplementedError

    def start(self) -> None:
        return

    def submit(self, tasks: Sequence[Task]) -> list[Task]:
        return self.queue.put(tasks, self.capacity - self.running)

    def begin(self) -> Task:
        """Begin the next task, as a worker would."""
        task = self.queue.pop()
        assert task is not None
        assert task.begin()
        self.tasks[task.claim.id] = task
        return task

    def release(self, task: Task) -> None:
        self.asked.append(("release", task.claim.id))

    def interrupt(self, task: Task) -> bool:
        self.asked.append(("interrupt", task.claim.id))
        self.interrupted.release()
        return True

    def stop(self, timeout: float) -> list[str]:
        self.asked.append(("stop", f"{timeout > 0}"))
        return []


class Office:
    """A runner with a desk."""

    def __init__(self, desk: Desk, **more: Any) -> None:
        self.clock = ManualClock(START)
        self.desk = desk
        self.registry = Registry()
        self.registry.register(lambda: None, "noop", "desk")
        self.unrunnable: list[tuple[str, str]] = []
        self.outbox = Outbox(lambda: None)
        self.runner = Runner(
            self.clock, self.registry, {"desk": desk}, self.outbox, self._unrunnable, **more
        )
        self.runner.start()

    def _unrunnable(self, claim: Claim, error: KalendsError) -> None:
        self.unrunnable.append((claim.id, error.message))

    def fates(self) -> list[tuple[str, Fate, Reason | None]]:
        return [(item.execution_id, item.fate, item.reason) for item in self.outbox.peek(100)]


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office(Desk(), cancel_grace=2.0)
    yield made
    made.runner.stop(0)


def test_what_has_timed_out_is_released_and_then_interrupted(office: Office, claim: Make) -> None:
    office.runner.submit([claim("a", due=START, timeout_us=5 * US)])
    task = office.desk.begin()
    office.clock.advance(4.9)
    assert office.desk.asked == []
    office.clock.advance(0.1)
    assert office.desk.interrupted.acquire(timeout=10)
    assert office.desk.asked == [("release", "a"), ("interrupt", "a")]
    assert office.fates() == [("a", Fate.TIMED_OUT, None)]
    task.fail(SystemExit())
    (_, late) = office.outbox.peek(10)
    assert (late.late, late.fate) == (True, Fate.CANCELLED)


def test_what_is_cancelled_is_told_at_once_and_interrupted_once_its_grace_is_over(
    office: Office, claim: Make
) -> None:
    office.runner.submit([claim("a", due=START), claim("b", due=START)])
    first, second = office.desk.begin(), office.desk.begin()
    office.runner.cancel(["a", "b"])
    office.clock.advance(1.0)
    office.runner.cancel(["a"])
    assert first.cancelled
    second.succeed(None)
    office.clock.advance(0.999)
    assert office.desk.asked == []
    office.clock.advance(0.001)
    assert office.desk.interrupted.acquire(timeout=10)
    office.clock.advance(100.0)
    office.runner.submit([claim("c", due=START)])
    assert office.desk.asked == [("interrupt", "a")], "not again, and not what has ended"
    first.fail(SystemExit())
    assert office.fates() == [("b", Fate.SUCCEEDED, None), ("a", Fate.CANCELLED, None)]


def test_what_has_ended_in_the_ledger_is_interrupted(office: Office, claim: Make) -> None:
    office.runner.submit([claim("a", due=START)])
    office.desk.begin()
    office.runner.write_off([WrittenOff("a", "event-of-a", 1, START)])
    assert office.desk.asked == [("release", "a"), ("interrupt", "a")]


def test_what_still_runs_at_the_end_of_a_stop_is_interrupted_and_waited_for(
    office: Office, claim: Make
) -> None:
    office.runner.submit([claim("a", due=START)])
    task = office.desk.begin()
    assert [left.id for left in office.runner.stop(0.0)] == ["a"]
    assert office.desk.asked == [("stop", "False"), ("interrupt", "a"), ("stop", "True")]
    task.succeed(None)
    assert office.fates() == [], "nobody listens any more"


# -- no room -------------------------------------------------------------------------------------


def test_what_finds_no_room_is_skipped_because_the_queue_is_full(
    claim: Make, logged: list[dict[str, Any]]
) -> None:
    office = Office(Desk(capacity=1, queue_limit=1))
    office.runner.submit([claim(n, due=START) for n in "abcd"])
    assert office.fates() == [
        ("d", Fate.SKIPPED, Reason.QUEUE_FULL),
        ("c", Fate.SKIPPED, Reason.QUEUE_FULL),
    ]
    assert office.runner.in_flight == 2
    told = [entry for entry in logged if entry["event"] == "queue_full"]
    assert [(entry["executor"], entry["turned_away"]) for entry in told] == [("desk", 2)]
    office.runner.stop(0)


def test_behind_what_found_no_room_the_next_of_its_event_has_its_turn(claim: Make) -> None:
    office = Office(Desk(capacity=1, queue_limit=0))
    office.runner.submit([claim("a", due=START)])
    office.desk.begin()
    office.runner.submit([claim(n, event_id="e", due=START) for n in "bcd"])
    assert [(name, fate) for name, fate, _ in office.fates()] == [(n, Fate.SKIPPED) for n in "bcd"]
    assert office.runner.in_flight == 1
    office.runner.stop(0)


def test_what_was_taken_back_is_withdrawn_from_the_queue(office: Office, claim: Make) -> None:
    office.runner.submit([claim("a", due=START), claim("b", due=START)])
    office.runner.disarm(["event-of-a"])
    assert office.desk.begin().claim.id == "b"


# -- which executor ------------------------------------------------------------------------------


def test_the_executor_that_the_event_chose_goes_before_its_jobs(
    office: Office, claim: Make
) -> None:
    office.registry.register(lambda: None, "elsewhere", "nowhere")
    office.runner.submit([claim("a", job="elsewhere", executor="desk", due=START)])
    assert office.desk.begin().claim.id == "a"
    office.runner.submit([claim("b", job="elsewhere", due=START)])
    office.runner.submit([claim("c", executor="desc", due=START)])
    assert office.unrunnable == [
        ("b", "there is no executor 'nowhere'"),
        ("c", "there is no executor 'desc' (did you mean 'desk'?)"),
    ]


def test_a_job_of_the_wrong_kind_is_not_handed_over(office: Office, claim: Make) -> None:
    async def work() -> None: ...

    office.registry.register(work, "work")
    office.runner.submit([claim("a", job="work", executor="desk", due=START)])
    ((name, why),) = office.unrunnable
    assert (name, "is a coroutine function" in why) == ("a", True)
    assert office.desk.queued == 0
