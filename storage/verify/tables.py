"""What no event's row leads to: tags and attempts, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import peewee
from peewee import JOIN

from kalends.model import EventStatus
from kalends.storage.models import AttemptRow, EventRow, ExecutionRow, TagRow
from kalends.storage.verify.parts import Attempt, Event, Execution, Findings, columns
from kalends.storage.verify.rows import RowCheck
from kalends.verification import ViolationKind

__all__ = ["AttemptWalk", "TagWalk", "check_listed_tags", "tags_of"]

K = ViolationKind
_SLICE = 5_000


def tags_of(text: str) -> list[str] | None:
    """The tags of an event's own list; None where it cannot be read."""
    try:
        return msgspec.json.decode(text, type=list[str])
    except (msgspec.MsgspecError, UnicodeError):
        return None


def check_listed_tags(db: peewee.Database, findings: Findings, events: Sequence[Event]) -> None:
    """Each tag of these events (in order of their ids) is one that they are found by."""
    listed = {item.id: tags_of(item.tags) for item in events if item.status != EventStatus.DELETED}
    for item in events:
        if item.id in listed and listed[item.id] is None:
            findings.add(K.TAGS, item.id, "its tags cannot be read", item)
    wanted = {(tag, event_id) for event_id, tags in listed.items() for tag in tags or ()}
    if not wanted:
        return
    query = TagRow.select(TagRow.tag, TagRow.event_id).where(
        TagRow.tag.in_(sorted({tag for tag, _ in wanted})),
        TagRow.event_id.between(events[0].id, events[-1].id),
    )
    wanted.difference_update(query.tuples().execute(db))
    by_id = {item.id: item for item in events}
    for tag, event_id in sorted(wanted):
        words = f"it has the tag {tag!r}, and is not found by it"
        findings.add(K.TAGS, event_id, words, by_id[event_id])


class TagWalk:
    """Each tag that an event is found by is one of its own."""

    def __init__(self, findings: Findings, event_id: str | None) -> None:
        self._findings = findings
        self._event_id = event_id
        self._seen = ("", "")

    def step(self, db: peewee.Database) -> bool:
        """Look at the next tags; True at the end."""
        key = peewee.Tuple(TagRow.tag, TagRow.event_id)
        query = (
            TagRow.select(TagRow.tag, TagRow.event_id, EventRow.status, EventRow.tags)
            .join(EventRow, JOIN.LEFT_OUTER, on=(EventRow.id == TagRow.event_id))
            .where(key > peewee.Tuple(*self._seen))
            .order_by(TagRow.tag, TagRow.event_id)
            .limit(_SLICE)
        )
        if self._event_id is not None:
            query = query.where(TagRow.event_id == self._event_id)
        rows = list(query.tuples().execute(db))
        for tag, event_id, status, listed in rows:
            self._check(tag, event_id, status, listed)
        if rows:
            self._seen = rows[-1][:2]
        return len(rows) < _SLICE

    def _check(self, tag: str, event_id: str, status: str | None, listed: str | None) -> None:
        row = {"table": "tags", "tag": tag, "event_id": event_id}
        if status is None or listed is None:
            self._findings.add(K.ORPHAN, event_id, f"a tag of no event: {tag!r}", row)
        elif status == EventStatus.DELETED:
            words = f"it is deleted, and is found by the tag {tag!r}"
            self._findings.add(K.TAGS, event_id, words, row)
        elif tag not in (tags_of(listed) or ()):
            words = f"it is found by the tag {tag!r}, and does not have it"
            self._findings.add(K.TAGS, event_id, words, row)


class AttemptWalk:
    """Each attempt belongs to an execution, and has ended in a way that another may follow."""

    def __init__(
        self, findings: Findings, event_id: str | None, check: Callable[[Any], RowCheck]
    ) -> None:
        self._findings = findings
        self._event_id = event_id
        self._check = check
        self._seen: tuple[str, int] = ("", -(2**63))

    def step(self, db: peewee.Database) -> bool:
        """Look at the next attempts; True at the end."""
        key = peewee.Tuple(AttemptRow.execution_id, AttemptRow.number)
        query = (
            AttemptRow.select(*columns(Attempt), *columns(Execution))
            .join(ExecutionRow, JOIN.LEFT_OUTER, on=(ExecutionRow.id == AttemptRow.execution_id))
            .where(key > peewee.Tuple(*self._seen))
            .order_by(AttemptRow.execution_id, AttemptRow.number)
            .limit(_SLICE)
        )
        if self._event_id is not None:
            query = query.where(ExecutionRow.event_id == self._event_id)
        rows = list(query.tuples().execute(db))
        check = self._check(db)
        width = len(Attempt.__struct_fields__)
        for row in rows:
            attempt = Attempt(*row[:width])
            if row[width] is None:
                words = f"attempt {attempt.number} of no execution"
                self._findings.add(K.ORPHAN, None, words, attempt)
            else:
                check.attempt(attempt, Execution(*row[width:]))
        if rows:
            self._seen = rows[-1][:2]
        return len(rows) < _SLICE
