"""Each way in which a ledger can be wrong is found, by name, with the row that shows it.

Every corruption is one statement on a ledger that is in order; ``:tens`` and the like are the ids
of its events (``Lived`` in conftest has them), ``:s`` turns seconds into an instant.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from kalends.clock import US
from kalends.verification import INVARIANTS, ViolationKind

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

K = ViolationKind
START = 1_800_000_000 * US


class Case(NamedTuple):
    """What is done, and what is to be found."""

    sql: str
    kinds: set[ViolationKind]
    event: str | None
    table: str
    where: dict[str, Any]
    """What the row that is shown has in some of its columns; instants in seconds."""


def execution(event: str, due: float) -> str:
    return f"event_id = :{event} AND due = {at(due)}"


def gap(event: str, first: float) -> str:
    return f"event_id = :{event} AND first = {at(first)}"


def at(seconds: float) -> int:
    return START + round(seconds * US)


def on_execution(event: str, due: float, change: str, *kinds: ViolationKind, to: float = 0) -> Case:
    sql = f"UPDATE executions SET {change} WHERE {execution(event, due)}"
    return Case(sql, set(kinds), event, "executions", {"due": to or due})


def on_gap(event: str, first: float, change: str, *kinds: ViolationKind, to: float = 0) -> Case:
    sql = f"UPDATE gaps SET {change} WHERE {gap(event, first)}"
    return Case(sql, set(kinds), event, "gaps", {"first": to or first})


def on_attempts(change: str, *kinds: ViolationKind) -> Case:
    return Case(f"UPDATE attempts SET {change}", set(kinds), "retried", "attempts", {})


def on_event(event: str, change: str, *kinds: ViolationKind) -> Case:
    return Case(f"UPDATE events SET {change} WHERE id = :{event}", set(kinds), event, "events", {})


def no(table: str, where: str, event: str | None, kind: ViolationKind, show: str = "") -> Case:
    return Case(f"DELETE FROM {table} WHERE {where}", {kind}, event, show, {})


def copied(table: str, where: str, *changes: str) -> str:
    """A statement that adds a row: another one's, with these columns changed."""
    fresh = {"id": "id || 'x'", **dict(change.split(" = ", 1) for change in changes)}
    names = COLUMNS[table]
    values = ", ".join(fresh.get(name, f'"{name}"') for name in names)
    listed = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO {table} ({listed}) SELECT {values} FROM {table} WHERE {where}"


COLUMNS = {
    "executions": (
        "id", "event_id", "due", "version", "fate", "reason", "attempt", "node", "claimed_at",
        "started_at", "ended_at", "manual", "ready_at", "priority",
    ),
    "gaps": (
        "id", "event_id", "first", "last", "count", "fate", "reason", "into", "version",
        "recorded_at",
    ),
}  # fmt: skip

