"""What a supervisor is told of a child, keeps of it and reports on it.

Promises: specifications, status and reports are immutable values; a late word about an old
incarnation of a child lands in that incarnation's own ``Run`` and changes nothing else.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from gevent.event import Event

from kalends.actors.exits import describe, kind_of
from kalends.actors.hub import Hub, Timer
from kalends.actors.mailbox import Mailbox
from kalends.actors.runtime import Exit, ExitKind
from kalends.errors import AskTimeout, KalendsError, SchedulerFailed, ValidationFailed
from kalends.logs import get_log
from kalends.restarts import Restart

__all__ = [
    "BAD",
    "Child",
    "ChildSpec",
    "ChildStatus",
    "Context",
    "Crash",
    "Keeper",
    "Kept",
    "Report",
    "Run",
    "State",
    "Tree",
    "describe",
    "kind_of",
]


_log = get_log()
BAD = (ExitKind.CRASHED, ExitKind.KILLED)
_LEVELS = {
    "actor_crashed": "error",
    "actor_start_failed": "error",
    "actor_killed": "warning",
    "actor_abandoned": "error",
    "actor_restarting": "warning",
    "supervisor_gave_up": "critical",
    "supervisor_crashed": "critical",
    "report_callback_failed": "error",
}


class Child(Protocol):
    """What a supervisor can keep alive: ``kalends.actors.runtime.Cell``, or another ``Supervisor``.

    All of it is called on the hub's thread. ``on_started`` is called once per ``start``;
    ``on_exit`` once for each start that succeeded. ``close``: nobody will start it again, so fail
    whatever waits for it.
    """

    @property
    def running(self) -> bool: ...
    @property
    def mailbox(self) -> Mailbox | None: ...
    def start(
        self,
        on_started: Callable[[BaseException | None], None],
        on_exit: Callable[[Exit], None],
    ) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def close(self, error: KalendsError) -> None: ...


@runtime_checkable
class Tree(Protocol):
    """A child that has children of its own."""

    def status(self) -> tuple[ChildStatus, ...]: ...


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A child and how to keep it. Times in seconds.

    ``shutdown=0`` kills without asking, ``math.inf`` never kills: right for a supervisor, which
    bounds its own stop.
    """

    name: str
    child: Child
    restart: Restart = Restart.PERMANENT
    shutdown: float = 5.0
    start_timeout: float = 10.0
    significant: bool = False

    def __post_init__(self) -> None:
        if not self.shutdown >= 0 or not self.start_timeout > 0:
            raise ValidationFailed("time-outs must not be negative", path=f"{self.name}.shutdown")
        if self.significant and self.restart is Restart.PERMANENT:
            # It would never end for good, so it could never end its supervisor (OTP refuses it,
            # too).
            raise ValidationFailed(
                "a permanent child cannot be significant", path=f"{self.name}.significant"
            )


