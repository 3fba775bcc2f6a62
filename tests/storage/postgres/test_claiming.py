"""Claims where another session holds rows: what it holds is left out, the others are claimed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from kalends.clock import US
from kalends.model import Fate
from kalends.storage.models import EventRow, ExecutionRow
from kalends.triggers import every

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

pytestmark = pytest.mark.on_postgres


@pytest.fixture
def somebody(ledger: Ledger) -> Iterator[psycopg.Connection[Any]]:
    """Another session on the ledger's schema, within a transaction."""
    address: Any = ledger.dialect
    with psycopg.connect(address.address.conninfo, autocommit=True) as connection:
        connection.execute(f"SET search_path TO {address.address.schema}".encode())
        connection.execute("BEGIN")
        yield connection
        connection.execute("ROLLBACK")


def test_an_event_in_another_sessions_hand_does_not_hold_up_the_others(
    ledger: Ledger, somebody: psycopg.Connection[Any]
) -> None:
    ids = [ledger.add(every(seconds=10)) for _ in range(3)]
    somebody.execute("UPDATE events SET note = 'mine' WHERE id = %s", (ids[1],))
    ledger.clock.advance(10.0)
    assert [claim.event_id for claim in ledger.claim().claims] == [ids[0], ids[2]]
    somebody.execute("ROLLBACK")
    assert [claim.event_id for claim in ledger.claim().claims] == [ids[1]]
    ledger.check_accounts()


def test_an_event_about_to_be_due_is_left_out_the_same_way(
    ledger: Ledger, somebody: psycopg.Connection[Any]
) -> None:
    ids = [ledger.add(every(seconds=10)) for _ in range(2)]
    somebody.execute("SELECT 1 FROM events WHERE id = %s FOR UPDATE", (ids[0],))
    ledger.clock.advance(9.9)
    assert [claim.event_id for claim in ledger.claim(ahead=0.5).claims] == [ids[1]]


def test_what_waits_is_left_out_with_its_event(
    ledger: Ledger, somebody: psycopg.Connection[Any]
) -> None:
    ids = [ledger.add(every(seconds=10), retries=2, retry_delay=1.0) for _ in range(2)]
    ledger.clock.advance(10.0)
    for claim in ledger.claim().claims:
        ledger.fail(claim)
    ledger.clock.advance(2.0)
    somebody.execute("SELECT 1 FROM events WHERE id = %s FOR UPDATE", (ids[0],))
    assert [claim.event_id for claim in ledger.claim().claims] == [ids[1]]
    somebody.execute("ROLLBACK")
    assert [claim.event_id for claim in ledger.claim().claims] == [ids[0]]


def test_a_place_of_a_limit_goes_to_the_next_where_the_first_is_held(
    ledger: Ledger, somebody: psycopg.Connection[Any]
) -> None:
    ledger.here.limit({"one": 1})
    ids = [ledger.add(every(seconds=10), concurrency_limit="one") for _ in range(2)]
    somebody.execute("SELECT 1 FROM events WHERE id = %s FOR UPDATE", (ids[0],))
    ledger.clock.advance(10.0)
    assert [claim.event_id for claim in ledger.claim().claims] == [ids[1]]


def test_a_pause_that_is_over_waits_for_who_holds_its_event(
    ledger: Ledger, somebody: psycopg.Connection[Any]
) -> None:
    held, free = ledger.add(every(seconds=10)), ledger.add(every(seconds=10))
    for event_id in (held, free):
        ledger.set_status(event_id, "pause", until=ledger.now + 5 * US)
    somebody.execute("SELECT 1 FROM events WHERE id = %s FOR UPDATE", (held,))
    ledger.clock.advance(6.0)
    ledger.claim()
    found = dict(ledger.rows(EventRow.select(EventRow.id, EventRow.status)))
    assert found == {held: "paused", free: "active"}


def test_two_nodes_never_hold_one_execution(ledger: Ledger) -> None:
    for _ in range(20):
        ledger.add(every(seconds=1), overlap="allow_all", catch_up="all", catch_up_limit=100)
    ledger.clock.advance(5.0)
    held = [*ledger.claim(limit=7).claims, *ledger.claim(node=ledger.there).claims]
    assert len({claim.id for claim in held}) == len(held) == 100
    ledger.end(*held[:35])
    rejected = ledger.end(*held[:35], node=ledger.there)
    assert len(rejected) == 35, "the other node holds none of them"
    fates = ledger.rows(ExecutionRow.select(ExecutionRow.fate))
    assert fates.count((Fate.SUCCEEDED.value,)) == 35
    ledger.check_accounts()
