"""Every refusal Kalends can give, in one place.

A ``KalendsError`` is an answer, not an accident: an actor that raises one lives on and the asker
receives it. Each class carries a stable upper-case ``code``, a ``message`` for people and
``details`` for programs (plain JSON values), pickles without loss, and says in its docstring whose
fault it is. Anything that is not a ``KalendsError`` is a bug, and crashes the actor that raised it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar

import pykka

__all__ = [
    "ActorCrashed",
    "AskTimeout",
    "BackfillNotFound",
    "ConflictError",
    "EventNotFound",
    "ExecutionEnded",
    "ExecutionNotFound",
    "ForkedError",
    "JobNotFound",
    "KalendsError",
    "MailboxFull",
    "NotInitialized",
    "PayloadTooLarge",
    "SchedulerFailed",
    "StorageRefused",
    "StorageUnavailable",
    "TransitionError",
    "ValidationFailed",
    "VersionConflict",
    "did_you_mean",
]


class KalendsError(Exception):
    """The base of all refusals: ``code`` (stable), ``message``, ``details`` (JSON values)."""

    code: ClassVar[str] = "KALENDS_ERROR"

    def __init__(self, message: str, **details: Any) -> None:
        message = _sound(message)
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = {
            key: _sound(value) if isinstance(value, str) else value
            for key, value in details.items()
        }

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.details))


def _sound(text: str) -> str:
    """Text of bounded length that every terminal and file takes, whatever it quotes."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


_LONGEST = 4000


def _rebuild(cls: type[KalendsError], message: str, details: dict[str, Any]) -> KalendsError:
    return cls(message, **details)


class ValidationFailed(KalendsError):
    """The caller's value is wrong.

    ``details['path']`` names the offending place, as ``kwargs.path[0]``.
    """

    code = "VALIDATION_FAILED"


class PayloadTooLarge(ValidationFailed):
    """The caller's value is well formed and too large.

    ``details``: ``path``, ``size`` and ``limit`` in bytes.
    """

    code = "PAYLOAD_TOO_LARGE"


class EventNotFound(KalendsError):
    """The caller names an event that does not exist, or that was deleted."""

    code = "EVENT_NOT_FOUND"


class ExecutionNotFound(KalendsError):
    """The caller names an execution that does not exist, or that retention has removed."""

    code = "EXECUTION_NOT_FOUND"


class BackfillNotFound(KalendsError):
    """The caller names a backfill that does not exist, or that retention has removed."""

    code = "BACKFILL_NOT_FOUND"


class JobNotFound(KalendsError):
    """The caller names a job that the application has not registered."""

    code = "JOB_NOT_FOUND"


class ConflictError(KalendsError):
    """The caller's value collides with what is stored, such as a second event of one name."""

    code = "CONFLICT"


class VersionConflict(ConflictError):
    """Somebody else changed the event first; read it again.

    ``details``: ``expected``, ``actual``.
    """

    code = "VERSION_CONFLICT"


class TransitionError(KalendsError):
    """The caller asks for a change of status that the transition table does not allow."""

    code = "TRANSITION_REFUSED"


class ExecutionEnded(TransitionError):
    """The caller wants to stop an execution that has its fate already.

    ``details``: ``execution_id``, ``fate``, ``reason``, ``ended_at``.
    """

    code = "EXECUTION_ENDED"


class NotInitialized(KalendsError):
    """The caller uses a scheduler that is not started, is shutting down or has shut down."""

    code = "NOT_INITIALIZED"


class ForkedError(KalendsError):
    """The caller is a child process using its parent's scheduler. It must open its own.

    One that only imports its parent's program, to run jobs for it, must not.
    """

    code = "FORKED"


class AskTimeout(KalendsError, TimeoutError, pykka.Timeout):
    """No answer in time. The request may still be carried out: nothing is known of it."""

    code = "ASK_TIMEOUT"


class MailboxFull(KalendsError):
    """The actor has more messages waiting than its bound. The message was refused, not queued."""

    code = "MAILBOX_FULL"


class ActorCrashed(KalendsError):
    """An actor met a bug while it handled this message; ``__cause__`` is the bug.

    Kalends' fault.
    """

    code = "ACTOR_CRASHED"


class SchedulerFailed(KalendsError):
    """The scheduler spent its restart budget and has given up. Kalends' fault, or the machine's."""

    code = "SCHEDULER_FAILED"


class StorageUnavailable(KalendsError):
    """The database cannot be reached or written now (locked, full, failing). Trying again may help.

    Where ``details['outcome']`` is ``unknown`` the commit itself failed: read before repeating.
    """

    code = "STORAGE_UNAVAILABLE"


class StorageRefused(KalendsError):
    """The file or database is not one this version can use, and was left untouched.

    ``details['reason']``: ``not_a_database``, ``foreign``, ``corrupt``, ``read_only``,
    ``newer_schema``, ``older_schema``, ``unreachable``, ``unsupported_url``, ``missing_driver``,
    ``denied``, ``server_too_old``, ``encoding`` or, of one row, ``unreadable_row``."""

    code = "STORAGE_REFUSED"


def did_you_mean(wrong: object, known: Iterable[str]) -> str:
    """A closing phrase for a message: `` (did you mean 'x'?)``, or empty where nothing is near."""
    if not isinstance(wrong, str):
        return ""  # nothing looks like a misspelt name but text; a stranger's str() may do anything
    near = difflib.get_close_matches(wrong[:100], list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
