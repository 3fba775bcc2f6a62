"""What jobs tell, fail with and are given is kept and logged without secrets; what they run with,
and what their callers read back of an event, is exact.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pendulum
import pytest
import structlog

from kalends import Execution, Notice, Registry, Scheduler, Settings, current, once

LATER = pendulum.datetime(2999, 1, 1, tz="UTC")
SECRET = "hunter2"


@dataclasses.dataclass
class Login:
    user: str
    password: str


@dataclasses.dataclass
class Fussy:
    text: str

    def __post_init__(self) -> None:
        raise ValueError(f"will not have {self.text}")


class Jobs:
    """A registry whose one job does what it is told."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.registry.register(self._work, "work")
        self.work: Callable[[dict[str, Any]], Any] = lambda given: None

    def _work(self, **given: Any) -> Any:
        return self.work(given)


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def make(tmp_path: Path, jobs: Jobs) -> Iterator[Callable[..., Scheduler]]:
    made: list[Scheduler] = []

    def start(**settings: Any) -> Scheduler:
        path = tmp_path / "kalends.db"
        made.append(Scheduler(path, registry=jobs.registry, environ={}, **settings))
        return made[-1].start()

    yield start
    for scheduler in reversed(made):
        scheduler.shutdown(10.0)


@pytest.fixture
def run(until: Callable[..., Any]) -> Callable[..., Execution]:
    def ended(scheduler: Scheduler, **options: Any) -> Execution:
        event = scheduler.schedule_event("work", once(LATER), **options)
        asked = scheduler.trigger_now(event.id).id

        def look() -> Execution | None:
            found = scheduler.get_execution(asked)
            return found if found.ended_at is not None else None

        found: Execution = until(look)
        return found

    return ended


def raising(given: dict[str, Any]) -> None:
    try:
        raise KeyError(f"{given!r}")
    except KeyError as error:
        raise RuntimeError("cannot reach postgres://ada:hunter2@db/x") from error


