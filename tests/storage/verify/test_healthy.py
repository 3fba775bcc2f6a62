"""What real use leaves behind is in order, however it is sliced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def test_an_empty_ledger_is_in_order(verify: Any) -> None:
    found = verify(integrity=True)
    assert (found.ok, found.complete, found.violations) == (True, True, ())
    assert (found.events, found.executions, found.gaps) == (0, 0, 0)


def test_a_ledger_that_was_used_is_in_order(ledger: Ledger, lived: Any, verify: Any) -> None:
    found = verify(integrity=True)
    assert [item.words for item in found.violations] == []
    assert found.ok
    for query in ("events", "executions", "gaps"):
        count = ledger.db.connection().execute(f"SELECT count(*) FROM {query}").fetchall()[0][0]
        assert getattr(found, query) == count
    assert found.gaps >= 8
    ledger.check_accounts()
