"""What ``verify`` answers with: whether the ledger keeps its promises, and each place where it does
not.

The four invariants, as the ledger page tells them: (1) every due instant has exactly one fate; (2)
what is open belongs to a living process, or to nobody; (3) nothing began without a claim, and
attempts are numbered without holes; (4) ``next_due`` is what the rule answers after the last
instant with a fate."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

__all__ = ["INVARIANTS", "Verification", "Violation", "ViolationKind"]


class ViolationKind(StrEnum):
    """What is wrong, by name."""

    MISSING = "missing"
    """Instants of the rule have no fate."""
    TWICE = "twice"
    """An instant has two fates: gaps, or a gap and an execution, lie over each other."""
    NOT_DUE = "not_due"
    """An execution of the rule at an instant that the rule does not have."""
    AHEAD = "ahead"
    """A fate for an instant that is not accounted for yet: at or after ``next_due``."""
    WRONG_SPAN = "wrong_span"
    """A gap that does not begin and end with an instant of one rule."""
    WRONG_COUNT = "wrong_count"
    """A gap that tells of more or fewer instants than lie in it."""
    BEFORE_ACCOUNT = "before_account"
    """A gap that reaches over the beginning of its event's account."""
    INTO_NOTHING = "into_nothing"
    """Coalesced instants, and no fate for the one that was to run for them."""
    DEFINITIONS = "definitions"
    """The spans of an event's old rules and its present one do not join."""
    UNREADABLE = "unreadable"
    """A rule that cannot be read or gives up: nothing can be said about its instants."""
    VERSION = "version"
    """A row of a version that its event has not had yet."""
    HOLDER_GONE = "holder_gone"
    """An open execution whose node has no lease, or none that is live."""
    NEVER_READY = "never_ready"
    """An open execution that nobody holds and that nobody would ever take."""
    OPEN_WITH_END = "open_with_end"
    """An execution with an end and a fate that says that it has none."""
    ENDED_WITHOUT_END = "ended_without_end"
    """An execution without an end and a fate that says that it has one."""
    UNCLAIMED = "unclaimed"
    """It began, or it ran, without a node or an attempt that it was claimed for."""
    ATTEMPTS = "attempts"
    """Attempts that are not numbered from 1 without holes, or do not add up."""
    AT_MOST_ONCE = "at_most_once"
    """More than one attempt, where the event's delivery allows one."""
    ORDER = "order"
    """Claim, start and end in an order that no jump of the clock in the journal explains."""
    WORD = "word"
    """A status, fate or reason that is none."""
    COMBINATION = "combination"
    """A fate with a reason, or other columns, that do not go with it."""
    NEXT_DUE = "next_due"
    """``next_due`` is not what the rule answers after the last instant with a fate."""
    ORPHAN = "orphan"
    """A row of an event, or an attempt of an execution, that does not exist."""
    TAGS = "tags"
    """Tags by which an event is found, and those that it has, differ."""
    INTEGRITY = "integrity"
    """The database's own check found the file damaged."""


_K = ViolationKind
INVARIANTS: dict[ViolationKind, int | None] = {
    **dict.fromkeys(
        (
            _K.MISSING, _K.TWICE, _K.NOT_DUE, _K.AHEAD, _K.WRONG_SPAN, _K.WRONG_COUNT,
            _K.BEFORE_ACCOUNT, _K.INTO_NOTHING, _K.DEFINITIONS, _K.UNREADABLE, _K.VERSION,
        ),
        1,
    ),
    **dict.fromkeys((_K.HOLDER_GONE, _K.NEVER_READY, _K.OPEN_WITH_END, _K.ENDED_WITHOUT_END), 2),
    **dict.fromkeys(
        (_K.UNCLAIMED, _K.ATTEMPTS, _K.AT_MOST_ONCE, _K.ORDER, _K.WORD, _K.COMBINATION), 3
    ),
    _K.NEXT_DUE: 4,
    **dict.fromkeys((_K.ORPHAN, _K.TAGS, _K.INTEGRITY)),
}  # fmt: skip
"""Which invariant each kind of violation is one of; None: of the tables themselves."""


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One place where the ledger does not keep a promise."""

    invariant: int | None
    """1 to 4; None where the tables do not fit together."""
    kind: ViolationKind
    event_id: str | None
    words: str
    """What is wrong, in a sentence."""
    rows: tuple[dict[str, Any], ...]
    """The rows that show it: ``table`` and the columns as they are stored, instants in
    microseconds."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, and what was found wrong."""

    ok: bool
    """True where everything was looked at and nothing is wrong."""
    complete: bool
    """False where it ended early, at the limit of violations."""
    violations: tuple[Violation, ...]
    events: int
    executions: int
    gaps: int
    seconds: float
