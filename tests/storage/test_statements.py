"""What a claim transaction costs: how many statements it runs, how often they are compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw
import pytest

from kalends.triggers import every

pytestmark = pytest.mark.on_sqlite

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def run_and_record(ledger: Ledger, seconds: float = 10.0) -> None:
    ledger.clock.advance(seconds)
    ledger.end(*ledger.claim(ahead=0.25).claims)


@pytest.mark.parametrize("statistics", [True, False])
def test_rows_that_are_written_by_blocks_are_looked_up_one_by_one(
    ledger: Ledger, statistics: bool
) -> None:
    again: dict[str, Any] = {"retries": 1, "retry_delay": 1.0}
    ledger.create(*(ledger.definition(every(seconds=100), **again) for _ in range(300)))
    seen: dict[str, Any] = {}

    def trace(_cursor: apsw.Cursor, sql: str, values: Any) -> bool:
        if "AS many" in sql:
            seen[sql] = values
        return True

    connection = ledger.db.connection()
    ledger.clock.advance(100.0)
    connection.exec_trace = trace
    begun = ledger.claim().claims
    if statistics:
        # Of a time at which next to nothing waits, as it is most of the time.
        ledger.fail(begun[0])
        connection.execute("ANALYZE").fetchall()
        begun = begun[1:]
    for claim in begun:
        ledger.fail(claim)
    ledger.clock.advance(1.0)
    held = ledger.claim().claims
    ledger.end(*held)
    connection.exec_trace = None
    assert len(held) == 300
    # Events advanced; what has waited, taken; ends.
    assert len({sql.split(" FROM ")[0] for sql in seen}) == 3
    for sql, values in seen.items():
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
        (source, target) = (row[3] for row in plan)
        assert source.endswith("ROW VALUES CLAUSE")
        assert target.endswith("USING PRIMARY KEY (id=?)")


def test_a_statement_is_not_compiled_anew_for_other_values(ledger: Ledger) -> None:
    ledger.create(*(ledger.definition(every(seconds=10)) for _ in range(3)))
    compiled: list[Any] = []

    def allow(*asked: Any) -> int:
        compiled.append(asked)
        return apsw.SQLITE_OK

    connection = ledger.db.connection()
    connection.authorizer = allow  # asked while a statement is compiled; forgets all that were
    run_and_record(ledger)
    assert compiled
    compiled.clear()
    run_and_record(ledger)
    assert compiled == []


def test_a_claim_looks_only_where_there_is_something(ledger: Ledger) -> None:
    ledger.create(*(ledger.definition(every(seconds=10)) for _ in range(3)))
    run_and_record(ledger)
    seen: list[str] = []

    def trace(_cursor: apsw.Cursor, sql: str, _values: Any) -> bool:
        seen.append(sql.split(maxsplit=1)[0])
        return True

    ledger.clock.advance(9.75)
    connection = ledger.db.connection()
    connection.exec_trace = trace
    claimed = ledger.claim(ahead=0.25)
    connection.exec_trace = None
    assert len(claimed.claims) == 3
    # What there is, the events, what is left; the rows of all executions, those of all events.
    assert sorted(set(seen[2:-1])) == ["INSERT", "SELECT", "UPDATE"]
    assert seen.count("SELECT") == 3


def test_what_a_dead_node_held_is_freed_by_a_few_statements(ledger: Ledger) -> None:
    again: dict[str, Any] = {"delivery": "at_least_once", "max_attempts": 3}
    once: dict[str, Any] = {"delivery": "at_most_once"}
    for policies in (again, once):
        ledger.create(*(ledger.definition(every(seconds=10), **policies) for _ in range(100)))
    ledger.clock.advance(10.0)
    claims = ledger.claim(node=ledger.there).claims
    assert len(claims) == 200
    ledger.create(*(ledger.definition(every(seconds=10), **again) for _ in range(100)))
    ledger.clock.advance(9.9)
    assert len(ledger.claim(ahead=0.25, node=ledger.there).claims) == 100
    seen: list[str] = []

    def trace(_cursor: apsw.Cursor, sql: str, _values: Any) -> bool:
        seen.append(sql)
        return True

    connection = ledger.db.connection()
    connection.exec_trace = trace
    found = ledger.run(ledger.here.leases.rescue, now=ledger.now)
    connection.exec_trace = None
    assert (found.reopened, found.lost) == (200, 100)
    assert len(seen) < 25
    ledger.check_accounts()
    ledger.clock.advance(10.0)
    assert len(ledger.claim().claims) >= 200


def test_many_events_whose_instants_wait_in_line_are_looked_up_together(ledger: Ledger) -> None:
    line: dict[str, Any] = {"overlap": "buffer_all", "catch_up": "all"}
    ledger.create(*(ledger.definition(every(seconds=10), **line) for _ in range(100)))
    for _ in range(2):
        ledger.clock.advance(10.0)
        held = ledger.claim()
    assert held.claims == ()
    seen: list[str] = []

    def trace(_cursor: apsw.Cursor, sql: str, _values: Any) -> bool:
        seen.append(sql)
        return True

    ledger.clock.advance(10.0)
    connection = ledger.db.connection()
    connection.exec_trace = trace
    ledger.claim()
    connection.exec_trace = None
    assert len({sql for sql in seen if sql.startswith("SELECT")}) < 10
    assert sum(sql.startswith("SELECT") for sql in seen) < 10
    ledger.check_accounts()


def test_later_attempts_of_many_events_are_given_back_together(ledger: Ledger) -> None:
    again: dict[str, Any] = {"retries": 2, "retry_delay": 1.0}
    ledger.create(*(ledger.definition(every(seconds=100), **again) for _ in range(100)))
    ledger.clock.advance(100.0)
    for claim in ledger.claim().claims:
        ledger.fail(claim)
    ledger.clock.advance(1.0)
    held = ledger.claim().claims
    assert [claim.attempt for claim in held] == [2] * 100
    seen: list[str] = []

    def trace(_cursor: apsw.Cursor, sql: str, _values: Any) -> bool:
        seen.append(sql)
        return True

    connection = ledger.db.connection()
    connection.exec_trace = trace
    ledger.run(ledger.here.leases.give_back, held, now=ledger.now)
    connection.exec_trace = None
    assert len(seen) < 12
    ledger.check_accounts()
    assert {claim.id for claim in ledger.claim().claims} == {claim.id for claim in held}
