"""What a job answered, as text and numbers: the form in which it leaves the place where it ran.

Promises: nothing of the job's is held, and whatever it returned or raised has an answer of bounded
size, without secrets; making one never raises. Answers cross the border of a process as JSON.
"""

from __future__ import annotations

import inspect
from types import AsyncGeneratorType, CoroutineType, GeneratorType

import msgspec

from kalends.jobs.codec import encode_result
from kalends.jobs.failures import describe_failure, kinds_of
from kalends.jobs.requests import ask_of, word_of
from kalends.model import Failure
from kalends.redaction import Redactor
from kalends.retrying import Ask

__all__ = ["NOTHING", "Answer", "Raised", "Returned", "answer_of", "answer_of_error"]


class Returned(msgspec.Struct, frozen=True, tag=True):
    """The job returned: its result as JSON text, or a note that says why there is none."""

    result: str | None
    note: str | None


class Raised(msgspec.Struct, frozen=True, tag=True):
    """The job raised."""

    failure: Failure
    kinds: tuple[str, ...]
    """The names of the class of what was raised and of its bases, bare and qualified."""
    word: str | None = None
    """``Retry``, ``Snooze`` or ``Cancel``, where it raised one of these."""
    ask: Ask | None = None
    """What it asked for by raising it."""


Answer = Returned | Raised
NOTHING: Answer = Returned(None, None)
"""The answer of a job that returned None."""


def answer_of(value: object, limit: int, redactor: Redactor) -> Answer:
    """The answer of a job that returned ``value``, whose result may take ``limit`` bytes."""
    if type(value) is CoroutineType:
        # A wrapper hid a coroutine function from the registry: its body has not run.
        value.close()
        return _NEVER_AWAITED
    if type(value) is AsyncGeneratorType or (
        type(value) is GeneratorType and inspect.getgeneratorstate(value) == inspect.GEN_CREATED
    ):
        return _NEVER_ITERATED  # as above, of a generator function
    return Returned(*encode_result(value, limit, redactor))


def answer_of_error(error: BaseException, limit: int, redactor: Redactor) -> Raised:
    """The answer of a job that raised ``error``, described in at most ``limit`` characters."""
    failure = describe_failure(error, limit, redactor)
    word = word_of(error)
    if word is not None:
        failure = msgspec.structs.replace(failure, type=word)
    return Raised(failure, kinds_of(error), word, ask_of(error))


def _not_run(what: str) -> Raised:
    return Raised(
        Failure(type="TypeError", message=f"the job returned {what}: its body has not run"),
        kinds_of(TypeError),
    )


_NEVER_AWAITED = _not_run("a coroutine, which nobody awaits here")
_NEVER_ITERATED = _not_run("a generator, which nobody iterates here")
