"""What a claim transaction costs: how many statements it runs, and how often SQLite compiles them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw

from kalends.triggers import every

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
