"""What crosses the border of a worker process, and how the worker finds a job.

Everything crosses as JSON text, so nothing that a database or a job made is ever pickled. A job
crosses as a reference (``kalends.jobs.references``) which comes from code.
"""

from __future__ import annotations

import functools
import importlib
import multiprocessing
from collections.abc import Callable

import msgspec

from kalends.errors import JobNotFound
from kalends.jobs.answers import Answer
from kalends.jobs.failures import describe_failure
from kalends.jobs.logbook import Keeps, News
from kalends.jobs.references import Reference, attribute, same_place
from kalends.jobs.registry import Job, default_registry
from kalends.redaction import SECRET_KEYS, redactor_of
from kalends.work import Claim

__all__ = [
    "CHANNEL_LOST",
    "GOODBYE",
    "Greeting",
    "Heard",
    "Message",
    "Order",
    "Ready",
    "Unfit",
    "decode_greeting",
    "decode_message",
    "decode_order",
    "encode",
    "find_job",
    "loads_jobs",
    "longest_message",
]

_REASON = 2000
"""How many characters of what an import raised are quoted, times four."""


class Order(msgspec.Struct, frozen=True):
    """One attempt to run, for a worker."""

    number: int
    """Which order of this worker it is, from 1: cancelling names it."""
    reference: Reference
    claim: Claim
    deadline_us: int | None
    remaining: float | None
    """Seconds until then, as it is sent."""
    keeps: Keeps
    result_limit: int
    failure_limit: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker waits for orders."""


class Unfit(msgspec.Struct, frozen=True, tag=True):
    """The worker cannot be what it should be, and ends."""

    reason: str


class Heard(msgspec.Struct, frozen=True, tag=True):
    """What the job of an order has told, while it runs."""

    number: int
    news: News


Greeting = Ready | Unfit
"""What a worker sends first."""
Message = Answer | Heard
"""What it sends afterwards: any number of news, and the answer, for each order."""

CHANNEL_LOST = 74
"""The exit code of a worker that finds its channel closed (EX_IOERR of sysexits.h)."""
GOODBYE = b""
"""Sent in an order's place: there will be none."""

encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(Order).decode
decode_greeting: Callable[[bytes], Greeting] = msgspec.json.Decoder(Greeting).decode
decode_message: Callable[[bytes], Message] = msgspec.json.Decoder(Message).decode


def longest_message(result_limit: int, failure_limit: int, keeps: Keeps) -> int:
    """How many bytes a message within these limits can take."""
    # JSON text inside of JSON doubles its quotes; a character of other text takes up to 12 bytes.
    return 2 * result_limit + 24 * failure_limit + 12 * keeps.bytes + 64 * keeps.lines + 65_536


# -- on the worker's side ----------------------------------------------------------------------

_loading = False


def loads_jobs() -> bool:
    """Whether this process imports the application only to find its jobs, at this moment.

    A program that starts a scheduler when it is imported would start another one now. Any process
    that multiprocessing spawns imports the program that was started, whoever asked for it.
    """
    return _loading or hasattr(multiprocessing.current_process(), "_inheriting")


@functools.lru_cache(maxsize=1024)
def find_job(reference: Reference) -> Job:
    """The job, imported. Raises ``JobNotFound``, from whatever the import raised."""
    global _loading
    try:
        _loading = True
        module = importlib.import_module(reference.module)
    except BaseException as error:
        found = describe_failure(error, _REASON, redactor_of(SECRET_KEYS))
        raise JobNotFound(
            f"module {reference.module!r} of job {reference.job!r} cannot be imported in the worker"
            f" process: {found.type}: {found.message}",
            job=reference.job,
        ) from error
    finally:
        _loading = False
    registered = default_registry.find(reference.job)
    if registered is not None and same_place(registered, reference):
        return registered
    function = attribute(module, reference.qualname)
    if not callable(function):
        raise JobNotFound(
            f"module {reference.module!r} has no function {reference.qualname!r} in the worker"
            f" process, for job {reference.job!r}",
            job=reference.job,
        )
    return Job(reference.job, function, "process")
