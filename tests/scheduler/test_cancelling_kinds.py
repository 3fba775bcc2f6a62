"""Jobs that hang, by kind: told, stopped where that is possible, and what they told is kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pendulum
import pytest

from kalends import Execution, Registry, Scheduler, current, once

LATER = pendulum.datetime(2999, 1, 1, tz="UTC")


class Hanging:
    """Jobs that never end by themselves and do not look whether they are cancelled."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.registry.register(self.coroutine, "asyncio", executor="asyncio")
        self.registry.register(self.greenlet, "greenlet", executor="greenlet")
        self.registry.register(self.thread, "thread")
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Event()

    def tell(self) -> None:
        current().progress(0.5, "half")
        current().log.info("hanging")
        self.begun.release()

    async def coroutine(self) -> None:
        self.tell()
        await asyncio.Event().wait()

    def greenlet(self) -> None:
        self.tell()
        gevent.sleep(1e6)

    def thread(self) -> None:
        self.tell()
        assert self.let_go.wait(30)
        raise RuntimeError("let go")


@pytest.fixture
def hanging() -> Hanging:
    return Hanging()


@pytest.fixture
def scheduler(tmp_path: Path, hanging: Hanging) -> Iterator[Scheduler]:
    made = Scheduler(
        tmp_path / "kalends.db", registry=hanging.registry, environ={}, cancel_grace=0.05
    )
    with made:
        yield made
        hanging.let_go.set()


def begin(scheduler: Scheduler, hanging: Hanging, kind: str) -> str:
    execution = scheduler.trigger_now(scheduler.schedule_event(kind, once(LATER), retries=3).id)
    assert hanging.begun.acquire(timeout=10)
    return execution.id


def ended(scheduler: Scheduler, execution_id: str, until: Callable[..., Any]) -> Execution:
    def look() -> Execution | None:
        found = scheduler.get_execution(execution_id)
        return found if found.ended_at is not None else None

    execution: Execution = until(look)
    return execution


def check_told(execution: Execution) -> None:
    (attempt,) = execution.attempts
    assert (attempt.progress, attempt.note) == (0.5, "half")
    assert [line.message for line in attempt.log] == ["hanging"]


@pytest.mark.parametrize("kind", ["asyncio", "greenlet"])
def test_what_can_be_stopped_is_stopped_after_its_grace(
    scheduler: Scheduler, hanging: Hanging, kind: str, until: Callable[..., Any]
) -> None:
    execution_id = begin(scheduler, hanging, kind)
    check_told(scheduler.get_execution(execution_id))
    scheduler.cancel_execution(execution_id, author="ada")
    over = ended(scheduler, execution_id, until)
    assert (over.fate, over.reason) == ("cancelled", "requested")
    check_told(over)


def test_a_thread_is_only_told_and_ends_when_it_does(
    scheduler: Scheduler, hanging: Hanging, until: Callable[..., Any]
) -> None:
    execution_id = begin(scheduler, hanging, "thread")
    scheduler.cancel_execution(execution_id, author="ada")
    # By then the grace is over: one that can be stopped has been stopped after it.
    other = begin(scheduler, hanging, "asyncio")
    scheduler.cancel_execution(other)
    ended(scheduler, other, until)
    assert scheduler.get_execution(execution_id).ended_at is None
    hanging.let_go.set()
    over = ended(scheduler, execution_id, until)
    assert (over.fate, over.reason) == ("cancelled", "requested")
    check_told(over)
