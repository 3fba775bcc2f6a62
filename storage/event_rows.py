"""One event's row: read by column name, compared with a definition, and the columns an update
changes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec
import peewee

from kalends.drafts import Changes
from kalends.errors import EventNotFound, ValidationFailed
from kalends.model import EventStatus
from kalends.policies import Overlap, Policies, consistent
from kalends.storage.models import LIVING_EVENTS, EventRow
from kalends.storage.paging import first_row
from kalends.storage.prepared import Prepared, hole
from kalends.storage.rows import (
    EVENT_COLUMNS,
    dump,
    dump_policies,
    dump_trigger,
    load_policies,
    load_trigger,
)
from kalends.triggers import Trigger

__all__ = [
    "COPIES",
    "POLICY_COLUMNS",
    "as_data",
    "changed_fields",
    "event_row",
    "ids_by_name",
    "named",
    "policy_columns",
    "write_event",
]

COPIES = frozenset({"limit_name", "priority", "serial"})
"""Columns that repeat what the policies say."""
POLICY_COLUMNS = ("policies", "limit_name", "priority", "serial")
"""The columns that policies are stored in."""
_JSON = frozenset({"arguments", "trigger", "policies", "tags"})
"""Columns that hold JSON texts."""
_CHUNK = 100
_NAME_HOLES = [f"name{place}" for place in range(_CHUNK)]
_BY_NAME = {
    size: Prepared(
        EventRow.select(EventRow.name, EventRow.id).where(
            EventRow.name.in_([hole(name) for name in _NAME_HOLES[:size]]), LIVING_EVENTS
        )
    )
    for size in (1, _CHUNK)
}
"""By how many names are looked up at once."""


def event_row(db: peewee.Database, event_id: str, *, deleted: bool = False) -> tuple[Any, ...]:
    """The row of ``EVENT_COLUMNS``. Raises ``EventNotFound``."""
    query = EventRow.select(*EVENT_COLUMNS).where(EventRow.id == event_id)
    row = first_row(db, query)
    if row is None or (not deleted and row[7] == EventStatus.DELETED.value):
        raise EventNotFound(f"there is no event {event_id}", event_id=event_id)
    return row


def named(row: Sequence[Any]) -> dict[str, Any]:
    """A row of ``EVENT_COLUMNS`` by column name."""
    return {field.name: value for field, value in zip(EVENT_COLUMNS, row, strict=True)}


def as_data(column: str, value: Any) -> Any:
    """The value of a column as the JSON value that it stands for; a text that is none stays one."""
    if column not in _JSON:
        return value
    if column == "policies":
        stored = _policies_or_none(value)
        if stored is not None:
            return msgspec.json.decode(dump(stored))
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError):
        return value


def write_event(
    db: peewee.Database, old: dict[str, Any], fresh: dict[str, Any], *, now: int
) -> None:
    """Change columns of the event in the row ``old``: a new version of it."""
    EventRow.update(**fresh, version=old["version"] + 1, updated_at=now).where(
        EventRow.id == old["id"]
    ).execute(db)


def ids_by_name(db: peewee.Database, names: Sequence[str]) -> dict[str, str]:
    """The ids of the living events that have one of the names."""
    found: list[tuple[str, str]] = []
    for start in range(0, len(names), _CHUNK):
        few = list(names[start : start + _CHUNK])
        size = 1 if len(few) == 1 else _CHUNK
        few = [*few, *few[:1] * (size - len(few))]
        found += _BY_NAME[size].rows(db, **dict(zip(_NAME_HOLES, few, strict=False)))
    return dict(found)


@functools.lru_cache(maxsize=1024)
def policy_columns(policies: Policies) -> tuple[str, str | None, int, int]:
    """What policies are stored as: the values of ``POLICY_COLUMNS``."""
    return (
        dump_policies(policies),
        policies.concurrency_limit,
        policies.priority,
        int(policies.overlap != Overlap.ALLOW_ALL),
    )


def changed_fields(old: dict[str, Any], changes: Changes, now: int) -> dict[str, Any]:
    """The columns of the row that ``changes`` really change, with their new values."""
    fresh: dict[str, Any] = {}
    for field in ("name", "job", "arguments", "note", "declared_by"):
        value = getattr(changes, field)
        if value is not msgspec.UNSET and value != old[field]:
            fresh[field] = value
    if changes.tags is not msgspec.UNSET and dump(changes.tags) != old["tags"]:
        fresh["tags"] = dump(changes.tags)
    if changes.policies is not msgspec.UNSET:
        stored = _policies_or_none(old["policies"])
        # An update repairs an event that was quarantined for its policies.
        current = msgspec.structs.asdict(Policies() if stored is None else stored)
        policies = consistent(Policies(**{**current, **changes.policies}))
        if policies != stored:
            fresh |= zip(POLICY_COLUMNS, policy_columns(policies), strict=True)
    if changes.trigger is not msgspec.UNSET and not _same_rule(changes.trigger, old["trigger"]):
        fresh["trigger"] = dump_trigger(changes.trigger.anchored(now))
    return fresh


def _same_rule(trigger: Trigger, stored: str) -> bool:
    """True where the given trigger is the stored one, or would be if anchored like it."""
    try:
        return _alike(trigger.to_json(), load_trigger(stored).to_json())
    except ValidationFailed:
        return False


def _alike(given: Any, stored: Any) -> bool:
    if isinstance(given, dict) and isinstance(stored, dict):
        return given.keys() == stored.keys() and all(
            (key == "anchor" and given[key] is None) or _alike(given[key], stored[key])
            for key in given
        )
    if isinstance(given, list) and isinstance(stored, list):
        return len(given) == len(stored) and all(map(_alike, given, stored))
    return bool(given == stored)


def _policies_or_none(text: str) -> Policies | None:
    try:
        return load_policies(text)
    except ValidationFailed:
        return None
