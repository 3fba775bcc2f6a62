"""Two schedulers in one process: on one file or on two, with one registry or with two.

Arguments: database of the first, ``same`` or ``other`` file, ``same`` or ``other`` registry.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter

import kalends

database, file, jobs = sys.argv[1:]
second = database if file == "same" else f"{database}.other"
ran: list[tuple[str, str, str]] = []
pause = threading.Event()


def registry_of(owner: str) -> kalends.Registry:
    registry = kalends.Registry()

    @registry.job("note")
    def note() -> None:
        now = kalends.current()
        ran.append((owner, now.event_id, now.due.isoformat()))

    return registry


registries = [registry_of("first")] * 2
if jobs == "other":
    registries[1] = registry_of("second")
with (
    kalends.Scheduler(database, registry=registries[0], max_sleep=0.05) as one,
    kalends.Scheduler(second, registry=registries[1], max_sleep=0.05) as two,
):
    events = [(one, one.schedule_event("note", kalends.every(seconds=0.02))) for _ in range(3)]
    events += [(two, two.schedule_event("note", kalends.every(seconds=0.02))) for _ in range(3)]
    for scheduler, event in events:
        while scheduler.count_executions(event_id=event.id, fate="succeeded") < 10:
            pause.wait(0.005)
    paused = [(scheduler, scheduler.pause_event(event.id)) for scheduler, event in events]
    for scheduler, _ in paused:
        while any(scheduler.count_executions(fate=fate) for fate in ("pending", "running")):
            pause.wait(0.005)
    missing = 0
    for scheduler, event in paused:
        assert event.next_due is not None
        due = list(event.trigger.between(event.accounted_from, event.next_due))
        found = scheduler.list_executions(event_id=event.id, limit=1000).items
        gaps = scheduler.list_gaps(event_id=event.id, limit=1000).items
        missing += len(due) - len({item.due for item in found}) - sum(gap.count for gap in gaps)
    counts = [one.count_events(), two.count_events()]
    nodes = len({one.status().node, two.status().node})
told = {
    "twice": sum(n > 1 for n in Counter((event, due) for _, event, due in ran).values()),
    "missing": missing,
    "owners": sorted({owner for owner, _, _ in ran}),
    "counts": counts,
    "nodes": nodes,
}
sys.stdout.write(json.dumps(told))
