"""Runs jobs that mean no good, one after the other, on one executor; prints how each has ended.

usage: hostile.py EXECUTOR DATABASE
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import gevent

from kalends import Registry, Scheduler, every

KIND, DATABASE = sys.argv[1:]
OVER = threading.Event()
NEVER = threading.Event()
PATIENCE = 60.0


def blocks() -> None:
    """Holds its thread for ever."""
    OVER.wait()


def prints() -> int:
    """50 MB, in lines."""
    line = "x" * 1023
    for _ in range(50 * 1024):
        sys.stdout.write(f"{line}\n")
    return 50


def returns_much() -> str:
    """100 MB."""
    return "x" * (100 * 2**20)


def recurses() -> None:
    """Until that is too much."""
    recurses()


def sets_signals() -> None:
    """As if it were alone."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def forks() -> int:
    """A child that ends at once."""
    child = os.fork()
    if child == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def exits() -> None:
    """Means the whole program."""
    sys.exit(3)


def closes_streams() -> None:
    """Standard input, output and error."""
    for descriptor in (0, 1, 2):
        os.close(descriptor)


def withstands() -> None:
    """Goes on, whatever it is told."""
    while not OVER.is_set():
        try:
            if KIND == "greenlet":
                gevent.sleep(0.01)
            else:
                NEVER.wait(0.01)
        except BaseException:
            continue


async def withstands_cancelling() -> None:
    """The same, of a coroutine."""
    while not OVER.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            continue


def awaited(function: Callable[[], Any]) -> Callable[..., Any]:
    """The same as a coroutine function."""

    async def job() -> Any:
        return function()

    return job


ROWS: dict[str, Callable[..., Any]] = {
    "recurses": recurses,
    "exits": exits,
    "prints": prints,
    "returns_much": returns_much,
    "sets_signals": sets_signals,
    "forks": forks,
    "withstands": withstands,
    "blocks": blocks,
    "closes_streams": closes_streams,
}


def main() -> None:
    registry = Registry()
    for name, function in ROWS.items():
        if KIND != "asyncio":
            registry.register(function, name, KIND)
        elif name == "withstands":
            registry.register(withstands_cancelling, name)
        else:
            registry.register(awaited(function), name)
    registry.register(lambda: "on a thread", "innocent.thread", "thread")
    registry.register(lambda: "in a greenlet", "innocent.greenlet", "greenlet")
    registry.register(awaited(lambda: "in a coroutine"), "innocent.asyncio")
    answer = os.dup(1)
    told: dict[str, Any] = {}
    scheduler = Scheduler(DATABASE, registry=registry, stall_after=0.1, cancel_grace=0.1, workers=2)
    with scheduler:
        for name in ROWS:
            told[name] = run(
                scheduler, name, timeout=0.5 if name in ("withstands", "blocks") else 60
            )
        for kind in ("thread", "greenlet", "asyncio"):
            told[kind] = run(scheduler, f"innocent.{kind}", timeout=60)
        told["verified"] = scheduler.verify().ok
        told["state"] = scheduler.status().state
        OVER.set()
    told["again"] = scheduler.status().state
    os.write(answer, json.dumps(told).encode())


def run(scheduler: Scheduler, name: str, timeout: float) -> list[Any]:
    event = scheduler.schedule_event(name, every(hours=1), timeout=timeout)
    execution = scheduler.trigger_now(event.id)
    until = time.monotonic() + PATIENCE
    while (found := scheduler.get_execution(execution.id)).ended_at is None:
        assert time.monotonic() < until, (name, found)
        NEVER.wait(0.005)
    error = None if found.error is None else found.error.type
    note = None if found.result_note is None else "noted"
    return [found.fate, found.still_running, error or note or found.result]


if __name__ == "__main__":
    main()
