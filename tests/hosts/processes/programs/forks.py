"""Forks again and again while jobs run; the children end in every way and some run their own.

Arguments: database, and the file where each job notes process and due instant.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import kalends
from kalends.storage import forks

database, notes = sys.argv[1], os.open(sys.argv[2], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
pause = threading.Event()
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"


@kalends.job("note")
def note() -> None:
    now = kalends.current()
    os.write(notes, f"{os.getpid()} {now.event_id} {now.due.isoformat()}\n".encode())


scheduler = kalends.Scheduler(database)


def fork(life: Callable[[], Any], leave: Callable[[], None] = lambda: os._exit(0)) -> Any:
    """Have a child live, then leave in its own way; what its life returned, with how it ended."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        try:
            told = life()
        except BaseException as error:
            told = repr(error)
        os.write(sender, json.dumps(told).encode())
        leave()
    os.close(sender)
    with open(receiver) as file:
        told = json.loads(file.read() or "null")
    return told, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def refused() -> list[str]:
    """Every way to use the parent's scheduler, and what each says; none may take long."""
    waiting = kalends.futures.Future[None]()
    waiting._pid = os.getppid()

    async def awaited(future: Any) -> object:
        return await future

    calls: dict[str, Callable[[], object]] = {
        "verb": scheduler.count_events,
        "create": lambda: scheduler.schedule_event("note", kalends.every(seconds=1)),
        "proxy": scheduler.events.count().get,
        "loop": scheduler.loop.trigger_now(NOBODY).get,
        "awaited proxy": lambda: asyncio.run(awaited(scheduler.executions.count())),
        "future": waiting.get,
        "awaited future": lambda: asyncio.run(awaited(waiting)),
        "keep_house": scheduler.keep_house,
        "start": scheduler.start,
        "astart": lambda: asyncio.run(scheduler.astart()),
        "wait": scheduler.wait,
        "shutdown": scheduler.shutdown,
        "ashutdown": lambda: asyncio.run(scheduler.ashutdown()),
    }
    said = [] if scheduler.status().state == "forked" else ["status"]
    for name, call in calls.items():
        began = time.monotonic()
        try:
            call()
            said.append(name)
        except kalends.ForkedError as error:
            if error.code != "FORKED" or time.monotonic() - began > 1:
                said.append(f"{name}: {error.code} after {time.monotonic() - began} s")
    return said


def own() -> dict[str, Any]:
    """A scheduler of the child's own, on the same file."""
    with kalends.Scheduler(database, max_sleep=0.05) as mine:
        event = mine.schedule_event("note", kalends.every(seconds=0.05))
        while mine.count_executions(event_id=event.id, fate="succeeded") < 3:
            pause.wait(0.005)
        mine.delete_event(event.id)
        locks = f" {os.getpid()} "
        return {"state": mine.status().state, "locks": locks_held(locks)}


def left_running() -> str:
    """A scheduler of the child's own that only the end of the interpreter ends."""
    return kalends.Scheduler(database).start().status().state


def locks_held(owner: str) -> bool:
    """True where the kernel knows of locks of this process, or does not tell."""
    try:
        with open("/proc/locks") as file:
            return any(owner in line for line in file)
    except OSError:
        return True


def carried() -> str:
    """The writer does not come to rest in time: what the child hears of the file."""
    patience, forks._PATIENCE = forks._PATIENCE, 0.1
    go_on = threading.Event()
    system = scheduler._system
    assert system is not None
    begun = threading.Event()

    def unit(_: object) -> None:
        begun.set()
        assert go_on.wait(10)

    written = system.storage.write(unit)
    assert begun.wait(10)

    def life() -> str:
        try:
            kalends.Scheduler(database).start()
        except kalends.ForkedError as error:
            return error.code
        return "opened"

    told, _ = fork(life)
    go_on.set()
    written.get(timeout=10)
    forks._PATIENCE = patience
    return str(told)


def leave_by_exit() -> NoReturn:
    sys.exit(3)


def main() -> None:
    with scheduler:
        event = scheduler.schedule_event("note", kalends.every(seconds=0.02), name="parent")
        plain = [fork(refused), fork(refused, leave_by_exit)]
        children = [fork(own) for _ in range(4)] + [fork(own, leave_by_exit)]
        abandoned = fork(left_running, leave_by_exit)
        for _ in range(30):
            fork(lambda: None)
        late = carried()
        before = scheduler.count_executions(event_id=event.id, fate="succeeded")
        while scheduler.count_executions(event_id=event.id, fate="succeeded") < before + 5:
            pause.wait(0.005)
        told = {
            "refused": plain,
            "own": children,
            "left": abandoned,
            "carried": late,
            "state": scheduler.status().state,
            "lost": scheduler.count_executions(fate="lost"),
        }
    sys.stdout.write(json.dumps(told))


main()
