"""One outage, and what each catch-up policy makes of it.

    python examples/an_outage_and_catch_up.py

The same event is there six times, due every hour, and differs only in its policies. At 03:30 the
process is killed; at 08:10 it is started again. What was due in between is late: which instants
still run, and what the ledger says of the others, is for the policy. Everything happens in virtual
time, so the program takes a moment.
"""

from __future__ import annotations

from typing import Any

import pendulum

from kalends import Event, Registry, cron
from kalends.testing import VirtualScheduler

MIDNIGHT = pendulum.datetime(2027, 1, 4)

jobs = Registry()

POLICIES: dict[str, dict[str, Any]] = {
    "latest": {"catch_up": "latest"},  # the default
    "earliest": {"catch_up": "earliest"},
    "all": {"catch_up": "all"},
    "all, two at most": {"catch_up": "all", "catch_up_limit": 2},
    "all of two hours": {"catch_up": "all", "catch_up_window": 7200},
    "skip": {"catch_up": "skip"},
}


@jobs.job("sync")
def sync() -> None:
    """Fetch what has changed since the last time, say."""


def account(scheduler: VirtualScheduler, event: Event) -> list[str]:
    """What became of each instant of the outage, oldest first."""
    since, until = MIDNIGHT.add(hours=4), MIDNIGHT.add(hours=9)
    lines = {}
    for execution in scheduler.list_executions(event_id=event.id, since=since, until=until).items:
        late = (execution.lateness or 0) / 60
        lines[execution.due] = f"{execution.due:HH:mm} {execution.fate}, {late:.0f} minutes late"
    for gap in scheduler.list_gaps(event_id=event.id, since=since, until=until).items:
        hours = f"{gap.first:HH:mm}" if gap.count == 1 else f"{gap.first:HH:mm} to {gap.last:HH:mm}"
        into = "" if gap.into is None else f" into {gap.into:HH:mm}"
        lines[gap.first] = f"{hours} {gap.fate} ({gap.reason}{into})"
    return [lines[first] for first in sorted(lines)]


def main() -> None:
    """Run, kill, start again, and read the accounts."""
    scheduler = VirtualScheduler(registry=jobs, start=MIDNIGHT).start()
    events = [
        scheduler.schedule_event("sync", cron("0 * * * *"), name=name, **policies)
        for name, policies in POLICIES.items()
    ]
    scheduler.advance_to(MIDNIGHT.add(hours=3, minutes=30))
    scheduler.kill()  # as by a power cut: nothing is drained, nobody is told
    scheduler.clock.advance(4 * 3600 + 40 * 60)
    scheduler.start()  # 08:10
    scheduler.advance(600)

    for event in events:
        print(event.name)
        for line in account(scheduler, event):
            print(f"  {line}")

    print()
    for sentence in scheduler.explain(events[0].id, MIDNIGHT.add(hours=6)).sentences:
        print(sentence)
    print("\nEvery instant has one fate:", scheduler.verify().ok)
    scheduler.shutdown()


if __name__ == "__main__":
    main()
