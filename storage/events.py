"""Definitions: stored, changed and found. Every function runs inside the caller's transaction.

A change never loses an instant: what was due up to the moment of the change keeps the old rule's
account (a gap with the reason of the change), what comes after belongs to the new one. Claims that
had not begun are given back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import peewee

from kalends.drafts import Changes, Definition, OnConflict
from kalends.errors import ConflictError, ValidationFailed, VersionConflict
from kalends.ids import IdSource
from kalends.messages import CreateEvents
from kalends.model import Event, EventStatus, JournalKind, Reason
from kalends.redaction import SECRET_KEYS, Redactor, redactor_of
from kalends.storage.accounts import close_account, give_back, opening
from kalends.storage.creating import Creation, Creator
from kalends.storage.dialect import Dialect
from kalends.storage.event_rows import (
    COPIES,
    as_data,
    changed_fields,
    event_row,
    named,
    write_event,
)
from kalends.storage.journal import Stamp, note_down
from kalends.storage.models import TagRow
from kalends.storage.portions import Answer
from kalends.storage.rows import event_of, load_trigger
from kalends.storage.statuses import current_row, set_status, transition
from kalends.storage.undoing import undo_foretold
from kalends.triggers import Trigger
from kalends.work import Claim

__all__ = ["EventStore", "changes_of"]

_INSERT_TAG = TagRow.insert(tag="", event_id="")
_FOLLOWS = {"next_due", "rule_since", "accounted_from", "status"}
"""Columns that change as a consequence, not because somebody asked."""


class EventStore:
    """The unit-of-work functions of the event manager; ``now`` is in microseconds. What the journal
    tells of arguments goes through ``redactor``.
    """

    def __init__(
        self,
        dialect: Dialect,
        ids: IdSource,
        node: str,
        redactor: Redactor | None = None,
    ) -> None:
        self._dialect = dialect
        self._creator = Creator(dialect, self._replace, self.get)
        self._insert_tag = dialect.compile(_INSERT_TAG)
        self._ids = ids
        self._node = node
        self._redactor = redactor_of(SECRET_KEYS) if redactor is None else redactor

    def stamp(self, now: int, author: str | None, note: str | None = None) -> Stamp:
        """What lines of the journal begin with, where this node writes them."""
        return Stamp(now=now, ids=self._ids, node=self._node, author=author, note=note)

    # -- create --------------------------------------------------------------------------------

    def create(
        self,
        db: peewee.Database,
        definitions: Sequence[Definition],
        *,
        now: int,
        on_conflict: OnConflict,
        author: str | None,
        note: str | None = None,
    ) -> tuple[Event, ...]:
        """Store all of them or, by raising, none. Returns the events in the order given."""
        stamp = self.stamp(now, author, note)
        return self._creator.create(db, Creation(definitions, stamp, on_conflict))

    def create_each(
        self, db: peewee.Database, calls: Sequence[CreateEvents], *, now: int
    ) -> Sequence[Answer[tuple[Event, ...]]]:
        """Carry out several calls at once, each whole or not at all; see ``creating.Creator``."""
        creations = [
            Creation(call.definitions, self.stamp(now, call.author), call.on_conflict)
            for call in calls
        ]
        return self._creator.create_each(db, creations)

    def _replace(
        self, db: peewee.Database, event_id: str, definition: Definition, stamp: Stamp
    ) -> None:
        self.update(
            db,
            event_id,
            changes_of(definition),
            now=stamp.now,
            version=None,
            author=stamp.author,
            given_back=(),
            quiet=True,
        )

    # -- read ----------------------------------------------------------------------------------

    def get(self, db: peewee.Database, event_id: str, *, deleted: bool = False) -> Event:
        """The event. Raises ``EventNotFound``."""
        return event_of(event_row(db, event_id, deleted=deleted))

    def job_of(self, db: peewee.Database, event_id: str) -> tuple[str, str]:
        """The name of its job, and its arguments as JSON. Raises ``EventNotFound``."""
        row = named(event_row(db, event_id))
        return row["job"], row["arguments"]

    # -- change --------------------------------------------------------------------------------

    def update(
        self,
        db: peewee.Database,
        event_id: str,
        changes: Changes,
        *,
        now: int,
        version: int | None,
        author: str | None,
        given_back: Sequence[Claim],
        note: str | None = None,
        quiet: bool = False,
    ) -> Event:
        """Apply the changes. ``given_back`` are this node's claims of the event that will not
        begin.

        Raises ``EventNotFound``, ``VersionConflict``, ``ConflictError``, ``ValidationFailed``,
        ``TransitionError``. With ``quiet`` a change that changes nothing is no change: the version
        stays.
        """
        stamp = self.stamp(now, author, note)
        old = current_row(db, event_id, stamp)
        if version is not None and version != old["version"]:
            raise VersionConflict(
                f"the event is at version {old['version']}, not {version}: read it again",
                expected=version,
                actual=old["version"],
            )
        fresh = changed_fields(old, changes, now)
        if quiet and not fresh:
            return self.get(db, event_id)
        if "name" in fresh and old["declared_by"] is not None:
            raise ValidationFailed(
                f"the event is declared in the code of {old['declared_by']!r}: rename it there",
                path="name",
            )
        if give_back(db, given_back, self._node, now=now):
            old = named(event_row(db, event_id))
        before, asked, evidence = dict(old), [*fresh], {}
        if "trigger" in fresh:
            evidence = undo_foretold(db, old, now).evidence()
            fresh |= self._reschedule(db, old, load_trigger(fresh["trigger"]), now)
        self._write(db, old, fresh, now)
        note_down(
            db,
            JournalKind.EVENT_UPDATED,
            stamp,
            event_id,
            changed=sorted(set(fresh) - _FOLLOWS - COPIES),
            before={key: self._told(key, before[key]) for key in fresh if key not in COPIES},
            after={key: self._told(key, fresh[key]) for key in asked if key not in COPIES},
            version=old["version"] + 1,
            **evidence,
        )
        return _warned(self.get(db, event_id), changes)

    def _told(self, column: str, value: Any) -> Any:
        """What the journal tells of a column's value."""
        data = as_data(column, value)
        return self._redactor.value(data) if column == "arguments" else data

    def _reschedule(
        self, db: peewee.Database, old: dict[str, Any], rule: Trigger, now: int
    ) -> dict[str, Any]:
        """Close the old rule's account and open the new one's."""
        status = transition("reschedule", old["status"])
        reason = Reason.PAUSED if old["status"] == EventStatus.PAUSED else Reason.SUPERSEDED
        closing, since, next_due = opening(db, old, rule, now)
        kept = close_account(db, old, closing, reason, now=now, ids=self._ids, node=self._node)
        return {
            "status": status.value,
            "next_due": next_due,
            "rule_since": since,
            **({} if kept else {"accounted_from": since}),
        }

    def set_status(
        self,
        db: peewee.Database,
        event_id: str,
        verb: str,
        *,
        now: int,
        author: str | None = None,
        note: str | None = None,
        until: int | None = None,
        given_back: Sequence[Claim] = (),
        **evidence: Any,
    ) -> Event:
        """Carry out ``pause``, ``resume``, ``release`` or ``delete``; see
        ``statuses.set_status``.
        """
        stamp = self.stamp(now, author, note)
        set_status(db, event_id, verb, stamp, until=until, given_back=given_back, **evidence)
        return self.get(db, event_id, deleted=True)

    def _write(
        self, db: peewee.Database, old: dict[str, Any], fresh: dict[str, Any], now: int
    ) -> None:
        try:
            write_event(db, old, fresh, now=now)
        except peewee.IntegrityError as error:
            raise ConflictError(
                f"an event named {fresh.get('name')!r} exists", path="name", name=fresh.get("name")
            ) from error
        if "tags" in fresh:
            TagRow.delete().where(TagRow.event_id == old["id"]).execute(db)
            tags = [(tag, old["id"]) for tag in msgspec.json.decode(fresh["tags"])]
            self._dialect.execute_many(db, self._insert_tag, tags)

    # -- claims that will not begin ------------------------------------------------------------

    def give_back(self, db: peewee.Database, claims: Sequence[Claim], *, now: int) -> None:
        """Undo this node's claims that have not begun; see ``accounts.give_back``."""
        give_back(db, claims, self._node, now=now)


def _warned(event: Event, given: Definition | Changes) -> Event:
    """The event with the warnings of what it was made from."""
    return msgspec.structs.replace(event, warnings=given.warnings) if given.warnings else event


def changes_of(definition: Definition) -> Changes:
    """What makes an event of the same name as it is defined. Whose it is stays, unless it says."""
    changes = Changes(
        job=definition.job,
        arguments=definition.arguments,
        trigger=definition.trigger,
        policies=msgspec.structs.asdict(definition.policies),
        tags=definition.tags,
        note=definition.note,
        warnings=definition.warnings,
    )
    if definition.declared_by is None:
        return changes
    return msgspec.structs.replace(changes, declared_by=definition.declared_by)
