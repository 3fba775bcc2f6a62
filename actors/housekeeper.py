"""The housekeeper: what keeps a database and its directory fit for years.

Owns: the housekeeping timer. One round rescues what dead processes left open, folds old history
into gaps, gives the database its upkeep and runs the file rules of the settings, on a thread of its
own: a slow disk delays nothing else. Its failure degrades the scheduler and never stops it: each
part of a round is tried whatever became of the others, and what failed is in the report, the log
and ``last_error``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from kalends.actors.hub import Timer
from kalends.actors.rescuing import Rescuing
from kalends.actors.runtime import Actor, handles
from kalends.cleanup import CleanupReport, CleanupRule, run_rule
from kalends.clock import US, Clock
from kalends.errors import KalendsError, NotInitialized, ValidationFailed, did_you_mean
from kalends.futures import Future, failed
from kalends.ids import IdSource
from kalends.logs import get_log
from kalends.messages import KeepHouse, RoundEnded, RunCleanup
from kalends.model import JournalKind
from kalends.native import Thread, allocate_lock
from kalends.settings import Settings
from kalends.storage.engine import Storage
from kalends.storage.journal import write_entry
from kalends.storage.nodes import Rescue
from kalends.storage.retention import Pruned, prune

__all__ = ["Chores", "HousekeeperActor", "HousekeepingReport"]

T = TypeVar("T")
_log = get_log()
_PRUNE_BATCH = 500
"""Rows that one unit of work removes, at most: the writer is never held for long."""
_JOURNALLED = 50
"""Names of removed files that one journal entry holds, at most."""


class HousekeepingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one round did. ``errors`` maps the part that failed to what it said."""

    rescued: Rescue = Rescue()
    pruned: Pruned = Pruned()
    cleaned: tuple[CleanupReport, ...] = ()
    errors: dict[str, str] = {}


