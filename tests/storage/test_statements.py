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
