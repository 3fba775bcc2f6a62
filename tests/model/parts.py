"""What the reference keeps: events, their executions, and how attempts are to go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kalends.policies import Policies
from kalends.triggers import Trigger

US = 1_000_000
QUEUEING = ("buffer_one", "buffer_all", "cancel_other")
TIMED_OUT = ("TimeoutError", "OSError", "Exception")
LATE = 5 * US
"""How late an instant may be under ``catch_up="skip"`` and still be on time."""


@dataclass
class Ending:
    """How an attempt goes, once begun: after so many microseconds, with this outcome."""

    after: int
    kind: str = "ok"
    """``ok``, ``fail``, ``retry``, ``snooze`` or ``cancel``."""
    delay: int | None = None
    error: tuple[str, ...] = ()
    """For ``fail``: the names of the exception's classes."""


Script = Callable[[str, int, int], Ending]
"""Event, due instant and attempt: how that goes."""


@dataclass
class Run:
    """One execution."""

    event: Event
    due: int
    manual: bool = False
    moved_to: int | None = None
    batch: str | None = None
    ready_at: int = 0
    attempt: int = 0
    held: bool = False
    limit: str | None = None
    """The named limit that it counts towards while it is held."""
    told: bool = False
    """Its job was told to stop."""
    over: bool = False
    fate: str = "pending"
    reason: str | None = None
    ended: int = 0
    attempts: list[str] = field(default_factory=list)
    """The outcomes of the attempts that have ended."""

    def end(self, fate: str, reason: str | None = None) -> None:
        if self.held:
            self.attempts.append(fate)
        self.fate, self.reason, self.over, self.held = fate, reason, True, False

    def wait(self, ready_at: int) -> None:
        self.held, self.ready_at = False, ready_at


@dataclass
class Event:
    """One event and its account."""

    name: str
    trigger: Trigger
    policies: Policies
    since: int
    next_due: int | None
    status: str = "active"
    paused_until: int | None = None
    streak_since: int = 0
    told: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    """Instants that were skipped."""
    runs: list[Run] = field(default_factory=list)

    @property
    def open(self) -> list[Run]:
        return [run for run in self.runs if not run.over]

    @property
    def held(self) -> list[Run]:
        """What is claimed or runs."""
        return [run for run in self.runs if run.held]

    @property
    def busy(self) -> list[Run]:
        """What overlaps: claimed, running, or waiting for a further attempt."""
        return [run for run in self.open if run.held or run.attempt]

    @property
    def waiting(self) -> list[Run]:
        """What waits for its first attempt because the event was busy when it was due."""
        return [
            run
            for run in self.open
            if not run.held and not run.attempt and run.moved_to is None and run.batch is None
        ]

    def last_told(self) -> int:
        dues = [run.due for run in self.runs if not run.manual and run.batch is None]
        return max([self.since - 1, *self.told, *dues])
