"""What the events of one call share is worked out once, and told of each as it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kalends.clock import US, from_us
from kalends.drafts import Definition
from kalends.errors import ConflictError
from kalends.ids import short_form
from kalends.policies import Overlap, Policies
from kalends.storage.models import EventRow
from kalends.storage.rows import dump, dump_policies, load_policies
from kalends.triggers import Trigger, cron, every, once

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def define(trigger: Trigger, **fields: Any) -> Definition:
    given = {"name": None, "arguments": '{"args":[],"kwargs":{}}', "policies": Policies()}
    return Definition(job="job", trigger=trigger, **{**given, **fields})


def test_the_answers_are_what_is_read_back(ledger: Ledger) -> None:
    hourly = every(hours=1)
    created = ledger.create(
        define(hourly),
        define(hourly, name="second", tags=("a", "b"), note="why"),
        define(every(minutes=60), arguments='{"args":[[1]],"kwargs":{"x":null}}'),
        define(cron("0 9 * * 1-5"), policies=Policies(overlap=Overlap.ALLOW_ALL, priority=3)),
        define(once(from_us(ledger.now - US)), declared_by="application"),
    )
    read = [ledger.run(ledger.here.events.get, event.id) for event in created]
    assert list(created) == read


def test_rules_that_are_equal_stay_as_they_were_written(ledger: Ledger) -> None:
    assert every(hours=1) == every(minutes=60)
    one, two = ledger.create(define(every(hours=1)), define(every(minutes=60)))
    assert one.trigger == two.trigger
    assert "hours=1" in repr(one.trigger)
    assert "minutes=60" in repr(two.trigger)


def test_a_call_without_names_gives_each_event_one_of_its_own(ledger: Ledger) -> None:
    created = ledger.create(*[define(every(hours=1))] * 50)
    names = [event.name for event in created]
    assert names == [f"job-{short_form(event.id)}" for event in created]
    assert len(set(names)) == 50
    assert names == sorted(names)  # new names go to the end of the index


def test_one_taken_name_among_many_is_found(ledger: Ledger) -> None:
    ledger.create(define(every(hours=1), name="taken 234"))
    with pytest.raises(ConflictError) as caught:
        ledger.create(*[define(every(hours=1), name=f"taken {n}") for n in range(250)])
    assert caught.value.details["name"] == "taken 234"
    assert ledger.run(lambda db: EventRow.select().count(db)) == 1


def test_policies_are_stored_as_what_differs_from_the_defaults(ledger: Ledger) -> None:
    plain, odd = ledger.create(
        define(every(hours=1)), define(every(hours=1), policies=Policies(retries=2, timeout=1.5))
    )
    query = EventRow.select(EventRow.id, EventRow.policies).tuples()
    stored = dict(ledger.run(lambda db: list(query.execute(db))))
    assert stored == {plain.id: "{}", odd.id: '{"retries":2,"timeout":1.5}'}
    assert odd.policies == Policies(retries=2, timeout=1.5)


def test_the_defaults_that_stored_policies_rely_on_do_not_change() -> None:
    """Stored events leave them out: another default here would change them behind their back."""
    assert msgspec.json.decode(dump(Policies())) == {
        "catch_up": "latest", "catch_up_window": 86_400.0, "catch_up_limit": 100,
        "overlap": "skip", "buffer_limit": 1000, "concurrency_limit": None, "priority": 0,
        "delivery": "at_least_once", "max_attempts": 5, "retries": 0, "retry_delay": 10.0,
        "retry_backoff": "exponential", "retry_max_delay": 3600.0, "retry_jitter": 0.1,
        "retry_on": [], "give_up_on": [], "timeout": None, "pause_after_failures": None,
        "executor": None,
    }  # fmt: skip


def test_policies_read_back_from_the_short_form_and_from_the_whole_one() -> None:
    given = Policies(overlap=Overlap.BUFFER_ALL, retry_on=("ValueError",), retries=3)
    assert load_policies(dump_policies(given)) == given
    assert load_policies(dump(given)) == given
