"""Between rows and values: the JSON texts and integers of a row, and the structs of ``model``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ParamSpec, TypeVar

import msgspec

from kalends import triggers
from kalends.clock import MAX_US, US, from_us, to_us
from kalends.errors import StorageRefused, ValidationFailed
from kalends.model import (
    Attempt,
    Event,
    EventStatus,
    Execution,
    Failure,
    Fate,
    Gap,
    JournalEntry,
    JournalKind,
    LogLine,
    Reason,
)
from kalends.policies import Policies
from kalends.storage.models import AttemptRow, EventRow, ExecutionRow, GapRow, JournalRow
from kalends.triggers import Trigger
from kalends.work import Told

__all__ = [
    "ATTEMPT_COLUMNS",
    "EVENT_COLUMNS",
    "EXECUTION_COLUMNS",
    "GAP_COLUMNS",
    "JOURNAL_COLUMNS",
    "UnreadableRule",
    "arguments_of",
    "attempt_of",
    "dump",
    "dump_policies",
    "dump_trigger",
    "event_of",
    "execution_of",
    "gap_of",
    "journal_of",
    "latest_told",
    "load_policies",
    "load_trigger",
    "rule_of",
]

EVENT_COLUMNS = tuple(EventRow._meta.sorted_fields)
EXECUTION_COLUMNS = tuple(ExecutionRow._meta.sorted_fields)
ATTEMPT_COLUMNS = tuple(AttemptRow._meta.sorted_fields)
GAP_COLUMNS = tuple(GapRow._meta.sorted_fields)
JOURNAL_COLUMNS = tuple(JournalRow._meta.sorted_fields)


def dump(value: Any) -> str:
    """``value`` as compact JSON text."""
    return msgspec.json.encode(value).decode()


def dump_trigger(trigger: Trigger) -> str:
    """The stored form of a trigger."""
    return dump(trigger.to_json())


@functools.lru_cache(maxsize=4096)
def load_trigger(text: str) -> Trigger:
    """The trigger of a stored form. Raises ``ValidationFailed`` where it cannot be read.

    Cached because triggers are pure values, and many events share a few rules.
    """
    return triggers.from_json(_json(text))


@functools.lru_cache(maxsize=1024)
def dump_policies(policies: Policies) -> str:
    """The stored form of policies: what differs from the defaults of ``Policies``.

    It is most of what would otherwise be written for an event.
    """
    given = msgspec.structs.asdict(policies)
    return dump({field: value for field, value in given.items() if value != _DEFAULTS[field]})


_DEFAULTS = msgspec.structs.asdict(Policies())


@functools.lru_cache(maxsize=1024)
def load_policies(text: str) -> Policies:
    """The policies of a stored form. Raises ``ValidationFailed`` where it cannot be read."""
    try:
        return msgspec.json.decode(text, type=Policies)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValidationFailed(f"the policies cannot be read: {error}", path="policies") from error


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text  # not JSON at all: let the codec say what it wanted instead


class UnreadableRule(Trigger):
    """Stands for a stored trigger that cannot be read: never due, and printed as what it is."""

    __slots__ = ("error", "text")
    error: str
    text: str

    def __init__(self, text: str, error: str) -> None:
        self._set(text=text, error=error)

    def next_us(self, after_us: int) -> None:
        return None

    def previous_us(self, before_us: int) -> None:
        return None

    def count_us(self, a: int, b: int) -> int:
        return 0

    def describe(self) -> str:
        return f"a rule that cannot be read: {self.error}"

    def to_json(self) -> dict[str, Any]:
        return {"v": 1, "type": "unreadable", "text": self.text}

    def _key(self) -> tuple[object, ...]:
        return (self.text,)

    def __repr__(self) -> str:
        return f"<unreadable rule {self.text[:80]!r}>"


def rule_of(text: str) -> Trigger:
    """The trigger of a stored form, or an ``UnreadableRule`` in its place."""
    try:
        return load_trigger(text)
    except ValidationFailed as error:
        return UnreadableRule(text, error.message)


def _policies_of(text: str) -> Policies:
    try:
        return load_policies(text)
    except ValidationFailed:
        return Policies()


def _json_or(text: str, otherwise: Any, kind: Any = Any) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return otherwise


class _Arguments(msgspec.Struct):
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


def arguments_of(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a stored text; none where it cannot be read."""
    given = _json_or(text, _Arguments(), _Arguments)
    return tuple(given.args), given.kwargs


