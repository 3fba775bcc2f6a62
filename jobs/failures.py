"""An exception as text: bounded, storable, without secrets, and holding on to nothing.

Promises: never raises, whatever the exception is or does (a ``__str__`` that raises, a cause that
is its own cause, a recursion 100,000 deep, no memory); keeps no reference to the exception, its
traceback or any frame.
"""

from __future__ import annotations

import traceback
from types import TracebackType

from kalends.jobs.codec import kept, type_name
from kalends.logs import get_log
from kalends.model import Failure, Fate
from kalends.redaction import Redactor
from kalends.work import Outcome

__all__ = ["describe_failure", "kinds_of", "log_failure"]

_log = get_log()
_FRAMES = 100
"""How many frames of each traceback are kept: the innermost."""
_BASES = 100
"""How many classes of an exception's ancestry have names that count."""
_WHOLE = 100_000
"""Messages longer than this many characters are not put into a traceback's text."""


def kinds_of(error: BaseException | type[BaseException]) -> tuple[str, ...]:
    """The names under which a policy may know ``error``: those of its class and of its bases, each
    bare and qualified.
    """
    names: dict[str, None] = {}
    try:
        kind = error if isinstance(error, type) else type(error)
        for base in kind.__mro__[:_BASES]:
            bare, qualified = base.__name__, f"{base.__module__}.{base.__qualname__}"
            names |= dict.fromkeys(str.__str__(name) for name in (bare, qualified))
    except BaseException:  # noqa: BLE001 - a metaclass may answer anything
        return tuple(names)
    return tuple(names)


def describe_failure(error: BaseException, limit: int, redactor: Redactor) -> Failure:
    """Type, message (at most a quarter of ``limit`` characters) and traceback text (at most
    ``limit``).
    """
    try:
        return _describe(error, limit, redactor)
    except BaseException:  # noqa: BLE001 - the job has failed; describing it must not fail too
        return Failure(type=type_name(error), message="(could not be described)")


def _describe(error: BaseException, limit: int, redactor: Redactor) -> Failure:
    message = _message(error)
    return Failure(
        type=type_name(error),
        message=kept(message, max(1, limit // 4), redactor),
        traceback=kept(_traceback(error, len(message) > _WHOLE), limit, redactor),
    )


def _message(error: BaseException) -> str:
    try:
        # str.__str__: the answer may be a subclass with opinions of its own.
        return str.__str__(str(error))
    except BaseException as trouble:  # noqa: BLE001 - __str__ is the job's code
        return f"(its message cannot be read: {type_name(trouble)})"


def _traceback(error: BaseException, huge: bool) -> str:
    try:
        # The first frame is the runner's own, that called the job.
        own = error.__traceback__
        job: TracebackType | None = own.tb_next if own is not None else None
        if huge:
            stack = traceback.StackSummary.extract(traceback.walk_tb(job), limit=-_FRAMES)
            lines = ["Traceback (most recent call last):\n", *stack.format(), type_name(error)]
        else:
            lines = list(
                traceback.TracebackException(
                    type(error), error, job, limit=-_FRAMES, compact=True
                ).format()
            )
        return "".join(lines)
    except BaseException as trouble:  # noqa: BLE001 - source files, messages and memory may all fail here
        return f"(its traceback cannot be written: {type_name(trouble)})"


def log_failure(job: str, outcome: Outcome) -> None:
    """Log an outcome that is a failure; its traceback is in the ledger."""
    if outcome.error is not None and outcome.fate in (Fate.FAILED, Fate.TIMED_OUT):
        _log.warning(
            "execution_failed",
            event_id=outcome.event_id,
            execution_id=outcome.execution_id,
            attempt=outcome.attempt,
            job=job,
            error=f"{outcome.error.type}: {outcome.error.message}",
        )
