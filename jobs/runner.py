"""From claim to outcome: takes claims ahead of time and starts each at its instant.

Promises:

- A claim begins at its ``due`` (plus its delay) on the clock, never before; a claim that is late
  already begins at once.
- A claim (execution and attempt) that is here, or ended here and is not recorded yet, is not taken
  twice: whoever starts anew may submit all it knows.
- Claims marked ``serial`` of one event run one after the other, in the order they were due.
- Every claim leaves in exactly one way: its outcome is in the outbox, ``on_unrunnable`` was called
  with it, or it was returned by ``disarm``, ``disarm_all`` or ``stop``. Once one of these has
  returned it, it will not begin.
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
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from kalends.clock import Clock, SystemClock
from kalends.errors import (
    ForkedError,
    KalendsError,
    NotInitialized,
    ValidationFailed,
    did_you_mean,
)
from kalends.futures import current_pid
from kalends.jobs.executors.base import Begun, Executor, Task
from kalends.jobs.outbox import Outbox
from kalends.jobs.registry import Registry
from kalends.jobs.ticker import Ticker, Waker
from kalends.logs import get_log
from kalends.messages import Claim, Outcome
from kalends.native import allocate_lock

__all__ = ["Begun", "Runner"]

_log = get_log()

_LOOK_EVERY = 0.05
"""Seconds until a wait for running jobs looks again how much time is left."""
# The states of a task, changed under the runner's lock only.
_ARMED, _QUEUED, _BEGUN, _GONE = range(4)


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
        self._executors = dict(executors)
        self._default_executor = default_executor
        self._on_unrunnable = on_unrunnable
        self._pid = current_pid()
        self._lock = allocate_lock()
        self._live: dict[tuple[str, int], Task] = {}
        self._begun: dict[tuple[str, int], Task] = {}
        self._disarmed: set[tuple[str, int]] = set()
        self._heap: list[tuple[int, int, Task]] = []
        self._numbers = itertools.count()
        self._lines: dict[str, deque[Task] | None] = {}
        """Events with a serial task queued or begun, and those that wait behind it."""
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
        for executor in self._executors.values():
            executor.start()
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
        for executor in self._executors.values():
            while executor.stop(min(max(0.0, left()), _LOOK_EVERY)) and left() > 0.0:
                continue
        with self._lock:
            for task in list(self._begun.values()):
                self._remove(task)
                abandoned.append(task.claim)
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
            while heap and (heap[0][0] <= now or heap[0][2].state != _ARMED):
                task = heapq.heappop(heap)[2]
                if task.state == _ARMED and self._join_line(task):
                    task.state = _QUEUED
                    ready.append(task)
            following = heap[0][0] if heap else None
        if ready:
            self._hand_over(ready)
        return following

    def _hand_over(self, tasks: Iterable[Task]) -> None:
        """Give queued tasks to their executors, in order."""
        todo = deque(tasks)
        while todo:
            batches: dict[str, list[Task]] = {}
            while todo:
                task = todo.popleft()
                try:
                    batches.setdefault(self._kind(task), []).append(task)
                except KalendsError as error:
                    todo.extend(self._dismiss(task, error))
            for kind, batch in batches.items():
                try:
                    self._executor(kind).submit(batch)
                except KalendsError as error:
                    for task in batch:
                        todo.extend(self._dismiss(task, error))

    def _kind(self, task: Task) -> str:
        """Find the job of a task; the executor it wants. Imports nothing: the worker does."""
        name = task.claim.job
        task.job = self.registry.find(name)
        if task.job is None and not self.registry.importable(name):
            task.job = self.registry.get(name)
        return self._default_executor if task.job is None else task.job.executor

    def _executor(self, kind: str) -> Executor:
        executor = self._executors.get(kind)
        if executor is None:
            hint = did_you_mean(kind, self._executors)
            raise ValidationFailed(f"there is no executor {kind!r}{hint}", path="executor")
        return executor

    # -- serial events -------------------------------------------------------------------------

    def _join_line(self, task: Task) -> bool:
        """True where the task may go on, else it waits behind others. Under the lock."""
        if not task.claim.serial:
            return True
        event_id = task.claim.event_id
        if event_id not in self._lines:
            self._lines[event_id] = None
            return True
        line = self._lines[event_id]
        if line is None:
            line = self._lines[event_id] = deque()
        line.append(task)
        return False

    def _remove(self, task: Task) -> Task | None:
        """Forget a task; the one that may go on in its place, if any. Under the lock."""
        headed = task.claim.serial and task.state in (_QUEUED, _BEGUN)
        task.state = _GONE
        self._live.pop(task.key, None)
        self._begun.pop(task.key, None)
        if not headed:
            return None
        line = self._lines.get(task.claim.event_id)
        while line:
            following = line.popleft()
            if following.state == _ARMED:
                following.state = _QUEUED
                return following
        del self._lines[task.claim.event_id]
        return None

    # -- what executors report -----------------------------------------------------------------

    def begin(self, task: Task) -> bool:
        """An executor is about to call the job."""
        with self._lock:
            if task.state != _QUEUED or self.halted:
                return False
            task.state = _BEGUN
            task.started_us = self.clock.now_us()
            self._begun[task.key] = task
            first, self._fresh = not self._fresh, True
        if first:
            self._on_begun()
        return True

    def end(self, task: Task, outcome: Outcome) -> None:
        """A job has ended. After ``stop`` has abandoned it, nobody listens."""
        with self._lock:
            if task.state != _BEGUN:
                return
            rested = self.outbox.add(outcome)
            following = self._remove(task)
        if outcome.error is not None:
            _log.warning(
                "execution_failed",
                event_id=outcome.event_id,
                execution_id=outcome.execution_id,
                attempt=outcome.attempt,
                job=task.claim.job,
                error=f"{outcome.error.type}: {outcome.error.message}",
            )
        if rested:
            self.outbox.signal()
        if following is not None:
            self._hand_over([following])

    def refuse(self, task: Task, error: KalendsError) -> None:
        """A task cannot begin."""
        self._hand_over(self._dismiss(task, error))

    def _dismiss(self, task: Task, error: KalendsError) -> list[Task]:
        """Report a task that cannot begin; the one that moves up in its line, if any."""
        with self._lock:
            if task.state != _QUEUED:
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
        waiting = [task for task in tasks if task.state in (_ARMED, _QUEUED)]
        for task in (task for task in waiting if task.state == _ARMED):
            self._remove(task)
        for task in (task for task in waiting if task.state == _QUEUED):
            self._remove(task)
        return [task.claim for task in waiting]

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
