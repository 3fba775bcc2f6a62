"""The whole verification: the line of events and fates, then tags and attempts, then the file."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

import peewee

from kalends.clock import US, Clock
from kalends.logs import get_log
from kalends.model import JournalKind
from kalends.storage.models import JournalRow, NodeRow
from kalends.storage.verify.line import LineWalk
from kalends.storage.verify.parts import Findings
from kalends.storage.verify.rows import RowCheck
from kalends.storage.verify.tables import AttemptWalk, TagWalk
from kalends.verification import Verification, ViolationKind

__all__ = ["Verifier"]

_log = get_log()
_PROGRESS = 5.0
"""Seconds between two lines of the log about how far it has come."""
_NEAR_US = 3_600 * US
"""How far from an execution a jump of the clock may be noted that explains its order."""


class Verifier:
    """A verification under way: call ``step`` until it answers, each time on the state of the
    database as it is then.

    ``node`` is this process's own, where it runs events; ``lease`` how many seconds a lease lasts:
    one that ended less than that ago may still be waiting to be noticed. ``damage`` adds the
    database's own check of itself, which is one step however large it is.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        node: str | None,
        lease: float,
        limit: int,
        event_id: str | None = None,
        damage: Callable[[peewee.Database], Iterable[str]] | None = None,
    ) -> None:
        self._clock = clock
        self._node = node
        self._lease_us = round(lease * US)
        self._begun = self._said = clock.monotonic()
        self._findings = Findings(limit)
        found = self._findings
        self._parts: list[Callable[[peewee.Database], bool]] = [
            LineWalk(found, event_id, self._check).step,
            TagWalk(found, event_id).step,
            AttemptWalk(found, event_id, self._check).step,
        ]
        if damage is not None:
            self._parts.append(lambda db: self._look_for_damage(damage(db)))

    def step(self, db: peewee.Database) -> Verification | None:
        """Look at the next slice. Raises ``EventNotFound``."""
        if self._parts[0](db):
            del self._parts[0]
        self._tell_progress()
        if self._parts and not self._findings.full:
            return None
        found = self._findings
        answer = Verification(
            ok=not found.violations,
            complete=not self._parts,
            violations=tuple(found.violations),
            events=found.events,
            executions=found.executions,
            gaps=found.gaps,
            seconds=self._clock.monotonic() - self._begun,
        )
        _log.info(
            "ledger_verified",
            ok=answer.ok,
            violations=len(answer.violations),
            events=answer.events,
            executions=answer.executions,
            gaps=answer.gaps,
            seconds=round(answer.seconds, 3),
        )
        return answer

    def _tell_progress(self) -> None:
        now = self._clock.monotonic()
        if now - self._said >= _PROGRESS:
            self._said = now
            found = self._findings
            _log.info(
                "verify_progressed",
                events=found.events,
                executions=found.executions,
                gaps=found.gaps,
                violations=len(found.violations),
            )

    def _look_for_damage(self, found: Iterable[str]) -> bool:
        for words in found:
            self._findings.add(ViolationKind.INTEGRITY, None, words)
        return True

    def _check(self, db: peewee.Database) -> RowCheck:
        """What the rows of a slice are held against."""
        leases = NodeRow.select(NodeRow.id, NodeRow.lease_until).tuples().execute(db)
        return RowCheck(
            findings=self._findings,
            leases=dict(leases),
            lease_from=self._clock.now_us() - self._lease_us,
            node=self._node,
            jumped=_Jumps(db).near,
        )


class _Jumps:
    """The jumps of the clock that the journal knows, read when they are first asked about."""

    def __init__(self, db: peewee.Database) -> None:
        self._db = db
        self._known: list[int] | None = None

    def near(self, since: int, until: int) -> bool:
        """Whether one was noted between an hour before ``since`` and an hour after ``until``."""
        if self._known is None:
            query = JournalRow.select(JournalRow.at).where(
                JournalRow.kind == JournalKind.CLOCK_JUMPED.value
            )
            self._known = sorted(noted for (noted,) in query.tuples().execute(self._db))
        place = bisect_left(self._known, since - _NEAR_US)
        return place < len(self._known) and self._known[place] <= until + _NEAR_US