_SPOILT = (ValueError, OverflowError, TypeError, msgspec.MsgspecError, RecursionError)
P = ParamSpec("P")
T = TypeVar("T")


def _readable(make: Callable[P, T]) -> Callable[P, T]:
    """Refuse a row whose values somebody else has spoilt: an answer, not a crash of its reader."""

    @functools.wraps(make)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return make(*args, **kwargs)
        except _SPOILT as error:
            row: Any = args[0]
            raise StorageRefused(
                f"row {row[0]} cannot be read by {make.__name__}: {error}",
                reason="unreadable_row",
                row=str(row[0]),
            ) from error

    return wrapper


@_readable
def event_of(row: Sequence[Any]) -> Event:
    """The event of a row of ``EVENT_COLUMNS``.

    What is unreadable in it does not hide the event or the others of a list: a rule is shown as
    ``UnreadableRule``, policies as the defaults, arguments and tags as empty. Claiming it
    quarantines it.
    """
    (
        event_id, name, job, arguments, trigger, policies, tags, status, note, status_note,
        paused_until, next_due, accounted_from, _rule_since, _streak_since, _limit_name, _priority,
        _serial, version, created_at, updated_at, declared_by,
    ) = row  # fmt: skip
    args, kwargs = arguments_of(arguments)
    return Event(
        id=event_id,
        name=name,
        job=job,
        args=args,
        kwargs=kwargs,
        trigger=rule_of(trigger),
        policies=_policies_of(policies),
        tags=tuple(_json_or(tags, [], list[str])),
        status=EventStatus(status),
        note=note if status_note is None else status_note,
        declared_by=declared_by,
        paused_until=None if paused_until is None else from_us(paused_until),
        next_due=None if next_due is None else from_us(next_due),
        accounted_from=from_us(accounted_from),
        version=version,
        created_at=from_us(created_at),
        updated_at=from_us(updated_at),
    )


_UNREADABLE = object()


def _failure_of(text: str | None) -> Failure | None:
    if text is None:
        return None
    unreadable = Failure(type="Unreadable", message="the stored error cannot be read")
    failure: Failure = _json_or(text, unreadable, Failure)
    return failure


@_readable
def attempt_of(row: Sequence[Any]) -> Attempt:
    """The attempt of a row of ``ATTEMPT_COLUMNS``."""
    _, number, node, claimed_at, started_at, ended_at, outcome, error, *told, runs_on = row
    times = claimed_at, started_at, ended_at
    return _with_told(_attempt(number, node, times, outcome, _failure_of(error), runs_on), *told)


def _attempt(
    number: int,
    node: str | None,
    times: tuple[int, int | None, int | None],
    outcome: str,
    error: Failure | None,
    runs_on: int,
) -> Attempt:
    """An attempt; ``times`` are when it was claimed, began and ended."""
    claimed_at, started_at, ended_at = times
    return Attempt(
        number=number,
        node=node,
        claimed_at=from_us(claimed_at),
        started_at=None if started_at is None else from_us(started_at),
        ended_at=None if ended_at is None else from_us(ended_at),
        outcome=Fate(outcome),
        error=error,
        still_running=bool(runs_on),
    )


class _Log(msgspec.Struct, array_like=True):
    """The stored form of the lines that a job logged."""

    dropped: int
    lines: list[tuple[Annotated[int, msgspec.Meta(ge=0, le=MAX_US)], str, str]]


