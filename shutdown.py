"""Taking a running system down again, whatever state it is in.

The order: claim nothing more, let jobs end, stop the actors, write down what is left, close the
database, end the hub. Each step is bounded in time and none is left out because another failed. The
deadline that the jobs have may be lowered while they are waited for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from kalends.children import describe
from kalends.clock import Clock, SystemClock
from kalends.errors import AskTimeout, KalendsError, NotInitialized
from kalends.futures import Future
from kalends.logs import get_log
from kalends.messages import Drain
from kalends.notices import NoticeKind
from kalends.storage.accounts import give_back
from kalends.work import Claim

if TYPE_CHECKING:
    from kalends.system import System

__all__ = ["CLOSE_TIMEOUT", "Deadline", "ShutdownReport", "shut_down"]

T = TypeVar("T")
_log = get_log()
CLOSE_TIMEOUT = 5.0
"""Seconds for each thing that has to end when the jobs have had their time."""
_LEAST = 0.5
"""Seconds for what is tried even where the jobs have none."""
_LOOK_EVERY = 0.05
"""Seconds until a wait looks again whether its deadline has been lowered."""


class ShutdownReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a shutdown went."""

    abandoned: tuple[str, ...] = ()
    """Executions still running when the time was up; the next process takes them over by their
    delivery policy.
    """
    unrecorded: int = 0
    """Outcomes that the database did not take any more."""
    clean: bool = True
    """True where every thread of the scheduler has ended, those of abandoned jobs aside, and
    nothing on the way has raised: no executor, and nothing else.
    """
    under_way: bool = False
    """True where the shutdown has only begun: it was asked for where nothing can wait for it."""


class Deadline:
    """Seconds left, real ones unless ``clock`` says otherwise; the earliest that was asked for.

    ``lower`` may be called at any time, from any thread and from a signal handler. Before the first
    there is no end.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = SystemClock() if clock is None else clock
        self._wanted: list[float] = []
        """Only ever appended to: a comparison and a store could be interrupted between."""

    def lower(self, seconds: float) -> None:
        """It is over in ``seconds`` at the latest."""
        self._wanted.append(self._clock.monotonic() + seconds)

    def left(self) -> float:
        """Seconds until the deadline, not below 0."""
        return max(0.0, min(self._wanted, default=float("inf")) - self._clock.monotonic())

    def wait_for(self, future: Future[T]) -> T:
        """The future's value, if it comes before the deadline or within ``_LEAST`` seconds.

        Raises ``AskTimeout`` when it does not.
        """
        least = self._clock.monotonic() + _LEAST
        while True:
            left = max(self.left(), least - self._clock.monotonic())
            try:
                return future.get(timeout=min(left, _LOOK_EVERY))
            except AskTimeout:
                if future.done or left <= _LOOK_EVERY:
                    raise


def shut_down(system: System, deadline: Deadline) -> ShutdownReport:
    """Drain, stop and close soon after the deadline; blocks the calling thread.

    Whatever goes wrong on the way, all threads have been told to end when this returns.
    """
    with contextlib.ExitStack() as rest:
        rest.callback(system.over.resolve, None)
        rest.callback(system.hub.stop, CLOSE_TIMEOUT)
        rest.callback(system.storage.close, CLOSE_TIMEOUT)
        steps, no_claims = _Steps(), list[Claim]()
        steps.take("halt", system.runner.halt, None)
        if system.failure is None and system.settings.enabled:
            with contextlib.suppress(KalendsError):  # a database that is away drains nothing
                deadline.wait_for(system.loop.ref.ask(Drain(), block=False))
        _wait_for_writer(system, deadline)
        unbegun = steps.take("disarm", system.runner.disarm_all, no_claims)
        steps.take("tell_jobs", system.runner.cancel_all, 0)
        abandoned = steps.take("stop_jobs", lambda: system.runner.stop(deadline.left), no_claims)
        clean = steps.take("stop_actors", lambda: _stop_actors(system), False)
        unrecorded = steps.take("settle", lambda: _settle(system, unbegun, len(abandoned)), 0)
        clean &= steps.take("close", lambda: system.storage.close(CLOSE_TIMEOUT), False)
        clean &= steps.take("end_hub", lambda: system.hub.stop(CLOSE_TIMEOUT), False)
        clean &= steps.unharmed and not system.runner.unstopped
    report = ShutdownReport(
        abandoned=tuple(claim.id for claim in abandoned), unrecorded=unrecorded, clean=clean
    )
    system.announcer.scheduler(
        NoticeKind.SCHEDULER_STOPPED, node=system.node, clean=clean, unrecorded=unrecorded
    )
    system.announcer.end()
    _log.info(
        "scheduler_stopped",
        node=system.node,
        abandoned=list(report.abandoned),
        unrecorded=unrecorded,
        clean=clean,
    )
    return report


class _Steps:
    """Takes one step after the other, whatever any of them raises."""

    def __init__(self) -> None:
        self.unharmed = True

    def take(self, name: str, step: Callable[[], T], otherwise: T) -> T:
        """What the step answers, or ``otherwise``."""
        try:
            return step()
        except Exception:  # noqa: BLE001 - the rest has to end, whatever this was
            self.unharmed = False
            _log.exception("shutdown_step_failed", step=name)
            return otherwise


def _wait_for_writer(system: System, deadline: Deadline) -> None:
    """Wait until what was being claimed has come to the runner, also where the loop crashed."""
    with contextlib.suppress(KalendsError):
        deadline.wait_for(system.storage.write(lambda _: None))


def _stop_actors(system: System) -> bool:
    """Stop both trees and close every mailbox; False where something would not end."""
    ended = [system.stop_tree(tree) for tree in (system.housekeeping, system.core)]
    closed: KalendsError = system.failure or NotInitialized("the scheduler was shut down")
    system.hub.call(system.close_cells, closed)
    return system.chores.join(CLOSE_TIMEOUT) and all(ended)


def _settle(system: System, unbegun: Sequence[Claim], abandoned: int) -> int:
    """Record what is left in the outbox, give back what had not begun, end the lease.

    Returns how many outcomes were refused.
    """
    now = system.clock.now_us()
    rest = system.outbox.peek(len(system.outbox))
    write = system.storage.write
    recorded = write(lambda db: system.outcomes.record(db, rest, now=now)) if rest else None
    returned = write(lambda db: give_back(db, unbegun, system.node, now=now)) if unbegun else None
    if system.settings.enabled:
        left = write(lambda db: system.nodes.leave(db, now=now, abandoned=abandoned))
        system.left = _committed(left, len(rest))
        if system.left:
            system.announcer.ended(left.get().ended)
    if returned is not None:
        _committed(returned, len(rest))
    if recorded is not None and _committed(recorded, len(rest)):
        system.outbox.drop(len(rest))
        system.announcer.recorded(rest, recorded.get())
    return len(system.outbox)


def _committed(unit: Future[Any], outcomes: int) -> bool:
    try:
        unit.get(timeout=CLOSE_TIMEOUT)
    except Exception as refusal:  # noqa: BLE001  (the rest has to end, whatever this was)
        _log.error("shutdown_unrecorded", outcomes=outcomes, error=describe(refusal))
        return False
    return True
