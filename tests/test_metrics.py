"""Metrics: what Prometheus would scrape, against what has happened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from kalends import ConflictError, Registry, Scheduler, ValidationFailed, every, once
from kalends.metrics import SchedulerMetrics
from kalends.testing import VirtualScheduler


class Scrape:
    """The samples of one scrape, by name and labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        text = generate_latest(registry).decode()
        self.samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        labels.setdefault("scheduler", "default")
        return self.samples.get((f"kalends_{name}", tuple(sorted(labels.items()))))


@pytest.fixture
def jobs() -> Registry:
    registry = Registry()
    registry.register(lambda: None, "work")
    registry.register(lambda: 1 / 0, "boom")
    return registry


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def virtual(jobs: Registry, registry: CollectorRegistry) -> Iterator[VirtualScheduler]:
    scheduler = VirtualScheduler(registry=jobs, durations={"work": 150})
    SchedulerMetrics(registry).watch(scheduler)
    with scheduler:
        yield scheduler


def test_fates_retries_and_skips_are_counted(
    virtual: VirtualScheduler, registry: CollectorRegistry
) -> None:
    virtual.schedule_event("work", every(minutes=1, anchor=virtual.now))
    virtual.schedule_event("boom", once(virtual.now.add(seconds=5)), retries=2, retry_delay=1)
    virtual.advance(3600)
    scrape, report = Scrape(registry), virtual.report()
    succeeded = scrape("executions_total", job="work", fate="succeeded", reason="")
    assert succeeded == report.fates["succeeded"] > 10  # type: ignore[index]  # the fate's word
    skipped = scrape("instants_skipped_total", reason="overlap")
    assert skipped == report.fates["skipped"] > 10  # type: ignore[index]  # the fate's word
    assert scrape("executions_total", job="boom", fate="failed", reason="exhausted") == 1
    assert scrape("retries_total", job="boom") == 2
    assert scrape("duration_seconds_count", job="work") == succeeded
    assert scrape("duration_seconds_sum", job="work") == 150 * succeeded
    assert scrape("duration_seconds_bucket", job="work", le="60.0") == 0
    assert scrape("duration_seconds_bucket", job="work", le="300.0") == succeeded
    assert scrape("lateness_seconds_bucket", job="work", le="0.0005") == succeeded


def test_the_state_is_read_when_somebody_scrapes(
    virtual: VirtualScheduler, registry: CollectorRegistry
) -> None:
    virtual.schedule_event("work", once(virtual.now.add(seconds=1)))
    virtual.advance(10)
    scrape = Scrape(registry)
    assert scrape("state", state="running") == 1
    assert scrape("state", state="degraded") == 0
    assert scrape("storage_ok") == 1
    assert scrape("open_claims") == 1
    assert scrape("executor_running", executor="thread") == 1
    assert scrape("executor_queued", executor="thread") == 0
    assert scrape("unrecorded_outcomes") == 0
    assert scrape("restarts_total", actor="loop") == 0
    assert scrape("mailbox_length", actor="loop") == 0
    assert (scrape("messages_total", actor="event_manager") or 0) >= 1
    assert (scrape("commits_total") or 0) >= 1
    assert scrape("oldest_overdue_seconds") == 0


def test_what_is_overdue_shows_its_age(jobs: Registry, registry: CollectorRegistry) -> None:
    client = VirtualScheduler(registry=jobs, enabled=False)
    SchedulerMetrics(registry).watch(client)
    with client:
        client.schedule_event("work", once(client.now.add(seconds=10)))
        client.advance(310)
        assert Scrape(registry)("oldest_overdue_seconds") == 300


def test_a_scheduler_is_watched_before_it_starts_and_when_it_starts_again(
    jobs: Registry, registry: CollectorRegistry
) -> None:
    metrics, scheduler = SchedulerMetrics(registry), Scheduler(":memory:", registry=jobs)
    metrics.watch(scheduler, "mine")
    assert Scrape(registry)("oldest_overdue_seconds", scheduler="mine") is None
    for total in (1, 2):
        with scheduler:
            heard = scheduler.subscribe(kinds="execution_ended")
            event = scheduler.schedule_event("work", every(days=300))
            scheduler.trigger_now(event.id)
            assert heard.get(30) is not None
            scrape = Scrape(registry)
        labels = {"scheduler": "mine", "job": "work", "fate": "succeeded", "reason": ""}
        assert scrape("executions_total", **labels) == total
    assert Scrape(registry)("state", scheduler="mine", state="stopped") == 1