def _with_told(
    attempt: Attempt, progress: float | None, note: str | None, log: str | None
) -> Attempt:
    """The attempt with what its job told. A log that cannot be read hides nothing else."""
    if progress is None and log is None:
        return attempt
    kept = _Log(0, []) if log is None else _json_or(log, _Log(0, []), _Log)
    return msgspec.structs.replace(
        attempt,
        progress=progress,
        note=note,
        log=tuple(LogLine(at=from_us(at), level=level, message=m) for at, level, m in kept.lines),
        log_dropped=kept.dropped,
    )


def latest_told(execution: Execution, told: Told) -> Execution:
    """The execution with what the job of its last attempt has told since it was written down."""
    *earlier, last = execution.attempts
    attempt = _with_told(last, told.progress, told.note, told.log)
    return msgspec.structs.replace(execution, attempts=(*earlier, attempt))


@_readable
def execution_of(row: Sequence[Any], earlier: Sequence[Attempt]) -> Execution:
    """The execution of a row of ``EXECUTION_COLUMNS`` and its earlier attempts, in order."""
    (
        execution_id, event_id, due, version, fate, reason, attempt, node, claimed_at,
        started_at, ended_at, result, result_note, error, manual, ready_at, moved_to, priority,
        limit_name, batch, cancel, still_running, *told,
    ) = row  # fmt: skip
    attempts = list(earlier)
    failure = _failure_of(error)
    if attempt > len(attempts):
        times = claimed_at, started_at, ended_at
        last = _attempt(attempt, node, times, fate, failure, still_running)
        attempts.append(_with_told(last, *told))
    stored = None if result is None else _json_or(result, _UNREADABLE)
    if stored is _UNREADABLE:
        stored, result_note = None, "the stored result cannot be read"
    begun = next((item.started_at for item in attempts if item.started_at is not None), None)
    waits = ended_at is None and node is None
    return Execution(
        id=execution_id,
        event_id=event_id,
        due=from_us(due),
        fate=Fate(fate),
        reason=None if reason is None else Reason(reason),
        attempts=tuple(attempts),
        node=node,
        claimed_at=from_us(claimed_at),
        started_at=None if started_at is None else from_us(started_at),
        ended_at=None if ended_at is None else from_us(ended_at),
        lateness=None if begun is None else (to_us(begun) - (moved_to or due)) / US,
        duration=None if started_at is None or ended_at is None else (ended_at - started_at) / US,
        result=stored,
        result_note=result_note,
        error=failure,
        manual=bool(manual),
        ready_at=from_us(ready_at) if waits and ready_at is not None else None,
        moved_to=None if moved_to is None else from_us(moved_to),
        priority=priority,
        limit_name=limit_name,
        backfill=batch,
        cancel_requested=bool(cancel),
        still_running=bool(still_running),
        version=version,
    )


@_readable
def gap_of(row: Sequence[Any]) -> Gap:
    """The gap of a row of ``GAP_COLUMNS``."""
    _, event_id, first, last, count, fate, reason, into, version, recorded_at, node = row
    return Gap(
        event_id=event_id,
        first=from_us(first),
        last=from_us(last),
        count=count,
        fate=Fate(fate),
        reason=None if reason is None else Reason(reason),
        into=None if into is None else from_us(into),
        version=version,
        recorded_at=from_us(recorded_at),
        node=node,
    )


@_readable
def journal_of(row: Sequence[Any]) -> JournalEntry:
    """The journal entry of a row of ``JOURNAL_COLUMNS``."""
    entry_id, at, kind, event_id, node, author, note, details = row
    return JournalEntry(
        id=entry_id,
        at=from_us(at),
        kind=JournalKind(kind),
        event_id=event_id,
        node=node,
        author=author,
        note=note,
        details=_json_or(details, {}, dict[str, Any]),
    )