CASES = {
    # 1: each instant has exactly one fate
    "an execution is gone": no(
        "executions", execution("tens", 20), "tens", K.MISSING, "events"
    ),
    "the last execution is gone": Case(
        f"DELETE FROM executions WHERE {execution('tens', 250)}",
        {K.MISSING, K.NEXT_DUE}, "tens", "events", {},
    ),
    "an execution of an old rule is gone": no(
        "executions", execution("changed", 14), "changed", K.MISSING, "events"
    ),
    "an execution of a deleted event is gone": no(
        "executions", execution("gone", 30), "gone", K.MISSING, "events"
    ),
    "a gap is gone": no("gaps", gap("busy", 31), "busy", K.MISSING, "events"),
    "a gap is too short": on_gap("busy", 86, f"last = {at(200)}, count = 115", K.MISSING),
    "a gap begins too late": on_gap(
        "busy", 86, f"first = {at(87)}, count = 148", K.MISSING, to=87
    ),
    "a gap counts too many": on_gap("busy", 31, "count = count + 1", K.WRONG_COUNT),
    "a gap counts too few": on_gap("tens", 40, "count = 3", K.WRONG_COUNT),
    "a gap begins between two instants": on_gap(
        "busy", 86, f"first = {at(85.5)}", K.WRONG_SPAN, to=85.5
    ),
    "a gap ends before it begins": on_gap(
        "tens", 40, f"last = {at(35)}", K.WRONG_SPAN, K.MISSING
    ),
    "a gap lies over an execution": on_gap(
        "tens", 40, f"last = {at(80)}, count = 5", K.TWICE
    ),
    "a gap lies over a gap": Case(
        copied("gaps", gap("busy", 31), f"first = {at(40)}", "count = 40"),
        {K.TWICE}, "busy", "gaps", {"first": 40},
    ),
    "a gap lies over many fates": on_gap(
        "busy", 86, f"first = {at(20)}, count = 215", K.TWICE, to=20
    ),
    "a gap is there twice": Case(
        copied("gaps", gap("busy", 31)), {K.TWICE}, "busy", "gaps", {"first": 31}
    ),
    "a gap lies over the change of a rule": on_gap(
        "changed", 46, f"first = {at(35)}, count = 4", K.WRONG_SPAN, to=35
    ),
    "an execution that the rule does not have": on_execution(
        "tens", 20, f"due = {at(21)}, started_at = {at(21)}, ended_at = {at(22)}",
        K.MISSING, K.NOT_DUE, to=21,
    ),
    "an execution is said to be manual": Case(
        f"UPDATE executions SET manual = 1 WHERE {execution('tens', 20)}",
        {K.MISSING}, "tens", "executions", {"due": 30},
    ),
    "a manual one is said to be the rule's": Case(
        copied(
            "executions", execution("tens", 20), f"due = {at(23)}", f"started_at = {at(23)}",
            f"ended_at = {at(24)}",
        ),
        {K.NOT_DUE}, "tens", "executions", {"due": 23},
    ),
    "an execution after the next instant": Case(
        copied(
            "executions", execution("tens", 240), f"due = {at(270)}", f"started_at = {at(270)}",
            f"ended_at = {at(271)}",
        ),
        {K.AHEAD, K.NEXT_DUE}, "tens", "executions", {"due": 270},
    ),
    "a gap after the tombstone": Case(
        copied(
            "gaps", gap("paused", 60), "event_id = :gone", f"first = {at(45)}",
            f"last = {at(45)}",
        ),
        {K.AHEAD}, "gone", "gaps", {"first": 45},
    ),
    "the account begins within a gap": on_event(
        "busy", f"accounted_from = {at(50)}", K.BEFORE_ACCOUNT
    ),
    "the account begins before all time": on_event(
        "tens", f"accounted_from = {-10**18}", K.DEFINITIONS
    ),
    "the account begins before all rules": on_event(
        "tens", f"accounted_from = {at(-100)}", K.DEFINITIONS
    ),
    "coalesced into an instant without a fate": on_gap(
        "tens", 40, f'"into" = {at(81)}', K.INTO_NOTHING
    ),
    "an old rule is gone": Case(
        "DELETE FROM definitions WHERE event_id = :changed AND version = 1",
        {K.DEFINITIONS, K.NOT_DUE, K.WRONG_SPAN}, "changed", "definitions", {"version": 2},
    ),
    "the last old rule is gone": Case(
        "DELETE FROM definitions WHERE event_id = :changed AND version = 2",
        {K.DEFINITIONS}, "changed", "events", {},
    ),
    "an old rule ends too early": Case(
        f"UPDATE definitions SET until = {at(29)} WHERE event_id = :changed AND version = 1",
        {K.DEFINITIONS}, "changed", "definitions", {"version": 2},
    ),
    "an old rule is another one": Case(
        "UPDATE definitions SET trigger = (SELECT trigger FROM events WHERE id = :busy) "
        "WHERE event_id = :changed AND version = 1",
        {K.MISSING}, "changed", "events", {},
    ),
    "an old rule cannot be read": Case(
        "UPDATE definitions SET trigger = 'often' WHERE event_id = :changed AND version = 1",
        {K.UNREADABLE}, "changed", "definitions", {"version": 1},
    ),
    "the rule cannot be read": on_event("tens", "trigger = 'often'", K.UNREADABLE),
    "a version that is to come": on_execution("tens", 20, "version = 9", K.VERSION),
    "a gap of a version that is to come": on_gap("tens", 40, "version = 9", K.VERSION),
    # 2: what is open belongs to the living, or to nobody
    "held by an unknown node": on_execution("tens", 250, "node = 'nobody'", K.HOLDER_GONE),
    "held by a dead node": Case(
        f"UPDATE nodes SET lease_until = {at(200)} WHERE id = 'here'",
        {K.HOLDER_GONE}, "tens", "executions", {"due": 250},
    ),
    "waiting for ever": on_execution(
        "tens", 250, "node = NULL, fate = 'pending', started_at = NULL, ready_at = NULL, "
        "attempt = 0", K.NEVER_READY,
    ),
    "ended and pending": on_execution(
        "tens", 240, "fate = 'pending'", K.OPEN_WITH_END
    ),
    "succeeded without an end": on_execution(
        "tens", 240, "ended_at = NULL", K.ENDED_WITHOUT_END, K.COMBINATION
    ),
    # 3: nothing begins without a claim
    "began and nobody holds it": on_execution("tens", 250, "node = NULL", K.UNCLAIMED, K.ATTEMPTS),
    "held for no attempt": on_execution(
        "tens", 250, "attempt = 0", K.UNCLAIMED
    ),
    "succeeded without a claim": on_execution("tens", 20, "node = NULL", K.UNCLAIMED, K.ATTEMPTS),
    "an attempt left out": on_execution("retried", 20, "attempt = 3", K.ATTEMPTS),
    "an attempt is gone": Case(
        "DELETE FROM attempts", {K.ATTEMPTS}, "retried", "executions", {"due": 20}
    ),
    "an attempt has another's number": Case(
        "UPDATE attempts SET number = 2", {K.ATTEMPTS}, "retried", "executions", {"due": 20}
    ),
    "an attempt has number zero": Case(
        "UPDATE attempts SET number = 0", {K.ATTEMPTS}, "retried", "executions", {"due": 20}
    ),
    "an attempt that runs on nowhere": on_attempts(
        "still_running = 1, node = NULL, started_at = NULL", K.COMBINATION
    ),
    "attempts with a hole and one too many": Case(
        "UPDATE attempts SET number = 0; "
        "INSERT INTO attempts SELECT execution_id, 2, node, claimed_at, started_at, ended_at, "
        f"outcome, error, progress, note, log, 0 FROM attempts; UPDATE executions SET attempt = 3 "
        f"WHERE {execution('retried', 20)}",
        {K.ATTEMPTS}, "retried", "executions", {"due": 20},
    ),
    "an earlier attempt is under way": on_attempts("outcome = 'running'", K.COMBINATION),
    "an earlier attempt has no end": on_attempts("ended_at = NULL", K.COMBINATION),
    "an earlier attempt with a foreign word": on_attempts("outcome = 'fine'", K.WORD),
    "an earlier attempt that nobody claimed": Case(
        f"UPDATE attempts SET node = NULL, started_at = {at(20)}",
        {K.UNCLAIMED}, "retried", "attempts", {},
    ),
    "an earlier attempt ended before it began": Case(
        f"UPDATE attempts SET started_at = {at(25)}, outcome = 'failed'",
        {K.ORDER}, "retried", "attempts", {},
    ),
    "attempted twice, where once is all": Case(
        "UPDATE events SET policies = (SELECT policies FROM events WHERE id = :kept) "
        "WHERE id = :retried",
        {K.AT_MOST_ONCE}, "retried", "executions", {"due": 20},
    ),
    "began before it was due": on_execution(
        "tens", 240, f"started_at = {at(230)}, claimed_at = {at(229)}", K.ORDER
    ),
    "began before it was claimed": on_execution(
        "tens", 240, f"claimed_at = {at(250)}", K.ORDER
    ),
    "ended before it began": on_execution("tens", 240, f"ended_at = {at(238)}", K.ORDER),
    "a foreign fate": on_execution("tens", 20, "fate = 'done'", K.WORD),
    "a foreign reason": on_gap("busy", 31, "reason = 'lazy'", K.WORD),
    "a foreign status": on_event("tens", "status = 'asleep'", K.WORD),
    "skipped without a reason": on_gap("busy", 31, "reason = NULL", K.COMBINATION),
    "succeeded for a reason": on_execution("tens", 20, "reason = 'missed'", K.COMBINATION),
    "a folded success for a reason": on_gap("busy", 1, "reason = 'missed'", K.COMBINATION),
    "lost without a reason": on_execution("tens", 20, "fate = 'lost'", K.COMBINATION),
    "skipped and begun": on_execution(
        "tens", 20, "fate = 'skipped', reason = 'overlap', attempt = 0", K.COMBINATION
    ),
    "failed and never begun": on_execution("tens", 30, "started_at = NULL", K.COMBINATION),
    "running and not begun": on_execution("tens", 250, "started_at = NULL", K.COMBINATION),
    "running on after its end, and not ended": on_execution(
        "tens", 250, "still_running = 1", K.COMBINATION
    ),
    "a gap that is pending": on_gap(
        "busy", 1, "fate = 'pending'", K.COMBINATION
    ),
    "missed into another": on_gap("busy", 31, f'"into" = {at(85)}', K.COMBINATION),
    "coalesced into none": on_gap("tens", 40, '"into" = NULL', K.COMBINATION),
    # 4: next_due follows
    "next_due too late": on_event("tens", f"next_due = {at(270)}", K.MISSING, K.NEXT_DUE),
    "next_due too early": on_event("tens", f"next_due = {at(250)}", K.AHEAD, K.NEXT_DUE),
    "next_due between two instants": on_event("tens", f"next_due = {at(255)}", K.NEXT_DUE),
    "nothing is due and the rule goes on": on_event("tens", "next_due = NULL", K.NEXT_DUE),
    "completed and the rule goes on": on_event(
        "tens", "next_due = NULL, status = 'completed'", K.NEXT_DUE
    ),
    "completed and something is due": on_event("tens", "status = 'completed'", K.NEXT_DUE),
    "active and its rule has ended": on_event("once", "status = 'active'", K.NEXT_DUE),
    "deleted and something is due": on_event("gone", f"next_due = {at(45)}", K.NEXT_DUE),
    "due though the rule has ended": on_event(
        "once", f"next_due = {at(999)}, status = 'active'", K.NEXT_DUE
    ),
    # the tables
    "executions of no event": Case(
        f"UPDATE executions SET event_id = 'x' WHERE {execution('tens', 20)}",
        {K.ORPHAN, K.MISSING}, "x", "executions", {"due": 20},
    ),
    "a gap of no event": Case(
        copied("gaps", gap("busy", 31), "event_id = 'x'"), {K.ORPHAN}, "x", "gaps", {"first": 31}
    ),
    "a gap of an event before all others": Case(
        copied("gaps", gap("busy", 31), "event_id = '0'"), {K.ORPHAN}, "0", "gaps", {"first": 31}
    ),
    "an old rule of no event": Case(
        "INSERT INTO definitions SELECT 'x', version, trigger, since, until FROM definitions "
        "WHERE event_id = :gone",
        {K.ORPHAN}, "x", "definitions", {"version": 1},
    ),
    "a tag of no event": Case(
        "INSERT INTO tags VALUES ('red', 'x')", {K.ORPHAN}, "x", "tags", {"tag": "red"}
    ),
    "an attempt of no execution": Case(
        "INSERT INTO attempts SELECT 'x', number, node, claimed_at, started_at, ended_at, "
        "outcome, error, progress, note, log, 0 FROM attempts",
        {K.ORPHAN}, None, "attempts", {"execution_id": "x"},
    ),
    "a tag of its own is missing": Case(
        "DELETE FROM tags WHERE tag = 'blue'", {K.TAGS}, "tens", "events", {}
    ),
    "a tag too many": Case(
        "INSERT INTO tags VALUES ('green', :tens)", {K.TAGS}, "tens", "tags", {"tag": "green"}
    ),
    "a tag of a deleted event": Case(
        "INSERT INTO tags VALUES ('blue', :gone)", {K.TAGS}, "gone", "tags", {"tag": "blue"}
    ),
    "tags that cannot be read": Case(
        "UPDATE events SET tags = 'red' WHERE id = :tens", {K.TAGS}, "tens", "events", {}
    ),
}  # fmt: skip


