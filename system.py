"""One running scheduler: its parts, made in order, started, watched and taken down again.

Order of birth: storage, hub, runner (jobs), the core tree (execution tracker, event manager, loop:
``rest_for_one``), the housekeeping tree. Death goes the other way. The housekeeper has a restart
budget of its own: when that is spent the scheduler is degraded; when the core's is spent it has
failed, and says so to everybody who waits or asks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from kalends.actors.changing import Changing
from kalends.actors.control import Control
from kalends.actors.event_manager import EventManagerActor
from kalends.actors.execution_tracker import ExecutionTrackerActor
from kalends.actors.housekeeper import Chores, HousekeeperActor
from kalends.actors.loop import LoopActor
from kalends.actors.rescuing import Rescuing
from kalends.actors.runtime import Actor, Cell, Exit, ExitKind
from kalends.announcing import Announcer
from kalends.children import Context, Report, describe
from kalends.clock import Clock
from kalends.condition import Condition
from kalends.errors import AskTimeout, KalendsError, NotInitialized, SchedulerFailed
from kalends.futures import Future
from kalends.jobs.codec import storable
from kalends.jobs.context import current
from kalends.jobs.executors.base import Executor
from kalends.jobs.outbox import Outbox
from kalends.jobs.registry import Registry
from kalends.jobs.runner import Keeps, Runner
from kalends.logs import get_log
from kalends.machinery import Machinery
from kalends.messages import ClaimUnrunnable, JobsBegun, Message, OutcomesReady
from kalends.model import JournalKind
from kalends.notices import NoticeKind, Notices
from kalends.settings import Settings
from kalends.shutdown import CLOSE_TIMEOUT, Deadline, ShutdownReport, shut_down
from kalends.storage.claims import ClaimStore
from kalends.storage.declared import Declared
from kalends.storage.engine import Storage
from kalends.storage.events import EventStore
from kalends.storage.executions import ExecutionStore
from kalends.storage.journal import write_entry
from kalends.storage.nodes import NodeStore
from kalends.storage.outcomes import OutcomeStore
from kalends.supervisor import (
    Backoff,
    ChildSpec,
    ChildStatus,
    Restart,
    RestartWindow,
    Strategy,
    Supervisor,
)
from kalends.work import Claim

__all__ = ["System"]

A = TypeVar("A", bound=Actor)
_log = get_log()
_FIRST_LOOK = 120.0
"""Seconds for what an actor does before it can start: free what dead processes held, say."""
_START_TIMEOUT = 3 * _FIRST_LOOK
_TREE_TIMEOUT = 30.0
"""More than four actors take to be asked, killed and abandoned one after the other."""


class System:
    """The parts of one started scheduler.

    Made and started by ``Scheduler.start``; never started twice.
    """

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        settings: Settings,
        clock: Clock,
        on_failure: Callable[[SchedulerFailed], None] | None,
        *,
        executors: Mapping[str, Executor],
        notices: Notices,
        declared: Declared | None = None,
        machinery: Machinery | None = None,
    ) -> None:
        self.machinery = Machinery() if machinery is None else machinery
        self.storage = storage
        self.registry = registry
        self.settings = settings
        self.clock = clock
        self.ids = self.machinery.ids(clock)
        self.node = self.ids()
        self.failure: SchedulerFailed | None = None
        self.announcer = Announcer(notices, storage, clock, self.ids, self.node)
        self.condition = Condition(storage.health, self.announcer.condition)
        storage.on_commit(self.announcer.committed)
        self.over: Future[None] = Future()
        self._on_failure = on_failure
        self._declared = declared
        self.hub = self.machinery.hub(clock, settings)
        self.left = not settings.enabled
        """Set at the end: whether the database knows that this node has gone."""
        self._ended: dict[str, Future[None]] = {}
        self.chores = Chores(self.machinery.thread)
        self.outbox = Outbox(lambda: self.tracker.tell_urgent(OutcomesReady()))
        self.runner = Runner(
            clock,
            registry,
            self.machinery.executors(executors),
            self.outbox,
            self._unrunnable,
            result_limit=settings.max_result,
            failure_limit=settings.max_error,
            cancel_grace=settings.cancel_grace,
            keeps=Keeps(settings.max_log_lines, settings.max_log, settings.all_secret_keys),
            make_waker=self.machinery.waker,
            on_begun=lambda: self.tracker.tell_urgent(JobsBegun()),
            on_started=self.announcer.started,
        )
        self.redactor = self.runner.keeps.redactor

    # -- birth ---------------------------------------------------------------------------------

    def start(self, gone: Sequence[str] = (), wanted: Callable[[], bool] = lambda: True) -> None:
        """Start everything, or nothing: a failure takes down what had been started, then raises.

        ``gone`` are nodes of this process that could not say goodbye: that is done for them here,
        instead of waiting for their leases to end. Where ``wanted()`` is false by then, no job is
        begun: the caller is going to stop this again.
        """
        with contextlib.ExitStack() as undo:
            # What ends these works at any time, also where their start has failed half-way.
            undo.callback(self.storage.close, CLOSE_TIMEOUT)
            self.storage.open()
            self._bury(gone)
            undo.callback(self.hub.stop, CLOSE_TIMEOUT)
            self.hub.start()
            self._make_cells()
            self._make_trees()
            self._start_tree(self.core, self._core_ended)
            undo.callback(self.stop_tree, self.core)
            self._start_housekeeping()
            undo.callback(self.stop_tree, self.housekeeping)
            undo.callback(self.runner.stop, 0.0)
            if self.settings.enabled and wanted():
                self.runner.start()
            undo.pop_all()
        _log.info("scheduler_started", node=self.node, enabled=self.settings.enabled)
        self.announcer.scheduler(NoticeKind.SCHEDULER_STARTED, node=self.node)

    def _bury(self, gone: Sequence[str]) -> None:
        now = self.clock.now_us()
        for node in gone:
            nodes = NodeStore(self.ids, node, 0)
            self.storage.write(lambda db, nodes=nodes: nodes.leave(db, now=now, abandoned=0)).get()  # type: ignore[misc]  # mypy has no types for defaults of a lambda

    def _start_housekeeping(self) -> None:
        """Its failure degrades and never blocks."""
        try:
            self._start_tree(self.housekeeping, self._housekeeping_ended)
        except Exception as error:  # noqa: BLE001  (whatever kept it from starting)
            self._housekeeping_ended(Exit(ExitKind.CRASHED, error))
            self.hub.call(
                self.housekeeper.close,
                NotInitialized(f"the housekeeper did not start: {error}", actor="housekeeper"),
            )

    def _make_cells(self) -> None:
        dialect, settings = self.storage.dialect, self.settings
        here: dict[str, Any] = {"storage": self.storage, "clock": self.clock}
        own: dict[str, Any] = {"ids": self.ids, "node": self.node, "settings": settings}
        lease = round(settings.lease * 1_000_000)
        nodes = NodeStore(self.ids, self.node, lease, self.machinery.process())
        executions, outcomes = ExecutionStore(), OutcomeStore(dialect, self.ids, self.node)
        events = EventStore(dialect, self.ids, self.node, self.redactor)
        changing = Changing(
            self.storage, events, self.clock, self.runner, self._tell_loop, self.announcer.skipped
        )
        rescuing = Rescuing(
            self.storage, nodes, self.clock, changing, self.announcer, self._tell_loop
        )
        keepers: dict[str, Any] = {**here, "changing": changing, "tell_loop": self._tell_loop}
        self.tracker = self._cell(
            "execution_tracker",
            ExecutionTrackerActor,
            **keepers,
            store=executions,
            outcomes=outcomes,
            nodes=nodes,
            rescuing=rescuing,
            runner=self.runner,
            control=Control(self.storage, executions, outcomes, events.stamp, self.runner),
            announcer=self.announcer,
            settings=settings,
        )
        self.event_manager = self._cell(
            "event_manager",
            EventManagerActor,
            **keepers,
            store=events,
            fit=self.registry.fit,
            declared=self._declared,
            follows_zones=settings.enabled,
        )
        self.loop = self._cell(
            "loop",
            LoopActor,
            **here,
            store=ClaimStore(dialect, self.ids, self.node, settings.concurrency_limits),
            changing=changing,
            executions=executions,
            **own,
            runner=self.runner,
            outbox=self.outbox,
            announcer=self.announcer,
        )
        self.housekeeper = self._cell(
            "housekeeper",
            HousekeeperActor,
            **here,
            rescuing=rescuing,
            **own,
            chores=self.chores,
            on_round=self.condition.housekeeping_told,
        )
        self.nodes, self.outcomes = nodes, outcomes

    def _cell(self, name: str, actor: type[A], **parts: Any) -> Cell[A]:
        def make() -> A:
            if cell.incarnation > 1:
                self._note(JournalKind.ACTOR_RESTARTED, actor=name, incarnation=cell.incarnation)
            return actor(**parts)

        cell: Cell[A] = Cell(
            name,
            self.hub,
            actor,
            make,
            mailbox_limit=self.settings.mailbox_limit,
            ask_timeout=self.settings.ask_timeout,
        )
        return cell

    def _make_trees(self) -> None:
        settings = self.settings
        core: list[Cell[Any]] = [self.tracker, self.event_manager]
        if settings.enabled:
            core.append(self.loop)
        self.core = self._tree("core", core, Strategy.REST_FOR_ONE)
        self.housekeeping = self._tree("housekeeping", [self.housekeeper], Strategy.ONE_FOR_ONE)
        if not settings.enabled:
            self.loop.close(NotInitialized("this scheduler runs nothing: settings.enabled is off"))

    def _tree(self, name: str, cells: Sequence[Cell[Any]], strategy: Strategy) -> Supervisor:
        settings = self.settings
        return Supervisor(
            name,
            self.hub,
            [ChildSpec(c.name, c, Restart.PERMANENT, start_timeout=_FIRST_LOOK) for c in cells],
            strategy,
            window=RestartWindow(settings.restart_intensity, settings.restart_period),
            backoff=Backoff(settings.restart_backoff, limit=settings.restart_backoff_limit),
            on_report=self._reported,
            rng=self.machinery.rng(),
        )

    def _start_tree(self, tree: Supervisor, on_exit: Callable[[Exit], None]) -> None:
        started: Future[None] = Future()
        ended = self._ended[tree.name] = Future()

        def on_started(error: BaseException | None) -> None:
            if error is not None:
                ended.resolve(None)
            started.resolve(None, error)

        def on_end(how: Exit) -> None:
            on_exit(how)
            ended.resolve(None)

        self.hub.call(self.hub.spawn, lambda: tree.start(on_started, on_end))
        try:
            started.get(timeout=_START_TIMEOUT)
        except BaseException:
            self.stop_tree(tree)
            raise

    # -- what the parts say to each other ------------------------------------------------------

    def _tell_loop(self, message: Message) -> None:
        self.loop.tell_urgent(message)

    def _unrunnable(self, claim: Claim, error: KalendsError) -> None:
        self._tell_loop(ClaimUnrunnable(claim, self.redactor.text(str(error))))

    # -- accidents -----------------------------------------------------------------------------

    def _reported(self, report: Report) -> None:
        """A supervisor has something for the journal; on the hub."""
        if report.context in (Context.CHILD_TERMINATED, Context.START_ERROR):
            self._note(
                JournalKind.ACTOR_CRASHED,
                actor=report.offender.name,
                supervisor=report.supervisor,
                error=self.redactor.text(storable(describe(report.reason))),
            )

    def _note(self, kind: JournalKind, **details: Any) -> None:
        """Write a line of the journal that nobody waits for: a refusal changes nothing."""
        now = self.clock.now_us()
        self.storage.write(
            lambda db: write_entry(db, kind, now=now, ids=self.ids, node=self.node, **details)
        )

    def _core_ended(self, ended: Exit) -> None:
        """The core tree is over; unless it was asked to stop, the scheduler has failed."""
        if ended.kind is ExitKind.SHUTDOWN or self.over.done:
            return
        reason = ended.reason
        error = (
            reason
            if isinstance(reason, SchedulerFailed)
            else SchedulerFailed(f"the core of the scheduler ended: {describe(reason)}")
        )
        self.failure = error
        self.close_cells(error)
        self.runner.halt()  # what it holds is given back at the shutdown
        _log.critical("scheduler_failed", error=str(error))
        self.announcer.scheduler(NoticeKind.SCHEDULER_FAILED, error=str(error))
        self.over.resolve(None, error)
        if self._on_failure is not None:
            self.machinery.thread(lambda: self._call_host(error), "kalends-on-failure").start()

    def _call_host(self, error: SchedulerFailed) -> None:
        assert self._on_failure is not None
        try:
            self._on_failure(error)
        except BaseException as mishap:  # noqa: BLE001  (the host's own function, on our thread)
            _log.error("on_failure_failed", exc_info=mishap)

    def failure_again(self) -> SchedulerFailed:
        """The failure, to be raised: an exception raised twice would keep both callers' frames."""
        assert self.failure is not None
        again = SchedulerFailed(self.failure.message, **self.failure.details)
        again.__cause__ = self.failure.__cause__
        return again

    def _housekeeping_ended(self, ended: Exit) -> None:
        if ended.kind is not ExitKind.SHUTDOWN and not self.over.done:
            self.condition.housekeeping_over(describe(ended.reason))

    # -- looking -------------------------------------------------------------------------------

    @property
    def degraded(self) -> str | None:
        """What does not work, while the rest does; or None."""
        return self.condition.degraded

    def runs_here(self) -> bool:
        """True inside a job that this system runs."""
        try:
            here = current().execution_id
        except NotInitialized:
            return False
        return self.runner.runs(here)

    def statuses(self) -> tuple[ChildStatus, ...]:
        """Each actor as it is now, in start order."""
        return (*self.core.status(), *self.housekeeping.status())

    # -- death ---------------------------------------------------------------------------------

    def stop(self, deadline: Deadline) -> ShutdownReport:
        """Drain, stop and close soon after the deadline; blocks the calling thread."""
        return shut_down(self, deadline)

    def close_cells(self, error: KalendsError) -> None:
        """No actor will answer any more: say so to all who wait, and all who come."""
        for cell in (self.tracker, self.event_manager, self.loop, self.housekeeper):
            cell.close(error)

    def stop_tree(self, tree: Supervisor) -> bool:
        """Stop a tree and wait until its greenlet has ended; False where it did not in time."""
        ended = self._ended.get(tree.name)
        if ended is None:
            return True
        self.hub.call(tree.stop)
        try:
            ended.get(timeout=_TREE_TIMEOUT)
        except AskTimeout:
            self.hub.call(tree.kill)
            return False
        return True
