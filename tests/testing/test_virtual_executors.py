"""Greenlet and coroutine jobs in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from kalends import Registry, current, every
from kalends.testing import VirtualScheduler, sleep


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_coroutine_job_takes_as_long_as_it_sleeps_beside_others(registry: Registry) -> None:
    order: list[str] = []

    async def work(name: str, seconds: float) -> str:
        order.append(f"{name} begins")
        async with asyncio.timeout(3600):
            await asyncio.sleep(seconds)
        order.append(f"{name} ends")
        return current().event_name

    registry.register(work, "work")
    with VirtualScheduler(registry=registry) as scheduler:
        for name, seconds in (("long", 90.0), ("short", 30.0)):
            scheduler.schedule_event("work", every(hours=1), name=name, args=[name, seconds])
        scheduler.advance(3600)
        scheduler.advance(200)
        assert order == ["long begins", "short begins", "short ends", "long ends"]
        found = scheduler.list_executions().items
        assert {(it.result, it.duration) for it in found} == {("long", 90.0), ("short", 30.0)}


def test_a_coroutine_that_takes_too_long_is_cancelled_there_and_then(registry: Registry) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            seen.append(f"{scheduler.now:%H:%M:%S}")
            raise

    registry.register(work, "work")
    with VirtualScheduler(registry=registry) as scheduler:
        scheduler.schedule_event("work", every(hours=1), timeout=10)
        scheduler.advance(3700)
        (execution,) = scheduler.list_executions().items
        assert (execution.fate, execution.still_running) == ("timed_out", False)
        assert seen == ["01:00:10"]


@pytest.mark.parametrize(("executor", "still_running"), [("greenlet", False), ("thread", True)])
@pytest.mark.parametrize("played", [True, False])
def test_a_job_that_takes_too_long_runs_on_only_where_it_would(
    registry: Registry, executor: str, still_running: bool, played: bool
) -> None:
    registry.register(lambda: sleep(1000), "work")
    durations = {"work": 1000.0} if played else None
    with VirtualScheduler(registry=registry, durations=durations) as scheduler:
        scheduler.schedule_event("work", every(hours=1), timeout=10, executor=executor)
        scheduler.advance(3700)
        (execution,) = scheduler.list_executions().items
        assert (execution.fate, execution.still_running) == ("timed_out", still_running)


def test_a_test_that_is_a_coroutine_itself_may_use_one(registry: Registry) -> None:
    async def work() -> str:
        await asyncio.sleep(5)
        return "done"

    registry.register(work, "work")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with VirtualScheduler(registry=registry) as scheduler:
            scheduler.schedule_event("work", every(hours=1))
            scheduler.advance(3700)
            (execution,) = scheduler.list_executions().items
            assert execution.result == "done"
            assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_kill_ends_coroutines_where_they_are(registry: Registry) -> None:
    ended: list[str] = []

    async def work() -> None:
        await asyncio.sleep(1000)
        ended.append("not this one")

    registry.register(work, "work")
    scheduler = VirtualScheduler(registry=registry).start()
    scheduler.schedule_event("work", every(hours=1), delivery="at_most_once")
    scheduler.advance(3700)
    scheduler.kill().start()
    scheduler.advance(1200)
    assert ended == []
    scheduler.shutdown(1)
