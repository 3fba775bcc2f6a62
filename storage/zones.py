"""Time zones whose data has changed: what was computed from the old is computed anew.

A rule follows its zone, and an event's next due instant is kept. So at the start of a process that
finds other zone data than the ledger was told of last, each event of a zone that differs is looked
at: what has its fate keeps it, and what is next is what the rule says now. Where the new data
contradicts what has been accounted for, the account begins anew from there: nobody can say any more
what was due by the old one.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import peewee
from peewee import fn

from kalends.logs import get_log
from kalends.model import EventStatus, JournalKind
from kalends.storage.accounts import readable_rule, told_to
from kalends.storage.event_rows import named
from kalends.storage.facts import fact, put_fact
from kalends.storage.journal import Stamp, note_down
from kalends.storage.models import DefinitionRow, EventRow, ExecutionRow, GapRow
from kalends.storage.paging import first_row
from kalends.storage.rows import EVENT_COLUMNS
from kalends.triggers import Trigger
from kalends.triggers.zone_files import digests, signature

__all__ = ["follow_zones", "zones_have_changed"]

_KEY = "zones"
_ZONE = re.compile(r'"tz":"([^"\\]+)"')
"""A zone in the stored form of a rule, in which a quotation mark within a text is escaped."""
_SLICE = 1000
_TOLD = 50
_log = get_log()


class _Known(msgspec.Struct):
    """What the ledger was told of last."""

    signature: str
    digests: dict[str, str]


def zones_have_changed(db: peewee.Database) -> bool:
    """Whether there is anything to follow: a look that costs next to nothing."""
    known = _known(db)
    return known is None or known.signature != signature()


def follow_zones(db: peewee.Database, stamp: Stamp) -> tuple[str, ...]:
    """Have what is next of each event as its zone says now; the zones that have changed."""
    known, found = _known(db), _Known(signature(), digests())
    if known is not None and known.signature == found.signature:
        return ()  # another process was quicker
    put_fact(db, _KEY, msgspec.json.encode(found).decode())
    if known is None:
        return ()
    changed = {name for name, digest in known.digests.items() if found.digests.get(name) != digest}
    moved = [row["id"] for row in _events_of(db, changed) if _recompute(db, row)] if changed else []
    if moved:
        zones = sorted(changed)
        note_down(
            db,
            JournalKind.ZONES_CHANGED,
            stamp,
            None,
            zones=zones[:_TOLD],
            events=moved[:_TOLD],
            count=len(moved),
        )
        _log.warning("zones_changed", zones=zones[:_TOLD], events=len(moved))
    return tuple(sorted(changed))


def _known(db: peewee.Database) -> _Known | None:
    noted = fact(db, _KEY)
    return None if noted is None else msgspec.json.decode(noted, type=_Known)


def _events_of(db: peewee.Database, zones: set[str]) -> list[dict[str, Any]]:
    """The events with something due whose rule speaks of one of the zones."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        query = (
            EventRow.select(*EVENT_COLUMNS)
            .where(EventRow.id > after, EventRow.next_due.is_null(False))
            .order_by(EventRow.id)
            .limit(_SLICE)
        )
        rows = [named(row) for row in list(query.tuples().execute(db))]
        found += [row for row in rows if zones.intersection(_ZONE.findall(row["trigger"]))]
        if len(rows) < _SLICE:
            return found
        after = rows[-1]["id"]


def _recompute(db: peewee.Database, row: dict[str, Any]) -> bool:
    """Whether anything of the event is different now."""
    rule = readable_rule(row["trigger"])
    if rule is None:
        return False  # its zone has gone: it is parked, with the evidence, when it is next due
    told = told_to(db, row)
    fresh: dict[str, Any] = {}
    following = rule.next_us(told)
    if following != row["next_due"]:
        fresh["next_due"] = following
        if following is None and row["status"] == EventStatus.ACTIVE:
            fresh["status"] = EventStatus.COMPLETED.value
    if not _agrees(db, row, rule, told):
        DefinitionRow.delete().where(DefinitionRow.event_id == row["id"]).execute(db)
        fresh |= {"accounted_from": told + 1, "rule_since": told + 1}
    if fresh:
        EventRow.update(**fresh).where(EventRow.id == row["id"]).execute(db)
    return bool(fresh)


def _agrees(db: peewee.Database, row: dict[str, Any], rule: Trigger, told: int) -> bool:
    """Whether the rule counts what has been accounted for, and its first and last instants are."""
    first = max(row["accounted_from"], row["rule_since"])
    if told < first:
        return True
    mine = (ExecutionRow.event_id == row["id"]) & (ExecutionRow.due >= first)
    executions = ExecutionRow.select(
        fn.COUNT(ExecutionRow.id), fn.MIN(ExecutionRow.due), fn.MAX(ExecutionRow.due)
    ).where(mine, ExecutionRow.manual == 0)
    gaps = GapRow.select(fn.SUM(GapRow.count), fn.MIN(GapRow.first), fn.MAX(GapRow.last)).where(
        GapRow.event_id == row["id"], GapRow.first >= first
    )
    parts = [found for found in (first_row(db, executions), first_row(db, gaps)) if found]
    ends = [end for _, *found in parts for end in found if end is not None]
    count = sum(int(number or 0) for number, *_ in parts)
    instants = all(rule.next_us(end - 1) == end for end in ends)
    return instants and rule.count_us(first, told + 1) == count