def test_a_failure_is_kept_told_and_logged_without_them(
    make: Any, jobs: Jobs, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = make()
    jobs.work = raising
    heard: list[Notice] = []
    with caplog.at_level(logging.INFO, "kalends"), scheduler.subscribe(heard.append):
        failed = run(scheduler, kwargs={"user": "ada", "password": SECRET})
        scheduler.shutdown(10.0)
    assert failed.error.message == "cannot reach postgres://ada:[redacted]@db/x"
    assert "'user': 'ada', 'password': '[redacted]'" in failed.error.traceback
    assert "execution_failed" in caplog.text
    assert any(notice.error is not None for notice in heard)
    for told in (repr(failed), caplog.text, repr(heard)):
        assert SECRET not in told


def test_a_result_is_kept_without_them(make: Any, jobs: Jobs, run: Any) -> None:
    scheduler = make()
    jobs.work = lambda given: [Login("ada", SECRET), {"url": f"https://ada:{SECRET}@host/"}]
    assert run(scheduler).result == [
        {"user": "ada", "password": "[redacted]"}, {"url": "https://ada:[redacted]@host/"},
    ]  # fmt: skip


def test_a_result_that_is_too_large_once_it_is_redacted_gives_a_note(
    make: Any, jobs: Jobs, run: Any
) -> None:
    scheduler = make(max_result=64)
    jobs.work = lambda given: [{"token": 1}] * 5
    found = run(scheduler)
    assert found.result is None
    assert "exceeds the limit of 64 bytes" in found.result_note


def telling(given: dict[str, Any]) -> None:
    log = current().log
    log.info("connecting", password=given["password"], to={"api_key": SECRET, "host": "h"})
    log.info("token=%s", SECRET)
    log.info("user=%s", "ada")
    log.bind(secret=SECRET).warning("login", who=Login("ada", SECRET))
    current().progress(0.5, f"password={SECRET}")


LINES = [
    "connecting password='[redacted]' to={'api_key': '[redacted]', 'host': 'h'}",
    "token=[redacted]",
    "user=ada",
]


def test_lines_and_notes_are_kept_without_them(make: Any, jobs: Jobs, run: Any) -> None:
    scheduler = make()
    jobs.work = telling
    attempt = run(scheduler, kwargs={"password": SECRET}).attempts[-1]
    messages = [line.message for line in attempt.log]
    assert messages[:3] == LINES
    assert "secret='[redacted]'" in messages[3]
    assert "user='ada', password='[redacted]'" in messages[3]
    assert attempt.note == "password=[redacted]"


def test_the_log_of_the_host_gets_them_neither_by_logging_nor_by_structlog(
    make: Any, jobs: Jobs, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = make()
    jobs.work = lambda given: (
        current().log.info("connecting", password=SECRET, to=[{"api_key": SECRET}], port=5),
        current().log.info("token=%s of %s", SECRET, "ada"),
    )
    with caplog.at_level(logging.INFO, "kalends.job"):
        run(scheduler)
    record = next(each for each in caplog.records if each.name == "kalends.job")
    assert record.__dict__["fields"]["to"] == [{"api_key": "[redacted]"}]
    assert record.__dict__["port"] == 5
    assert SECRET not in caplog.text
    structlog.configure(processors=[structlog.testing.LogCapture()])
    captured = structlog.get_config()["processors"][0].entries
    try:
        run(scheduler)
    finally:
        structlog.reset_defaults()
    mine = [entry for entry in captured if "password" in entry or "token" in entry["event"]]
    assert [entry["event"] for entry in mine] == ["connecting", "token=[redacted] of ada"]
    assert mine[0]["password"] == "[redacted]"
    assert SECRET not in repr(captured)


def test_a_job_runs_with_its_arguments_and_its_event_has_them_while_the_journal_does_not(
    make: Any, jobs: Jobs, run: Any
) -> None:
    scheduler = make()
    ran: list[dict[str, Any]] = []
    jobs.work = ran.append
    kwargs = {"db": {"user": "ada", "password": SECRET}}
    first = run(scheduler, kwargs=kwargs)
    assert ran == [kwargs]
    changed = {"db": {"user": "eve", "password": SECRET + "!"}}
    event = scheduler.update_event(first.event_id, args=(), kwargs=changed)
    assert event.kwargs == scheduler.get_event(event.id).kwargs == changed
    entry = scheduler.list_journal(event_id=event.id, kind="event_updated").items[0]
    assert entry.details["before"]["arguments"]["kwargs"] == {
        "db": {"user": "ada", "password": "[redacted]"}
    }
    assert entry.details["after"]["arguments"]["kwargs"] == {
        "db": {"user": "eve", "password": "[redacted]"}
    }
    assert SECRET not in repr(scheduler.list_journal())
    assert SECRET not in repr(scheduler.explain(event.id, first.due))


def test_arguments_that_do_not_fit_are_evidence_without_them(
    make: Any, jobs: Jobs, until: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fussy(when: Fussy) -> None: ...

    jobs.registry.register(fussy, "fussy")
    scheduler = make()
    kwargs = {"when": {"text": f"token={SECRET}"}}
    event = scheduler.schedule_event("work", once(LATER), kwargs=kwargs)
    scheduler.shutdown(10.0)
    database = apsw.Connection(str(tmp_path / "kalends.db"))
    database.execute("UPDATE events SET job = 'fussy'")
    database.close()
    with caplog.at_level(logging.INFO, "kalends"):
        scheduler = make()
        scheduler.trigger_now(event.id)
        until(lambda: scheduler.get_event(event.id).status == "quarantined")
    entry = scheduler.list_journal(event_id=event.id, kind="event_quarantined").items[0]
    assert "[redacted]" in entry.details["error"]
    assert SECRET not in repr(entry) + caplog.text


def test_settings_say_what_they_are(make: Any, jobs: Jobs, run: Any) -> None:
    scheduler = make(secret_keys=["pin"], more_secret_keys=["*iban*"])
    jobs.work = lambda given: {"pin": 1234, "my_iban": "NO93", "password": "shown"}
    assert run(scheduler).result == {
        "pin": "[redacted]", "my_iban": "[redacted]", "password": "shown",
    }  # fmt: skip


def test_by_no_patterns_all_is_kept_as_it_was(make: Any, jobs: Jobs, run: Any) -> None:
    scheduler = make(secret_keys=[])
    jobs.work = lambda given: {"password": SECRET}
    assert run(scheduler).result == {"password": SECRET}


def test_patterns_come_from_every_source_and_are_checked() -> None:
    environ = {"KALENDS_MORE_SECRET_KEYS": '["*iban*"]'}
    assert Settings.load(environ=environ).all_secret_keys[-1] == "*iban*"
    assert Settings.load(environ={"KALENDS_SECRET_KEYS": "[]"}).secret_keys == ()
