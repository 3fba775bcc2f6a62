"""Rows as verification reads them, and the findings they lead to."""

from __future__ import annotations

from typing import Any

import msgspec

from kalends.clock import MAX_US, MIN_US
from kalends.storage.models import (
    AttemptRow,
    DefinitionRow,
    EventRow,
    ExecutionRow,
    GapRow,
)
from kalends.triggers.base import iso
from kalends.verification import INVARIANTS, Violation, ViolationKind

__all__ = ["Attempt", "Definition", "Event", "Execution", "Findings", "Gap", "at", "columns"]


class _Row(msgspec.Struct, frozen=True, gc=False):
    """Some columns of a row, in the order of its fields."""

    def data(self) -> dict[str, Any]:
        """The row as data, with the name of its table."""
        return {"table": _TABLES[type(self)]._meta.table_name, **msgspec.structs.asdict(self)}


class Event(_Row, frozen=True, gc=False):
    """A row of ``events``."""

    id: str
    name: str
    status: str
    trigger: str
    policies: str
    tags: str
    next_due: int | None
    accounted_from: int
    rule_since: int
    version: int


class Definition(_Row, frozen=True, gc=False):
    """A row of ``definitions``."""

    event_id: str
    version: int
    trigger: str
    since: int
    until: int


class Execution(_Row, frozen=True, gc=False):
    """A row of ``executions``."""

    id: str
    event_id: str
    due: int
    version: int
    fate: str
    reason: str | None
    attempt: int
    node: str | None
    claimed_at: int
    started_at: int | None
    ended_at: int | None
    manual: int
    ready_at: int | None
    moved_to: int | None
    batch: str | None
    still_running: int


class Gap(_Row, frozen=True, gc=False):
    """A row of ``gaps``."""

    id: str
    event_id: str
    first: int
    last: int
    count: int
    fate: str
    reason: str | None
    into: int | None
    version: int


class Attempt(_Row, frozen=True, gc=False):
    """A row of ``attempts``."""

    execution_id: str
    number: int
    node: str | None
    claimed_at: int
    started_at: int | None
    ended_at: int | None
    outcome: str
    still_running: int


_TABLES: dict[type[_Row], Any] = {
    Event: EventRow,
    Definition: DefinitionRow,
    Execution: ExecutionRow,
    Gap: GapRow,
    Attempt: AttemptRow,
}


def columns(kind: type[_Row]) -> list[Any]:
    """The columns to select for a kind of row."""
    return [getattr(_TABLES[kind], field) for field in kind.__struct_fields__]


def at(us: int | None) -> str:
    """An instant in a sentence, whatever number it is."""
    if us is None:
        return "nothing"
    return iso(us) if MIN_US <= us <= MAX_US else f"{us} µs"


class Findings:
    """The violations found so far, and what has been looked at."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.violations: list[Violation] = []
        self.events = 0
        self.executions = 0
        self.gaps = 0

    @property
    def full(self) -> bool:
        """Whether there are as many violations as were asked for."""
        return len(self.violations) >= self._limit

    def add(
        self, kind: ViolationKind, event_id: str | None, words: str, *rows: _Row | dict[str, Any]
    ) -> None:
        """Note a violation; beyond the limit it changes nothing."""
        if not self.full:
            self.violations.append(
                Violation(
                    invariant=INVARIANTS[kind],
                    kind=kind,
                    event_id=event_id,
                    words=words,
                    rows=tuple(row.data() if isinstance(row, _Row) else row for row in rows),
                )
            )
