"""Supervision: who starts, watches, restarts and stops the actors of a scheduler, and when it gives
up.

The words and the rules are those of Erlang/OTP's ``supervisor``; where they differ, the sentence
says so.

Starting. Children start in the order given, each after the one before it has started. A child that
fails to start, or does not within ``start_timeout`` seconds, at the first start fails the
supervisor's own start, after the children already started were stopped in reverse order.

Exits. An exit is seen at the child's greenlet, whatever its kind: ``normal``, ``shutdown``,
``crashed`` or ``killed``. A permanent child is restarted after every exit, a transient one after
``crashed`` and ``killed`` only, a temporary one never, not even with its siblings. A child that
nothing will restart is closed: whoever waits for it is answered.

Strategies. ``one_for_one`` restarts the child that ended. ``one_for_all`` first stops all others,
in reverse order, then starts all, in order. ``rest_for_one`` does the same with the child that
ended and those after it. A transient sibling that had ended by itself is started again with its
group, as in OTP.

Restarts. Each exit that asks for a restart, and each restart that fails, is one restart; when more
than ``intensity`` restarts fall within ``period`` seconds the supervisor gives up. Unlike OTP's, a
restart waits for a backoff, which grows with every restart in a row, has jitter, and is back at its
first value after a child has lived for ``settled`` seconds. Messages that came meanwhile are
handled by the next incarnation. A restart that fails is tried again from the main loop, so that a
stop is never starved.

Stopping. Children stop in reverse order, one after the other: asked politely, killed after
``shutdown`` seconds, and abandoned ``kill_timeout`` seconds after the kill. A stop interrupts a
start and a backoff at once. An abandoned child is reported, closed and never restarted; where its
restart was due, the supervisor gives up.

Giving up. The supervisor closes its children with ``SchedulerFailed``, so that every waiting and
every later ask fails at once, stops them in reverse order and exits ``crashed`` with that error. A
``restartable`` one leaves them open: its parent decides, who restarts it or closes it. A
significant child that ends and is not restarted ends the supervisor, as ``shutdown`` (OTP's
``any_significant``).

Accidents. A bug in the supervisor itself kills its children and exits ``crashed``; its owner hears.
Reports have OTP's four parts (supervisor, context, reason, offender); a report callback or a log
that raises changes nothing. A supervisor is a child like any other, so trees nest.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import gevent

from kalends.actors.hub import Hub
from kalends.actors.mailbox import Mailbox
from kalends.actors.runtime import Exit, ExitKind
from kalends.children import (
    BAD,
    Child,
    ChildSpec,
    ChildStatus,
    Context,
    Crash,
    Keeper,
    Kept,
    Report,
    Run,
    State,
    describe,
    kind_of,
)
from kalends.errors import (
    ActorCrashed,
    KalendsError,
    NotInitialized,
    SchedulerFailed,
    ValidationFailed,
)
from kalends.restarts import Backoff, Restart, RestartWindow, Strategy

__all__ = [
    "Backoff",
    "Child",
    "ChildSpec",
    "ChildStatus",
    "Context",
    "Crash",
    "Report",
    "Restart",
    "RestartWindow",
    "State",
    "Strategy",
    "Supervisor",
]


class _Over(Exception):
    """Leads out of the main loop, to the end of the supervisor."""

    def __init__(self, ended: Exit) -> None:
        super().__init__(ended)
        self.exit = ended


class Supervisor:
    """Keeps children alive by the contract above.

    Everything but the constructor belongs to the hub's thread.
    """

    mailbox: Mailbox | None = None

    def __init__(
        self,
        name: str,
        hub: Hub,
        children: Sequence[ChildSpec],
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        *,
        window: RestartWindow | None = None,
        backoff: Backoff | None = None,
        on_report: Callable[[Report], None] | None = None,
        rng: random.Random | None = None,
        kill_timeout: float = 5.0,
        restartable: bool = False,
    ) -> None:
        names = [spec.name for spec in children]
        if len(set(names)) < len(names):
            raise ValidationFailed(f"{name} has two children of one name", path="children")
        self.name = name
        self.strategy = strategy
        self.window = window or RestartWindow()
        self.backoff = backoff or Backoff()
        self.restartable = restartable
        self._hub = hub
        self._children = [Kept(spec, place) for place, spec in enumerate(children)]
        self._on_report = on_report
        self._rng = rng or random.Random()
        self._kill_timeout = kill_timeout
        self._greenlet: gevent.Greenlet[..., Any] | None = None
        self._closed = False

    # -- as a child, and for its owner ---------------------------------------------------------

    @property
    def running(self) -> bool:
        """True from ``start`` to the call of ``on_exit``, or of ``on_started`` with an error."""
        return self._greenlet is not None

    def start(
        self,
        on_started: Callable[[BaseException | None], None],
        on_exit: Callable[[Exit], None],
    ) -> None:
        """Start all children; ``on_started(None)`` once they run, or with the error that stopped
        them.
        """
        if self._greenlet is not None or self._closed:
            raise RuntimeError(f"{self.name} is {'closed' if self._closed else 'running'}")
        self._on_started, self._on_exit = on_started, on_exit
        self._keeper = Keeper(self.name, self._hub, self._on_report, self._kill_timeout)
        self._stop_requested = self._killed = self._entered = False
        self._stamps: tuple[float, ...] = ()
        self._due: deque[Kept] = deque()
        self._greenlet = self._hub.spawn(self._live)

    def stop(self) -> None:
        """Stop all children in reverse order, then exit with ``shutdown``."""
        if self._greenlet is not None:
            self._stop_requested = True
            self._keeper.signal.set()

    def kill(self) -> None:
        """Kill all children and the supervisor, without waiting for any of them."""
        if self._greenlet is not None:
            self._killed = True
            if self._entered:
                self._greenlet.kill(block=False)

    def close(self, error: KalendsError) -> None:
        """Nobody will start this tree again: fail what waits for a child with ``error``."""
        self._closed = True
        for child in self._children:
            child.close(error)

    def status(self) -> tuple[ChildStatus, ...]:
        """Each child as it is now, in start order."""
        return tuple(child.status() for child in self._children)

    # -- life ----------------------------------------------------------------------------------

    def _live(self) -> None:
        """From the first start to the exit. Nothing raised here leaves this function."""
        started, self._entered = False, True
        try:
            try:
                if self._killed:
                    raise gevent.GreenletExit
                self._boot()
                started = True
                self._on_started(None)
                self._serve()
            except _Over as over:
                self._stop_children(self._children)
                ended = over.exit
        except BaseException as error:  # noqa: BLE001  (the owner hears of all of it)
            killed = isinstance(error, gevent.GreenletExit)
            ended = Exit(ExitKind.KILLED if killed else ExitKind.CRASHED, error)
            self._drop_children(error)
        self._greenlet = None
        if started:
            self._on_exit(ended)
        else:
            stopped = NotInitialized(f"{self.name} was stopped while it started")
            self._on_started(ended.reason or stopped)

    def _boot(self) -> None:
        for child in self._children:
            if child.closed and not child.abandoned:
                continue  # ended for good in an earlier life of this supervisor
            child.in_a_row = 0
            error = self._start_child(child)
            if error is not None:
                raise _Over(Exit(ExitKind.CRASHED, error))

    def _start_child(self, child: Kept) -> BaseException | None:
        """Start one child and wait for it.

        Returns why it failed; ``_Over`` when a stop comes first.
        """
        error = self._keeper.start(child, lambda: self._stop_requested)
        if self._stop_requested:
            raise _Over(Exit(ExitKind.SHUTDOWN))
        return error

    def _has_work(self) -> bool:
        return self._stop_requested or bool(self._keeper.exits or self._due)

    def _serve(self) -> None:
        while True:
            self._keeper.wait(self._has_work, math.inf)
            if self._stop_requested:
                raise _Over(Exit(ExitKind.SHUTDOWN))
            if self._keeper.exits:
                child, run = self._keeper.exits.popleft()
                if child.run is run and run.exit is not None:
                    self._ended(child, run, run.exit)
            else:
                self._restart(self._due.popleft())

    def _drop_children(self, error: BaseException) -> None:
        """The supervisor was killed or met a bug: leave nobody running, and nobody waiting."""
        if not isinstance(error, gevent.GreenletExit):
            self._keeper.tell("supervisor_crashed", exc_info=error)
        failure = SchedulerFailed(f"{self.name} ended: {describe(error)}", supervisor=self.name)
        failure.__cause__ = error
        for child in reversed(self._children):
            self._cancel_retry(child)
            child.state, child.run = State.FAILED, None
            child.spec.child.kill()
        if not self.restartable:
            self.close(failure)

    # -- exits and restarts --------------------------------------------------------------------

    def _ended(self, child: Kept, run: Run, ended: Exit) -> None:
        child.run = None
        again, bad = child.spec.restart.after(ended.kind), ended.kind in BAD
        if bad:
            self._keeper.note_crash(child, ended.reason)
            self._keeper.tell(
                "actor_crashed", child, error=describe(ended.reason), exc_info=ended.reason
            )
        else:
            self._keeper.tell("actor_stopped", child, kind=ended.kind.value)
        if bad or again:
            self._keeper.report(Context.CHILD_TERMINATED, ended.reason, child)
        if again:
            lived = self._hub.clock.monotonic() - (run.began or 0.0)
            self._plan_restart(child, lived, ended.reason)
            return
        child.state = State.FAILED if bad else State.STOPPED
        self._retire(child, ended.reason)
        if child.spec.significant:
            raise _Over(Exit(ExitKind.SHUTDOWN))

    def _retire(self, child: Kept, reason: BaseException | None) -> None:
        """Close a child that ended, unless the restart of a sibling would bring it back."""
        others = [c for c in self._children if c.spec.restart is not Restart.TEMPORARY]
        temporary = child.spec.restart is Restart.TEMPORARY
        if not temporary and any(child in self._group(c) for c in others if c is not child):
            return
        text, name = f"{child.spec.name} has ended and is not restarted", child.spec.name
        error: KalendsError = NotInitialized(text, actor=name)
        if isinstance(reason, SchedulerFailed):
            error = reason
        elif reason is not None:
            error = ActorCrashed(f"{text}: {describe(reason)}", actor=name, cause=kind_of(reason))
            error.__cause__ = reason
        child.close(error)

    def _group(self, child: Kept) -> list[Kept]:
        return [self._children[i] for i in self.strategy.group(child.place, len(self._children))]

    def _plan_restart(self, child: Kept, lived: float, reason: BaseException | None) -> None:
        """Count this restart, stop the group, and have ``child`` fall due after the backoff."""
        self._stamps, allowed = self.window.admit(self._stamps, self._hub.clock.monotonic())
        if child.abandoned:
            self._give_up(child, reason, "it could not be stopped")
        if not allowed:
            limit = f"more than {self.window.intensity} restarts in {self.window.period:g} s"
            self._give_up(child, reason, limit)
        child.state = State.RESTARTING
        child.in_a_row = self.backoff.in_a_row(child.in_a_row, lived)
        self._stop_group(child, reason)
        delay = self.backoff.delay(child.in_a_row, self._rng.random())

        def fall_due() -> None:
            self._due.append(child)
            self._keeper.signal.set()

        child.retry = self._hub.after(delay, fall_due)
        self._keeper.tell("actor_restarting", child, delay=delay, in_a_row=child.in_a_row)

    def _stop_group(self, child: Kept, reason: BaseException | None) -> None:
        siblings = [sibling for sibling in self._group(child) if sibling is not child]
        self._stop_children(siblings)
        for sibling in siblings:
            if sibling.spec.restart is Restart.TEMPORARY:
                if not sibling.closed:
                    self._retire(sibling, None)
            elif sibling.abandoned:
                self._give_up(sibling, reason, "it could not be stopped")
            elif not sibling.closed:
                sibling.state = State.RESTARTING

    def _restart(self, child: Kept) -> None:
        child.retry = None
        for member in self._group(child):
            if member.run is not None or member.closed:
                continue
            error = self._start_child(member)
            if error is not None:
                self._plan_restart(member, 0.0, error)
                return
            member.restarts += 1
            self._keeper.tell("actor_restarted", member, restarts=member.restarts)

    def _cancel_retry(self, child: Kept) -> None:
        if child.retry is not None:
            child.retry.cancel()
            child.retry = None
        if child in self._due:
            self._due.remove(child)

    def _give_up(self, child: Kept, reason: BaseException | None, why: str) -> NoReturn:
        error = SchedulerFailed(
            f"{self.name} gave up on {child.spec.name}: {why}; last: {describe(reason)}",
            supervisor=self.name,
            actor=child.spec.name,
            reason=describe(reason),
        )
        error.__cause__ = reason
        self._keeper.rest = child.state = State.FAILED
        self._keeper.tell("supervisor_gave_up", child, why=why, error=describe(reason))
        self._keeper.report(Context.SHUTDOWN, error, child)
        if not self.restartable:
            self.close(error)
        raise _Over(Exit(ExitKind.CRASHED, error))

    # -- stopping ------------------------------------------------------------------------------

    def _stop_children(self, children: Sequence[Kept]) -> None:
        for child in reversed(children):
            self._cancel_retry(child)
            if child.run is not None:
                self._keeper.stop(child, child.run)
            elif self._keeper.rest is State.FAILED or child.state is State.RESTARTING:
                child.state = self._keeper.rest
