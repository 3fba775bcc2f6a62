"""What a node hands to its runner, and what comes back: claims, and how their attempts ended."""

from __future__ import annotations

import msgspec

from kalends.model import Failure, Fate, Reason
from kalends.retrying import Ask

__all__ = ["Begun", "Claim", "Ending", "Outcome", "Told", "WrittenFor", "WrittenOff"]


class Claim(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One execution that this node has durably claimed and is to run at ``due``."""

    id: str
    event_id: str
    event_name: str
    job: str
    arguments: str
    due: int
    attempt: int
    version: int
    serial: bool
    """True where executions of this event must not run beside each other."""
    manual: bool = False
    delay_us: int = 0
    """Microseconds after ``due`` at which it is to begin: drawn once by ``Trigger.jitter``.

    Negative where somebody moved it to an earlier instant.
    """
    priority: int = 0
    """Higher goes first where slots are scarce."""
    timeout_us: int | None = None
    """How many microseconds of monotonic time the job may take; None: any number."""
    executor: str | None = None
    """The executor that the event chose; None: the job's own."""


class Told(msgspec.Struct, frozen=True, gc=False):
    """What the job of an attempt has told so far, beside its end; as it is stored."""

    progress: float | None = None
    note: str | None = None
    log: str | None = None
    """JSON: how many lines were dropped, and those that are kept; None: nothing was logged."""


class Begun(msgspec.Struct, frozen=True, gc=False):
    """An attempt that has begun and not ended."""

    execution_id: str
    attempt: int
    started_us: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How one attempt ended, as the executor saw it."""

    execution_id: str
    event_id: str
    attempt: int
    fate: Fate
    started_us: int | None
    """None where it has not begun."""
    ended_us: int
    reason: Reason | None = None
    """Why it did not begin, where it found no room."""
    result: str | None = None
    """JSON, or None."""
    result_note: str | None = None
    """Why the result could not be stored."""
    error: Failure | None = None
    late: bool = False
    """True where the ledger told the end of this attempt before: it only says that nothing runs any
    more.
    """
    still_running: bool = False
    """True where this is its end although the job runs on: a late outcome says when it does not."""
    kinds: tuple[str, ...] = ()
    """The names of the class of what was raised and of its bases, bare and qualified."""
    ask: Ask | None = None
    """What the job asked for by raising it."""
    claim: Claim | None = None
    """What was claimed; None where this process has forgotten."""
    told: Told | None = None
    """What it has told beside that; None: nothing."""


class Ending(msgspec.Struct, frozen=True, gc=False):
    """A fate that was given to an execution in the ledger alone: no job has told how it ended."""

    execution_id: str
    event_id: str
    due: int
    attempt: int
    fate: Fate
    reason: Reason | None
    ended_us: int


class WrittenFor(msgspec.Struct, frozen=True, gc=False):
    """What there is to say of an attempt that was written off, beside that it was."""

    event_name: str
    job: str
    due: int
    begins_at: int
    """Where it was to begin."""
    started_us: int | None
    """As far as the ledger knows."""


class WrittenOff(msgspec.Struct, frozen=True, gc=False):
    """An attempt that has ended in the ledger, while its job may still run."""

    execution_id: str
    event_id: str
    attempt: int
    ended_us: int
    of: WrittenFor | None = None
    """Where this node has ended it by a decision of its own."""

    def late_outcome(self) -> Outcome:
        """The word that it does not run."""
        return Outcome(
            execution_id=self.execution_id,
            event_id=self.event_id,
            attempt=self.attempt,
            fate=Fate.CANCELLED,
            started_us=None,
            ended_us=self.ended_us,
            late=True,
        )
