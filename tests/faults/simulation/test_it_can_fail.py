"""The simulation finds what it is there for: mistakes made on purpose are seen within few seeds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import apsw
import msgspec
import pytest
from tests.faults.simulation.living import live_all

from kalends.actors.execution_tracker import ExecutionTrackerActor
from kalends.jobs.holdings import Holdings
from kalends.storage.models import ExecutionRow
from kalends.storage.nodes import NodeStore, Rescue
from kalends.storage.outcomes import OutcomeStore
from kalends.storage.paging import first_row
from kalends.testing.probing import ProbedWriter

ENOUGH = 60
"""Seeds within which each is found."""


def nothing(*_: object, **__: object) -> None:
    """In place of what should be done."""


def rescue_nobody(_store: NodeStore, _db: Any, *, now: int) -> Rescue:
    return Rescue()


def acknowledge_anyway(right: Callable[..., None]) -> Callable[..., None]:
    """A commit that fails counts as one that has not."""

    def commit(writer: ProbedWriter, db: Any) -> None:
        try:
            right(writer, db)
        except apsw.Error:
            writer._dialect.rollback(db)

    return commit


def believe_everybody(right: Callable[..., Any]) -> Callable[..., Any]:
    """Outcomes count for the attempt that an execution is at, whosever they are."""

    def record(store: OutcomeStore, db: Any, outcomes: Any, *, now: int) -> Any:
        seized = []
        for outcome in outcomes:
            this = ExecutionRow.id == outcome.execution_id
            ExecutionRow.update(node=store._node).where(this).execute(db)
            row = first_row(db, ExecutionRow.select(ExecutionRow.attempt).where(this))
            attempt = outcome.attempt if row is None else row[0]
            seized.append(msgspec.structs.replace(outcome, attempt=attempt))
        return right(store, db, seized, now=now)

    return record


def forget_what_was_refused(tracker: ExecutionTrackerActor, _message: object) -> None:
    tracker._recording = False
    tracker._outbox.drop(len(tracker._outbox))


MISTAKES: dict[str, tuple[type, str, Callable[..., Any]]] = {
    "nobody is rescued": (NodeStore, "rescue", rescue_nobody),
    "refused commits are acknowledged": (
        ProbedWriter, "commit", acknowledge_anyway(ProbedWriter.commit),
    ),
    "stale outcomes count": (OutcomeStore, "record", believe_everybody(OutcomeStore.record)),
    "what begins is not looked for": (Holdings, "holds", lambda *_: False),
    "claims nobody knows of stay": (ExecutionTrackerActor, "_audit", nothing),
    "refused outcomes are forgotten": (ExecutionTrackerActor, "refused", forget_what_was_refused),
    "leases are not renewed": (NodeStore, "renew", lambda *_, **__: True),
}  # fmt: skip


FOUND = {
    "nobody is rescued": 3,
    "refused commits are acknowledged": 23,
    "stale outcomes count": 43,
    "what begins is not looked for": 1,
    "claims nobody knows of stay": 22,
    "refused outcomes are forgotten": 2,
    "leases are not renewed": 9,
}
"""By mistake, the first seed from 0 on that shows it: where a look begins."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    place, name, wrong = MISTAKES[mistake]
    monkeypatch.setattr(place, name, wrong)
    first = FOUND[mistake]
    for seed in range(first, first + ENOUGH):
        if live_all([seed]).failures:
            sys.stdout.write(f"{mistake}: found with seed {seed}\n")
            return
    raise AssertionError(f"not found by {ENOUGH} seeds")
