"""What a job can know about the execution it runs in, and tell of it: ``current()``.

The context lies in a context variable, so it follows whatever carries those
(``contextvars.copy_context``, asyncio tasks); a thread that a job starts by hand has none. While a
job runs, ``event_id``, ``event_name``, ``execution_id`` and ``attempt`` are bound in
``structlog.contextvars`` as well: whatever it logs through structlog carries them, where the host's
configuration has ``merge_contextvars``.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import Any, Protocol

import pendulum
import structlog

from kalends.clock import from_us
from kalends.errors import NotInitialized
from kalends.jobs.capture import capturing
from kalends.jobs.logbook import Logbook
from kalends.logs import get_log
from kalends.work import Claim

__all__ = ["ExecutionContext", "Run", "current", "enter", "logbook_here"]


class Run(Protocol):
    """Where a context looks whether, and by when, its job is to stop, and tells how it goes."""

    @property
    def cancelled(self) -> bool: ...
    @property
    def deadline_us(self) -> int | None: ...

    def remaining(self) -> float | None:
        """Seconds of monotonic time until the deadline, 0 past it; None: there is none."""

    def logbook(self) -> Logbook:
        """What it has told so far, to tell more; the same each time."""


class ExecutionContext:
    """One attempt at one execution, as seen from inside the job."""

    __slots__ = ("_claim", "_log", "_run")

    def __init__(self, claim: Claim, run: Run) -> None:
        self._claim = claim
        self._run = run
        self._log: Any = None

    @property
    def execution_id(self) -> str:
        """The execution; the same for all its attempts."""
        return self._claim.id

    @property
    def idempotency_key(self) -> str:
        """A key that is the same for every attempt at this due instant: hand it to what must not
        happen twice.
        """
        return self._claim.id

    @property
    def event_id(self) -> str:
        return self._claim.event_id

    @property
    def event_name(self) -> str:
        return self._claim.event_name

    @property
    def job(self) -> str:
        """The name of the job."""
        return self._claim.job

    @property
    def due(self) -> pendulum.DateTime:
        """The instant this execution was due, UTC; it may have started later."""
        return from_us(self._claim.due)

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._claim.attempt

    @property
    def manual(self) -> bool:
        """True where somebody asked for it, outside of the event's rule."""
        return self._claim.manual

    @property
    def cancelled(self) -> bool:
        """True once the job is asked to stop. A job that may take long looks here and returns
        early.
        """
        return self._run.cancelled

    @property
    def deadline(self) -> pendulum.DateTime | None:
        """When the attempt times out, UTC; None: it may take as long as it likes.

        By monotonic time: where the wall clock is set meanwhile, it comes at another instant.
        """
        at = self._run.deadline_us
        return None if at is None else from_us(at)

    def remaining(self) -> float | None:
        """Seconds until the attempt times out, by monotonic time; 0.0 once it has; None: it may
        take as long as it likes.
        """
        return self._run.remaining()

    def progress(self, fraction: float, note: str | None = None) -> None:
        """Tell how far the job is, 0 to 1, and a note of up to 2,000 characters with it.

        The latest counts. Cheap: it is written down once in a while and at the end, whatever the
        job calls. Raises ``ValidationFailed`` for what is no such fraction or note.
        """
        self._run.logbook().progress(fraction, note)

    @property
    def log(self) -> Any:
        """A structlog logger with event, execution and attempt bound.

        What it logs goes where the host has logs go, and into the ledger, with the attempt.
        """
        if self._log is None:
            capture = capturing(self._run.logbook, _LOG_KEYS)
            self._log = get_log("kalends.job", capture).bind(**_bindings(self._claim))
        return self._log

    def __repr__(self) -> str:
        return (
            f"<ExecutionContext {self.execution_id} of {self.event_name!r}, attempt {self.attempt}>"
        )


_current: ContextVar[ExecutionContext] = ContextVar("kalends_execution")


def current() -> ExecutionContext:
    """The execution this code runs in. Raises ``NotInitialized`` outside of a job."""
    try:
        return _current.get()
    except LookupError:
        raise NotInitialized("current() answers only inside a job that Kalends runs") from None


def logbook_here() -> Logbook | None:
    """Where the job that this code runs in tells how it goes; None outside of a job."""
    context = _current.get(None)
    return None if context is None else context._run.logbook()


def enter(context: ExecutionContext, claim: Claim) -> None:
    """Make ``context`` the current one and bind the log keys, in this ``contextvars.Context``."""
    _current.set(context)
    _EVENT_ID.set(claim.event_id)
    _EVENT_NAME.set(claim.event_name)
    _EXECUTION_ID.set(claim.id)
    _ATTEMPT.set(claim.attempt)


_LOG_KEYS = {
    "event_id": "event_id",
    "event_name": "event_name",
    "execution_id": "id",
    "attempt": "attempt",
}
"""What is bound to everything a job logs, and the field of its claim."""


def _bindings(claim: Claim) -> dict[str, Any]:
    return {key: getattr(claim, field) for key, field in _LOG_KEYS.items()}


def _log_variables() -> tuple[ContextVar[Any], ...]:
    """The context variables structlog keeps these keys in: setting them is what binding does, at a
    tenth of its cost.
    """
    tokens = Context().run(
        lambda: structlog.contextvars.bind_contextvars(**dict.fromkeys(_LOG_KEYS))
    )
    return tuple(tokens[key].var for key in _LOG_KEYS)


_EVENT_ID, _EVENT_NAME, _EXECUTION_ID, _ATTEMPT = _log_variables()
