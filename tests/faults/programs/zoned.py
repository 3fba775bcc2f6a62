"""An event in the zone ``Test/Zone``, in whatever state the machine's zones are.

usage: zoned.py DATABASE NOW [UNTIL]. Opens the database at the instant NOW, makes the event where
there is none, and lives until UNTIL where that is given. Prints what there is to know, as JSON.
"""

from __future__ import annotations

import json
import sys

import pendulum

from kalends import Registry, cron
from kalends.testing import VirtualScheduler


def instant(text: str) -> pendulum.DateTime:
    found = pendulum.parse(text)
    assert isinstance(found, pendulum.DateTime)
    return found


database, now, *until = sys.argv[1:]
registry = Registry()
registry.register(lambda: None, "work")
scheduler = VirtualScheduler(database, start=instant(now), registry=registry)
scheduler.start()
if scheduler.count_events() == 0:
    zone = "Test/Zone"
    for name, trigger in (
        ("zoned", cron("0 9 * * *", tz=zone)),
        ("both", cron("0 9 * * *", tz="UTC") | cron("0 9 * * *", tz=zone)),
        ("elsewhere", cron("0 9 * * *", tz="UTC")),
    ):
        scheduler.schedule_event("work", trigger, name=name)
if until:
    scheduler.advance_to(instant(until[0]))
events = {}
for event in scheduler.list_events(sort="name").items:
    found = scheduler.list_executions(event_id=event.id, descending=False).items
    events[event.name] = {
        "status": event.status,
        "note": event.note,
        "next_due": event.next_due and event.next_due.to_iso8601_string(),
        "ran": [item.due.to_iso8601_string() for item in found if item.fate == "succeeded"],
        "text": str(event.trigger) if event.status != "quarantined" else None,
    }
told = {
    "events": events,
    "violations": [item.words for item in scheduler.verify().violations],
    "journal": [
        {"kind": entry.kind, **(entry.details or {})} for entry in scheduler.list_journal().items
    ],
}
sys.stdout.write(json.dumps(told, default=str) + "\n")
scheduler.shutdown()
