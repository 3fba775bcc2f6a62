"""Nodes: leases, processes that died, and what becomes of what they held."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kalends.clock import US, from_us
from kalends.model import EventStatus, JournalKind
from kalends.queries import JournalQuery
from kalends.storage.accounts import Held
from kalends.storage.journal import list_entries
from kalends.storage.models import EventRow, ExecutionRow, NodeRow
from kalends.storage.nodes import Rescue, place_of_this_process
from kalends.triggers import every, once

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def kinds(ledger: Ledger) -> list[JournalKind]:
    return [line.kind for line in ledger.run(list_entries, JournalQuery()).items]


def nodes(ledger: Ledger) -> set[str]:
    return {name for (name,) in ledger.rows(NodeRow.select(NodeRow.id))}


def rescue(ledger: Ledger) -> Rescue:
    return ledger.run(ledger.here.leases.rescue, now=ledger.now)


def held_by_there(ledger: Ledger, *, ahead: float = 0.0, **policies: Any) -> str:
    """An event whose instant at 10 s was claimed by the other node; that node's lease has begun."""
    event_id = ledger.add(every(seconds=10), **policies)
    ledger.clock.advance(10.0 - ahead)
    ledger.run(ledger.there.leases.register, now=ledger.now)
    assert len(ledger.claim(node=ledger.there, ahead=ahead).claims) == 1
    return event_id


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.kill()
    child.communicate(timeout=20)
    return child.pid


def test_a_node_is_entered_with_its_place_and_lease(ledger: Ledger) -> None:
    ledger.run(ledger.here.leases.register, now=ledger.now)
    row = ledger.rows(NodeRow.select(NodeRow.id, NodeRow.place, NodeRow.pid, NodeRow.lease_until))
    assert row == [("here", place_of_this_process(), os.getpid(), ledger.now + 30 * US)]
    assert kinds(ledger) == [JournalKind.NODE_STARTED]


def test_registering_again_prolongs_the_lease(ledger: Ledger) -> None:
    ledger.run(ledger.here.leases.register, now=ledger.now)
    ledger.clock.advance(5.0)
    ledger.run(ledger.here.leases.register, now=ledger.now)
    assert ledger.rows(NodeRow.select(NodeRow.lease_until)) == [(ledger.now + 30 * US,)]
    assert kinds(ledger) == [JournalKind.NODE_STARTED]


def test_a_renewed_lease_is_not_rescued(ledger: Ledger) -> None:
    event_id = held_by_there(ledger)
    for _ in range(5):
        ledger.clock.advance(20.0)
        assert ledger.run(ledger.there.leases.renew, now=ledger.now) is True
        assert rescue(ledger) == Rescue()
    assert ledger.fates(event_id) == [(10, "pending", None)]


def test_a_node_whose_lease_ended_is_dead_and_its_work_is_freed(ledger: Ledger) -> None:
    event_id = held_by_there(ledger)
    ledger.clock.advance(30.0)
    assert rescue(ledger) == Rescue(), "the last instant of a lease is in it"
    ledger.clock.advance(0.001)
    assert rescue(ledger) == Rescue(("there",), reopened=1)
    assert nodes(ledger) == set()
    line = ledger.run(list_entries, JournalQuery()).items[0]
    assert (line.kind, line.node, line.details) == (
        JournalKind.NODE_DIED,
        "there",
        {"reopened": 1, "lost": 0, "noticed_by": "here"},
    )
    assert [claim.attempt for claim in ledger.claim().claims] == [2]
    assert ledger.fates(event_id)[0][1] == "pending"


def test_what_a_node_claims_after_it_was_removed_is_freed_too(ledger: Ledger) -> None:
    event_id = held_by_there(ledger)
    ledger.clock.advance(31.0)
    assert rescue(ledger).nodes == ("there",)
    assert [claim.attempt for claim in ledger.claim(node=ledger.there).claims] == [2]
    found = rescue(ledger)
    assert (found.nodes, found.reopened) == (("there",), 1)
    assert [claim.attempt for claim in ledger.claim(node=ledger.here).claims] == [3]
    assert ledger.fates(event_id)[0] == (10, "pending", None)


def test_a_node_that_was_declared_dead_enters_itself_anew(ledger: Ledger) -> None:
    ledger.run(ledger.there.leases.register, now=ledger.now)
    ledger.clock.advance(60.0)
    rescue(ledger)
    assert ledger.run(ledger.there.leases.renew, now=ledger.now) is False
    assert nodes(ledger) == {"there"}


