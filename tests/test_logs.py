"""The promise of quiet, and where events go when the host wants them."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from kalends.logs import get_log

HOST = """
import sys, threading
import pendulum
{before}
from kalends import Registry, Scheduler, current, once
{after}
registry = Registry()
@registry.job("boom")
def boom():
    current().log.warning("job_says", colour="red")
    raise RuntimeError("boom")
with Scheduler(sys.argv[1], registry=registry, environ={{}}) as scheduler:
    event = scheduler.schedule_event(
        "boom", once(pendulum.datetime(2020, 1, 1)), catch_up_window=1e9, name="b"
    )
    gone = scheduler.schedule_event(
        "boom", once(pendulum.datetime(2090, 1, 1)), name="c"
    )
    pause = threading.Event()
    while not scheduler.count_executions(fate="failed"):
        pause.wait(0.002)
    from kalends.actors.exits import Crash
    scheduler._system.loop.tell_urgent(Crash(RuntimeError("a bug")))
    while not scheduler.list_journal(kind="actor_restarted").items:
        pause.wait(0.002)
"""


def host(path: Path, before: str = "", after: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-P", "-c", HOST.format(before=before, after=after),
         str(path)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip


def test_a_host_that_configured_nothing_sees_not_one_byte(tmp_path: Path) -> None:
    ended = host(tmp_path / "k.db")
    assert (ended.stdout, ended.stderr) == ("", "")


def test_a_host_that_configured_logging_gets_the_events(tmp_path: Path) -> None:
    code = "import logging; logging.basicConfig(level='INFO', stream=sys.stdout)"
    for where in ({"before": code}, {"after": code}):
        ended = host(tmp_path / f"{len(where)}{next(iter(where))}.db", **where)
        for event in ("scheduler_started", "actor_crashed", "actor_restarted", "scheduler_stopped"):
            assert f":kalends:{event} " in ended.stdout
        assert "WARNING:kalends.job:job_says" in ended.stdout
        assert "attempt=1" in ended.stdout
        assert ended.stderr == ""


def test_a_host_that_configured_structlog_gets_the_events(tmp_path: Path) -> None:
    code = (
        "import structlog; structlog.configure(processors=["
        "structlog.contextvars.merge_contextvars, structlog.processors.add_log_level,"
        "structlog.processors.JSONRenderer()])"
    )
    for where in ({"before": code}, {"after": code}):
        ended = host(tmp_path / f"{next(iter(where))}.db", **where)
        assert '"event": "scheduler_started"' in ended.stdout
        assert '"actor": "loop"' in ended.stdout
        (job,) = [line for line in ended.stdout.splitlines() if "job_says" in line]
        for key in ('"colour": "red"', '"event_name": "b"', '"attempt": 1', '"execution_id": "'):
            assert key in job
        assert ended.stderr == ""


@pytest.fixture
def unconfigured() -> Iterator[None]:
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    yield
    if before is not None:
        structlog.configure(**before)


@pytest.mark.usefixtures("unconfigured")
def test_a_record_carries_the_keys_as_attributes(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "kalends"):
        get_log().bind(node="n").warning("something_happened", actor="loop", name="x", args=[1])
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("kalends", "WARNING")
    fields: Any = record
    assert (fields.event, fields.actor, fields.node) == ("something_happened", "loop", "n")
    assert fields.fields == {"node": "n", "actor": "loop", "name": "x", "args": [1]}
    assert record.getMessage() == "something_happened node='n' actor='loop' name='x' args=[1]"
    assert record.funcName == "test_a_record_carries_the_keys_as_attributes"


@pytest.mark.usefixtures("unconfigured")
def test_an_exception_comes_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("mine")
    except ValueError as error:
        get_log().exception("while_handling")
        get_log().error("given", exc_info=error)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ValueError] * 2
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


@pytest.mark.usefixtures("unconfigured")
def test_context_variables_of_the_job_are_on_every_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with structlog.contextvars.bound_contextvars(execution_id="e1", attempt=2):
        get_log("kalends.job").error("job_says")
    fields: Any = caplog.records[0]
    assert (fields.execution_id, fields.attempt, fields.name) == ("e1", 2, "kalends.job")


@pytest.mark.usefixtures("unconfigured")
def test_a_level_that_nobody_listens_to_costs_no_record(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "kalends"):
        get_log().warning("unheard")
    assert caplog.records == []


@pytest.mark.usefixtures("unconfigured")
def test_configuring_structlog_later_redirects_loggers_made_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = get_log()
    entries: list[dict[str, Any]] = []

    def capture(_: object, method: str, entry: MutableMapping[str, Any]) -> str:
        entries.append({"method": method, **entry})
        raise structlog.DropEvent

    structlog.configure(processors=[capture])
    try:
        log.error("heard", actor="loop")
    finally:
        structlog.reset_defaults()
    assert entries == [{"method": "error", "event": "heard", "actor": "loop"}]
    assert caplog.records == []
