"""A schedule that stands in the code: what a deployment of the next version makes of it.

    python examples/declared_schedules.py

Each version of the application has a registry of its own here, because one program plays them all;
a real one decorates with ``@kalends.scheduled`` and ``@kalends.job``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from kalends import Registry, Scheduler, cron, every


def version_1() -> Registry:
    """Two events."""
    app = Registry()

    @app.scheduled(cron("0 6 * * 1-5", tz="Europe/Oslo"), name="daily-report", timeout=600)
    @app.job("reports.daily")
    def daily() -> None: ...

    @app.scheduled(every(minutes=5))
    @app.job("inbox.poll")
    def poll() -> None: ...

    return app


def version_2() -> Registry:
    """The report comes an hour later; nobody polls any more; something new is swept."""
    app = Registry()

    @app.scheduled(cron("0 7 * * 1-5", tz="Europe/Oslo"), name="daily-report", timeout=600)
    @app.job("reports.daily")
    def daily() -> None: ...

    @app.job("inbox.poll")
    def poll() -> None: ...

    @app.scheduled(every(hours=1), name="hourly-sweep")
    @app.job("cache.sweep")
    def sweep() -> None: ...

    return app


def show(scheduler: Scheduler) -> None:
    """Each event, and what the journal has to say of it, oldest first."""
    for event in scheduler.list_events(sort="name").items:
        print(f"{event.name}: {event.status}")
        for entry in reversed(scheduler.list_journal(event_id=event.id).items):
            print(f"    {entry.kind} by {entry.author}: {entry.note}")


def main(database: Path) -> None:
    """Deploy, change something by hand, look what the next version would do, and deploy that."""
    with Scheduler(database, registry=version_1()) as scheduler:
        report = scheduler.list_events(name="daily-report").items[0]
        scheduler.update_event(report.id, timeout=60, author="ada")

    with Scheduler(database, registry=version_2(), enabled=False) as scheduler:
        for event in scheduler.reconcile(dry_run=True).changes:
            print(f"{event.name} would be {event.action}", *event.changed)

    with Scheduler(database, registry=version_2()) as scheduler:
        show(scheduler)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary, "kalends.db"))