class State(StrEnum):
    """Where a child stands."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Context(StrEnum):
    """What a supervisor was doing when it had something to report. OTP's words."""

    START_ERROR = "start_error"
    CHILD_TERMINATED = "child_terminated"
    SHUTDOWN_ERROR = "shutdown_error"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Crash:
    """What ended a child badly, and when: monotonic seconds, and microseconds of wall time."""

    text: str
    at: float
    wall_us: int


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """A child as it is now. ``oldest_age`` in seconds; ``children`` where it is a supervisor."""

    name: str
    state: State
    restarts: int
    last_crash: Crash | None
    waiting: int
    received: int
    oldest_age: float
    children: tuple[ChildStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """One entry for whoever keeps the journal.

    ``reason`` is what was raised, None for an orderly exit.
    """

    supervisor: str
    context: Context
    reason: BaseException | None
    offender: ChildStatus


class Run:
    """One incarnation of a child, as its supervisor sees it.

    A late word about an old one changes nothing.
    """

    def __init__(self) -> None:
        self.began: float | None = None
        self.settled = False
        self.error: BaseException | None = None
        self.exit: Exit | None = None

    @property
    def over(self) -> bool:
        return self.exit is not None or self.error is not None


class Kept:
    """A child and all its supervisor knows of it."""

    def __init__(self, spec: ChildSpec, place: int) -> None:
        self.spec = spec
        self.place = place
        self.state = State.STOPPED
        self.run: Run | None = None
        self.retry: Timer | None = None
        self.restarts = 0
        self.in_a_row = 0
        self.last_crash: Crash | None = None
        self.closed = False
        self.abandoned = False

    def close(self, error: KalendsError) -> None:
        self.closed = True
        self.spec.child.close(error)

    def status(self) -> ChildStatus:
        child, box = self.spec.child, self.spec.child.mailbox
        return ChildStatus(
            name=self.spec.name,
            state=self.state,
            restarts=self.restarts,
            last_crash=self.last_crash,
            waiting=len(box) if box is not None else 0,
            received=box.received if box is not None else 0,
            oldest_age=box.oldest_age() if box is not None else 0.0,
            children=child.status() if isinstance(child, Tree) else (),
        )


class Keeper:
    """Starts and stops one child at a time for one life of a supervisor, and tells what happened.

    ``signal`` wakes the supervisor's greenlet, ``exits`` are the ends it has not looked at,
    ``rest`` is the state that stopped children are left in.
    """

    def __init__(
        self, name: str, hub: Hub, on_report: Callable[[Report], None] | None, kill_timeout: float
    ) -> None:
        self.name = name
        self.signal = Event()
        self.exits: deque[tuple[Kept, Run]] = deque()
        self.rest = State.STOPPED
        self._hub = hub
        self._on_report = on_report
        self._kill_timeout = kill_timeout

    def wait(self, done: Callable[[], object], seconds: float) -> bool:
        """Wait for ``done``, at most ``seconds`` of the hub's clock; False when they ran out."""
        expired: list[bool] = []

        def expire() -> None:
            expired.append(True)
            self.signal.set()

        timer = self._hub.after(seconds, expire) if seconds < math.inf else None
        try:
            while not done():
                if expired:
                    return False
                self.signal.clear()
                self.signal.wait()
            return True
        finally:
            if timer is not None:
                timer.cancel()

    # -- starting -------------------------------------------------------------------------------

    def start(self, child: Kept, interrupted: Callable[[], bool]) -> BaseException | None:
        """Start one child; wait until it runs (None), fails (why) or is ``interrupted`` (None)."""
        run = Run()
        child.run, child.state = run, State.STARTING

        def on_started(error: BaseException | None) -> None:
            run.settled, run.error = True, error
            self.signal.set()

        def on_exit(ended: Exit) -> None:
            run.exit = ended
            self.exits.append((child, run))
            self.signal.set()

        try:
            child.spec.child.start(on_started, on_exit)
        except Exception as error:  # noqa: BLE001  (a failing start, whatever it is)
            return self._start_failed(child, error)
        timeout = child.spec.start_timeout
        in_time = self.wait(lambda: run.settled or interrupted(), timeout)
        if run.error is not None:
            return self._start_failed(child, run.error)
        if run.settled:
            run.began, child.state = self._hub.clock.monotonic(), State.RUNNING
            self.tell("actor_started", child)
            return None
        if in_time:
            return None  # interrupted: whoever did it stops this child with the others
        self.kill(child, run)
        return self._start_failed(child, _too_slow(timeout))

    def _start_failed(self, child: Kept, error: BaseException) -> BaseException:
        child.run, child.state = None, State.FAILED
        self.note_crash(child, error)
        self.tell("actor_start_failed", child, error=describe(error), exc_info=error)
        self.report(Context.START_ERROR, error, child)
        return error

    # -- stopping -------------------------------------------------------------------------------

    def stop(self, child: Kept, run: Run) -> None:
        """Ask, wait, kill, wait; report an end that was not orderly."""
        orderly = not run.over
        if orderly:
            child.state = State.STOPPING
            if child.spec.shutdown > 0:
                child.spec.child.stop()
            in_time = self.wait(lambda: run.over, child.spec.shutdown)
            if not in_time and not self.kill(child, run):
                return
        child.run, child.state = None, self.rest
        ended = run.exit
        if ended is not None and ended.kind in BAD and (child.spec.shutdown > 0 or not orderly):
            self.note_crash(child, ended.reason)
            self.report(Context.SHUTDOWN_ERROR, ended.reason, child)
        self.tell("actor_stopped", child, kind=ended.kind.value if ended else "unstarted")

    def kill(self, child: Kept, run: Run) -> bool:
        """Kill, and wait for the end; False when the child had to be abandoned."""
        self.tell("actor_killed", child)
        child.spec.child.kill()
        if self.wait(lambda: run.over, self._kill_timeout):
            return True
        child.run, child.state, child.abandoned = None, State.FAILED, True
        error = SchedulerFailed(f"{child.spec.name} could not be stopped", actor=child.spec.name)
        child.close(error)
        self.tell("actor_abandoned", child)
        self.report(Context.SHUTDOWN_ERROR, error, child)
        return False

    # -- telling --------------------------------------------------------------------------------

    def note_crash(self, child: Kept, reason: BaseException | None) -> None:
        """Keep what ended the child, for its status."""
        clock = self._hub.clock
        child.last_crash = Crash(describe(reason), clock.monotonic(), clock.now_us())

    def tell(self, event: str, child: Kept | None = None, **facts: Any) -> None:
        """Log an event of the life of a child, or of the supervisor itself."""
        if child is not None:
            facts["actor"] = child.spec.name
        try:
            log = getattr(_log, _LEVELS.get(event, "info"))
            log(event, supervisor=self.name, **facts)
        except Exception:  # noqa: BLE001
            return  # a host's broken log must not take the actors with it

    def report(self, context: Context, reason: BaseException | None, child: Kept) -> None:
        """Hand a report to the owner's callback."""
        if self._on_report is None:
            return
        try:
            self._on_report(Report(self.name, context, reason, child.status()))
        except BaseException as error:  # noqa: BLE001
            # SystemExit included: whoever listens to reports has no say in what is supervised.
            self.tell("report_callback_failed", exc_info=error)


def _too_slow(seconds: float) -> AskTimeout:
    return AskTimeout(f"did not start within {seconds:g} s", timeout=seconds)
