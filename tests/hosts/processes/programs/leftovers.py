"""Starts and stops a scheduler twenty times and lists what each time leaves behind.

Arguments: database, and ``plain`` or ``patched``.
"""

from __future__ import annotations

import sys

if sys.argv[2] == "patched":
    from gevent import monkey

    monkey.patch_all()

import gc
import json
import os
import threading
import time
from typing import Any

import gevent.hub
import greenlet

import kalends
from kalends.actors.hub import Hub
from kalends.actors.runtime import Cell
from kalends.jobs.runner import Runner
from kalends.native import NativeThread
from kalends.storage.engine import Storage
from kalends.system import System

CYCLES = 20
troubles: list[str] = []
sys.unraisablehook = lambda trouble: troubles.append(f"{trouble.exc_value!r} in {trouble.object!r}")
threading.excepthook = lambda trouble: troubles.append(repr(trouble.exc_value))

PARTS = (kalends.Scheduler, System, Cell, Hub, Storage, Runner, NativeThread)
first = threading.Event()
pause = threading.Event()


@kalends.job("pulse")
def pulse() -> None:
    first.set()


@kalends.job("greenlets")
def greenlets() -> None:
    """A job that makes a hub on its thread."""
    gevent.sleep(0)
    gevent.spawn(lambda: None).join()


@kalends.job("fails")
def fails() -> None:
    raise SystemExit(3)


def left() -> dict[str, Any]:
    """What is alive now, of all that a scheduler could leave behind."""
    gc.collect()
    objects = gc.get_objects()
    files = "/proc/self/fd"
    tasks = "/proc/self/task"
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "tasks": len(os.listdir(tasks)) if os.path.isdir(tasks) else 0,
        "files": sorted(opened(files)) if os.path.isdir(files) else [],
        "greenlets": sum(isinstance(o, greenlet.greenlet) and not o.dead for o in objects),
        "hubs": sum(isinstance(o, gevent.hub.Hub) for o in objects),
        "parts": sum(isinstance(o, PARTS) for o in objects),
    }


def opened(folder: str) -> list[str]:
    """What each open file is, but for the one that lists them."""
    found = []
    for name in os.listdir(folder):
        try:
            found.append(os.readlink(f"{folder}/{name}").partition(":[")[0])
        except FileNotFoundError:
            continue
    return found


def cycle() -> None:
    first.clear()
    with kalends.Scheduler(sys.argv[1]) as scheduler:
        scheduler.schedule_event(
            "pulse", kalends.every(seconds=0.02), name="pulse", on_conflict="replace"
        )
        for job in ("greenlets", "fails"):
            event = scheduler.schedule_event(
                job, kalends.every(seconds=60), name=job, on_conflict="keep"
            )
            scheduler.trigger_now(event.id)
        assert first.wait(10)
        scheduler.keep_house()


def resident() -> int:
    """KiB of memory."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4
    except OSError:
        return 0


def settled(before: dict[str, Any]) -> dict[str, Any]:
    """What is left once the system has taken its threads back: that lags behind their join."""
    deadline = time.monotonic() + 5
    now = left()
    while now != before and time.monotonic() < deadline:
        pause.wait(0.01)
        now = left()
    return now


cycle()  # imports, caches and gevent's own hub for this thread stay, once
before, memory = left(), resident()
for _ in range(CYCLES):
    cycle()
after = settled(before)
told = {
    "before": before,
    "after": after,
    "grown": resident() - memory,
    "troubles": troubles,
}
sys.stdout.write(json.dumps(told))
