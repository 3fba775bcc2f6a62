"""The housekeeper inside a whole scheduler."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pendulum
import pytest

from kalends import Fate, ValidationFailed, every
from kalends.storage.engine import Storage

pytestmark = pytest.mark.on_both

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def rule(directory: Path, **values: Any) -> dict[str, Any]:
    return {
        "name": "logs", "directory": str(directory), "pattern": "*.log", "keep_last": 1, **values
    }  # fmt: skip


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    directory = tmp_path / "logs"
    directory.mkdir()
    for number in range(4):
        file = directory / f"{number}.log"
        file.write_text("x" * 10)
        os.utime(file, (1000 + number, 1000 + number))
    (directory / "precious.txt").write_text("keep me")
    return directory


def test_a_round_really_removes_files_and_the_journal_says_which(
    make_virtual: Callable[..., Any], logs: Path
) -> None:
    virtual = make_virtual(cleanup=[rule(logs)]).start()
    virtual.scheduler.keep_house()
    assert sorted(os.listdir(logs)) == ["3.log", "precious.txt"]
    (entry,) = virtual.journal("files_cleaned")
    assert (entry.details["rule"], entry.details["count"]) == ("logs", 3)
    assert entry.details["freed_bytes"] == 30
    assert virtual.scheduler.status().state == "running"


def test_a_dry_run_removes_nothing(make_virtual: Callable[..., Any], logs: Path) -> None:
    virtual = make_virtual(cleanup=[rule(logs, dry_run=True)]).start()
    report = virtual.scheduler.housekeeper.run_cleanup("logs").get()
    assert (len(report.removed), report.dry_run) == (3, True)
    virtual.scheduler.keep_house()
    assert len(os.listdir(logs)) == 5
    assert virtual.journal("files_cleaned") == []


def test_one_rule_runs_on_demand_and_an_unknown_one_is_refused(
    make_virtual: Callable[..., Any], logs: Path
) -> None:
    virtual = make_virtual(cleanup=[rule(logs)], enabled=False)
    virtual.scheduler.start()
    assert len(os.listdir(logs)) == 5
    assert virtual.scheduler.housekeeper.run_cleanup("logs", dry_run=True).get().dry_run
    assert len(os.listdir(logs)) == 5
    with pytest.raises(ValidationFailed, match="did you mean 'logs'"):
        virtual.scheduler.housekeeper.run_cleanup("log").get()


def test_the_databases_own_files_are_never_cleaned_up(
    make_virtual: Callable[..., Any], tmp_path: Path
) -> None:
    directory = tmp_path / "all"
    directory.mkdir()
    virtual = make_virtual(
        directory / "k.log",
        cleanup=[rule(directory, pattern="*", keep_last=0)],
    ).start()
    virtual.scheduler.keep_house()
    assert (directory / "k.log").exists()
    event = virtual.scheduler.schedule_event("tick", every(seconds=1, anchor=START))
    virtual.advance(1)
    assert virtual.fates(event) == {1: "succeeded"}


def test_a_rule_that_fails_degrades_until_a_round_goes_well(
    make_virtual: Callable[..., Any], logs: Path
) -> None:
    elsewhere = logs.with_name("elsewhere")
    virtual = make_virtual(cleanup=[rule(logs)]).start()
    virtual.scheduler.keep_house()
    logs.rename(elsewhere)
    report = virtual.scheduler.keep_house()
    assert set(report.errors) == {"cleanup.logs"}
    status = virtual.scheduler.status()
    assert status.state == "degraded"
    assert "cleanup.logs" in (status.degraded or "")
    event = virtual.scheduler.schedule_event("tick", every(seconds=1, anchor=START))
    virtual.advance(1)
    assert virtual.fates(event) == {1: "succeeded"}
    elsewhere.rename(logs)
    virtual.scheduler.keep_house()
    assert virtual.scheduler.status().state == "running"


def test_rounds_come_by_themselves(
    make_virtual: Callable[..., Any], logs: Path, until: Callable[..., Any]
) -> None:
    virtual = make_virtual(cleanup=[rule(logs)], housekeeping_every=60.0).start()
    virtual.scheduler.keep_house()
    assert len(os.listdir(logs)) == 2
    (logs / "new.log").write_text("")
    (logs / "newer.log").write_text("")
    with pytest.raises(ValidationFailed):  # answered after the round's end, which sets the timer
        virtual.scheduler.housekeeper.run_cleanup("no such rule").get()
    virtual.advance(61)
    until(lambda: len(os.listdir(logs)) == 2)


def test_old_executions_become_gaps_and_the_account_stays_whole(
    make_virtual: Callable[..., Any],
) -> None:
    virtual = make_virtual(retain_count=3).start()
    event = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START))
    for _ in range(8):
        virtual.advance(10)
    report = virtual.scheduler.keep_house()
    assert report.pruned.executions >= 5
    assert len(virtual.executions(event)) == 3
    assert virtual.fates(event) == {n * 10.0: "succeeded" for n in range(1, 9)}
    gaps = virtual.scheduler.list_gaps(event_id=event.id).items
    assert {gap.fate for gap in gaps} == {Fate.SUCCEEDED}
    assert virtual.journal("history_pruned")


def test_executions_older_than_the_limit_go(make_virtual: Callable[..., Any]) -> None:
    virtual = make_virtual(retain_age=100.0).start()
    event = virtual.scheduler.schedule_event("tick", every(seconds=50, anchor=START))
    for _ in range(6):
        virtual.advance(50)
    virtual.scheduler.keep_house()
    assert all(
        (execution.due - START).total_seconds() >= 150 for execution in virtual.executions(event)
    )
    assert len(virtual.fates(event)) == 6


def test_two_rounds_asked_for_at_once_are_one(make_virtual: Callable[..., Any]) -> None:
    virtual = make_virtual().start()
    virtual.scheduler.keep_house()
    futures = [virtual.scheduler.housekeeper.keep_house() for _ in range(10)]
    reports = {id(future.get(timeout=10)) for future in futures}
    assert len(reports) <= 2


def test_a_bug_in_a_round_restarts_the_housekeeper_and_nobody_else(
    make_virtual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    virtual = make_virtual(restart_backoff=0.0, restart_intensity=0).start()
    virtual.scheduler.keep_house()

    def upkeep(_: Storage) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Storage, "upkeep", upkeep)
    with pytest.raises(Exception, match="ZeroDivisionError") as caught:
        virtual.scheduler.keep_house()
    assert getattr(caught.value, "code", "") in ("ACTOR_CRASHED", "SCHEDULER_FAILED")
    until(lambda: virtual.scheduler.status().state == "degraded")
    event = virtual.scheduler.schedule_event("tick", every(seconds=1, anchor=START))
    virtual.advance(1)
    assert virtual.fates(event) == {1: "succeeded"}
