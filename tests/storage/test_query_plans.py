"""Query plans: what runs often, or over a long history, walks an index and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import apsw
import msgspec
import pytest

from kalends.clock import US
from kalends.model import EventStatus, Fate
from kalends.queries import EventQuery, ExecutionQuery, GapQuery, JournalQuery
from kalends.storage.accounts import accounted_to
from kalends.storage.backfills import cancel_backfill, find_backfill, plan_backfill
from kalends.storage.cancelling import cancel_execution
from kalends.storage.declared import Declared
from kalends.storage.event_queries import list_events
from kalends.storage.event_rows import event_row, named
from kalends.storage.foretold import move_next, skip_next
from kalends.storage.gaps import list_gaps
from kalends.storage.heat import HeatRange
from kalends.storage.journal import list_entries
from kalends.storage.journal_extracts import cancelled
from kalends.storage.outlooks import Forecast, next_runs
from kalends.storage.overdue import find_overdue
from kalends.storage.reports import make_report
from kalends.storage.retention import prune
from kalends.storage.streaks import failures_in_a_row
from kalends.storage.undoing import undo_foretold
from kalends.storage.verify.line import LineWalk
from kalends.storage.verify.tables import AttemptWalk, TagWalk
from kalends.storage.verify.walk import Verifier
from kalends.triggers import every
from kalends.work import Outcome

pytestmark = pytest.mark.on_sqlite

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


@pytest.fixture
def plans(ledger: Ledger) -> Callable[..., list[str]]:
    """Runs a unit on a ledger with some history; answers with the steps of all its query plans."""
    ledger.create(*(ledger.definition(every(seconds=10), tags=("t",)) for _ in range(20)))
    for number in range(5):
        ledger.clock.advance(10.0)
        ledger.end(*ledger.claim().claims, fate=Fate.FAILED if number == 3 else Fate.SUCCEEDED)
    ledger.db.connection().execute("ANALYZE").fetchall()

    def steps(unit: Callable[..., Any], *args: Any, **kwargs: Any) -> list[str]:
        with _seen(ledger.db.connection()) as seen:
            ledger.run(unit, *args, **kwargs)
        connection = ledger.db.connection()
        found = []
        for sql, values in seen:
            if sql.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
                rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
                found += [str(row[3]) for row in rows]
        return found

    return steps


@contextmanager
def _seen(connection: apsw.Connection) -> Iterator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def trace(cursor: apsw.Cursor, sql: str, values: Any) -> bool:
        seen.append((sql, values))
        return True

    connection.exec_trace = trace
    try:
        yield seen
    finally:
        connection.exec_trace = None


def check(steps: list[str], *wanted: str, sorting: bool = False, walks: int = 0) -> None:
    """No table is scanned, but for ``walks`` in order of its key; nothing is sorted, unless told.

    ``wanted`` are indexes that are all used.
    """
    assert steps
    scans = [step for step in steps if step.startswith("SCAN t") and "INDEX" not in step]
    assert len(scans) <= walks, scans
    if not sorting:
        assert [step for step in steps if "TEMP B-TREE" in step] == []
    for index in wanted:
        assert any(f"INDEX {index}" in step for step in steps), (index, steps)


def test_claiming_does_the_same_in_a_database_without_statistics(ledger: Ledger) -> None:
    ledger.create(*(ledger.definition(every(seconds=10)) for _ in range(20)))
    claim = ledger.here.claims.claim_due
    with _seen(ledger.db.connection()) as seen:
        ledger.run(claim, now=ledger.now, ahead=10 * US, limit=100, settled={})
    steps = []
    for sql, values in seen:
        if sql.lstrip().upper().startswith("SELECT"):
            steps += ledger.db.connection().execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    # An index that is searched by the status alone gives every event there is.
    assert [step[3] for step in steps if "events_due (status=?)" in step[3]] == []
    check([step[3] for step in steps], "events_due", "executions_unowned")


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("status", [None, EventStatus.ACTIVE, EventStatus.COMPLETED])
def test_a_page_of_events_by_what_is_next_walks_the_index_of_each_status(
    ledger: Ledger,
    plans: Callable[..., list[str]],
    status: EventStatus | None,
    descending: bool,
) -> None:
    query = EventQuery(sort="next_due", limit=2, status=status, descending=descending)
    check(plans(list_events, query), "events_due")
    query = msgspec.structs.replace(query, status=EventStatus.ACTIVE)
    query = msgspec.structs.replace(query, cursor=ledger.run(list_events, query).cursor)
    # The second page is entered where it begins.
    within = "next_due>? AND next_due<?" if descending else "next_due>?"
    check(plans(list_events, query), f"events_due (status=? AND {within})")


def test_a_name_without_wildcards_is_looked_up(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    check(plans(list_events, EventQuery(name="a")), "events_name (name=?)", sorting=True)


def test_claiming_looks_at_what_is_due_and_at_what_is_open(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    ledger.clock.advance(10.0)
    found = plans(
        ledger.here.claims.claim_due,
        now=ledger.now,
        ahead=10 * US,
        limit=100,
        settled={},
    )
    check(found, "events_due", "executions_open", "executions_unowned")
    assert [step for step in found if "executions_time" in step] == []


@pytest.mark.parametrize("statistics", [True, False])
def test_what_waits_and_what_a_limit_holds_up_is_found_by_index(
    ledger: Ledger, statistics: bool
) -> None:
    ledger.here.limit({"few": 1, "none": 1})
    for overlap in ("buffer_all", "allow_all"):
        ledger.create(
            *(
                ledger.definition(
                    every(seconds=10), overlap=overlap, catch_up="all", concurrency_limit=limit
                )
                for _ in range(50)
                for limit in (None, "few")
            )
        )
    for _ in range(3):
        ledger.clock.advance(20.0)
        ledger.end(*ledger.claim().claims[::2])
    if statistics:
        ledger.db.connection().execute("ANALYZE").fetchall()
    with _seen(ledger.db.connection()) as seen:
        claim = ledger.here.claims.claim_due
        ledger.run(claim, now=ledger.now, ahead=10 * US, limit=100, settled={})
    steps = []
    for sql, values in seen:
        if sql.lstrip().upper().startswith(("SELECT", "UPDATE", "WITH")):
            steps += ledger.db.connection().execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    found = [step[3] for step in steps]
    check(found, "executions_line", "executions_limited", "executions_open", sorting=True)
    check(found, "executions_unowned", "events_due", sorting=True)
    # In the order in which places are given away; only what may begin, an event each, is sorted.
    check(found, "events_limited (limit_name=?)", sorting=True)
    sorts = [step for step in found if "TEMP B-TREE FOR" in step]
    assert len(sorts) <= 1


def test_the_history_of_one_event_and_of_all_is_read_in_order(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    event_id = ledger.add()
    list_executions = ledger.here.executions.list
    for descending in (True, False):
        check(
            plans(list_executions, ExecutionQuery(event_id=event_id, descending=descending)),
            "executions_due",
        )
        check(plans(list_executions, ExecutionQuery(descending=descending)), "executions_time")
        check(
            plans(list_executions, ExecutionQuery(since=1, until=ledger.now, limit=3)),
            "executions_time",
        )


@pytest.mark.parametrize("fate", [Fate.FAILED, Fate.LOST, Fate.TIMED_OUT])
def test_what_went_wrong_is_found_without_reading_what_went_well(
    ledger: Ledger, plans: Callable[..., list[str]], fate: Fate
) -> None:
    check(plans(ledger.here.executions.list, ExecutionQuery(fate=fate)), "executions_unwell")


def test_what_is_open_is_found_without_reading_what_has_ended(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    found = plans(ledger.here.executions.list, ExecutionQuery(fate=Fate.RUNNING))
    check(found, "executions_open", sorting=True)


def test_gaps_journal_and_tags_have_their_indexes(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    event_id = ledger.add()
    check(plans(list_gaps, GapQuery(event_id=event_id)), "gaps_span")
    check(plans(list_gaps, GapQuery()), "gaps_time")
    check(plans(list_entries, JournalQuery(event_id=event_id)), "journal_event")
    check(plans(accounted_to, event_id), "executions_due", "gaps_span")
    check(plans(list_events, EventQuery(tag="t", sort="name")), sorting=True)


def test_a_dead_nodes_work_is_found_among_what_is_open(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    found = plans(ledger.there.leases.leave, now=ledger.now, abandoned=0)
    check(found, "executions_open", "executions_still_running")


def test_failures_in_a_row_are_counted_from_the_newest_execution_and_gap_on(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    found = plans(failures_in_a_row, ledger.add(), 0, 3)
    check(found, "executions_due", "gaps_span")


def test_what_follows_on_a_failure_is_found_by_keys(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    event_id = ledger.add(every(days=1), retries=3)
    ledger.clock.advance(86_400.0)
    (claim,) = [claim for claim in ledger.claim().claims if claim.event_id == event_id]
    outcome = Outcome(
        execution_id=claim.id, event_id=event_id, attempt=1, fate=Fate.FAILED,
        started_us=ledger.now, ended_us=ledger.now,
    )  # fmt: skip
    found = plans(ledger.here.outcomes.record, [outcome], now=ledger.now)
    assert [step for step in found if "PRIMARY KEY" not in step] == []


def test_what_is_next_and_what_is_overdue_is_found_by_index(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    query = EventQuery(status=EventStatus.ACTIVE, due_until=ledger.now + 99 * US)
    check(plans(next_runs, query, now=ledger.now), "events_due", "executions_unowned")
    for name in ("soon", "later"):
        ledger.add(every(seconds=5), name=name, overlap="allow_all")
    ledger.clock.advance(10.0)
    ledger.claim()
    found = plans(find_overdue, now=ledger.now + 99 * US, grace=0, limit=10)
    check(found, "events_due", "events_pause_ends", "executions_open", walks=1)  # the few nodes


def test_what_waits_or_is_overdue_is_not_looked_for_event_by_event(ledger: Ledger) -> None:
    ledger.create(*(ledger.definition(every(seconds=10)) for _ in range(20)))
    steps = []
    with _seen(ledger.db.connection()) as seen:
        query = EventQuery(status=EventStatus.ACTIVE, due_until=ledger.now + 99 * US)
        ledger.run(next_runs, query, now=ledger.now)
        ledger.run(find_overdue, now=ledger.now, grace=0, limit=10)
    for sql, values in seen:
        if sql.lstrip().upper().startswith("SELECT") and "executions" in sql:
            steps += ledger.db.connection().execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    found = [step[3] for step in steps]
    check(found, "executions_unowned", "executions_open")
    assert [step for step in found if "INDEX events_" in step] == []


def test_a_page_of_the_newest_events_or_of_what_is_due_next_is_read_and_no_more(
    plans: Callable[..., list[str]],
) -> None:
    for descending in (True, False):
        check(plans(list_events, EventQuery(limit=5, descending=descending)), walks=1)
        soon = EventQuery(
            limit=5, status=EventStatus.ACTIVE, sort="next_due", descending=descending
        )
        check(plans(list_events, soon), "events_due")


def test_what_an_application_declares_is_found_by_index(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    definition = msgspec.structs.replace(ledger.definition(name="a"), declared_by="app")
    check(
        plans(Declared("app", (definition,)).look, now=ledger.now), "events_declared", "events_name"
    )


def test_a_forecast_walks_the_events_in_order_of_their_ids(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    within = HeatRange.ahead(ledger.now, 1, "UTC")
    work = Forecast(EventQuery(status=EventStatus.ACTIVE), within, busiest=1)
    steps = plans(work.step)
    assert not any("TEMP B-TREE" in step for step in steps)
    assert any("PRIMARY KEY (id>?)" in step for step in steps), steps


def test_a_verification_walks_every_table_in_order(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    ledger.add(every(seconds=10), tags=("a", "b"))
    work = Verifier(ledger.clock, node=None, lease=30.0, limit=10)
    walk = LineWalk(work._findings, None, work._check)
    for place in (walk._place, (ledger.add(), 5)):
        walk._place = place
        check(plans(walk.step), "executions_due", "gaps_span", walks=1)  # the few nodes
    check(plans(TagWalk(work._findings, None).step))
    check(plans(AttemptWalk(work._findings, None, work._check).step), walks=1)


def test_a_report_counts_and_walks_by_index(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    event_id = ledger.add()
    arguments = {"since": ledger.now - 9 * US, "until": ledger.now, "bucket_us": None}
    check(plans(make_report, event_id=event_id, **arguments), "executions_due", sorting=True)
    found = plans(make_report, event_id=None, **arguments)
    check(found, "executions_time", "executions_unwell", "gaps_time", sorting=True)


def test_retention_finds_what_is_old_without_reading_the_rest(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    found = plans(
        prune,
        ledger.dialect,
        ledger.ids,
        now=ledger.now,
        retain_age_us=15 * US,
        retain_count=2,
        retain_gaps_us=20 * US,
        limit=100,
    )
    # Two walks of at most ``limit`` steps: the next stretch of events, the old end of the journal.
    check(found, "executions_time", "executions_due", "gaps_time", "gaps_span", walks=2)


def test_a_backfill_is_planned_and_counted_by_index(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(1000.0)
    ledger.claim()
    stamp = ledger.here.events.stamp(ledger.now, None)
    found = plans(plan_backfill, event_id, ledger.now - 500 * US, ledger.now - 100 * US, 10, stamp)
    check(found, "gaps_span", "executions_due", "executions_batch", sorting=True)
    (made,) = ledger.run(list_entries, JournalQuery(kind="event_backfilled")).items
    check(plans(find_backfill, made.id), "executions_batch", sorting=True)
    check(plans(ledger.here.executions.list, ExecutionQuery(backfill=made.id)), "executions_batch")
    check(plans(cancel_backfill, made.id, stamp), "executions_batch", sorting=True)


def test_what_was_told_of_the_future_is_undone_by_index(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    event_id = ledger.add(every(seconds=10))
    stamp = ledger.here.events.stamp(ledger.now, None)
    check(plans(skip_next, event_id, 3, stamp), "gaps_span")
    check(plans(move_next, event_id, ledger.now + US, stamp), "executions_due")
    row = named(ledger.run(event_row, event_id))
    check(plans(undo_foretold, row, ledger.now), "executions_due", "gaps_span")


def test_what_is_called_off_is_found_by_index(
    ledger: Ledger, plans: Callable[..., list[str]]
) -> None:
    ledger.clock.advance(10.0)
    held = ledger.claim().claims[0]
    stamp = ledger.here.events.stamp(ledger.now, None)
    check(plans(ledger.here.leases.called_off), "executions_called_off", "executions_still_running")
    check(plans(cancel_execution, held.id, stamp))
    check(plans(cancelled, ledger.execution(held.id)), "journal_event")
    check(plans(ledger.here.claims.give_back, [held], now=ledger.now), "executions_called_off")
