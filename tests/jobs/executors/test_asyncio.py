"""The asyncio executor: the contract on its own loop and on that of a host, and what it promises
beside it.
"""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kalends.errors import ValidationFailed
from kalends.jobs.executors.asyncio import AsyncioExecutor
from kalends.jobs.executors.base import Executor
from kalends.model import Fate
from kalends.testing.executor_contract import ExecutorContract, RecordingOwner
from kalends.testing.executor_jobs import CoroutineJobs

Until = Callable[..., Any]
Make = Callable[..., AsyncioExecutor]


class TestOnItsOwnLoop(ExecutorContract):
    jobs = CoroutineJobs()

    def make_executor(self, size: int, queue_limit: int = 10_000) -> Executor:
        return AsyncioExecutor(size, queue_limit=queue_limit)


class Host:
    """An event loop that runs on a thread, as that of an application does."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="host")
        self._thread.start()

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.close()

    def close(self) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)


@pytest.fixture(scope="module")
def the_host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


class TestOnTheLoopOfAHost(ExecutorContract):
    jobs = CoroutineJobs()

    @pytest.fixture(autouse=True)
    def _host(self, the_host: Host) -> None:
        self.host = the_host

    def make_executor(self, size: int, queue_limit: int = 10_000) -> Executor:
        return AsyncioExecutor(size, queue_limit=queue_limit, loop=self.host.loop)


@pytest.fixture
def owner() -> RecordingOwner:
    return RecordingOwner()


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[AsyncioExecutor] = []

    def start(size: int = 100, **more: Any) -> AsyncioExecutor:
        made.append(AsyncioExecutor(size, **more))
        made[-1].start()
        return made[-1]

    yield start
    for executor in made:
        assert executor.stop(10) == []


def threads() -> list[str]:
    return sorted(it.name for it in threading.enumerate() if it.name.startswith("kalends-asyncio"))


async def thread_name() -> str:
    return threading.current_thread().name


def test_it_has_no_thread_before_the_first_task_and_none_after_its_end(
    owner: RecordingOwner, until: Until
) -> None:
    executor = AsyncioExecutor(3)
    executor.start()
    assert threads() == []
    executor.submit([owner.task(n, thread_name) for n in range(3)])
    assert {outcome.result for outcome in owner.wait(3)} == {'"kalends-asyncio"'}
    until(lambda: threads() == ["kalends-asyncio", "kalends-asyncio-watchdog"])
    assert executor.stop(10) == []
    assert threads() == []


def test_on_the_loop_of_a_host_jobs_run_there_and_at_the_end_it_goes_on(
    host: Host, make: Make, owner: RecordingOwner
) -> None:
    executor = make(loop=host.loop)
    executor.submit([owner.task(1, thread_name)])
    assert owner.wait(1)[0].result == '"host"'
    assert executor.stop(10) == []
    assert asyncio.run_coroutine_threadsafe(thread_name(), host.loop).result(10) == "host"
    assert threads() == []


def test_a_host_may_start_its_loop_later(make: Make, owner: RecordingOwner) -> None:
    async def main() -> int:
        executor = make(loop=asyncio.get_running_loop())
        executor.submit([owner.task(1, thread_name)])
        assert owner.begun == []
        await asyncio.to_thread(owner.wait, 1)
        return len(owner.begun)

    assert asyncio.run(main()) == 1


def test_context_variables_are_carried_and_those_of_jobs_stay_apart_as_they_take_turns(
    owner: RecordingOwner,
) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    variable.set("host")
    executor = AsyncioExecutor(10)
    variable.set("later")

    async def job(name: str) -> list[str]:
        seen = [variable.get()]
        variable.set(name)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [*seen, variable.get()]

    executor.start()
    executor.submit([owner.task(n, job, f'{{"args":["{n}"],"kwargs":{{}}}}') for n in range(4)])
    assert [outcome.result for outcome in owner.wait(4)] == [f'["host","{n}"]' for n in range(4)]
    assert executor.stop(10) == []


def test_a_job_that_is_interrupted_puts_in_order_what_it_has_to_and_was_cancelled(
    make: Make, owner: RecordingOwner
) -> None:
    executor = make()
    cleaned: list[str] = []

    async def job() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    task = owner.task(1, job)
    executor.submit([task])
    owner.wait_begun(1)
    task.call_off()
    assert executor.interrupt(task)
    (outcome,) = owner.wait(1)
    assert outcome.fate is Fate.CANCELLED
    assert outcome.error is not None
    assert outcome.error.type.endswith("CancelledError")
    assert cleaned == ["up"]


def test_an_async_callable_that_is_no_function_is_awaited(
    make: Make, owner: RecordingOwner
) -> None:
    class Work:
        async def __call__(self) -> str:
            return "done"

    make().submit([owner.task(1, Work())])
    assert owner.wait(1)[0].result == '"done"'


def test_a_job_that_keeps_the_others_from_their_turn_is_noticed_and_when_written_off_left(
    make: Make, owner: RecordingOwner, logged: list[dict[str, Any]], until: Until
) -> None:
    executor = make(10, stall_after=0.02)
    gate = threading.Event()

    async def selfish() -> None:
        gate.wait(60)

    stuck = owner.task(1, selfish)
    executor.submit([stuck])
    owner.wait_begun(1)
    stalls = until(lambda: [it for it in logged if it["event"] == "hub_stalled"])
    assert "in selfish" in stalls[0]["stack"]
    executor.submit([owner.task(2, thread_name)])
    assert owner.outcomes == []
    executor.release(stuck)
    assert owner.wait(1)[0].execution_id == "x2"
    gate.set()
    owner.wait(2)


# -- loops that end ------------------------------------------------------------------------------


async def forever() -> None:
    await asyncio.Event().wait()


def test_what_runs_on_a_loop_that_its_host_closes_fails_and_says_so_and_so_does_what_comes(
    host: Host, make: Make, owner: RecordingOwner
) -> None:
    executor = make(1, loop=host.loop)
    executor.submit([owner.task(n, forever) for n in range(2)])
    owner.wait_begun(1)
    host.close()
    for outcome in owner.wait(2):
        assert outcome.fate is Fate.FAILED
        assert outcome.error is not None
        assert outcome.error.type.endswith("LoopClosed")
    executor.submit([owner.task(n, forever) for n in range(2, 5)])
    assert {it.error.message for it in owner.wait(5)[2:] if it.error} == {
        "the host's event loop is closed"
    }


def test_a_host_that_ends_its_loop_as_asyncio_does_cancels_its_jobs(
    make: Make, owner: RecordingOwner
) -> None:
    async def main() -> None:
        executor = make(1, loop=asyncio.get_running_loop())
        executor.submit([owner.task(n, forever) for n in range(2)])
        await asyncio.to_thread(owner.wait_begun, 1)

    asyncio.run(main())
    first, second = owner.wait(2)
    assert first.error is not None
    assert second.error is not None
    assert first.error.type.endswith("CancelledError")
    assert second.fate is Fate.FAILED, "it had not begun, and there is no loop any more"


def test_a_job_that_stops_the_loop_of_the_executor_ends_what_runs_there_and_others_go_on(
    make: Make, owner: RecordingOwner
) -> None:
    async def stop() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.Event().wait()

    executor = make()
    executor.submit([owner.task(1, forever), owner.task(2, stop)])
    for outcome in owner.wait(2):
        assert outcome.fate is Fate.FAILED
    executor.submit([owner.task(3, thread_name)])
    assert owner.wait(3)[-1].result == '"kalends-asyncio"'


def test_where_a_job_stops_the_loop_and_another_withstands_that_what_comes_begins_elsewhere(
    make: Make, owner: RecordingOwner
) -> None:
    over = threading.Event()

    async def withstands() -> None:
        while not over.is_set():
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                continue

    async def stop() -> None:
        asyncio.get_running_loop().stop()

    executor = make()
    executor.submit([owner.task(1, withstands), owner.task(2, stop)])
    owner.wait(2)
    executor.submit([owner.task(3, thread_name)])
    assert owner.wait(3)[-1].result == '"kalends-asyncio"'
    over.set()


def test_what_a_job_has_left_behind_is_cancelled_at_the_end_of_the_executors_own_loop(
    owner: RecordingOwner,
) -> None:
    ended: list[str] = []

    async def left() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    kept: list[Any] = []

    async def job() -> None:
        kept.append(asyncio.ensure_future(left()))
        await asyncio.sleep(0)

    executor = AsyncioExecutor()
    executor.start()
    executor.submit([owner.task(1, job)])
    owner.wait(1)
    assert executor.stop(10) == []
    assert ended == ["cancelled"]


@pytest.mark.parametrize(
    "bad", [{"size": 0}, {"queue_limit": 1.5}, {"loop": 7}, {"stall_after": 0}]
)
def test_what_it_cannot_be_made_of_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed) as refused:
        AsyncioExecutor(**bad)
    assert refused.value.details["path"] == next(iter(bad))


PATCHED = """
from gevent import monkey
monkey.patch_all()
import asyncio, sys, threading, time
import gevent
from kalends.jobs.executors.asyncio import AsyncioExecutor
from kalends.native import get_ident
from kalends.testing.executor_contract import RecordingOwner

owner, executor = RecordingOwner(), AsyncioExecutor(100)
executor.start()
here, seen = get_ident(), []
async def job():
    seen.append(get_ident())
    await asyncio.sleep(0.05)
async def endless():
    await asyncio.sleep(600)
last = owner.task(1000, endless)
executor.submit([*(owner.task(n, job) for n in range(99)), last])
with gevent.Timeout(20):
    while len(owner.outcomes) < 99:
        gevent.sleep(0.01)
assert len(set(seen)) == 1, "one thread"
assert here not in seen, "a job ran on the host's own thread"
assert executor.interrupt(last)
assert executor.stop(5) == []
assert owner.outcomes[-1].execution_id == "x1000"
print("fine")
"""


def test_in_a_gevent_patched_process_jobs_run_on_a_loop_of_their_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PATCHED], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")
