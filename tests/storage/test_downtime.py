"""Downtime: who comes into a database where nobody is left says since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kalends.clock import US, from_us
from kalends.model import JournalEntry
from kalends.queries import JournalQuery
from kalends.storage.journal import list_entries
from kalends.storage.models import NodeRow

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger
    from tests.storage.node import Node


def enter(ledger: Ledger, node: Node) -> None:
    ledger.run(node.leases.enter, now=ledger.now)


def leave(ledger: Ledger, node: Node) -> None:
    ledger.run(node.leases.leave, now=ledger.now, abandoned=0)


def told(ledger: Ledger) -> tuple[JournalEntry, ...]:
    return ledger.run(list_entries, JournalQuery(kind="downtime")).items


def since(ledger: Ledger, seconds: float) -> dict[str, object]:
    return {
        "since": from_us(ledger.now - round(seconds * US)).isoformat(),
        "seconds": pytest.approx(seconds),
    }


def test_a_new_database_has_no_past(ledger: Ledger) -> None:
    enter(ledger, ledger.here)
    assert told(ledger) == ()


def test_after_an_orderly_stop_it_is_the_time_until_the_next_start(ledger: Ledger) -> None:
    enter(ledger, ledger.here)
    ledger.clock.advance(10.0)
    leave(ledger, ledger.here)
    ledger.clock.advance(3600.0)
    enter(ledger, ledger.there)
    (entry,) = told(ledger)
    assert (entry.details, entry.node, entry.event_id, entry.at) == (
        since(ledger, 3600.0), "there", None, from_us(ledger.now),
    )  # fmt: skip


def test_after_a_crash_it_is_the_time_since_the_last_renewal_of_the_lease(ledger: Ledger) -> None:
    enter(ledger, ledger.here)
    ledger.clock.advance(10.0)
    ledger.run(ledger.here.leases.renew, now=ledger.now)
    ledger.clock.advance(50.0)
    enter(ledger, ledger.there)
    assert [entry.details for entry in told(ledger)] == [since(ledger, 50.0)]


def test_it_does_not_matter_who_found_the_dead_one_first(ledger: Ledger) -> None:
    enter(ledger, ledger.here)
    ledger.clock.advance(50.0)
    # A scheduler that runs nothing keeps house, and enters no node of its own.
    ledger.run(ledger.there.leases.rescue, now=ledger.now)
    assert ledger.rows(NodeRow.select(NodeRow.id)) == []
    ledger.clock.advance(50.0)
    enter(ledger, ledger.there)
    assert [entry.details for entry in told(ledger)] == [since(ledger, 100.0)]


def test_where_another_process_is_alive_there_was_none(ledger: Ledger) -> None:
    enter(ledger, ledger.here)
    leave(ledger, ledger.here)
    ledger.clock.advance(100.0)
    enter(ledger, ledger.there)
    ledger.clock.advance(1.0)
    enter(ledger, ledger.here)
    assert len(told(ledger)) == 1


def test_the_last_sign_of_life_counts(ledger: Ledger) -> None:
    enter(ledger, ledger.here)
    enter(ledger, ledger.there)
    ledger.clock.advance(20.0)
    leave(ledger, ledger.here)
    ledger.clock.advance(40.0)
    enter(ledger, ledger.here)  # the other one has died meanwhile
    assert [entry.details for entry in told(ledger)] == [since(ledger, 40.0)]


def test_who_died_earlier_and_is_found_later_takes_nothing_back(ledger: Ledger) -> None:
    enter(ledger, ledger.here)
    enter(ledger, ledger.there)
    ledger.clock.advance(20.0)
    leave(ledger, ledger.here)
    ledger.clock.advance(40.0)
    ledger.run(ledger.here.leases.rescue, now=ledger.now)
    enter(ledger, ledger.here)
    assert [entry.details for entry in told(ledger)] == [since(ledger, 40.0)]


def test_a_quick_restart_is_not_worth_a_line_and_a_clock_set_back_none_either(
    ledger: Ledger,
) -> None:
    enter(ledger, ledger.here)
    leave(ledger, ledger.here)
    ledger.clock.advance(0.999)
    enter(ledger, ledger.there)
    leave(ledger, ledger.there)
    ledger.clock.jump(-500.0)
    enter(ledger, ledger.here)
    assert told(ledger) == ()


def test_a_node_that_was_declared_dead_and_is_not_was_never_down(ledger: Ledger) -> None:
    enter(ledger, ledger.here)
    ledger.clock.advance(100.0)
    ledger.run(ledger.there.leases.rescue, now=ledger.now)
    assert ledger.run(ledger.here.leases.renew, now=ledger.now) is False
    assert told(ledger) == ()


def test_a_stop_that_could_not_be_said_is_no_later_than_the_end_of_its_lease(
    ledger: Ledger,
) -> None:
    enter(ledger, ledger.here)
    ledger.clock.advance(100.0)
    leave(ledger, ledger.here)
    ledger.clock.advance(10.0)
    enter(ledger, ledger.there)
    assert [entry.details for entry in told(ledger)] == [since(ledger, 80.0)]
