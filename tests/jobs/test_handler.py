"""What a job logs, in its own logbook: by ``current().log``, and by ``logging`` and the handler."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest
import structlog

from kalends import JobLogHandler, ValidationFailed
from kalends.jobs.context import current
from kalends.work import Outcome

app = logging.getLogger("kalends_test.app")


class Reckless:
    def __str__(self) -> str:
        raise RuntimeError("no text of mine")

    __repr__ = __str__


@pytest.fixture
def handler() -> Iterator[JobLogHandler]:
    made = JobLogHandler()
    root, before = logging.getLogger(), app.level
    root.addHandler(made)
    app.setLevel(logging.DEBUG)
    yield made
    root.removeHandler(made)
    app.setLevel(before)


@pytest.fixture
def run(rig: Any, claim: Callable[..., Any]) -> Callable[[Callable[[], Any]], Outcome]:
    """The outcome of a job."""

    def go(job: Callable[[], Any]) -> Outcome:
        rig.job("talks")(job)
        rig.runner.submit([claim("x7", job="talks")])
        outcome: Outcome = rig.wait(1)[-1]
        return outcome

    return go


def lines(outcome: Outcome) -> list[tuple[str, str]]:
    """Level and message of what is kept."""
    if outcome.told is None or outcome.told.log is None:
        return []
    return [(level, message) for _, level, message in json.loads(outcome.told.log)[1]]


def test_a_job_that_tells_nothing_has_told_nothing(run: Any, handler: JobLogHandler) -> None:
    assert run(lambda: None).told is None


def test_what_the_own_logger_logs_is_kept_with_its_keys(run: Any) -> None:
    def talk() -> None:
        current().log.debug("look", n=1)
        current().log.info("read %s of %d", "a", 2)
        current().log.bind(part="b").warning("slow", seconds=1.5)

    assert lines(run(talk)) == [
        ("debug", "look n=1"),
        ("info", "read a of 2"),
        ("warning", "slow part='b' seconds=1.5"),
    ]


def test_what_was_raised_is_kept_with_the_line(run: Any) -> None:
    def talk() -> None:
        try:
            raise ValueError("bad file")
        except ValueError:
            current().log.exception("no_good")

    ((level, message),) = lines(run(talk))
    assert level == "error"
    assert message.startswith("no_good\nTraceback")
    assert message.endswith("ValueError: bad file")


def test_an_exception_is_kept_however_it_is_handed_over(run: Any) -> None:
    def talk() -> None:
        error = KeyError("k")
        current().log.error("one", exc_info=error)
        current().log.error("two", exc_info=(KeyError, error, None))
        current().log.error("three", exc_info=True)  # nothing was raised

    told = [message.splitlines() for _, message in lines(run(talk))]
    assert [(words[0], words[-1]) for words in told] == [
        ("one", "KeyError: 'k'"),
        ("two", "KeyError: 'k'"),
        ("three", "three"),
    ]


def test_values_that_cannot_be_shown_do_not_fail_the_job(run: Any) -> None:
    def talk() -> None:
        current().log.info("odd", value=Reckless())
        current().log.info(Reckless())
        current().log.info("%d", "no number")

    outcome = run(talk)
    assert outcome.fate == "succeeded"
    first, second, third = (message for _, message in lines(outcome))
    assert first.startswith("odd value=<Reckless")
    assert second.startswith("<Reckless")
    assert third == "'%d'"


def test_a_host_that_has_configured_structlog_gets_the_line_as_well(run: Any) -> None:
    seen: list[str] = []

    def keep(_: Any, __: str, event: Any) -> Any:
        seen.append(event["event"])
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    try:
        told = lines(run(lambda: current().log.info("both", n=1)))
    finally:
        structlog.reset_defaults()
    assert (told, seen) == ([("info", "both n=1")], ["both"])


def test_the_handler_keeps_what_is_logged_by_any_logger(run: Any, handler: JobLogHandler) -> None:
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def talk() -> None:
        app.debug("one")
        app.warning("two %d", 2)

    assert lines(run(talk)) == [
        ("debug", "kalends_test.app: one"),
        ("warning", "kalends_test.app: two 2"),
    ]


def test_the_handler_has_a_level_like_any_other(run: Any, handler: JobLogHandler) -> None:
    handler.setLevel(logging.WARNING)

    def talk() -> None:
        app.info("one")
        app.warning("two")

    assert lines(run(talk)) == [("warning", "two")]


def test_what_the_own_logger_logs_is_kept_once(run: Any, handler: JobLogHandler) -> None:
    own = logging.getLogger("kalends.job")
    own.setLevel(logging.DEBUG)
    try:
        assert lines(run(lambda: current().log.info("once"))) == [("info", "once")]
    finally:
        own.setLevel(logging.NOTSET)


def test_what_is_logged_outside_of_a_job_passes_by(run: Any, handler: JobLogHandler) -> None:
    app.warning("before")

    def talk() -> None:
        other = threading.Thread(target=app.warning, args=("by hand",))
        other.start()
        other.join(10)
        mine = threading.Thread(target=copy_context().run, args=(app.warning, "carried"))
        mine.start()
        mine.join(10)

    assert lines(run(talk)) == [("warning", "carried")]


def test_a_record_that_cannot_be_formatted_is_logging_s_own_trouble(
    run: Any, handler: JobLogHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubled: list[logging.LogRecord] = []
    monkeypatch.setattr(handler, "handleError", troubled.append)
    monkeypatch.setattr(app, "handlers", [handler])
    monkeypatch.setattr(app, "propagate", False)  # what pytest attaches to the root raises
    outcome = run(lambda: app.warning("%d", "no number"))
    assert (outcome.fate, lines(outcome)) == ("succeeded", [])
    assert len(troubled) == 1


def test_a_level_may_have_any_name(run: Any, handler: JobLogHandler) -> None:
    before = logging.getLevelName(33)
    logging.addLevelName(33, "ODD\ud800")
    try:
        assert lines(run(lambda: app.log(33, "hello"))) == [("odd\\ud800", "hello")]
    finally:
        logging.addLevelName(33, before)


@pytest.mark.parametrize("level", ["x", None, 1.5])
def test_a_level_that_logging_does_not_know_is_refused(level: Any) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        JobLogHandler(level)
    assert refusal.value.details["path"] == "level"
