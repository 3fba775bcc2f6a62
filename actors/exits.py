"""How an incarnation of an actor ends, the orders that end it, and a word on what it died of."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Crash", "Exit", "ExitKind", "Stop", "describe", "kind_of"]


class ExitKind(StrEnum):
    """How an incarnation ended."""

    NORMAL = "normal"
    """It stopped itself: ``Actor.stop()``."""
    SHUTDOWN = "shutdown"
    """It was asked to stop, and did."""
    CRASHED = "crashed"
    """A handler, ``on_start`` or ``on_stop`` raised something that is not a refusal."""
    KILLED = "killed"
    """It was killed, by the supervisor after the deadline or by anybody else."""


class Exit:
    """The end of one incarnation: its kind and, for a crash or a kill, what was raised."""

    __slots__ = ("kind", "reason")

    def __init__(self, kind: ExitKind, reason: BaseException | None = None) -> None:
        self.kind = kind
        self.reason = reason

    def __repr__(self) -> str:
        return f"Exit({self.kind.value!r}, {self.reason!r})"


class Stop:
    """The life-cycle message. Not part of anybody's vocabulary."""

    __slots__ = ("kind",)

    def __init__(self, kind: ExitKind) -> None:
        self.kind = kind


class Crash:
    """A bug that came to light after the handler had returned: raise it in the actor."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def kind_of(error: BaseException | None) -> str:
    """The name of an exception's class."""
    return type(error).__name__ if error is not None else "none"


def describe(error: BaseException | None) -> str:
    """An exception in a line. Never raises, whatever the exception's own ``__str__`` does."""
    try:
        return f"{kind_of(error)}: {error}"[:500] if error is not None else "an orderly exit"
    except BaseException:  # noqa: BLE001
        return kind_of(error)
