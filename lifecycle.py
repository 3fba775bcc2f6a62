"""Starting and ending a scheduler: who may, how often, and from where.

Promises: ``start`` and ``stop`` are idempotent and may be called from any thread, in any order, at
the same time; who comes second waits for the first and gets the same answer. A stop while it starts
wins. A second stop may give less time than the first: the earliest deadline counts for all.

Both happen on threads of their own, where no signal handler can interrupt them, nor a host's hub be
blocked, nor a loop. Where the caller's wait for a start is interrupted (Ctrl-C, a killed greenlet,
a cancelled task), what has been started is taken down again, without its running a job, and the
interrupt goes on: a caller in a plain thread sees that end, for a few seconds, a greenlet or task
does not wait. An interrupted stop goes on.

No caller holds a lock that another one needs, so a signal handler may call either wherever it
interrupted the main thread. From inside one of the scheduler's own jobs ``stop`` only
begins, because that job would wait for itself; so it does on a gevent hub's own greenlet (where a
patched process runs most signal handlers), because nothing may wait there. At the end of the
interpreter, where threads cannot be started any more, ``stop`` runs on the calling one. A child
forked from the process that started the scheduler is refused.
"""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable
from contextvars import copy_context

from gevent._hub_local import get_hub_if_exists

from kalends.errors import AskTimeout, ForkedError, KalendsError, NotInitialized
from kalends.futures import Future, current_pid, may_wait
from kalends.jobs.executors.process_orders import loads_jobs
from kalends.native import NativeThread, allocate_lock, get_ident
from kalends.shutdown import CLOSE_TIMEOUT, Deadline, ShutdownReport
from kalends.system import System

__all__ = ["Lifecycle", "Live"]

_LOOK_EVERY = 3600.0
_CLOSING_TIME = 60.0
"""Seconds that a stop may take beyond what its caller gave to the jobs."""
_UNBOUNDED = 1e6
"""Seconds to wait for a start: each step has its own bound, but a migration takes what it takes."""
_NOW = "now"


