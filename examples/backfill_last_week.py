"""Run a job for the seven days before it was scheduled, three at a time, and look how far it is.

    python examples/backfill_last_week.py

The event is new, so the past week is not in its account; what was missed while it existed, or
skipped in a pause, is run the same way. A second backfill of the week finds that nothing is left
to do.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pendulum

import kalends
from kalends import Backfill, Scheduler, cron

OSLO = "Europe/Oslo"
MIDNIGHT = pendulum.today(OSLO)


@kalends.job("sales.summary")
def summarise() -> str:
    """Sum up the day before ``due``: the nominal instant says which day, not the clock."""
    day = kalends.current().due.in_tz(OSLO).subtract(days=1)
    return f"{(MIDNIGHT.date() - day.date()).days} days ago"


def finish(scheduler: Scheduler, backfill: Backfill) -> Backfill:
    """Wait until all of a backfill has ended."""
    pause = threading.Event()
    while backfill.done < 1.0:
        pause.wait(0.02)
        backfill = scheduler.get_backfill(backfill.id)
    return backfill


def main(database: Path) -> None:
    """Three parts, then a look at what ran, then once more."""
    with Scheduler(database) as scheduler:
        event = scheduler.schedule_event(summarise, cron("0 6 * * *", tz=OSLO))
        start, end = MIDNIGHT.subtract(days=7), MIDNIGHT
        since: pendulum.DateTime | None = start
        while since is not None:
            part = scheduler.backfill(event.id, since, end, limit=3, author="ada")
            print(f"planned {part.planned}, {part.remaining} remain")
            part = finish(scheduler, part)
            print(f"  {part.done:.0%} done:", *(f"{n} {fate}" for fate, n in part.fates.items()))
            since = part.resume_from

        ran = scheduler.list_executions(event_id=event.id, descending=False).items
        print("summed up", ", ".join(str(execution.result) for execution in ran))
        again = scheduler.backfill(event.id, start, end)
        print(f"once more: planned {again.planned}, {again.existing} have run")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary, "kalends.db"))
