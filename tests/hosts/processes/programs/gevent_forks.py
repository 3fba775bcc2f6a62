"""A host that gevent has patched forks beside a running scheduler.

Argument: the database. A child always ends before its parent has come out of ``os.fork``: that is
when gevent loses the end of the first one, unless its handler is there already.
"""

from __future__ import annotations

from gevent import monkey

if __name__ == "__main__":  # before anything else is imported
    monkey.patch_all()

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import gevent

import kalends

gevent.get_hub().loop.install_sigchld()
os.register_at_fork(
    after_in_parent=lambda: os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # it stays waited for
)
pause = threading.Event()
ran: list[str] = []


@kalends.job("note")
def note() -> None:
    ran.append(kalends.current().execution_id)


def goes_on() -> None:
    """Wait until the job has run three times more."""
    before = len(ran)
    while len(ran) < before + 3:
        pause.wait(0.005)


def fork(life: Callable[[], Any]) -> Any:
    """What a child's life returned, with how it ended."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = life()
        except BaseException as error:
            told = getattr(error, "code", repr(error))
        os.write(sender, json.dumps(told).encode() + b"\n")
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as file:
        told = json.loads(file.readline())  # gevent closes the sender later, in its loop
    return told, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def own() -> str:
    """A scheduler of the child's own."""
    with kalends.Scheduler(sys.argv[1]) as mine:
        goes_on()
        return mine.status().state


with kalends.Scheduler(sys.argv[1]) as scheduler:
    event = scheduler.schedule_event("note", kalends.every(seconds=0.02), catch_up="all")
    goes_on()
    children = []
    for life in (scheduler.count_events, lambda: None, own, scheduler.count_events):
        children.append(fork(life))
        goes_on()
    scheduler.pause_event(event.id)
    told = {
        "children": children,
        "state": scheduler.status().state,
        "lost": scheduler.count_executions(fate="lost"),
        "violations": [item.words for item in scheduler.verify().violations],
    }
sys.stdout.write(json.dumps(told))