def test_several_schedulers_have_their_names(jobs: Registry, registry: CollectorRegistry) -> None:
    metrics = SchedulerMetrics(registry)
    one, two = (VirtualScheduler(registry=jobs) for _ in range(2))
    metrics.watch(one, "one")
    metrics.watch(two, "two")
    with one, two:
        one.schedule_event("work", once(one.now.add(seconds=1)))
        one.advance(10)
        metrics.forget("two")
        scrape = Scrape(registry)
    assert scrape("state", scheduler="one", state="running") == 1
    assert scrape("state", scheduler="two", state="running") is None


def test_the_page_has_every_metric_with_its_labels(
    virtual: VirtualScheduler, registry: CollectorRegistry
) -> None:
    virtual.schedule_event("work", every(minutes=1, anchor=virtual.now))
    virtual.schedule_event("boom", once(virtual.now.add(seconds=5)), retries=1, retry_delay=1)
    virtual.advance(3600)
    found: dict[str, str] = {}
    for name, labels in Scrape(registry).samples:
        kept = [label for label, _ in labels if label not in ("le", "scheduler")]
        short = re.sub("_(bucket|sum|count|created)$", "", name)
        if not name.endswith("_created"):
            found[short] = ", ".join(sorted(["scheduler", *kept], key=ORDER.index))
    assert dict(table()) == found


ORDER = ["scheduler", "job", "fate", "reason", "state", "actor", "executor"]


def table() -> list[tuple[str, str]]:
    page = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
    lines = page.read_text(encoding="utf-8").replace("`", "").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:2] == "| "]
    return [(name, labels) for name, labels, _ in rows[1:]]


@pytest.mark.parametrize(("scheduler", "name"), [(5, "a"), (None, "a"), ("ours", ""), ("ours", 5)])
def test_what_cannot_be_watched_is_refused(jobs: Registry, scheduler: Any, name: Any) -> None:
    metrics = SchedulerMetrics(None)
    watched = Scheduler(":memory:", registry=jobs) if scheduler == "ours" else scheduler
    with pytest.raises(ValidationFailed):
        metrics.watch(watched, name)


def test_what_is_no_registry_and_no_name_is_refused() -> None:
    with pytest.raises(ValidationFailed) as refused:
        SchedulerMetrics(cast(Any, 3))
    assert refused.value.details["path"] == "registry"
    with pytest.raises(ValidationFailed):
        SchedulerMetrics(None).forget(cast(Any, []))


def test_a_name_is_taken_once(jobs: Registry) -> None:
    metrics, scheduler = SchedulerMetrics(None), Scheduler(":memory:", registry=jobs)
    metrics.watch(scheduler)
    with pytest.raises(ConflictError):
        metrics.watch(scheduler)


def test_a_second_collector_on_one_registry_is_refused(
    jobs: Registry, registry: CollectorRegistry
) -> None:
    SchedulerMetrics(registry).watch(Scheduler(":memory:", registry=jobs))
    with pytest.raises(ConflictError) as refused:
        SchedulerMetrics(registry)
    assert refused.value.details["path"] == "registry"
    assert generate_latest(registry).decode().count('kalends_open_claims{scheduler="default"}') == 1
    SchedulerMetrics(CollectorRegistry())


def test_an_alarm_sees_a_scheduler_that_was_never_started(
    jobs: Registry, registry: CollectorRegistry
) -> None:
    scheduler = Scheduler(":memory:", registry=jobs)
    SchedulerMetrics(registry).watch(scheduler)
    assert Scrape(registry)("state", state="new") == 1.0
    with scheduler:
        assert Scrape(registry)("state", state="new") == 0.0
    assert Scrape(registry)("state", state="stopped") == 1.0
