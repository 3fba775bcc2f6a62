"""Answers as values."""

from __future__ import annotations

from typing import Any

import pytest

from kalends.errors import EventNotFound, ValidationFailed
from kalends.futures import Future, failed, resolved
from kalends.result import Result


def test_a_value_is_ok() -> None:
    assert Result.capture(resolved(3)) == Result(ok=True, value=3)
    assert Result.capture(lambda: None) == Result(ok=True)


def test_a_refusal_is_its_code_message_and_details() -> None:
    captured = Result.capture(failed(EventNotFound("no such event", event_id="e1")))
    assert captured == Result(
        ok=False, code="EVENT_NOT_FOUND", message="no such event", details={"event_id": "e1"}
    )


def test_no_answer_in_time_is_a_refusal_too() -> None:
    waiting: Future[int] = Future()
    captured = Result.capture(waiting, timeout=0.01)
    assert (captured.ok, captured.code) == (False, "ASK_TIMEOUT")


def test_a_bug_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        Result.capture(lambda: 1 / 0)


@pytest.mark.parametrize("source", [None, 3, "x"])
def test_what_is_no_source_of_answers_is_refused(source: Any) -> None:
    with pytest.raises(ValidationFailed):
        Result.capture(source)


def test_a_result_cannot_be_changed_and_shares_no_details() -> None:
    first, second = Result[int](ok=True), Result[int](ok=True)
    with pytest.raises(AttributeError):
        first.ok = False  # type: ignore[misc]  # what a host must not do
    assert first.details is not second.details
