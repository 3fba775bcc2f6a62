"""One process of a cluster: runs the events of a database until it is told to end.

Usage: cluster_child.py DATABASE LOG. Prints ``ready``, and each outcome of its that is refused. Its
jobs append ``begin`` and ``end`` lines to LOG, each written at once.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import MutableMapping
from typing import Any

import structlog

from kalends import Registry, Scheduler, current

database, log = sys.argv[1:]
registry = Registry()
target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(word: str) -> None:
    """One line in one write: whole, or not there."""
    here = current()
    line = f"{word} {here.execution_id} {here.event_id} {here.attempt} {os.getpid()}\n"
    os.write(target, line.encode())


@registry.job("work")
def work(seconds: float = 0.01) -> None:
    note("begin")
    threading.Event().wait(seconds)
    note("end")


def tell(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> str:
    """Print what the test wants to know of the log."""
    if entry["event"] == "outcome_rejected":
        sys.stdout.write(f"rejected {entry['execution_id']}\n")
        sys.stdout.flush()
    raise structlog.DropEvent


structlog.configure(processors=[tell])
with Scheduler(
    database, registry=registry, environ={}, lease=2.0, housekeeping_every=0.5, busy_timeout=20.0
) as scheduler:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    scheduler.wait()
