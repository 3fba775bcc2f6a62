"""What the journal keeps of a definition that was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kalends.clock import US
from kalends.drafts import Changes
from kalends.queries import JournalQuery
from kalends.storage.explanations import explain
from kalends.storage.journal import list_entries
from kalends.storage.models import EventRow, JournalRow
from kalends.storage.rows import dump
from kalends.triggers import every

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def update(ledger: Ledger, event_id: str, **changes: Any) -> None:
    ledger.run(
        ledger.here.events.update, event_id, Changes(**changes), now=ledger.now, version=None,
        author="me", given_back=(),
    )  # fmt: skip


def before(ledger: Ledger, event_id: str) -> dict[str, Any]:
    entry = ledger.run(list_entries, JournalQuery(event_id=event_id)).items[0]
    found: dict[str, Any] = entry.details["before"]
    return found


def test_the_old_values_are_data(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), tags=("a",), timeout=5.0)
    arguments = '{"args":[],"kwargs":{"x":1}}'
    rule = every(seconds=7)
    update(ledger, event_id, tags=(), policies={"timeout": None}, arguments=arguments, trigger=rule)
    found = before(ledger, event_id)
    assert found["tags"] == ["a"]
    assert found["policies"]["timeout"] == 5.0
    assert found["arguments"] == {"args": [], "kwargs": {}}
    assert found["trigger"]["type"] == "every"


def test_what_could_not_be_read_is_kept_as_it_was(ledger: Ledger) -> None:
    event_id = ledger.add()
    ledger.run(lambda db: EventRow.update(policies="{no").execute(db))
    update(ledger, event_id, policies={"max_attempts": 2})
    assert before(ledger, event_id)["policies"] == "{no"


def test_explain_reads_the_policies_of_that_time_from_entries_of_every_version(
    ledger: Ledger,
) -> None:
    event_id = ledger.add(every(seconds=10), catch_up_window=60.0)
    ledger.clock.advance(200)
    ledger.claim()
    ledger.clock.advance(1)
    update(ledger, event_id, policies={"catch_up_window": 5.0})

    def window() -> float:
        instant = ledger.now - 191 * US
        found = ledger.run(explain, ledger.here.executions, event_id, instant, now=ledger.now)
        told: float = found.policies["catch_up_window"]
        return told

    assert window() == 60.0
    old = {"before": {"policies": dump(before(ledger, event_id)["policies"])}}
    of_the_update = JournalRow.kind == "event_updated"
    ledger.run(lambda db: JournalRow.update(details=dump(old)).where(of_the_update).execute(db))
    assert window() == 60.0
    broken = dump({"before": {"policies": "{no"}})
    ledger.run(lambda db: JournalRow.update(details=broken).where(of_the_update).execute(db))
    assert window() == 5.0
