"""Coroutine jobs that do to their loop what a loop is not meant for, and the jobs beside them."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from kalends.jobs.executors.asyncio import AsyncioExecutor
from kalends.model import Fate
from kalends.testing.executor_contract import RecordingOwner

Job = Callable[[], Coroutine[Any, Any, Any]]
LEAVING: list[type[BaseException]] = [SystemExit, KeyboardInterrupt]


@pytest.fixture
def owner() -> RecordingOwner:
    return RecordingOwner()


@pytest.fixture
def executor() -> Iterator[AsyncioExecutor]:
    made = AsyncioExecutor(10)
    made.start()
    yield made
    assert made.stop(10) == []


def in_a_task(error: type[BaseException]) -> Job:
    async def child() -> None:
        raise error

    async def job() -> str:
        made = asyncio.create_task(child())
        await asyncio.wait([made])
        return type(made.exception()).__name__

    return job


def in_a_callback(error: type[BaseException]) -> Job:
    def raises() -> None:
        raise error

    async def job() -> str:
        asyncio.get_running_loop().call_soon(raises)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return error.__name__

    return job


@pytest.mark.parametrize("where", [in_a_task, in_a_callback])
@pytest.mark.parametrize("error", LEAVING)
def test_who_leaves_beside_a_job_ends_no_other_one(
    executor: AsyncioExecutor,
    owner: RecordingOwner,
    logged: list[dict[str, Any]],
    where: Callable[[type[BaseException]], Job],
    error: type[BaseException],
) -> None:
    gates: list[asyncio.Event] = []

    async def innocent() -> str:
        gates.append(asyncio.Event())
        await gates[0].wait()
        return "fine"

    async def opens() -> None:
        gates[0].set()

    executor.submit([owner.task(1, innocent), owner.task(2, where(error))])
    assert owner.wait(1)[0].result == f'"{error.__name__}"'
    executor.submit([owner.task(3, opens)])
    assert {outcome.fate for outcome in owner.wait(3)} == {Fate.SUCCEEDED}
    told = [entry for entry in logged if entry["event"] == "hub_callback_failed"]
    assert [entry["hub"] for entry in told] == ["kalends-asyncio"]


def test_who_leaves_in_a_task_group_of_a_job_fails_that_job_alone(
    executor: AsyncioExecutor, owner: RecordingOwner
) -> None:
    async def child() -> None:
        sys.exit(5)

    async def job() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    async def later() -> str:
        return "fine"

    executor.submit([owner.task(1, job)])
    (failed,) = owner.wait(1)
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("SystemExit", "5")
    executor.submit([owner.task(2, later)])
    assert owner.wait(2)[-1].result == '"fine"'


def test_the_tasks_that_a_job_sees_on_the_loop_are_those_of_jobs(
    executor: AsyncioExecutor, owner: RecordingOwner
) -> None:
    async def alone() -> bool:
        return asyncio.all_tasks() == {asyncio.current_task()}

    executor.submit([owner.task(1, alone)])
    assert owner.wait(1)[0].result == "true"


@dataclasses.dataclass
class Leaves:
    x: int

    def __post_init__(self) -> None:
        raise SystemExit(self.x)


def test_who_leaves_while_arguments_are_converted_is_refused_and_the_loop_goes_on(
    executor: AsyncioExecutor, owner: RecordingOwner
) -> None:
    called: list[Leaves] = []

    async def job(x: Leaves) -> None:
        called.append(x)

    async def later() -> str:
        return "fine"

    executor.submit([owner.task(1, job, '{"args":[{"x":3}],"kwargs":{}}')])
    owner.wait(0, refusals=1)
    assert "SystemExit: 3" in owner.refusals[0][1].message
    executor.submit([owner.task(2, later)])
    assert owner.wait(1)[0].result == '"fine"'
    assert called == []


# -- task factories ----------------------------------------------------------------------------


def old_factory(loop: asyncio.AbstractEventLoop, coro: Any) -> asyncio.Task[Any]:
    """In the form that Python had before 3.11: without ``context``."""
    return asyncio.Task(coro, loop=loop)


def broken_factory(loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
    raise ZeroDivisionError("no task of mine")


def test_a_task_factory_that_takes_no_context_will_do(owner: RecordingOwner) -> None:
    async def job() -> str:
        return "fine"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(old_factory)
        executor = AsyncioExecutor(1, loop=loop)
        executor.start()
        executor.submit([owner.task(n, job) for n in range(3)])
        await asyncio.to_thread(owner.wait, 3)
        assert await asyncio.to_thread(executor.stop, 10) == []

    asyncio.run(main())
    assert {outcome.result for outcome in owner.outcomes} == {'"fine"'}


def test_what_a_task_factory_does_not_make_has_failed_and_gives_up_its_place(
    owner: RecordingOwner, recwarn: pytest.WarningsRecorder
) -> None:
    async def job() -> str:
        return "fine"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        executor = AsyncioExecutor(1, loop=loop)
        executor.start()
        loop.set_task_factory(broken_factory)
        executor.submit([owner.task(n, job) for n in range(3)])
        await loop.run_in_executor(None, owner.wait, 3)
        loop.set_task_factory(None)
        executor.submit([owner.task(3, job)])
        await asyncio.to_thread(owner.wait, 4)
        assert await asyncio.to_thread(executor.stop, 10) == []

    asyncio.run(main())
    *failed, done = owner.outcomes
    assert [outcome.error.type for outcome in failed if outcome.error] == ["ZeroDivisionError"] * 3
    assert done.result == '"fine"'
    assert list(recwarn) == []
