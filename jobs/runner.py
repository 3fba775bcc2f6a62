"""From claim to outcome: takes claims ahead of time and starts each at its instant.

Promises:

- A claim begins at its ``due`` (plus its delay) on the clock, never before; a claim that is late
  already begins at once.
- A claim (execution and attempt) that is here, or ended here and is not recorded yet, is not taken
  twice: whoever starts anew may submit all it knows.
- Claims marked ``serial`` of one event run one after the other, in the order they were due.
- Every claim leaves in exactly one way: its outcome is in the outbox, ``on_unrunnable`` was called
  with it, it was written off, or it was returned by ``disarm``, ``disarm_all`` or ``stop``. Once
  one of these has returned it, it will not begin.
- ``cancel`` calls off what has not begun: it ends as ``cancelled``. What runs is told; if it still
  runs ``cancel_grace`` seconds later, its executor interrupts it, where that is of a kind that can.
  It ends as ``cancelled`` if it raises after it was told.
- ``write_off`` is for attempts whose end the ledger tells already. Their place in the line and
  their slot are free at once. What had begun is told to stop, and interrupted; when it ends, or at
  once where it had not begun, a *late* outcome goes to the outbox, which says that nothing runs any
  more.
- What ``disarm`` has returned counts as held here until it is submitted again or, once the ledger
  says what became of it, forgotten with ``forget``.
- A job that takes longer than its claim says, by monotonic time and with its import, is written off
  in the same way, with the outcome ``timed_out`` in the outbox.
- A claim for which its executor has no room ends as ``skipped``, reason ``queue_full``.
- ``on_started(claim, instant)`` is called for each job that begins, before it does.
- ``on_begun`` is called when a job has begun, and not again until ``newly_begun`` is asked which,
  or ``rests`` has said that none of them runs any more.
- What cannot be run (a job that nobody registered, arguments that cannot be read) is not an
  outcome: the claim goes to ``on_unrunnable(claim, error)``.

Every method may be called from any thread and none but ``stop`` blocks. ``on_unrunnable``,
``on_begun`` and the outbox's ``on_ready`` are called on whatever thread it happens on; they must
not block or raise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from kalends.clock import US, Clock
from kalends.errors import ForkedError, KalendsError, NotInitialized
from kalends.futures import current_pid
from kalends.jobs.dispatcher import Dispatcher
from kalends.jobs.executors.base import Executor, Task
from kalends.jobs.executors.bounds import ExecutorStatus
from kalends.jobs.failures import log_failure
from kalends.jobs.holdings import Holdings
from kalends.jobs.lines import State
from kalends.jobs.logbook import Keeps
from kalends.jobs.outbox import Outbox
from kalends.jobs.registry import Registry
from kalends.jobs.ticker import Ticker, Waker
from kalends.logs import get_log
from kalends.model import Fate, Reason
from kalends.native import BriefLock
from kalends.work import Begun, Claim, Outcome, Told, WrittenOff

__all__ = ["Begun", "Keeps", "Runner"]

_log = get_log()


class Runner:
    """Holds claims until they are due, hands them to executors by name, and collects outcomes."""

    def __init__(
        self,
        clock: Clock,
        registry: Registry,
        executors: Mapping[str, Executor],
        outbox: Outbox,
        on_unrunnable: Callable[[Claim, KalendsError], None],
        *,
        result_limit: int = 65_536,
        failure_limit: int = 16_384,
        cancel_grace: float = 1.0,
        keeps: Keeps | None = None,
        make_waker: Callable[[Clock, Callable[[], int | None]], Waker] = Ticker,
        on_begun: Callable[[], None] = lambda: None,
        on_started: Callable[[Claim, int], None] = lambda claim, started_us: None,
    ) -> None:
        self.clock = clock
        self.registry = registry
        self.outbox = outbox
        self.result_limit = result_limit
        self.failure_limit = failure_limit
        self.keeps = Keeps() if keeps is None else keeps
        self._grace_us = round(cancel_grace * US)
        self._dispatcher = Dispatcher(registry, executors, "thread", self._dismiss, self._turn_away)
        self.unstopped = self._dispatcher.unstopped  # executors whose stop raised
        self._on_unrunnable = on_unrunnable
        self._pid = current_pid()
        self._lock = BriefLock()
        self._tasks = Holdings(clock)
        self._ticker = make_waker(clock, self._look)
        self._on_begun = on_begun
        self._on_started = on_started
        self._started = self._stopped = False
        self.halted = False
        """True once nothing begins any more, for good."""

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the executors and the ticker; what was submitted before begins now. Idempotent."""
        self._check_process()
        with self._lock:
            if self._started or self._stopped:
                return
            self._started = True
        self._dispatcher.start()
        self._ticker.start()

    def stop(self, timeout: float | Callable[[], float]) -> list[Claim]:
        """End within about ``timeout`` seconds; the claims that did not end. Idempotent; safe
        before start. A callable says how many are left, and is asked again while this waits.

        Running jobs are waited for. What had not begun never will; what still runs past the
        deadline is abandoned: it is interrupted, and should it end its outcome is dropped.
        ``disarm_all`` before tells the former from the latter.
        """
        if current_pid() != self._pid:
            return []
        with self._lock:
            self._stopped = True
            unbegun = self._tasks.take_back()
        self._dispatcher.stop(timeout)
        self._ticker.stop()  # after that: what runs has its deadline still
        with self._lock:
            begun = [task.claim for task in self._tasks.begun.values()]
            left = self._tasks.abandon()
        self._dispatcher.end(left)
        return unbegun + begun

    def halt(self) -> None:
        """Begin nothing any more. What is here, and what still comes, stays to be taken back."""
        with self._lock:
            self.halted = True

    def _check_process(self) -> None:
        if current_pid() != self._pid:
            raise ForkedError("this runner belongs to the parent process")

    # -- claims in -----------------------------------------------------------------------------

    def submit(self, claims: Sequence[Claim]) -> int:
        """Take the claims and return how many were new. Those that are due go to their executors at
        once.

        Raises ``NotInitialized`` after ``stop``.
        """
        self._check_process()
        new = 0
        with self._lock:
            if self._stopped:
                raise NotInitialized("the runner has stopped: it takes no claims")
            self._tasks.forget(claims)
            for claim in claims:
                task = Task(claim, None, self)
                if not self._has(task.key):
                    self._tasks.arm(task)
                    new += 1
            earliest = self._tasks.agenda.next_begin()
        if earliest is not None and self._started:
            if earliest <= self.clock.now_us():
                earliest = self._look()
            if earliest is not None:
                self._ticker.expect(earliest)
        return new

    def _look(self) -> int | None:
        """Stop what is overdue, hand over what is due; the instant to look again, or None."""
        self._time_out()
        with self._lock:
            agenda = self._tasks.agenda
            ready = [] if self.halted else self._tasks.take_due()
            begin = None if self.halted else agenda.next_begin()
            ungraced = agenda.take_ungraced()
            found = (begin, agenda.next_deadline())
        for task in ungraced:
            self._dispatcher.interrupt(task)
        if ready:
            self._dispatcher.hand_over(ready)
        return min((instant for instant in found if instant is not None), default=None)

    # -- what executors report -----------------------------------------------------------------

    def importing(self, task: Task) -> None:
        """An executor is about to import the job."""
        with self._lock:
            self._tasks.importing(task, self.clock.now_us())
        if task.deadline_us is not None:
            self._ticker.expect(task.deadline_us)

    def begin(self, task: Task) -> bool:
        """An executor is about to call the job."""
        with self._lock:
            may = task.state == State.QUEUED and not self.halted
            first = may and self._tasks.begin(task, self.clock.now_us())
        if not may:
            self._withhold(task)
            return False
        if task.deadline_us is not None:
            self._ticker.expect(task.deadline_us)
        if first:
            self._on_begun()
        self._on_started(task.claim, task.started_us)
        return True

    def end(self, task: Task, outcome: Outcome) -> None:
        """A job has ended. After ``stop`` has abandoned it, nobody listens."""
        with self._lock:
            late = task.state == State.WRITTEN_OFF
            if late:
                outcome = msgspec.structs.replace(outcome, late=True)
                del self._tasks.late[task.key]
            elif task.state != State.BEGUN:
                return
            rested = self.outbox.add(outcome)
            following = self._tasks.remove(task)
        if not late:
            log_failure(task.claim.job, outcome)
        if rested or following is not None:
            self._go_on(rested, [following])

    def refuse(self, task: Task, error: KalendsError) -> None:
        """A task cannot begin."""
        self._dispatcher.hand_over(self._dismiss(task, error))

    def redirect(self, task: Task) -> None:
        """The job of a task is for another executor."""
        self._dispatcher.hand_over([task])

    def _withhold(self, task: Task) -> list[Task]:
        """A task does not begin: where it was written off in its import, that is over now; []."""
        with self._lock:
            outcome = self._tasks.end_import(task, self.clock.now_us())
        if outcome is not None:
            self.outbox.put(outcome)
        return []

    def _dismiss(self, task: Task, error: KalendsError) -> list[Task]:
        """Report a task that cannot begin; the one that moves up in its line, if any."""
        with self._lock:
            queued = task.state == State.QUEUED
            following = self._tasks.remove(task) if queued else None
        if not queued:
            return self._withhold(task)
        try:
            self._on_unrunnable(task.claim, error)
        except Exception:  # noqa: BLE001 - a worker must not die of its owner's bug
            _log.exception("unrunnable_not_heard", execution_id=task.claim.id, error=str(error))
        return [] if following is None else [following]

    def _turn_away(self, tasks: Sequence[Task]) -> list[Task]:
        """End tasks for which there was no room; those that move up in their lines."""
        with self._lock:
            queued = [task for task in tasks if task.state == State.QUEUED]
            now = self.clock.now_us()
            rested = [
                self.outbox.add(task.unbegun_outcome(now, Fate.SKIPPED, Reason.QUEUE_FULL))
                for task in queued
            ]
            following = [self._tasks.remove(task) for task in queued]
        self._go_on(any(rested), ())
        return [task for task in following if task is not None]

    # -- taking back ---------------------------------------------------------------------------

    def disarm(self, event_ids: Collection[str]) -> list[Claim]:
        """Take back the claims of these events that have not begun, in the order they came."""
        with self._lock:
            return self._tasks.disarm(event_ids)

    def forget(self, claims: Iterable[Claim]) -> None:
        """Hold no longer what ``disarm`` returned: the ledger, or an audit of it, settles it."""
        with self._lock:
            self._tasks.forget(claims)

    def disarm_all(self) -> list[Claim]:
        """Take back every claim that has not begun."""
        with self._lock:
            return self._tasks.take_back()

    # -- calling off ---------------------------------------------------------------------------

    def cancel(self, execution_ids: Collection[str], reason: Reason | None = None) -> None:
        """Call off executions: what runs is told, what has not begun ends here. Idempotent."""
        if not execution_ids:
            return
        with self._lock:
            runs, outcomes, following = self._tasks.call_off(execution_ids, self._grace_us, reason)
            rested = [self.outbox.add(outcome) for outcome in outcomes]
        if runs:
            self._ticker.expect(self.clock.now_us() + self._grace_us)
        self._go_on(any(rested), following)

    def write_off(self, ended: Iterable[WrittenOff]) -> None:
        """Let go of attempts that have ended in the ledger. Idempotent.

        One that is not here at all has ended unheard: that is reported as a late outcome, too.
        """
        released: list[Task] = []
        following: list[Task | None] = []
        rested = False
        with self._lock:
            for attempt in ended:
                key = (attempt.execution_id, attempt.attempt)
                task = self._tasks.live.get(key)
                if task is not None and task.state == State.BEGUN:
                    released.append(task)
                    following.append(self._tasks.let_go(task, attempt.ended_us))
                    continue
                if task is not None:
                    following.append(self._tasks.remove(task))
                elif key in self._tasks.late or self.outbox.holds(*key):
                    continue
                rested |= self.outbox.add(attempt.late_outcome())
        self._go_on(rested, following, released)

    def _time_out(self) -> None:
        """Write off what is overdue: it ends as ``timed_out``, whenever its job does."""
        with self._lock:
            overdue, outcomes, following = self._tasks.time_out(self.clock.now_us())
            rested = [self.outbox.add(outcome) for outcome in outcomes]
        for task, outcome in zip(overdue, outcomes, strict=True):
            log_failure(task.claim.job, outcome)
        self._go_on(any(rested), following, overdue)

    def _go_on(
        self, rested: bool, following: Iterable[Task | None], written_off: Iterable[Task] = ()
    ) -> None:
        """Free places, stop what holds them, signal an outbox that rested, hand over the next."""
        for task in written_off:
            self._dispatcher.release(task)
            self._dispatcher.interrupt(task)
        if rested:
            self.outbox.signal()
        moved_up = [task for task in following if task is not None]
        if moved_up:
            self._dispatcher.hand_over(moved_up)

    # -- looking -------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """How many claims are here: armed, queued or begun."""
        return len(self._tasks.live)

    def executors(self) -> tuple[ExecutorStatus, ...]:
        """Each executor as it is now."""
        return self._dispatcher.statuses()

    def holds(self, execution_id: str, attempt: int) -> bool:
        """Whether this claim is here, ended here unrecorded, or was disarmed and is not settled."""
        with self._lock:
            return self._has((execution_id, attempt))

    def _has(self, key: tuple[str, int]) -> bool:
        return self._tasks.holds(key) or self.outbox.holds(*key)

    def running(self) -> list[Begun]:
        """The attempts that have begun and not ended."""
        with self._lock:
            return self._tasks.running()

    def runs(self, execution_id: str) -> bool:
        """True while a job of this execution runs here, written off or not."""
        with self._lock:
            return self._tasks.runs(execution_id)

    def told_by(self, execution_id: str, attempt: int) -> Told | None:
        """What the job of an attempt that runs here has told; None: nothing, or it does not."""
        task = self._tasks.begun.get((execution_id, attempt))
        return None if task is None else task.told()

    def news(self) -> list[tuple[str, int, Told]]:
        """What jobs that run have told since this was last called, by execution and attempt."""
        with self._lock:
            return self._tasks.news()

    def rests(self) -> bool:
        """True: ``newly_begun`` has nothing to tell, and the next begin calls ``on_begun``."""
        with self._lock:
            return self._tasks.rests()

    def newly_begun(self) -> list[Begun]:
        """The attempts that have begun since this was last called and have not ended meanwhile."""
        with self._lock:
            return self._tasks.newly_begun()

    def cancel_all(self) -> int:
        """Tell all running jobs, through their contexts, to stop; how many there are."""
        with self._lock:
            for task in self._tasks.begun.values():
                task.tell_to_stop()
            return len(self._tasks.begun)
