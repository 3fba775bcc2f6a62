"""Exceptions as text: whatever they are."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from kalends.jobs.failures import describe_failure
from kalends.model import Failure
from kalends.redaction import SECRET_KEYS, redactor_of

LIMIT = 16_384


def failure(job: Callable[[], object], limit: int = LIMIT) -> Failure:
    try:
        job()
    except BaseException as error:
        return describe_failure(error, limit, redactor_of(SECRET_KEYS))
    raise AssertionError("it did not raise")


def raising(error: BaseException) -> Callable[[], None]:
    def job() -> None:
        raise error

    return job


def test_a_failure_has_type_message_and_the_jobs_own_frames() -> None:
    told = failure(raising(ValueError("no such file")))
    assert (told.type, told.message) == ("ValueError", "no such file")
    assert told.traceback.startswith("Traceback")
    assert "in job" in told.traceback
    assert "in failure" not in told.traceback
    assert told.traceback.rstrip().endswith("ValueError: no such file")


class Mine(Exception):
    pass


def test_the_type_is_qualified_unless_it_is_a_builtin() -> None:
    assert failure(raising(Mine())).type == f"{__name__}.Mine"


def test_causes_are_in_the_traceback() -> None:
    def job() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    told = failure(job)
    assert "KeyError: 'inner'" in told.traceback
    assert "direct cause" in told.traceback


class Unreadable(Exception):
    def __str__(self) -> str:
        raise SystemExit(2)


class Liar(Exception):
    def __str__(self) -> str:
        odd: str = type("Odd", (str,), {"__len__": lambda self: -1, "__str__": lambda self: 1})(
            "odd"
        )
        return odd


class NoCause(Exception):
    @property
    def __cause__(self) -> Any:  # type: ignore[override]  # hostile on purpose
        raise RuntimeError("no")


def cyclic() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    first.__context__, second.__context__ = second, first
    return first


def chained(length: int) -> BaseException:
    error: BaseException = ValueError("innermost")
    for number in range(length):
        outer = ValueError(str(number))
        outer.__context__ = error
        error = outer
    return error


hostile = [
    Unreadable(),
    Liar(),
    NoCause(),
    cyclic(),
    chained(3000),
    ValueError("x" * 5_000_000),
    ValueError("\ud800" * 100_000),
    ValueError("a\x00b"),
    SystemExit(3),
    KeyboardInterrupt(),
    MemoryError(),
    ExceptionGroup("many", [ValueError(str(n)) for n in range(1000)]),
    type("N" * 10_000, (Exception,), {})("x"),
    SyntaxError("bad", ("file", "line", 3, "text")),  # type: ignore[arg-type]  # hostile on purpose
]


@pytest.mark.parametrize("error", hostile, ids=range(len(hostile)))
def test_every_exception_becomes_bounded_storable_text(error: BaseException) -> None:
    told = failure(raising(error))
    assert told.type
    assert len(told.type) <= 200
    assert len(told.message) <= LIMIT // 4
    assert len(told.traceback) <= LIMIT
    for text in (told.type, told.message, told.traceback):
        assert "\x00" not in text
        text.encode()


def test_a_long_message_keeps_its_head_and_tail() -> None:
    told = failure(raising(ValueError("head" + "x" * 50_000 + "tail")), 4000)
    assert told.message.startswith("head")
    assert told.message.endswith("tail")
    assert "left out" in told.message
    assert len(told.traceback) <= 4000


def test_a_deep_recursion_is_told_by_its_last_frames() -> None:
    def deep(n: int) -> int:
        return deep(n + 1)

    told = failure(lambda: deep(0))
    assert told.type == "RecursionError"
    assert "in deep" in told.traceback
    assert len(told.traceback) <= LIMIT


class Witness:
    pass


def test_it_keeps_neither_the_exception_nor_its_frames() -> None:
    seen: list[weakref.ref[Any]] = []

    def job() -> None:
        witness = Witness()
        seen.append(weakref.ref(witness))
        raise Mine(witness)

    gc.disable()
    try:
        told = failure(job)
        assert seen[0]() is None
        assert "Witness" in told.message
    finally:
        gc.enable()
