"""A host with Pykka actors of its own beside a scheduler whose jobs and handlers raise the worst.

Argument: database.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import gevent
import pykka

import kalends
from kalends.actors.event_manager import EventManagerActor
from kalends.actors.runtime import Actor

WORST = {
    "SystemExit": SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "GreenletExit": gevent.GreenletExit(),
    "BaseException": BaseException("bare"),
    "StopIteration": StopIteration(),
}


class HostActor(pykka.ThreadingActor):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def on_receive(self, message: Any) -> Any:
        self.asked += 1
        return message


registry = kalends.Registry()
pause = threading.Event()


@registry.job("worst")
def worst(name: str) -> None:
    raise WORST[name]


def hosts_answer() -> int:
    return sum(host.ask("alive", timeout=5) == "alive" for host in hosts)


def fate_of(scheduler: kalends.Scheduler, execution_id: str) -> str:
    while True:
        execution = scheduler.get_execution(execution_id)
        if execution.ended_at is not None:
            return f"{execution.fate.value} {execution.error.type if execution.error else ''}"
        pause.wait(0.005)


def crash(scheduler: kalends.Scheduler, error: BaseException) -> str:
    """Have the event manager's next handler raise; the name of what its asker hears."""

    def handle(self: Actor, message: Any) -> Any:
        raise error

    EventManagerActor.on_receive = handle  # type: ignore[method-assign]  # for one message
    try:
        scheduler.count_events()
    except kalends.ActorCrashed as crashed:
        return type(crashed.__cause__).__name__
    finally:
        del EventManagerActor.on_receive
    return "nothing"


hosts = [HostActor.start() for _ in range(3)]
fates, heard, answers = {}, {}, []
with kalends.Scheduler(sys.argv[1], registry=registry, restart_intensity=100) as scheduler:
    for name in WORST:
        event = scheduler.schedule_event(
            "worst", kalends.every(seconds=3600), name=name, kwargs={"name": name}
        )
        fates[name] = fate_of(scheduler, scheduler.trigger_now(event.id).id)
        answers.append(hosts_answer())
    for name, error in WORST.items():
        heard[name] = crash(scheduler, error)
        answers.append(hosts_answer())
    events = scheduler.count_events()
    state = scheduler.status().state
answers.append(hosts_answer())
registered = len(pykka.ActorRegistry.get_all())
for host in hosts:
    host.stop(timeout=5)
told = {
    "fates": fates,
    "heard": heard,
    "answers": sorted(set(answers)),
    "events": events,
    "state": state,
    "registered": registered,
}
sys.stdout.write(json.dumps(told))