def corrupt(ledger: Ledger, lived: Any, sql: str) -> None:
    names = set(re.findall(r":(\w+)", sql))
    connection = ledger.db.connection()
    connection.execute(sql, {name: getattr(lived, name) for name in names}).fetchall()
    assert connection.changes() > 0


@pytest.mark.parametrize("name", CASES)
def test_a_corruption_is_found(ledger: Ledger, lived: Any, verify: Any, name: str) -> None:
    case = CASES[name]
    corrupt(ledger, lived, case.sql)
    found = verify()
    assert not found.ok
    assert {item.kind for item in found.violations} == case.kinds
    event_id = getattr(lived, case.event or "", case.event)
    shown = [
        row
        for item in found.violations
        if item.event_id == event_id and item.invariant == INVARIANTS[item.kind]
        for row in item.rows
        if row.get("table") == case.table
    ]
    wanted = {
        key: at(value) if isinstance(value, int | float) and key != "version" else value
        for key, value in case.where.items()
    }
    assert any(wanted.items() <= row.items() for row in shown), shown


def test_every_kind_of_violation_has_a_corruption_and_an_invariant() -> None:
    met = set[ViolationKind]().union(*(case.kinds for case in CASES.values()))
    assert met | {K.INTEGRITY} == set(K)
    assert set(INVARIANTS) == set(K)
    assert len(CASES) > 30


