"""Waits in ``scheduler.wait()`` on the main thread until a signal comes.

Arguments: database, and ``handler`` (SIGTERM: a handler that shuts down) or ``interrupt`` (SIGINT:
``KeyboardInterrupt`` out of ``wait``), then ``plain`` or ``patched``.
"""

from __future__ import annotations

import sys

if sys.argv[3] == "patched":
    from gevent import monkey

    monkey.patch_all()
    import gevent
    from gevent.hub import Hub

    gevent.sleep(0)  # a server has greenlets: the main one waits on a hub
    # Else gevent prints each one, which is its custom and none of a scheduler's.
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, KeyboardInterrupt)

import json
import signal
import threading
import time
from typing import Any

import kalends

how = sys.argv[2]
waiting = threading.Event()
ready: list[str] = []
reports: list[kalends.ShutdownReport] = []


@kalends.job("pulse")
def pulse() -> None:
    """Says so, once, some time after the main thread has begun to wait."""
    if waiting.is_set() and not ready:
        ready.append("ready\n")
        sys.stdout.write(ready[0])
        sys.stdout.flush()


def handle(*_: Any) -> None:
    reports.append(scheduler.shutdown(5))


if how == "handler":
    signal.signal(signal.SIGTERM, handle)
else:
    # What a shell starts in the background ignores the interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

scheduler = kalends.Scheduler(sys.argv[1]).start()
scheduler.schedule_event("pulse", kalends.every(seconds=0.02))
interrupted = False
ended: bool | None = None
try:
    waiting.set()
    ended = scheduler.wait()
except KeyboardInterrupt:
    interrupted = True
    state = scheduler.status().state
    began = time.monotonic()
    reports.append(scheduler.shutdown(5))
    assert time.monotonic() - began < 5
else:
    state = "ended"
told = {
    "ended": ended,
    "interrupted": interrupted,
    "state": state,
    "clean": [report.clean for report in (*reports, scheduler.shutdown(5))],
    "under_way": [report.under_way for report in reports],
    "after": scheduler.status().state,
}
sys.stdout.write(json.dumps(told))
