"""Declared events in the ledger: one plan, carried out whole or told without a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kalends.clock import US, from_us
from kalends.drafts import Changes
from kalends.errors import ValidationFailed
from kalends.reconciliation import DeclaredAction, Reconciliation
from kalends.storage.declared import Declared
from kalends.storage.models import EventRow, JournalRow
from kalends.triggers import every

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

A = DeclaredAction


def declare(ledger: Ledger, *names: str, adopt: bool = False, **fields: Any) -> Declared:
    definitions = [ledger.definition(name=name, **fields) for name in names]
    return Declared(
        "app",
        tuple(msgspec.structs.replace(each, declared_by="app") for each in definitions),
        adopt,
    )


def carry_out(ledger: Ledger, wanted: Declared, *, dry_run: bool = False) -> Reconciliation:
    store = ledger.here.events
    return ledger.run(wanted.carry_out, store, now=ledger.now, dry_run=dry_run)[0]


def actions(found: Reconciliation) -> dict[str, DeclaredAction]:
    return {event.name: event.action for event in found.events}


def test_a_second_time_nothing_is_left_to_do(ledger: Ledger) -> None:
    wanted = declare(ledger, "a", "b", tags=("x",))
    assert actions(carry_out(ledger, wanted)) == {"a": A.CREATED, "b": A.CREATED}
    entries = ledger.rows(JournalRow.select())
    assert carry_out(ledger, wanted).changes == ()
    assert ledger.run(wanted.look, now=ledger.now).changes == ()
    assert ledger.rows(JournalRow.select()) == entries


def test_a_dry_run_leaves_no_trace(ledger: Ledger) -> None:
    carry_out(ledger, declare(ledger, "a", "b"))
    before = ledger.rows(EventRow.select()) + ledger.rows(JournalRow.select())
    found = carry_out(ledger, declare(ledger, "b", "c", trigger=every(hours=1)), dry_run=True)
    assert actions(found) == {"a": A.PAUSED, "b": A.UPDATED, "c": A.CREATED}
    assert ledger.rows(EventRow.select()) + ledger.rows(JournalRow.select()) == before


def test_one_that_cannot_be_carried_out_leaves_no_trace_and_stops_no_other(ledger: Ledger) -> None:
    ledger.clock.advance(100)
    over = every(seconds=1).between(from_us(ledger.now - 50 * US), from_us(ledger.now - 40 * US))
    carry_out(ledger, declare(ledger, "a", "b"))
    before = ledger.event(ledger.rows(EventRow.select(EventRow.id))[0][0])
    wanted = Declared(
        "app",
        (*declare(ledger, "a", trigger=over).definitions, *declare(ledger, "c").definitions),
    )
    found = carry_out(ledger, wanted)
    assert actions(found) == {"a": A.REFUSED, "b": A.PAUSED, "c": A.CREATED}
    assert found.refused[0].code == "VALIDATION_FAILED"
    assert ledger.event(before.id) == before
    assert ledger.check_accounts() == 0


def test_policies_that_a_later_version_stores_with_more_fields_are_no_change(
    ledger: Ledger,
) -> None:
    wanted = declare(ledger, "a", timeout=5.0)
    carry_out(ledger, wanted)
    ledger.run(lambda db: EventRow.update(policies='{"timeout":5.0}').execute(db))
    assert actions(carry_out(ledger, wanted)) == {"a": A.KEPT}


def test_policies_that_cannot_be_read_are_made_as_they_are_declared(ledger: Ledger) -> None:
    wanted = declare(ledger, "a")
    carry_out(ledger, wanted)
    ledger.run(lambda db: EventRow.update(policies="{no").execute(db))
    (told,) = carry_out(ledger, wanted).events
    assert (told.action, told.before["policies"]) == (A.UPDATED, "{no")


def test_what_is_completed_or_quarantined_is_only_told_of_when_it_vanishes(ledger: Ledger) -> None:
    carry_out(ledger, declare(ledger, "a", "b", "c"))
    for name, status in (("a", "completed"), ("b", "quarantined")):
        change = EventRow.update(status=status).where(EventRow.name == name)
        ledger.run(lambda db, change=change: change.execute(db))
    found = carry_out(ledger, declare(ledger))
    assert actions(found) == {"a": A.ABSENT, "b": A.ABSENT, "c": A.PAUSED}


def test_thousands_are_looked_up_in_few_statements(ledger: Ledger) -> None:
    names = [f"n{number:04}" for number in range(1200)]
    found = carry_out(ledger, declare(ledger, *names))
    assert len(found.changes) == 1200
    assert ledger.run(declare(ledger, *names).look, now=ledger.now).changes == ()


def test_an_event_made_by_hand_is_left_where_nobody_says_that_it_is_to_be_taken_over(
    ledger: Ledger,
) -> None:
    ledger.add(name="a")
    definitions = declare(ledger, "a").definitions
    assert actions(carry_out(ledger, Declared("app", definitions))) == {"a": A.REFUSED}
    assert actions(carry_out(ledger, Declared("app", definitions, True))) == {"a": A.UPDATED}


def test_a_declared_event_is_not_given_another_name(ledger: Ledger) -> None:
    carry_out(ledger, declare(ledger, "a"))
    event_id = ledger.db.execute(EventRow.select(EventRow.id)).fetchone()[0]
    with pytest.raises(ValidationFailed, match="rename it there"):
        ledger.run(
            ledger.here.events.update, event_id, Changes(name="b"),
            now=ledger.now, version=None, author=None, given_back=(),
        )  # fmt: skip


def test_what_was_paused_as_it_vanished_goes_on_when_it_is_back_and_the_journal_is_gone(
    ledger: Ledger,
) -> None:
    carry_out(ledger, declare(ledger, "a"))
    carry_out(ledger, declare(ledger))
    ledger.db.execute(JournalRow.delete())
    assert actions(carry_out(ledger, declare(ledger, "a"))) == {"a": A.RESUMED}