class Lifecycle:
    """One scheduler's systems, one after the other. ``make`` makes the next, not started yet."""

    def __init__(self, make: Callable[[], System]) -> None:
        self._make = make
        self._pid = current_pid()
        self._starts: dict[str, _Start] = {}
        """The start that is under way, as ``_NOW``: a dict tells in one step who was first."""
        self._live: Live | None = None
        self._over: Future[None] | None = None
        self._stopped = False
        self._gone: list[str] = []
        """Nodes whose end the database has not heard of."""

    # -- looking -------------------------------------------------------------------------------

    @property
    def system(self) -> System | None:
        """The system that runs, or None."""
        live = self._live
        return None if live is None else live.system

    @property
    def state(self) -> str:
        """A word for the present; ``SchedulerStatus.state`` lists them."""
        live = self._live
        if live is None:
            if self._starts:
                return "starting"
            return "stopped" if self._stopped else "new"
        if live.stopping:
            return "stopping"
        if live.system.failure is not None:
            return "failed"
        return "running" if live.system.degraded is None else "degraded"

    def running(self) -> System:
        """The system. Raises ``ForkedError``, ``NotInitialized`` or, where it failed, that."""
        self.check_process()
        system = self.system
        if system is None:
            raise NotInitialized(f"the scheduler is {self.state}; start() it first")
        if system.failure is not None:
            raise system.failure_again()
        return system

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that started the scheduler.

        One that nobody has started yet has opened nothing: it belongs to whoever starts it.
        """
        pid = current_pid()
        if pid != self._pid and self.state == "new":
            self._pid = pid
        return pid != self._pid

    def check_process(self) -> None:
        """Raise ``ForkedError`` in a child of the process that started the scheduler."""
        if self.forked:
            raise ForkedError(
                "this process was forked from the one that started the scheduler; make its own",
                parent=self._pid,
                child=current_pid(),
            )

    # -- starting ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start, unless it runs. Raises what kept it from starting, to all who asked for it."""
        self.check_process()
        mine = asked = _Start()
        try:
            asked = self._ask_for(mine)
            asked.outcome.get(timeout=_UNBOUNDED)
            mine.join(1.0)
        except BaseException as error:
            if error is not asked.outcome.error:  # this wait was interrupted, or there is no thread
                self._give_up(mine)
                mine.see_it_end()
            raise

    async def start_async(self) -> None:
        """As ``start``, without blocking the event loop."""
        self.check_process()
        mine = asked = _Start()
        try:
            asked = self._ask_for(mine)
            await asked.outcome
        except BaseException as error:
            if error is not asked.outcome.error:
                self._give_up(mine)
            raise

    def _ask_for(self, mine: _Start) -> _Start:
        """The start to wait for: ``mine``, begun, or that of somebody who was faster."""
        if loads_jobs():
            raise ForkedError(
                "this process imports its parent's program to run jobs for it; there, put what"
                ' starts a scheduler below if __name__ == "__main__":'
            )
        live = self._live
        if live is not None and not self._starts:
            self._check_usable(live)
            mine.outcome.resolve(None)
            return mine
        first = self._starts.setdefault(_NOW, mine)
        if first.ident == get_ident():
            raise NotInitialized("the scheduler is starting")
        if not first.begun:  # be it another's: an interrupt may have kept them from doing this
            context = copy_context()  # jobs inherit the host's variables
            mine.thread = NativeThread(lambda: context.run(self._start, first), "kalends-start")
            mine.thread.start()
        return first

    def _check_usable(self, live: Live) -> None:
        if live.stopping or live.system.failure is not None:
            raise NotInitialized(f"the scheduler is {self.state}: shut it down first")

    def _start(self, start: _Start) -> None:
        """Start, on the thread made for it, unless its caller has given up before."""
        if not start.begin():
            return
        start.ident = get_ident()
        error: BaseException | None = None
        try:
            if self._live is None:
                self._start_system(start)
            else:
                self._check_usable(self._live)
        except BaseException as refusal:  # noqa: BLE001  (whoever waits is to hear of it)
            error = refusal
        self._end_start(start, error)

    def _start_system(self, start: _Start) -> None:
        atexit.register(self._at_exit)
        try:
            system = self._make()
            system.start(self._gone, lambda: not start.given_up)
            self._gone.clear()
        except BaseException:
            atexit.unregister(self._at_exit)
            raise
        self._over = system.over
        # Before the look at given_up, while whoever sets that looks at live after it: one of the
        # two sees the other.
        self._live = start.live = Live(system, self._ended)
        if start.given_up:
            start.live.stop(0.0)
            start.live.outcome.get(timeout=_CLOSING_TIME)
            raise _unwanted()

    def _end_start(self, start: _Start, error: BaseException | None) -> None:
        if self._starts.get(_NOW) is start:
            del self._starts[_NOW]
        start.ident = None
        start.outcome.resolve(None, error)

    def _give_up(self, start: _Start) -> None:
        """Nobody wants this start any more, whatever has come of it."""
        start.given_up = True
        if start.begin():  # its thread has not begun, or will never be
            self._end_start(start, _unwanted())
        live = start.live
        if live is not None:
            live.stopping = True
            NativeThread(lambda: live.stop(0.0), "kalends-stop").start()

    # -- stopping ------------------------------------------------------------------------------

    def stop(self, timeout: float) -> ShutdownReport:
        """Stop what runs, giving its jobs ``timeout`` seconds; the report is empty if none does."""
        self.check_process()
        start = self._starts.get(_NOW)
        if start is not None:
            start.given_up = True
            if start.begin():
                self._end_start(start, _unwanted())
            # Nothing may wait here, or this is something that the start itself has called.
            if not may_wait() or start.ident == get_ident():
                return ShutdownReport(under_way=True)
            with contextlib.suppress(Exception):  # the starter's to hear
                start.outcome.get(timeout=_CLOSING_TIME)
            if not start.outcome.done:
                return ShutdownReport(under_way=True)
        live = self._live
        if live is None:
            self._stopped = True
            return ShutdownReport()
        live.stopping = True
        # Begun more than once, it is done once: a signal handler may interrupt at any line here.
        NativeThread(lambda: live.stop(timeout), "kalends-stop").start()
        if live.system.runs_here() or not may_wait():
            return ShutdownReport(under_way=True)
        return live.outcome.get(timeout=timeout + _CLOSING_TIME)

    def _ended(self) -> None:
        live = self._live
        if live is not None and not live.system.left:
            self._gone.append(live.system.node)
        self._live, self._stopped = None, True
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        if current_pid() != self._pid:
            return
        start = self._starts.get(_NOW)
        if start is not None:
            start.given_up = True
            with contextlib.suppress(Exception):
                start.outcome.get(timeout=_CLOSING_TIME)
        live = self._live
        if live is not None:
            live.stopping = True
            timeout = live.system.settings.shutdown_timeout
            live.stop(timeout)
            with contextlib.suppress(KalendsError):
                live.outcome.get(timeout=timeout + _CLOSING_TIME)

    def wait(self, timeout: float | None) -> bool:
        """Wait for the end: True when it was stopped, False when the time is up."""
        self.check_process()
        over = self._over
        if over is None:
            raise NotInitialized(f"the scheduler is {self.state}; start() it first")
        while True:
            try:
                over.get(timeout=_LOOK_EVERY if timeout is None else timeout)
            except AskTimeout:
                if timeout is not None:
                    return False
            else:
                return True

    async def stop_async(self, patience: float) -> ShutdownReport:
        """As ``stop``, without blocking the event loop."""
        future: Future[ShutdownReport] = Future(patience + 2 * _CLOSING_TIME)
        context = copy_context()

        def body() -> None:
            try:
                future.resolve(context.run(self.stop, patience))
            except BaseException as error:  # noqa: BLE001  (the awaiting task's to handle)
                future.resolve(None, error)

        NativeThread(body, "kalends-shutdown").start()
        return await future


