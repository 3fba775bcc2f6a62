"""What the reference keeps: events, their executions, and how attempts are to go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
class Told:
    """Why an instant was skipped, and what decided that."""

    reason: str
    into: int | None = None
    """For ``coalesced``: the instant that runs for it."""
    policies: Policies | None = None


@dataclass(eq=False)
class Run:
    """One execution."""

    event: Event
    due: int
    manual: bool = False
    moved_to: int | None = None
    batch: int | None = None
    """The backfill that it belongs to."""
    ready_at: int = 0
    attempt: int = 0
    held: bool = False
    begun: bool = False
    """It is held, and its job runs: its jitter is over."""
    begins_at: int = 0
    """Where it is held and has not begun: when it will."""
    limit: str | None = None
    """The named limit that it counts towards while it is held."""
    told: str | None = None
    """Its job was told to stop, for this reason."""
    over: bool = False
    fate: str = "pending"
    reason: str | None = None
    ended: int = 0
    attempts: list[str] = field(default_factory=list)
    """The outcomes of the attempts that have ended."""

    @property
    def armed(self) -> bool:
        """Held, and to begin later."""
        return self.held and not self.begun

    @property
    def unbegun(self) -> bool:
        """Over, and never begun: an account in which it stands says that it did not run."""
        return self.over and not self.attempt

    def end(self, fate: str, reason: str | None = None) -> None:
        if self.held:
            self.attempts.append(fate)
        self.fate, self.reason, self.over, self.held, self.begun = fate, reason, True, False, False

    def wait(self, ready_at: int) -> None:
        self.held, self.begun, self.ready_at = False, False, ready_at

    def give_back(self) -> None:
        """It was claimed and has not begun: as if it had not been claimed."""
        self.held = False
        self.attempt -= 1


@dataclass
class Rule:
    """What an event's rule was: from ``since`` to ``until``, both included."""

    since: int
    until: int
    trigger: Trigger


@dataclass(eq=False)
class Event:
    """One event and its account."""

    name: str
    id: str
    trigger: Trigger
    policies: Policies
    since: int
    """Where the account of its present rule begins."""
    next_due: int | None
    opened: int = 0
    """Where its account begins."""
    status: str = "active"
    paused_until: int | None = None
    streak_since: int = 0
    rules: list[Rule] = field(default_factory=list)
    """Those it had before."""
    told: dict[int, Told] = field(default_factory=dict)
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
    def armed(self) -> list[Run]:
        """What is claimed and has not begun."""
        return [run for run in self.runs if run.armed]

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

    def accounted_to(self) -> int:
        """The last instant that has a fate."""
        return max([-1, *self.told, *(run.due for run in self.runs if not run.manual)])

    def last_told(self) -> int:
        """The last instant up to which nothing new may be told of it."""
        return max(self.since - 1, self.accounted_to())

    def close(self, until: int) -> None:
        """Its rule ends here."""
        if self.since <= until:
            self.rules.append(Rule(self.since, until, self.trigger))
        self.since = until + 1

    def instants(self, start: int, end: int) -> Iterator[int]:
        """What the rules of that time say in ``start <= instant < end``.

        Where no rule was in force yet, the present one counts.
        """
        reached = start
        for rule in self.rules:
            if rule.until >= start and rule.since < end:
                yield from self.trigger.between_us(reached, max(reached, rule.since))
                reached = min(rule.until + 1, end)
                yield from rule.trigger.between_us(max(rule.since, start), reached)
        yield from self.trigger.between_us(reached, max(reached, end))

    def rule_at(self, instant: int) -> Trigger:
        """The rule that was in force; for the time before the account, the first that was."""
        for rule in self.rules:
            if rule.until >= instant:
                return rule.trigger
        return self.trigger
