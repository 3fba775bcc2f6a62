"""A long job tells how far it is; another process follows it, and stops it."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import kalends
from kalends import Execution, Scheduler, every

half_way = threading.Event()


@kalends.job("photos.convert")
def convert(photos: int) -> int:
    this = kalends.current()
    for done in range(photos):
        if this.cancelled:  # somebody has asked: leave things in order, and say that it was heard
            this.log.warning("stopping", converted=done)
            raise kalends.Cancel(f"stopped after {done} of {photos}")
        if done == photos // 2:
            half_way.set()
            this.log.info("half_way", converted=done)
            _work_until_cancelled()
        this.progress(done / photos, f"{done} of {photos}")
    return photos


def _work_until_cancelled() -> None:
    pause = threading.Event()
    while not kalends.current().cancelled:
        pause.wait(0.01)


def wait_for_the_end(scheduler: Scheduler, execution_id: str) -> Execution:
    pause = threading.Event()
    while True:
        execution = scheduler.get_execution(execution_id)
        if execution.ended_at is not None:
            return execution
        pause.wait(0.02)


with tempfile.TemporaryDirectory() as folder:
    database = Path(folder, "photos.db")
    # The second one stands for another process on the same database: it runs nothing itself.
    with Scheduler(database) as runs, Scheduler(database, enabled=False) as asks:
        event = runs.schedule_event(convert, every(hours=1), name="convert", args=[1000])
        execution = runs.trigger_now(event.id)
        half_way.wait(10)

        print("here:", runs.get_execution(execution.id).note)

        asked = asks.cancel_execution(execution.id, author="ada", note="wrong folder")
        print("asked to stop:", asked.cancel_requested, "ended:", asked.ended_at is not None)

        over = wait_for_the_end(asks, execution.id)
        print(over.fate, over.reason)
        for line in over.attempts[0].log:
            print(line.level, line.message)
        for entry in asks.list_journal(event_id=event.id, kind="execution_cancelled").items:
            print(entry.kind, "by", entry.author, "-", entry.note)