class Chores:
    """The threads that do the housekeeper's work: they outlive its incarnations.

    Safe to use from any thread.
    """

    def __init__(self, make_thread: Callable[[Callable[[], None], str], Thread]) -> None:
        self._make_thread = make_thread
        self._lock = allocate_lock()
        self._threads: set[Thread] = set()
        self.stopping = False
        """Set once: work looks here between its parts, and ends early."""

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Do ``work`` on a thread of its own."""
        future: Future[T] = Future(timeout=3600.0)

        def body() -> None:
            try:
                future.resolve(work())
            except BaseException as error:  # noqa: BLE001  (a bug crashes the actor that waits)
                future.resolve(None, error)
            with self._lock:
                self._threads.discard(thread)

        thread = self._make_thread(body, "kalends-housekeeping")
        with self._lock:
            if self.stopping:
                return failed(NotInitialized("the scheduler is shutting down"))
            self._threads.add(thread)
        thread.start()
        return future

    def join(self, timeout: float) -> bool:
        """Have the work end early; True when all of it has, within ``timeout`` seconds."""
        with self._lock:
            self.stopping = True
            threads = list(self._threads)
        ended = [thread.join(timeout) for thread in threads]
        return all(ended)


class HousekeeperActor(Actor):
    """Keeps house. ``on_round`` is told after each round what could not be done, or None; on the
    round's thread.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        rescuing: Rescuing,
        ids: IdSource,
        node: str,
        clock: Clock,
        settings: Settings,
        chores: Chores,
        on_round: Callable[[str | None], None],
    ) -> None:
        super().__init__()
        self._storage = storage
        self._rescuing = rescuing
        self._ids = ids
        self._node = node
        self._clock = clock
        self._settings = settings
        self._chores = chores
        self._on_round = on_round
        self._round: Future[HousekeepingReport] | None = None
        self._next: Timer | None = None

    def on_start(self) -> None:
        """Begin a round at once: a process that was killed may have left work open."""
        if self._settings.enabled:
            self.tell_self(KeepHouse())

    @handles(KeepHouse)
    def keep(self, message: KeepHouse) -> Future[HousekeepingReport]:
        """Start a round, or join the one under way."""
        if self._round is None:
            self._round = self._chores.run(self._keep_house)
            self._round.add_done_callback(lambda _: self.tell_self(RoundEnded()))
        return self._round

    @handles(RoundEnded)
    def ended(self, message: RoundEnded) -> None:
        """Sleep until the next round."""
        self._round = None
        if self._next is not None:
            self._next.cancel()
        if self._settings.enabled:
            self._next = self.after(self._settings.housekeeping_every, KeepHouse())

    @handles(RunCleanup)
    def cleanup(self, message: RunCleanup) -> Future[CleanupReport]:
        """Run one file rule now."""
        rules = {rule.name: rule for rule in self._settings.cleanup}
        if message.rule not in rules:
            raise ValidationFailed(
                f"there is no file rule {message.rule!r}{did_you_mean(message.rule, rules)}",
                path="rule",
            )
        rule = rules[message.rule]
        if message.dry_run:
            rule = msgspec.structs.replace(rule, dry_run=True)
        return self._chores.run(lambda: self._clean(rule))

    # -- one round, on its own thread ----------------------------------------------------------

    def _keep_house(self) -> HousekeepingReport:
        errors: dict[str, str] = {}
        rescued = self._try("rescue", self._rescue, errors, Rescue())
        pruned = self._try("retention", self._prune, errors, Pruned())
        self._try("upkeep", self._upkeep, errors, None)
        cleaned = []
        for rule in self._settings.cleanup:
            if self._chores.stopping:
                break
            report = self._try(f"cleanup.{rule.name}", lambda r=rule: self._clean(r), errors, None)  # type: ignore[misc]
            if report is not None:
                cleaned.append(report)
                if report.error is not None:
                    errors[f"cleanup.{rule.name}"] = report.error
        for part, text in errors.items():
            _log.error("housekeeping_failed", part=part, error=text)
        told = "; ".join(f"{part}: {text}" for part, text in errors.items())
        self._on_round(f"housekeeping: {told}" if told else None)
        return HousekeepingReport(
            rescued=rescued, pruned=pruned, cleaned=tuple(cleaned), errors=errors
        )

    def _try(
        self, part: str, work: Callable[[], Any], errors: dict[str, str], otherwise: Any
    ) -> Any:
        try:
            return work()
        except KalendsError as refusal:
            errors[part] = str(refusal)
            return otherwise

    def _rescue(self) -> Rescue:
        return self._rescuing.run().get()

    def _prune(self) -> Pruned:
        total = Pruned()
        while True:
            now = self._clock.now_us()
            part: Pruned = self._storage.write(lambda db, now=now: self._prune_some(db, now)).get()  # type: ignore[misc]
            total = Pruned(
                total.executions + part.executions,
                total.gaps + part.gaps,
                total.journal + part.journal,
                part.more,
            )
            if not part.more or self._chores.stopping:
                break
        if total.executions or total.gaps or total.journal:
            self._record(
                JournalKind.HISTORY_PRUNED,
                executions=total.executions,
                gaps=total.gaps,
                journal=total.journal,
            )
        return total

    def _prune_some(self, db: Any, now: int) -> Pruned:
        settings = self._settings
        return prune(
            db,
            self._storage.dialect,
            self._ids,
            now=now,
            retain_age_us=_us(settings.retain_age),
            retain_count=settings.retain_count,
            retain_gaps_us=_us(settings.retain_gaps),
            limit=_PRUNE_BATCH,
        )

    def _upkeep(self) -> None:
        self._storage.upkeep().get()

    def _clean(self, rule: CleanupRule) -> CleanupReport:
        report = run_rule(rule, now_us=self._clock.now_us(), protected=self._storage.dialect.files)
        if report.removed or report.error is not None:
            _log.info(
                "files_cleaned",
                rule=rule.name,
                removed=len(report.removed),
                freed_bytes=report.freed_bytes,
                dry_run=report.dry_run,
                error=report.error,
            )
        if report.removed and not report.dry_run:
            self._record(
                JournalKind.FILES_CLEANED,
                rule=rule.name,
                directory=rule.directory,
                removed=[
                    {"path": item.path, "bytes": item.bytes, "reason": item.reason}
                    for item in report.removed[:_JOURNALLED]
                ],
                count=len(report.removed),
                freed_bytes=report.freed_bytes,
            )
        return report

    def _record(self, kind: JournalKind, **details: Any) -> None:
        now = self._clock.now_us()
        self._storage.write(
            lambda db: write_entry(db, kind, now=now, ids=self._ids, node=self._node, **details)
        ).get()


def _us(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * US)
