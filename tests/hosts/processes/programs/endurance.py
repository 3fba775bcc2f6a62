"""Random load for a while, and how large the process is meanwhile.

Arguments: database, seconds, seed. Prints a JSON list of samples, each with the resident memory
(KiB), threads and open files of the process after garbage was collected, and what was done so far.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kalends
from kalends import Fate, KalendsError, Page, Scheduler, every, once
from kalends.clock import SystemClock, from_us

database, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
SAMPLES = 8
EVENTS = 150
"""How many events there are at most."""
chance = random.Random(seed)
done: Counter[str] = Counter()
clock = SystemClock()


def now() -> Any:
    """The present instant."""
    return from_us(clock.now_us())


@kalends.job("quick")
def quick(payload: str = "") -> dict[str, int]:
    """Return at once."""
    kalends.current().progress(0.5, "half")
    return {"bytes": len(payload)}


@kalends.job("slow")
def slow() -> None:
    """Take a while, and stop when told."""
    pause, execution = threading.Event(), kalends.current()
    for _ in range(20):
        if execution.cancelled:
            return
        pause.wait(0.005)


@kalends.job("fails")
def fails() -> None:
    """Fail, with something large in the frame."""
    ballast = [object() for _ in range(1000)]
    raise ValueError(f"no luck with {len(ballast)}")


@kalends.job("talks")
def talks() -> str:
    """Log and return."""
    for number in range(20):
        kalends.current().log.info("talking", number=number)
    return "x" * 2000


JOBS = ("quick", "slow", "fails", "talks")


def create(scheduler: Scheduler, ids: list[str]) -> None:
    """An event of any kind."""
    job = chance.choice(JOBS)
    soon = now().add(seconds=chance.random())
    event = scheduler.schedule_event(
        job,
        chance.choice([every(seconds=chance.choice([0.2, 0.5, 1.0])), once(soon)]),
        kwargs={"payload": "p" * chance.randrange(2000)} if job == "quick" else None,
        overlap=chance.choice(["skip", "buffer_one", "allow_all", "cancel_other"]),
        retries=chance.choice([0, 0, 1]),
        retry_delay=0.05,
        timeout=chance.choice([None, 0.05, 5]),
        tags=[chance.choice("abc")],
    )
    ids.append(event.id)


def change(scheduler: Scheduler, ids: list[str]) -> None:
    """Something else about an event that there is, or was."""
    event_id = chance.choice(ids)
    verbs: list[Callable[[], Any]] = [
        lambda: scheduler.pause_event(event_id, note="endurance"),
        lambda: scheduler.resume_event(event_id),
        lambda: scheduler.update_event(event_id, trigger=every(seconds=0.3)),
        lambda: scheduler.trigger_now(event_id),
        lambda: scheduler.skip_next(event_id),
        lambda: scheduler.preview(event_id, 10),
        lambda: scheduler.explain(event_id, now()),
        lambda: scheduler.list_executions(event_id=event_id, limit=20),
        lambda: cancel_one(scheduler),
        scheduler.report,
        scheduler.next_runs,
        scheduler.status,
    ]
    chance.choice(verbs)()


def cancel_one(scheduler: Scheduler) -> None:
    """Cancel something that runs, if anything does."""
    page: Page[kalends.Execution] = scheduler.list_executions(fate=Fate.RUNNING, limit=1)
    for execution in page.items:
        scheduler.cancel_execution(execution.id)


def step(scheduler: Scheduler, ids: list[str]) -> None:
    """One thing at random; a refusal is as good as an answer."""
    try:
        if len(ids) < 10 or chance.random() < 0.3:
            create(scheduler, ids)
        elif len(ids) > EVENTS:
            scheduler.delete_event(ids.pop(chance.randrange(len(ids))))
        else:
            change(scheduler, ids)
        done["done"] += 1
    except KalendsError as refusal:
        done[refusal.code] += 1


def sample(scheduler: Scheduler) -> dict[str, Any]:
    """How large the process is now."""
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    size = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
    return {
        "memory": int(size),
        "threads": len(os.listdir("/proc/self/task")),
        "files": len(os.listdir("/proc/self/fd")),
        "executions": scheduler.count_executions(),
        "state": scheduler.status().state,
        "done": sum(done.values()),
    }


def main() -> list[dict[str, Any]]:
    """Load, with a sample now and then."""
    samples: list[dict[str, Any]] = []
    ids: list[str] = []
    scheduler = Scheduler(
        database, housekeeping_every=1.0, retain_age=5.0, retain_gaps=20.0, workers=8,
        durability="normal",
    )  # fmt: skip
    pause = threading.Event()
    with scheduler:
        scheduler.subscribe(lambda notice: done.update([notice.kind]))
        for part in range(1, SAMPLES + 1):
            end = clock.monotonic() + seconds / SAMPLES
            while clock.monotonic() < end:
                step(scheduler, ids)
                pause.wait(0.002)
            samples.append(sample(scheduler) | {"part": part})
        scheduler.keep_house()
        samples[-1]["verified"] = scheduler.verify().ok
    samples[-1]["counted"] = dict(done)
    return samples


sys.stdout.write(json.dumps(main()))