@pytest.mark.skipif(sys.platform == "win32", reason="the lease decides there")
def test_a_killed_process_of_this_host_is_known_to_be_dead_at_once(ledger: Ledger) -> None:
    held_by_there(ledger)
    ledger.run(NodeRow.update(pid=dead_pid()).where(NodeRow.id == "there").execute)
    assert rescue(ledger) == Rescue(("there",), reopened=1)


def test_the_process_id_of_another_host_means_nothing_here(ledger: Ledger) -> None:
    held_by_there(ledger)
    ledger.run(
        NodeRow.update(pid=dead_pid(), place="elsewhere").where(NodeRow.id == "there").execute
    )
    assert rescue(ledger) == Rescue()


def test_a_node_does_not_declare_itself_dead(ledger: Ledger) -> None:
    ledger.run(ledger.here.leases.register, now=ledger.now)
    ledger.clock.advance(3600.0)
    assert rescue(ledger) == Rescue()


# -- what it held ------------------------------------------------------------------------------


def test_at_most_once_is_lost_and_not_run_again(ledger: Ledger) -> None:
    event_id = held_by_there(ledger, delivery="at_most_once")
    ledger.clock.advance(31.0)
    found = rescue(ledger)
    assert (found.nodes, found.reopened, found.lost) == (("there",), 0, 1)
    (ended,) = found.ended
    assert (ended.event_id, ended.attempt, ended.fate) == (event_id, 1, "lost")
    assert ledger.fates(event_id) == [(10, "lost", "process_died")]
    ledger.check_accounts()


def test_an_execution_is_begun_at_most_max_attempts_times(ledger: Ledger) -> None:
    event_id = held_by_there(ledger, max_attempts=3)
    for attempt in (2, 3):
        ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
        assert [claim.attempt for claim in ledger.claim(node=ledger.there).claims] == [attempt]
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
    assert ledger.fates(event_id) == [(10, "lost", "process_died")]
    execution_id = ledger.rows(ExecutionRow.select(ExecutionRow.id))[0][0]
    attempts = ledger.run(ledger.here.executions.get, execution_id).attempts
    assert [attempt.number for attempt in attempts] == [1, 2, 3]
    assert ledger.claim().claims == ()


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_what_was_claimed_ahead_and_not_due_yet_counts_as_no_attempt(
    ledger: Ledger, delivery: str
) -> None:
    event_id = held_by_there(ledger, ahead=2.0, max_attempts=1, delivery=delivery)
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=0)
    assert ledger.fates(event_id) == []
    assert ledger.event(event_id).next_due == from_us(ledger.now + 2 * US)
    ledger.clock.advance(2.0)
    assert [claim.attempt for claim in ledger.claim().claims] == [1]
    ledger.check_accounts()


@pytest.mark.skipif(sys.platform == "win32", reason="the lease decides there")
def test_what_a_dead_process_had_claimed_ahead_is_due_again(ledger: Ledger) -> None:
    event_id = held_by_there(ledger, ahead=2.0, max_attempts=1)
    ledger.run(NodeRow.update(pid=dead_pid()).where(NodeRow.id == "there").execute)
    assert rescue(ledger) == Rescue(("there",), reopened=1)
    assert ledger.fates(event_id) == []


@pytest.mark.skipif(sys.platform == "win32", reason="the lease decides there")
def test_where_the_clock_was_set_back_since_a_dead_process_claimed_it_may_have_begun(
    ledger: Ledger,
) -> None:
    event_id = held_by_there(ledger, ahead=2.0, delivery="at_most_once")
    ledger.run(NodeRow.update(pid=dead_pid()).where(NodeRow.id == "there").execute)
    ledger.clock.jump(-60.0)
    assert rescue(ledger).lost == 1
    assert ledger.fates(event_id) == [(10, "lost", "process_died")]


@pytest.mark.parametrize("entered", [True, False])
def test_what_a_process_has_claimed_ahead_that_is_only_silent_may_begin_there(
    ledger: Ledger, entered: bool
) -> None:
    event_id = held_by_there(ledger, ahead=2.0)
    gone = NodeRow.update(lease_until=ledger.now - 1) if entered else NodeRow.delete()
    ledger.run(gone.where(NodeRow.id == "there").execute)
    assert rescue(ledger) == Rescue(("there",), reopened=1)
    ledger.clock.advance(2.0)
    assert [claim.attempt for claim in ledger.claim().claims] == [2]
    assert ledger.fates(event_id) == [(10, "pending", None)]
    ledger.check_accounts()


