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
- ``cancel`` calls off what has not begun: it ends as ``cancelled``. What runs is told, and ends as
  ``cancelled`` if it raises after that.
- ``write_off`` is for attempts whose end the ledger tells already. Their place in the line and
  their slot are free at once. What had begun is told to stop; when it ends, or at once where it
  had not begun, a *late* outcome goes to the outbox, which says that nothing runs any more.
- What ``disarm`` has returned counts as held here until it is submitted again or, once the ledger
  says what became of it, forgotten with ``forget``.
- ``on_begun`` is called when a job has begun, and not again until ``newly_begun`` is asked which.
- What cannot be run (a job that nobody registered, arguments that cannot be read) is not an
  outcome: the claim goes to ``on_unrunnable(claim, error)``.

Every method may be called from any thread and none but ``stop`` blocks. ``on_unrunnable``,
``on_begun`` and the outbox's ``on_ready`` are called on whatever thread it happens on; they must
not block or raise.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from kalends.clock import Clock, SystemClock
from kalends.errors import ForkedError, KalendsError, NotInitialized
from kalends.futures import current_pid
from kalends.jobs.dispatcher import Dispatcher
from kalends.jobs.executors.base import Begun, Executor, Task
from kalends.jobs.lines import Lines, State
from kalends.jobs.outbox import Outbox
from kalends.jobs.registry import Registry
from kalends.jobs.ticker import Ticker, Waker
from kalends.logs import get_log
from kalends.messages import Claim, Outcome, WrittenOff
from kalends.model import Fate
from kalends.native import allocate_lock

__all__ = ["Begun", "Runner"]

_log = get_log()


