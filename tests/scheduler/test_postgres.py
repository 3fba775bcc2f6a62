"""A whole scheduler on a PostgreSQL server that goes away and comes back."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kalends import Fate, Registry, Scheduler, StorageUnavailable, current, every

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    where = postgres.lend()
    yield where
    postgres.take_back(where)


def test_a_server_that_restarts_costs_time_and_nothing_else(
    postgres: PostgresServer, url: str, until: Callable[..., Any], logged: list[dict[str, Any]]
) -> None:
    registry, ran, through = Registry(), [], threading.Event()

    def tick() -> None:
        ran.append(current().execution_id)
        if current().event_name == "long":
            assert through.wait(60)

    registry.register(tick, "tick")
    with Scheduler(url, registry=registry, environ={}, durability="full") as scheduler:
        often = scheduler.schedule_event("tick", every(seconds=0.2), catch_up="all", name="often")
        long = scheduler.schedule_event("tick", every(hours=1), name="long")
        running = scheduler.trigger_now(long.id)
        until(lambda: len(ran) > 5)
        postgres.stop()
        try:
            until(lambda: scheduler.status().degraded)
            assert scheduler.status().state == "degraded"
            with pytest.raises(StorageUnavailable):
                scheduler.schedule_event("tick", every(hours=1))
            through.set()  # it ends while nobody can write that down
            until(lambda: scheduler.status().unrecorded > 0)
        finally:
            postgres.start()
        until(lambda: scheduler.status().state == "running", 30.0)
        until(lambda: scheduler.get_execution(running.id).fate is Fate.SUCCEEDED, 30.0)
        so_far = len(ran)
        until(lambda: len(ran) > so_far + 2)
        scheduler.pause_event(often.id)
        until(lambda: scheduler.status().unrecorded == 0 and scheduler.status().in_flight == 0)
        found = scheduler.verify(integrity=True)
        assert [item.words for item in found.violations] == []
        report = scheduler.report(event_id=often.id)
        assert report.fates[Fate.SUCCEEDED] == len(set(ran)) - 1
        assert len(set(ran)) == len(ran), "none has run twice"
    words = [entry["event"] for entry in logged]
    assert "storage_degraded" in words
    assert "storage_recovered" in words
    assert "actor_crashed" not in words


PROGRAM = """
import sys
if "patched" in sys.argv:
    import gevent.monkey
    gevent.monkey.patch_all()
import os, threading
from kalends import Registry, Scheduler, every

# No semaphore: in a patched process it is gevent's, and may miss what a real thread does.
registry, ran, pause = Registry(), [], threading.Event()
registry.register(lambda: ran.append(1), "tick")

def goes_on():
    before = len(ran)
    while len(ran) == before:
        pause.wait(0.005)

def forked(look):
    child = os.fork()
    if child == 0:
        try:
            look()
        except BaseException as error:
            print(type(error).__name__, flush=True)
        os._exit(0)
    os.waitpid(child, 0)

with Scheduler(sys.argv[1], registry=registry, environ={}) as scheduler:
    event = scheduler.schedule_event("tick", every(seconds=0.05), catch_up="all")
    for _ in range(5):
        goes_on()
    for _ in range(3 if "forks" in sys.argv else 0):
        forked(lambda: scheduler.get_event(event.id))
        goes_on()
        assert scheduler.status().storage == "ok"
    scheduler.pause_event(event.id)
    print(scheduler.verify().violations, flush=True)
"""


def run(url: str, how: str) -> list[str]:
    """What the program prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", PROGRAM, url, how],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_host_that_gevent_has_patched_is_a_host_like_others(url: str) -> None:
    assert run(url, "patched") == ["()"]


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
def test_connections_cross_no_fork_and_the_scheduler_goes_on(url: str) -> None:
    assert run(url, "forks") == ["ForkedError"] * 3 + ["()"]