@pytest.mark.parametrize("name", CASES)
def test_a_corruption_is_found_whatever_the_slices(
    ledger: Ledger, lived: Any, verify: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    corrupt(ledger, lived, CASES[name].sql)
    for size in (2, 3, 7):
        monkeypatch.setattr("kalends.storage.verify.line.ROWS", size)
        monkeypatch.setattr("kalends.storage.verify.line.EVENTS", size)
        monkeypatch.setattr("kalends.storage.verify.tables._SLICE", size)
        assert {item.kind for item in verify().violations} == CASES[name].kinds


def test_one_event_is_looked_at_by_itself(ledger: Ledger, lived: Any, verify: Any) -> None:
    corrupt(ledger, lived, CASES["an execution is gone"].sql)
    corrupt(ledger, lived, CASES["an attempt has another's number"].sql)
    corrupt(ledger, lived, CASES["a tag too many"].sql)
    kinds = {item.kind for item in verify(event_id=lived.tens).violations}
    assert kinds == {K.MISSING, K.TAGS}
    assert {item.kind for item in verify(event_id=lived.retried).violations} == {K.ATTEMPTS}
    assert verify(event_id=lived.busy).ok


def test_it_ends_at_the_limit_of_violations(ledger: Ledger, lived: Any, verify: Any) -> None:
    corrupt(ledger, lived, "UPDATE gaps SET count = count + 1")
    found = verify(limit=3)
    assert (len(found.violations), found.complete, found.ok) == (3, False, False)
    assert verify().complete
    assert len(verify().violations) > 10
