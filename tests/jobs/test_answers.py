"""Answers of jobs: a wrapper that hid what kind of function it wraps has not run the job."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from kalends.jobs.answers import Raised, Returned, answer_of
from kalends.redaction import SECRET_KEYS, redactor_of

ran: list[str] = []


def generator() -> Iterator[int]:
    ran.append("generator")
    yield 1
    yield 2


async def asynchronous() -> AsyncIterator[int]:
    ran.append("asynchronous")
    yield 1


async def coroutine() -> None:
    ran.append("coroutine")


@pytest.mark.parametrize("function", [generator, asynchronous, coroutine])
def test_a_body_that_has_not_run_has_not_succeeded(function: Any) -> None:
    ran.clear()
    answer = answer_of(function(), 1000, redactor_of(SECRET_KEYS))
    assert isinstance(answer, Raised)
    assert answer.failure.type == "TypeError"
    assert answer.failure.message.endswith("its body has not run")
    assert ran == []


def test_a_generator_that_the_job_has_begun_itself_is_a_result_that_cannot_be_stored() -> None:
    begun = generator()
    next(begun)
    answer = answer_of(begun, 1000, redactor_of(SECRET_KEYS))
    assert isinstance(answer, Returned)
    assert answer.note is not None
    assert "cannot be stored" in answer.note
