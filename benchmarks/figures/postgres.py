"""Fires and adds on PostgreSQL, beside Procrastinate."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import recording
from figures.waiting import millisecond_percentiles, until
from harness.plan import Column, Figure, Task
from peers.kalends_sqlite import make_scheduler
from peers.postgres_server import server

from kalends import Scheduler, once

__all__ = ["FIGURE", "ours", "procrastinate"]

_TEXT = """
On a PostgreSQL of its own (16, its default settings, so every commit is flushed), on the same
machine. Kalends fires what is due at one instant, with its history; Procrastinate's worker, with
20 tasks at a time and its LISTEN/NOTIFY, works off jobs that are asynchronous functions, its
fastest kind, and keeps a row for each as well. Its *bulk* is `batch_defer`. Lateness is that of
300 events over 3 s; Procrastinate looks for scheduled jobs when it polls, here every 100 ms
instead of every 5 s.
"""


def ours(*, fires: int, adds: int, bulk: int, late: int) -> dict[str, float]:
    """Kalends on PostgreSQL."""
    with server() as url, make_scheduler(url) as scheduler:
        day = once(datetime.fromtimestamp(time.time() + 86_400.0, UTC))
        one = _rate(adds, lambda: [scheduler.schedule_event("idle", day) for _ in range(adds)])
        eight = _rate(adds * 4, lambda: _threads(scheduler, day, adds * 4))
        items = [{"job": "idle", "trigger": day}] * bulk
        many = _rate(bulk, lambda: scheduler.schedule_events(items))
        due = time.time() + 2.0 + fires / 3000
        _store(scheduler, [due] * fires)
        until(lambda: len(recording.RAN) >= fires, "the last run")
        until(lambda: scheduler.count_executions(fate="succeeded") >= fires, "the last record")
        first, ended = recording.first_and_last()[0], time.time()
        recording.RAN.clear()
        begin = time.time() + 1.0
        _store(scheduler, [begin + number * 3.0 / late for number in range(late)])
        until(lambda: len(recording.RAN) >= late, "the last run")
        lateness = millisecond_percentiles([at - due for due, at in recording.RAN])
        return {
            "fires": fires / (ended - first), "one": one, "eight": eight, "bulk": many,
            "p50": lateness["p50"], "p99": lateness["p99"],
        }  # fmt: skip


def _threads(scheduler: Scheduler, rule: Any, count: int) -> None:
    def some() -> None:
        for _ in range(count // 8):
            scheduler.schedule_event("idle", rule)

    workers = [threading.Thread(target=some) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _store(scheduler: Scheduler, instants: list[float]) -> None:
    scheduler.schedule_events(
        {"job": "record", "trigger": once(datetime.fromtimestamp(at, UTC)), "args": [at]}
        for at in instants
    )


def procrastinate(*, fires: int, adds: int, bulk: int, late: int) -> dict[str, float]:
    """Procrastinate: an application with one asynchronous task."""
    with server() as url:
        return asyncio.run(_procrastinate(url, fires, adds, bulk, late))


async def _procrastinate(url: str, fires: int, adds: int, bulk: int, late: int) -> dict[str, float]:
    from procrastinate import App, PsycopgConnector

    app: Any = App(connector=PsycopgConnector(conninfo=url, min_size=4, max_size=20))

    async def record(due: float) -> None:
        recording.record(due)

    task: Any = app.task(name="record", queue="now")(record)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        later = datetime.fromtimestamp(time.time() + 86_400.0, UTC)
        apart = task.configure(queue="later", schedule_at=later)
        found = {
            "one": await _arate(adds, lambda: _defer(apart, adds)),
            "eight": await _arate(
                adds * 4,
                lambda: asyncio.gather(*(_defer(apart, adds // 2) for _ in range(8))),
            ),
            "bulk": await _arate(
                bulk, lambda: apart.batch_defer_async(*({"due": 0.0} for _ in range(bulk)))
            ),
        }
        await task.batch_defer_async(*({"due": 0.0} for _ in range(fires)))
        worker: dict[str, Any] = {"queues": ["now"], "concurrency": 20, "name": "bench"}
        await app.run_worker_async(wait=False, install_signal_handlers=False, **worker)
        assert len(recording.RAN) == fires
        found["fires"] = fires / (time.time() - recording.first_and_last()[0])
        recording.RAN.clear()
        begin = time.time() + 2.0
        for number in range(late):
            due = begin + number * 3.0 / late
            moment = datetime.fromtimestamp(due, UTC)
            await task.configure(schedule_at=moment).defer_async(due=due)
        working = asyncio.ensure_future(
            app.run_worker_async(
                install_signal_handlers=False, fetch_job_polling_interval=0.1, **worker
            )
        )
        await asyncio.to_thread(until, lambda: len(recording.RAN) >= late, "the last run")
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        lateness = millisecond_percentiles([at - due for due, at in recording.RAN])
        return found | {"p50": lateness["p50"], "p99": lateness["p99"]}


async def _defer(deferrer: Any, count: int) -> None:
    for _ in range(count):
        await deferrer.defer_async(due=0.0)


async def _arate(count: int, work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    await work()
    return count / (time.perf_counter() - began)


def _rate(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def _tasks(quick: bool) -> list[Task]:
    few = {"fires": 100, "adds": 16, "bulk": 100, "late": 10}
    most = {"fires": 10_000, "adds": 1000, "bulk": 20_000, "late": 300}
    return [
        Task(row="Kalends", code="figures.postgres:ours", peer="kalends_postgres",
             arguments=few if quick else most),
        Task(row="Procrastinate", code="figures.postgres:procrastinate", peer="procrastinate",
             arguments=few if quick else most | {"fires": 3000}),
    ]  # fmt: skip


FIGURE = Figure(
    name="postgres",
    title="PostgreSQL",
    text=_TEXT,
    columns=(
        Column("fires", "fires", "per second", more=True),
        Column("one", "added one by one", "per second", more=True),
        Column("eight", "added by 8 at once", "per second", more=True),
        Column("bulk", "added in bulk", "per second", more=True),
        Column("p50", "late, median", "ms"),
        Column("p99", "99 %", "ms"),
    ),
    tasks=_tasks,
    chart="fires",
)