class _Start:
    """One start: done by its thread, or by nobody where it was given up before."""

    def __init__(self) -> None:
        self.outcome: Future[None] = Future(_UNBOUNDED)
        self.given_up = False
        self.live: Live | None = None
        """What it has started, once it has."""
        self.thread: NativeThread | None = None
        self.ident: int | None = None
        """The thread's, while it is at it."""
        self._begun = allocate_lock()

    @property
    def begun(self) -> bool:
        return self._begun.locked()

    def begin(self) -> bool:
        """True for the first who asks: it is theirs to do or to call off."""
        return self._begun.acquire(blocking=False)

    def join(self, timeout: float) -> None:
        """Let the thread end, where that does not block a hub."""
        if self.thread is not None and get_hub_if_exists() is None:
            self.thread.join(timeout)

    def see_it_end(self) -> None:
        """Given up: wait until nothing is left of it, in a plain thread, but not for long."""
        if get_hub_if_exists() is None:
            with contextlib.suppress(Exception):
                self.outcome.get(timeout=CLOSE_TIMEOUT)
            self.join(0.1)
            if self.live is not None:
                with contextlib.suppress(Exception):
                    self.live.outcome.get(timeout=CLOSE_TIMEOUT)


class Live:
    """A system that runs, and its end, which happens once."""

    def __init__(self, system: System, on_end: Callable[[], None]) -> None:
        self.system = system
        self.stopping = False
        self.outcome: Future[ShutdownReport] = Future(_UNBOUNDED)
        self._deadline = Deadline(system.machinery.patience())
        self._on_end = on_end
        self._gate = allocate_lock()

    def stop(self, timeout: float) -> None:
        """Stop the system; where somebody is at it, see that it takes no longer than this."""
        self.stopping = True
        self._deadline.lower(timeout)
        if not self._gate.acquire(blocking=False):
            return
        report, failure = None, None
        try:
            report = self.system.stop(self._deadline)
        except BaseException as error:  # noqa: BLE001  (whoever waits is to hear of it)
            failure = error
        self._on_end()
        self.outcome.resolve(report, failure)


def _unwanted() -> NotInitialized:
    return NotInitialized("the scheduler was shut down while it started")
