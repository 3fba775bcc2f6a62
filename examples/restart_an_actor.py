"""Crash each actor while messages wait for it, and see every message answered.

    python examples/restart_an_actor.py [directory]

An actor's mailbox outlives the actor. Its supervisor starts the next incarnation, which goes on
with the messages that wait; only a message that is itself the cause of a crash is not tried again,
and its sender hears ``ActorCrashed``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pendulum

import kalends
from kalends import CleanupRule, Future, Scheduler, once
from kalends.actors.exits import Crash

QUESTIONS = 200


@kalends.job("noop")
def noop() -> None:
    """Nothing."""


def crash(scheduler: Scheduler, actor: str) -> None:
    """Make an actor meet a bug: an order that is handled before whatever waits.

    The only place where an example reaches into what is private: no public call crashes an actor.
    """
    system = scheduler._system
    assert system is not None
    cells = (system.tracker, system.event_manager, system.loop, system.housekeeper)
    cell = next(cell for cell in cells if cell.name == actor)
    cell.tell_urgent(Crash(RuntimeError(f"a bug in the {actor}")))


def main(directory: Path) -> None:
    """Crash all four, then show what their supervisors did."""
    rule = CleanupRule.checked(
        name="old-logs", directory=str(directory), pattern="*.log", older_than=3600
    )
    with Scheduler(directory / "kalends.db", cleanup=[rule]) as scheduler:
        event = scheduler.schedule_event(
            noop,
            once(pendulum.now("UTC").add(years=1)),
            name="far-away",
            overlap="buffer_all",  # orders that come while the job runs wait for their turn
        )
        questions: dict[str, Callable[[], Future[Any]]] = {
            "event_manager": lambda: scheduler.events.get(event.id),
            "execution_tracker": lambda: scheduler.executions.count(event_id=event.id),
            "loop": lambda: scheduler.loop.trigger_now(event.id),
            "housekeeper": lambda: scheduler.housekeeper.run_cleanup("old-logs", dry_run=True),
        }
        for actor, ask in questions.items():
            futures = [ask() for _ in range(QUESTIONS // 2)]
            crash(scheduler, actor)
            futures += [ask() for _ in range(QUESTIONS // 2)]
            answers = [future.get(timeout=10) for future in futures]
            print(f"{actor}: asked {len(futures)}, answered {len(answers)}")

        # Each question to the loop was an order to run the job once; they run one after the other.
        while scheduler.count_executions(event_id=event.id, fate="succeeded") < QUESTIONS:
            time.sleep(0.01)
        print(f"executions: {scheduler.count_executions()}, all succeeded")
        for status in scheduler.status().actors:
            reason = status.last_crash.text if status.last_crash else "none"
            print(f"{status.name}: {status.state}, restarts {status.restarts}, last: {reason}")
        print(f"scheduler: {scheduler.status().state}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
