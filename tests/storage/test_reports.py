"""Reports: every figure against one computed by hand or by brute force."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from kalends.clock import US, from_us
from kalends.drafts import Changes
from kalends.errors import EventNotFound, ValidationFailed
from kalends.model import Fate, Reason
from kalends.report import Percentiles, Report, Streaks, success_rate
from kalends.storage.models import EventRow, ExecutionRow
from kalends.storage.reports import MAX_BUCKETS, MAX_EVENTS, make_report
from kalends.storage.retention import prune
from kalends.triggers import every

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def report(
    ledger: Ledger,
    event_id: str | None = None,
    *,
    since: int | None = None,
    until: int | None = None,
    bucket: float | None = None,
) -> Report:
    return ledger.run(
        make_report,
        event_id=event_id,
        since=since,
        until=until,
        bucket_us=None if bucket is None else round(bucket * US),
    )


def live(ledger: Ledger, *fates: Fate, late: float = 0.0, took: float = 0.0) -> None:
    """Every ten seconds the next of the fates, for all events."""
    for fate in fates:
        ledger.clock.advance(10.0)
        found = ledger.claim().claims
        ledger.clock.advance(late)
        ledger.end(*found, fate=fate, took=took)
        ledger.clock.jump(-late)


S, F, T, C = Fate.SUCCEEDED, Fate.FAILED, Fate.TIMED_OUT, Fate.CANCELLED


def test_an_empty_ledger_has_an_empty_report(ledger: Ledger) -> None:
    assert report(ledger, bucket=60.0) == Report(
        event_id=None,
        since=None,
        until=None,
        fates={},
        reasons={},
        success_rate=None,
        duration=None,
        lateness=None,
        streaks=Streaks(current=0, succeeding=None, longest_success=0, longest_failure=0),
        per_event=(),
        buckets=(),
    )


def test_counts_are_those_of_executions_and_gaps_together(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, S, F, S, T, C, S)
    ledger.clock.advance(40.0)
    ledger.claim()
    found = report(ledger, event_id)
    assert found.fates == {S: 3, F: 1, T: 1, C: 1, Fate.SKIPPED: 3, Fate.PENDING: 1}
    assert found.reasons == {Reason.COALESCED: 3}
    assert found.success_rate == 0.5


def test_the_range_takes_its_first_instant_and_not_its_last(ledger: Ledger) -> None:
    start = ledger.now
    ledger.add(every(seconds=10))
    live(ledger, S, F, S, T)
    found = report(ledger, since=start + 20 * US, until=start + 40 * US)
    assert found.fates == {F: 1, S: 1}
    assert report(ledger, since=start, until=start).fates == {}


@pytest.mark.parametrize(("since", "until"), [(0, 100), (15, 55), (20, 50), (31, 39), (25, 26)])
def test_a_gap_that_straddles_the_range_counts_by_its_rule(
    ledger: Ledger, since: int, until: int
) -> None:
    start = ledger.now
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(65.0)
    ledger.run(
        ledger.here.events.update,
        event_id,
        Changes(trigger=every(seconds=1)),
        now=ledger.now,
        version=None,
        author=None,
        given_back=(),
    )
    found = report(ledger, since=start + since * US, until=start + until * US)
    expected = sum(1 for due in range(10, 70, 10) if since <= due < until)
    assert found.fates.get(Fate.SKIPPED, 0) == expected, "by the rule it had then"


def test_a_gap_whose_rule_cannot_be_read_any_more_counts_evenly(ledger: Ledger) -> None:
    start = ledger.now
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(105.0)
    ledger.claim()
    ledger.run(EventRow.update(trigger="?").where(EventRow.id == event_id).execute)
    halves = [
        report(ledger, since=start, until=start + 50 * US).fates.get(Fate.SKIPPED, 0),
        report(ledger, since=start + 50 * US).fates.get(Fate.SKIPPED, 0),
    ]
    assert sum(halves) == 9
    assert min(halves) >= 4


def test_percentiles_are_nearest_rank(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    rng = random.Random(5)
    took = [rng.randint(0, 5_000_000) / US for _ in range(37)]
    late = [rng.randint(0, 3_000_000) / US for _ in range(37)]
    for lateness, duration in zip(late, took, strict=True):
        live(ledger, S, late=lateness, took=duration)

    def nearest(values: list[float]) -> Percentiles:
        ordered = sorted(values)
        p50, p95, p99 = (
            ordered[math.ceil(percent / 100 * len(ordered)) - 1] for percent in (50, 95, 99)
        )
        return Percentiles(count=len(ordered), p50=p50, p95=p95, p99=p99, max=ordered[-1])

    found = report(ledger, event_id)
    assert found.duration == nearest(took)
    assert found.lateness == nearest(late)


def test_one_execution_is_all_of_its_percentiles(ledger: Ledger) -> None:
    ledger.add(every(seconds=10))
    live(ledger, S, took=2.0)
    two = Percentiles(count=1, p50=2.0, p95=2.0, p99=2.0, max=2.0)
    assert report(ledger).duration == two


def test_lateness_is_that_of_the_first_attempt(ledger: Ledger) -> None:
    ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    claim = ledger.claim().claims[0]
    ledger.clock.advance(1.0)
    ledger.run(ledger.here.outcomes.mark_running, [(claim.id, 1, ledger.now)])
    ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=1)
    ledger.clock.advance(99.0)
    ledger.end(*ledger.claim().claims, took=3.0)
    found = report(ledger)
    assert found.lateness is not None
    assert found.duration is not None
    assert (found.lateness.max, found.duration.max) == (1.0, 3.0)


def test_what_was_lost_or_never_ran_has_no_duration(ledger: Ledger) -> None:
    ledger.add(every(seconds=10), delivery="at_most_once")
    ledger.clock.advance(10.0)
    claim = ledger.claim().claims[0]
    ledger.run(ledger.here.outcomes.mark_running, [(claim.id, 1, ledger.now)])
    ledger.clock.advance(500.0)
    ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=1)
    found = report(ledger, until=ledger.now - 100 * US)
    assert found.fates[Fate.LOST] == 1
    assert found.duration is None
    assert found.lateness is not None


@pytest.mark.parametrize(
    ("fates", "streaks"),
    [
        ([S, S, F, S, S, S], (3, True, 3, 1)),
        ([S, F, T, C], (3, False, 1, 3)),
        ([F], (1, False, 0, 1)),
        ([S, S], (2, True, 2, 0)),
        ([F, S] * 4, (1, True, 1, 1)),
    ],
)
def test_streaks_are_runs_of_equal_outcomes(
    ledger: Ledger, fates: list[Fate], streaks: tuple[int, bool, int, int]
) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, *fates)
    found = report(ledger, event_id).streaks
    assert (found.current, found.succeeding, found.longest_success, found.longest_failure) == (
        streaks
    )


def test_an_open_execution_breaks_no_streak(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), overlap="allow_all")
    live(ledger, S, S)
    ledger.clock.advance(10.0)
    ledger.claim()
    live(ledger, S)
    assert report(ledger, event_id).streaks.current == 3


def test_an_overall_report_tells_of_the_events_with_most_failures_first(ledger: Ledger) -> None:
    bad = ledger.add(every(seconds=10), name="bad")
    good = ledger.add(every(seconds=5), name="good", overlap="allow_all")
    for _ in range(4):
        ledger.clock.advance(10.0)
        for claim in ledger.claim().claims:
            ledger.end(claim, fate=F if claim.event_id == bad else S)
    found = report(ledger)
    assert [(item.name, item.success_rate) for item in found.per_event] == [
        ("bad", 0.0),
        ("good", 1.0),
    ]
    for item in found.per_event:
        alone = report(ledger, item.event_id)
        assert alone.per_event == ()
        for field in ("fates", "reasons", "success_rate", "duration", "lateness", "streaks"):
            assert getattr(item, field) == getattr(alone, field), field
    assert found.fates == dict(
        sum((Counter(item.fates) for item in found.per_event), Counter[Fate]())
    )
    assert good


def test_the_list_of_events_is_bounded(ledger: Ledger) -> None:
    ledger.create(*(ledger.definition(every(seconds=10)) for _ in range(MAX_EVENTS + 30)))
    live(ledger, S)
    worst = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    for claim in ledger.claim().claims:
        ledger.end(claim, fate=F if claim.event_id == worst else S)
    found = report(ledger)
    assert len(found.per_event) == MAX_EVENTS
    assert found.per_event[0].event_id == worst


@pytest.mark.parametrize("bucket", [7.0, 10.0, 60.0, 1000.0])
def test_buckets_add_up_to_the_whole(ledger: Ledger, bucket: float) -> None:
    start = ledger.now
    ledger.add(every(seconds=10))
    ledger.add(every(seconds=3))
    live(ledger, S, F, S)
    ledger.clock.advance(45.0)
    ledger.claim()
    since, until = start + 5 * US, start + 75 * US
    found = report(ledger, since=since, until=until, bucket=bucket)
    assert found.buckets[0].since == from_us(since)
    assert found.buckets[-1].until == from_us(until)
    for earlier, later in zip(found.buckets, found.buckets[1:], strict=False):
        assert earlier.until == later.since
    total: Counter[Any] = Counter()
    for part in found.buckets:
        total += Counter(part.fates)
        alone = report(
            ledger,
            since=round(part.since.timestamp() * US),
            until=round(part.until.timestamp() * US),
        )
        assert (part.fates, part.reasons) == (alone.fates, alone.reasons)
        assert part.success_rate == success_rate(part.fates)
    assert dict(total) == found.fates


def test_without_a_range_the_buckets_span_what_there_is(ledger: Ledger) -> None:
    start = ledger.now
    ledger.add(every(seconds=10))
    ledger.clock.advance(35.0)
    ledger.claim()
    found = report(ledger, bucket=10.0)
    assert found.buckets[0].since == from_us(start + 10 * US)
    assert [part.fates for part in found.buckets] == [
        {Fate.SKIPPED: 1},
        {Fate.SKIPPED: 1},
        {Fate.PENDING: 1},
    ]


def test_too_many_buckets_are_refused(ledger: Ledger) -> None:
    now = ledger.now
    full = report(ledger, since=now, until=now + MAX_BUCKETS * US, bucket=1.0)
    assert len(full.buckets) == MAX_BUCKETS
    for until, bucket in ((now + MAX_BUCKETS * US + 1, 1.0), (now + US, 0.0), (now + US, -1.0)):
        with pytest.raises(ValidationFailed) as caught:
            report(ledger, since=now, until=until, bucket=bucket)
        assert caught.value.details["path"] == "bucket"


def test_a_range_that_ends_before_it_begins_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ValidationFailed) as caught:
        report(ledger, since=2, until=1)
    assert caught.value.details["path"] == "until"


def test_an_unknown_event_is_not_found_and_a_deleted_one_is(ledger: Ledger) -> None:
    with pytest.raises(EventNotFound):
        report(ledger, "nothing")
    event_id = ledger.add(every(seconds=10))
    live(ledger, S)
    ledger.set_status(event_id, "delete")
    assert report(ledger, event_id).fates == {S: 1}


def test_manual_executions_count_with_the_others(ledger: Ledger) -> None:
    event_id = ledger.add(every(hours=1))
    ledger.end(ledger.trigger(event_id, now=ledger.now + US))
    assert report(ledger, event_id).fates == {S: 1}


def test_retention_changes_no_count(ledger: Ledger) -> None:
    start = ledger.now
    ledger.add(every(seconds=10))
    live(ledger, S, F, S, S, T, S)
    ledger.clock.advance(40.0)
    ledger.claim()
    before = report(ledger, since=start, until=start + 95 * US, bucket=10.0)
    ledger.run(
        prune,
        ledger.dialect,
        ledger.ids,
        now=ledger.now,
        retain_age_us=0,
        retain_count=None,
        retain_gaps_us=None,
        limit=100,
    )
    assert len(ledger.rows(ExecutionRow.select(ExecutionRow.id))) == 1
    after = report(ledger, since=start, until=start + 95 * US, bucket=10.0)
    assert (after.fates, after.reasons, after.success_rate) == (
        before.fates,
        before.reasons,
        before.success_rate,
    )
    assert after.buckets == before.buckets
    assert after.streaks.current == 0, "gaps have no order to speak of"