class Runner:
    """Holds claims until they are due, hands them to executors by kind, and collects outcomes."""

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
        default_executor: str = "thread",
        make_waker: Callable[[Clock, Callable[[], int | None]], Waker] = Ticker,
        on_begun: Callable[[], None] = lambda: None,
    ) -> None:
        self.clock = clock
        self.registry = registry
        self.outbox = outbox
        self.result_limit = result_limit
        self.failure_limit = failure_limit
        self._dispatcher = Dispatcher(registry, executors, default_executor, self._dismiss)
        self._on_unrunnable = on_unrunnable
        self._pid = current_pid()
        self._lock = allocate_lock()
        self._live: dict[tuple[str, int], Task] = {}
        self._begun: dict[tuple[str, int], Task] = {}
        self._disarmed: set[tuple[str, int]] = set()
        self._heap: list[tuple[int, int, Task]] = []
        self._numbers = itertools.count()
        self._late: dict[tuple[str, int], Task] = {}
        """What was written off and still runs."""
        self._lines = Lines()
        self._ticker = make_waker(clock, self._start_due)
        self._on_begun = on_begun
        self._fresh = False
        """Whether something has begun since ``newly_begun`` was last called."""
        self._started = False
        self._stopped = False
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
        deadline is abandoned, and should it end its outcome is dropped. ``disarm_all`` before tells
        the former from the latter.
        """
        if current_pid() != self._pid:
            return []
        with self._lock:
            self._stopped = True
            abandoned = self._take_back(list(self._live.values()))
        left = timeout if callable(timeout) else _countdown(timeout)
        self._ticker.stop()
        self._dispatcher.stop(left)
        with self._lock:
            for task in list(self._begun.values()):
                self._remove(task)
                abandoned.append(task.claim)
            for task in self._late.values():
                task.state = State.GONE
            self._late.clear()
        return abandoned

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
            for claim in claims:
                task = Task(claim, None, self)
                self._disarmed.discard(task.key)
                if task.key in self._live or self.outbox.holds(claim.id, claim.attempt):
                    continue
                self._live[task.key] = task
                begin = claim.due + claim.delay_us
                heapq.heappush(self._heap, (begin, next(self._numbers), task))
                new += 1
            earliest = self._heap[0][0] if self._heap else None
        if earliest is not None and self._started:
            if earliest <= self.clock.now_us():
                self._start_due()
            self._ticker.expect(earliest)
        return new

    def _start_due(self) -> int | None:
        """Hand over what is due; the instant of the next claim, or None."""
        now = self.clock.now_us()
        ready: list[Task] = []
        heap = self._heap
        with self._lock:
            if self.halted:
                return None
            while heap and (heap[0][0] <= now or heap[0][2].state != State.ARMED):
                task = heapq.heappop(heap)[2]
                if task.state == State.ARMED and self._lines.join(task):
                    task.state = State.QUEUED
                    ready.append(task)
            following = heap[0][0] if heap else None
        if ready:
            self._dispatcher.hand_over(ready)
        return following

    def _remove(self, task: Task, state: State = State.GONE) -> Task | None:
        """Forget a task; the one that may go on in its place, if any. Under the lock."""
        following = self._lines.leave(task)
        task.state = state
        self._live.pop(task.key, None)
        self._begun.pop(task.key, None)
        return following

    # -- what executors report -----------------------------------------------------------------

    def begin(self, task: Task) -> bool:
        """An executor is about to call the job."""
        with self._lock:
            if task.state != State.QUEUED or self.halted:
                return False
            task.state = State.BEGUN
            task.started_us = self.clock.now_us()
            self._begun[task.key] = task
            first, self._fresh = not self._fresh, True
        if first:
            self._on_begun()
        return True

    def end(self, task: Task, outcome: Outcome) -> None:
        """A job has ended. After ``stop`` has abandoned it, nobody listens."""
        with self._lock:
            late = task.state == State.WRITTEN_OFF
            if late:
                outcome = msgspec.structs.replace(outcome, late=True)
                del self._late[task.key]
            elif task.state != State.BEGUN:
                return
            rested = self.outbox.add(outcome)
            following = self._remove(task)
        if outcome.error is not None and outcome.fate in (Fate.FAILED, Fate.TIMED_OUT) and not late:
            _log.warning(
                "execution_failed",
                event_id=outcome.event_id,
                execution_id=outcome.execution_id,
                attempt=outcome.attempt,
                job=task.claim.job,
                error=f"{outcome.error.type}: {outcome.error.message}",
            )
        self._go_on(rested, [following])

    def refuse(self, task: Task, error: KalendsError) -> None:
        """A task cannot begin."""
        self._dispatcher.hand_over(self._dismiss(task, error))

    def _dismiss(self, task: Task, error: KalendsError) -> list[Task]:
        """Report a task that cannot begin; the one that moves up in its line, if any."""
        with self._lock:
            if task.state != State.QUEUED:
                return []
            following = self._remove(task)
        try:
            self._on_unrunnable(task.claim, error)
        except Exception:  # noqa: BLE001 - a worker must not die of its owner's bug
            _log.exception("unrunnable_not_heard", execution_id=task.claim.id, error=str(error))
        return [] if following is None else [following]

    # -- taking back ---------------------------------------------------------------------------

    def disarm(self, event_ids: Collection[str]) -> list[Claim]:
        """Take back the claims of these events that have not begun, in the order they came."""
        wanted = frozenset(event_ids)
        with self._lock:
            claims = self._take_back(
                [task for task in self._live.values() if task.claim.event_id in wanted]
            )
            self._disarmed.update((claim.id, claim.attempt) for claim in claims)
            return claims

    def forget(self, claims: Iterable[Claim]) -> None:
        """Hold no longer what ``disarm`` returned: the ledger, or an audit of it, settles it."""
        with self._lock:
            self._disarmed.difference_update((claim.id, claim.attempt) for claim in claims)

    def disarm_all(self) -> list[Claim]:
        """Take back every claim that has not begun."""
        with self._lock:
            return self._take_back(list(self._live.values()))

    def _take_back(self, tasks: Iterable[Task]) -> list[Claim]:
        """Under the lock. All claims of an event go together, so nobody moves up in its line."""
        waiting = [task for task in tasks if task.state in (State.ARMED, State.QUEUED)]
        for task in (task for task in waiting if task.state == State.ARMED):
            self._remove(task)
        for task in (task for task in waiting if task.state == State.QUEUED):
            self._remove(task)
        return [task.claim for task in waiting]

    # -- calling off ---------------------------------------------------------------------------

    def cancel(self, execution_ids: Collection[str]) -> None:
        """Call off executions: what runs is told, what has not begun ends here. Idempotent."""
        wanted = frozenset(execution_ids)
        with self._lock:
            found = [task for task in self._live.values() if task.claim.id in wanted]
            for task in found:
                task.call_off()
            unbegun = [task for task in found if task.state != State.BEGUN]
            now = self.clock.now_us()
            rested = [self.outbox.add(task.unbegun_outcome(now)) for task in unbegun]
            following = [self._remove(task) for task in unbegun]
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
                task = self._live.get(key)
                if task is not None and task.state == State.BEGUN:
                    released.append(task)
                    following.append(self._let_go(task, attempt.ended_us))
                    continue
                if task is not None:
                    following.append(self._remove(task))
                elif key in self._late or self.outbox.holds(*key):
                    continue
                rested |= self.outbox.add(attempt.late_outcome())
        for task in released:
            self._dispatcher.release(task)
        self._go_on(rested, following)

    def _let_go(self, task: Task, ended_us: int) -> Task | None:
        """Write off a task that runs; the one that may go on in its place. Under the lock.

        It may have begun after the instant at which the ledger says it ended: no duration is
        negative.
        Outside of it, the caller tells the executor to ``release`` the task.
        """
        task.call_off()
        task.started_us = min(task.started_us, ended_us)
        following = self._remove(task, State.WRITTEN_OFF)
        self._late[task.key] = task
        return following

    def _go_on(self, rested: bool, following: Iterable[Task | None]) -> None:
        """After a change: signal the outbox where it rested, and hand over who moved up."""
        if rested:
            self.outbox.signal()
        self._dispatcher.hand_over([task for task in following if task is not None])

    # -- looking -------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """How many claims are here: armed, queued or begun."""
        return len(self._live)

    def holds(self, execution_id: str, attempt: int) -> bool:
        """True where this claim is here, has ended here unrecorded, or was disarmed and waits for a
        change to be settled.
        """
        key = (execution_id, attempt)
        with self._lock:
            return (
                key in self._live
                or key in self._disarmed
                or self.outbox.holds(execution_id, attempt)
            )

    def running(self) -> list[Begun]:
        """The attempts that have begun and not ended."""
        with self._lock:
            return [task.begun() for task in self._begun.values()]

    def runs(self, execution_id: str) -> bool:
        """True while a job of this execution runs here, written off or not."""
        with self._lock:
            tasks = itertools.chain(self._begun.values(), self._late.values())
            return any(task.claim.id == execution_id for task in tasks)

    def newly_begun(self) -> list[Begun]:
        """The attempts that have begun since this was last called and have not ended meanwhile."""
        with self._lock:
            self._fresh = False
            fresh = [task for task in self._begun.values() if not task.reported]
            for task in fresh:
                task.reported = True
            return [task.begun() for task in fresh]

    def cancel_all(self) -> int:
        """Tell all running jobs, through their contexts, to stop; how many there are."""
        with self._lock:
            for task in self._begun.values():
                task.cancelled = True
            return len(self._begun)


def _countdown(seconds: float) -> Callable[[], float]:
    # Waiting for threads takes real time, also where the clock is moved by hand.
    real = SystemClock()
    deadline = real.monotonic() + seconds
    return lambda: deadline - real.monotonic()
