"""The same calls and the same seed give the same ledger, byte for byte; and a real one's fates."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pendulum
import pytest

from kalends import Trigger, cron, every, once

START = pendulum.datetime(2027, 1, 1, tz="UTC")

PROGRAM = """
import sys, hashlib
import msgspec
from kalends import Registry, every, cron
from kalends.testing import VirtualScheduler
registry = Registry()
registry.register(lambda: None, "tick")
s = VirtualScheduler(registry=registry, seed=int(sys.argv[1]),
                     durations=lambda due, attempt, rng: rng.uniform(0, 900),
                     failures=0.25)
with s:
    for n in range(5):
        s.schedule_event("tick", every(minutes=7 + n), name=f"e{n}", tags=["b", "a"])
    s.advance(7200)
    paused = s.list_events(name="e1").items[0]
    s.pause_event(paused.id, note="noon", author="me")
    s.kill()
    s.clock.advance(1800)
    s.start()
    s.jump(-600)
    s.advance(7200)
    told = [s.list_executions(limit=1000), s.list_gaps(limit=1000), s.list_journal(limit=1000),
            s.list_events(limit=1000)]
    print(hashlib.sha256(msgspec.json.encode(told, enc_hook=str)).hexdigest())
"""


def digest(seed: int, hash_seed: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()[-1]


def test_two_processes_with_one_seed_write_the_same_ledger_and_another_seed_another() -> None:
    first = digest(1, "1")
    assert len(first) == len(hashlib.sha256().hexdigest())
    assert digest(1, "2") == first
    assert digest(2, "1") != first


def ledger(scheduler: Any) -> list[bytes]:
    """Executions and gaps, oldest first, without what is a node's own business."""
    names = {event.id: event.name for event in scheduler.list_events(limit=1000).items}
    rows: list[Any] = [
        (names[x.event_id], x.due, x.fate, x.reason, x.manual, [a.outcome for a in x.attempts])
        for x in scheduler.list_executions(limit=1000).items
    ]
    rows += [
        (names[g.event_id], g.first, g.last, g.count, g.fate, g.reason)
        for g in scheduler.list_gaps(limit=1000).items
    ]
    return sorted(msgspec.json.encode(row, enc_hook=str) for row in rows)


@pytest.mark.parametrize(
    "rules",
    [
        {"plain": every(minutes=10)},
        {"fixed": cron("*/15 * * * *"), "night": cron("30 2 * * *", tz="Europe/Oslo")},
        {"one": once(START.add(minutes=5)), "late": once(START.subtract(minutes=5))},
        {"limited": every(minutes=20).limit(4), "excluded": every(hours=1) - cron("0 3 * * *")},
    ],
)
def test_the_virtual_ledger_is_that_of_real_threads(
    rules: dict[str, Trigger], make: Callable[..., Any], make_virtual: Callable[..., Any]
) -> None:
    virtual, real = make(), make_virtual(max_sleep=3600.0).start()
    for scheduler in (virtual, real.scheduler):
        scheduler.schedule_events(
            [{"job": "tick", "trigger": rule, "name": name} for name, rule in rules.items()]
        )
    for _ in range(5):
        virtual.advance(3600)
        for _ in range(12):
            real.advance(300)
    real.scheduler.shutdown()
    virtual.shutdown()
    # Six hours away, and back.
    virtual.clock.advance(6 * 3600)
    real.clock.advance(6 * 3600)
    virtual.start()
    real.scheduler.start()
    real.settle()
    for barrier in real.scheduler.list_events(job="barrier", limit=1000).items:
        real.scheduler.delete_event(barrier.id)
    theirs = ledger_of_ticks(real.scheduler)
    assert ledger(virtual) == theirs
    assert len(theirs) >= 2


def ledger_of_ticks(scheduler: Any) -> list[bytes]:
    """The ledger, without the barriers that the threaded harness runs in between."""

    class Ticks:
        list_events = staticmethod(scheduler.list_events)
        list_gaps = staticmethod(scheduler.list_gaps)

        @staticmethod
        def list_executions(**query: Any) -> Any:
            page = scheduler.list_executions(**query)
            known = {event.id for event in scheduler.list_events(limit=1000).items}
            items = [item for item in page.items if item.event_id in known]
            return msgspec.structs.replace(page, items=tuple(items))

    return ledger(Ticks)