def test_the_last_instant_of_a_rule_claimed_ahead_is_not_lost_with_its_node(
    ledger: Ledger,
) -> None:
    event_id = ledger.add(once(from_us(ledger.now + US)))
    ledger.claim(node=ledger.there, ahead=5.0)
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=0)
    assert ledger.event(event_id).status is EventStatus.ACTIVE
    ledger.clock.advance(1.0)
    assert len(ledger.claim().claims) == 1


def test_what_was_rescued_of_an_unreadable_or_deleted_event_is_lost(ledger: Ledger) -> None:
    unreadable = held_by_there(ledger)
    deleted = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    ledger.claim(node=ledger.there)
    ledger.run(EventRow.update(policies="?").where(EventRow.id == unreadable).execute)
    ledger.set_status(deleted, "delete")
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=0)
    assert ledger.fates(unreadable)[0] == (10, "lost", "process_died")
    assert [fate for _, fate, _ in ledger.fates(deleted)] == ["lost"]


def test_leaving_says_what_was_abandoned(ledger: Ledger) -> None:
    ledger.run(ledger.here.leases.register, now=ledger.now)
    ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=3)
    line = ledger.run(list_entries, JournalQuery()).items[0]
    assert (line.kind, line.details) == (JournalKind.NODE_STOPPED, {"abandoned": 3})
    assert nodes(ledger) == set()


def test_a_rescue_of_many_is_done_a_stretch_a_call(ledger: Ledger) -> None:
    ledger.create(*(ledger.definition(every(seconds=10)) for _ in range(5)))
    ledger.clock.advance(10.0)
    ledger.run(ledger.there.leases.register, now=ledger.now)
    assert len(ledger.claim(node=ledger.there).claims) == 5
    ledger.clock.advance(31.0)
    found = []
    for left in ({"there"}, {"there"}, set()):
        found.append(ledger.run(ledger.here.leases.rescue, now=ledger.now, limit=2))
        assert nodes(ledger) == left, "it stays entered while something of it is left"
    assert [(rescued.reopened, rescued.more) for rescued in found] == [
        (2, True),
        (2, True),
        (1, False),
    ]
    assert kinds(ledger)[:3] == [JournalKind.NODE_DIED] * 3
    total = found[0].and_then(found[1]).and_then(found[2])
    assert (total.nodes, total.reopened, total.more) == (("there",), 5, False)
    assert rescue(ledger) == Rescue()


def test_a_rescue_that_is_full_leaves_the_other_nodes_to_the_next_call(ledger: Ledger) -> None:
    ledger.create(*(ledger.definition(every(seconds=10)) for _ in range(2)))
    ledger.clock.advance(10.0)
    ledger.run(ledger.there.leases.register, now=ledger.now)
    ledger.claim(node=ledger.there)
    row = {"place": "elsewhere", "pid": 1, "started_at": 0, "lease_until": ledger.now}
    ledger.run(NodeRow.insert(id="zz", **row).execute)
    ledger.clock.advance(31.0)
    first = ledger.run(ledger.here.leases.rescue, now=ledger.now, limit=2)
    assert (first.nodes, first.reopened, first.more) == (("there",), 2, True)
    assert nodes(ledger) == {"zz"}
    assert ledger.run(ledger.here.leases.rescue, now=ledger.now, limit=2) == Rescue(("zz",))


def test_a_node_holds_what_it_has_claimed_before_an_instant_and_not_ended(ledger: Ledger) -> None:
    ended, open_one, theirs, late = (ledger.add(once(from_us(ledger.now + US))) for _ in "abcd")
    ledger.clock.advance(1.0)
    claims = {claim.event_id: claim for claim in ledger.claim(limit=3).claims}
    ledger.record(ledger.outcome(claims[ended]))
    taken = ExecutionRow.update(node="there").where(ExecutionRow.id == claims[theirs].id)
    ledger.db.execute(taken)
    ledger.clock.advance(1.0)
    before = ledger.now
    assert [claim.event_id for claim in ledger.claim().claims] == [late]
    held = ledger.run(ledger.here.leases.held, before=before)
    claim = claims[open_one]
    assert held == (Held(claim.id, open_one, claim.due, 1, False),)
