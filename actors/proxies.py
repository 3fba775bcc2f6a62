"""The typed proxies: every call is a message to an actor, every answer a future of a known type.

``scheduler.events``, ``.executions``, ``.loop`` and ``.housekeeper`` are these. A call checks its
arguments on the caller's thread, sends one message and returns at once; ``future.get(timeout=…)``
or ``await future`` has the answer. Every refusal, a wrong argument included, is in the future."""

from __future__ import annotations

from datetime import datetime
from typing import Unpack

from kalends.actors.asking import Proxy, in_future, who_of
from kalends.actors.housekeeper import HousekeepingReport
from kalends.cleanup import CleanupReport
from kalends.clock import US, to_us
from kalends.explanation import Explanation
from kalends.futures import Future
from kalends.keywords import (
    ExecutionConditions,
    GapConditions,
)
from kalends.messages import (
    CancelExecution,
    CountExecutions,
    Explain,
    GetExecution,
    KeepHouse,
    ListExecutions,
    ListGaps,
    ListOverdue,
    MakeReport,
    RunCleanup,
    TriggerNow,
    VerifyLedger,
)
from kalends.model import Execution, Gap, Page
from kalends.outlook import Overdue
from kalends.policies import Overlap
from kalends.report import Report
from kalends.validation import (
    MAX_PAGE,
    choice,
    execution_query,
    flag,
    gap_query,
    identifier,
    instant,
    number,
    optional_text,
    text,
)
from kalends.verification import Verification

__all__ = ["ExecutionsProxy", "HousekeeperProxy", "LoopProxy"]


class ExecutionsProxy(Proxy):
    """Messages to the ``ExecutionTrackerActor``."""

    @in_future
    def get(self, execution_id: str) -> Future[Execution]:
        """One execution with its attempts."""
        return self._ask(GetExecution(identifier(execution_id, "execution_id")))

    @in_future
    def cancel(
        self, execution_id: str, *, note: str | None = None, author: str | None = None
    ) -> Future[Execution]:
        """End an execution that has not begun; have the job of one that runs told to stop."""
        known = identifier(execution_id, "execution_id")
        return self._ask(CancelExecution(known, *who_of(known, note, author)[1:]))

    @in_future
    def list(self, **query: Unpack[ExecutionConditions]) -> Future[Page[Execution]]:
        """A page of executions; the conditions are the fields of ``messages.ExecutionQuery``."""
        return self._ask(ListExecutions(execution_query(**query)))

    @in_future
    def count(self, **query: Unpack[ExecutionConditions]) -> Future[int]:
        """How many executions meet the conditions."""
        return self._ask(CountExecutions(execution_query(**query)))

    @in_future
    def gaps(self, **query: Unpack[GapConditions]) -> Future[Page[Gap]]:
        """A page of gaps, newest first; the conditions are the fields of ``messages.GapQuery``."""
        return self._ask(ListGaps(gap_query(**query)))

    @in_future
    def report(
        self,
        *,
        event_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        bucket: float | None = None,
    ) -> Future[Report]:
        """Counts, rates and percentiles over ``since <= due < until``; ``bucket`` in seconds."""
        return self._ask(
            MakeReport(
                None if event_id is None else identifier(event_id, "event_id"),
                instant(since, "since"),
                instant(until, "until"),
                None
                if bucket is None
                else round(number(bucket, "bucket", 1.0, 1000 * 366 * 86_400.0) * US),
            )
        )

    @in_future
    def explain(self, event_id: str, instant: datetime) -> Future[Explanation]:
        """Why an instant (an aware datetime) of an event ran, or did not, or will."""
        return self._ask(Explain(identifier(event_id, "event_id"), to_us(instant, "instant")))

    @in_future
    def overdue(self, grace: float = 60.0, *, limit: int = 50) -> Future[tuple[Overdue, ...]]:
        """What should have had a fate for more than ``grace`` seconds, the longest first."""
        return self._ask(
            ListOverdue(
                round(number(grace, "grace", 0.0, 1e9) * US),
                int(number(limit, "limit", 1, MAX_PAGE, whole=True)),
            )
        )

    @in_future
    def verify(
        self, event_id: str | None = None, *, limit: int = 100, integrity: bool = False
    ) -> Future[Verification]:
        """Check the ledger against its invariants; up to ``limit`` violations are told."""
        return self._ask(
            VerifyLedger(
                None if event_id is None else identifier(event_id, "event_id"),
                int(number(limit, "limit", 1, 10_000, whole=True)),
                flag(integrity, "integrity"),
            )
        )


class LoopProxy(Proxy):
    """Messages to the ``LoopActor``."""

    @in_future
    def trigger_now(
        self,
        event_id: str,
        *,
        overlap: Overlap | str | None = None,
        author: str | None = None,
    ) -> Future[Execution]:
        """Run an event once, now, outside of its rule; the answer comes when that is durable.

        Its overlap policy decides, or ``overlap`` in its place.
        """
        return self._ask(
            TriggerNow(
                identifier(event_id, "event_id"),
                optional_text(author, "author"),
                None if overlap is None else choice(Overlap, overlap, "overlap"),
            )
        )


class HousekeeperProxy(Proxy):
    """Messages to the ``HousekeeperActor``."""

    @in_future
    def keep_house(self) -> Future[HousekeepingReport]:
        """Do one round now, or join the one under way."""
        return self._ask(KeepHouse())

    @in_future
    def run_cleanup(self, rule: str, *, dry_run: bool = False) -> Future[CleanupReport]:
        """Run one file rule of the settings now."""
        return self._ask(RunCleanup(text(rule, "rule", 200), flag(dry_run, "dry_run")))
