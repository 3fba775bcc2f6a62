"""Nodes: which processes share the database, and what becomes of the work of one that died.

A node is alive while its lease lies ahead. On one host a dead process is known at once, by its id,
where the system can tell (POSIX); elsewhere its lease has to end first.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import peewee
from peewee import fn

from kalends.errors import ValidationFailed
from kalends.ids import IdSource
from kalends.logs import get_log
from kalends.model import EventStatus, Fate, JournalKind, Reason
from kalends.policies import Policies
from kalends.storage.accounts import Held, give_back
from kalends.storage.cancelling import end_called_off, reason_of
from kalends.storage.downtime import note_alive, tell_downtime
from kalends.storage.journal import Stamp, write_entry
from kalends.storage.models import EventRow, ExecutionRow, NodeRow
from kalends.storage.overlaps import Ended, called_off
from kalends.storage.paging import first_row
from kalends.storage.prepared import Prepared, hole
from kalends.storage.rescuing import rescue_executions
from kalends.storage.rows import load_policies
from kalends.storage.running_on import gone
from kalends.storage.streaks import pause_after_failures
from kalends.work import Claim, Ending

__all__ = [
    "RESCUED_AT_ONCE", "NodeStore", "Process", "Rescue", "ThisProcess", "place_of_this_process",
]  # fmt: skip

_log = get_log()

_RENEW = Prepared(NodeRow.update(lease_until=hole("lease_until")).where(NodeRow.id == hole("node")))
_OTHERS = Prepared(
    NodeRow.select(NodeRow.id, NodeRow.place, NodeRow.pid, NodeRow.lease_until).where(
        NodeRow.id != hole("node")
    )
)
_UNKNOWN = Prepared(
    ExecutionRow.select(ExecutionRow.node)
    .where(
        ExecutionRow.node.is_null(False),
        ExecutionRow.ended_at.is_null(),
        ExecutionRow.node != hole("node"),
        ExecutionRow.node.not_in(NodeRow.select(NodeRow.id)),
    )
    .distinct()
)
_HELD = Prepared(
    ExecutionRow.select(
        ExecutionRow.id,
        ExecutionRow.event_id,
        ExecutionRow.due,
        ExecutionRow.attempt,
        ExecutionRow.manual,
    ).where(
        ExecutionRow.node == hole("node"),
        ExecutionRow.ended_at.is_null(),
        ExecutionRow.claimed_at < hole("before"),
    )
)


RESCUED_AT_ONCE = 5000
"""Executions that one unit of work frees, at most."""


class Process(Protocol):
    """Who a node is to the others of its place."""

    @property
    def place(self) -> str:
        """Where process ids mean the same as here."""

    @property
    def pid(self) -> int: ...

    def is_gone(self, pid: int) -> bool:
        """True only where it is certain that no process of this place has this id."""


class ThisProcess:
    """The process of the operating system that this code runs in."""

    def __init__(self) -> None:
        self.place = place_of_this_process()

    @property
    def pid(self) -> int:
        return os.getpid()

    def is_gone(self, pid: int) -> bool:
        """True only where the system says for certain that no process has this id."""
        if sys.platform == "win32":
            return False  # os.kill would end the process there; wait for the lease
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


class Rescue(msgspec.Struct, frozen=True):
    """What was done with the open executions of dead nodes."""

    nodes: tuple[str, ...] = ()
    reopened: int = 0
    """Executions that will be attempted again."""
    lost: int = 0
    paused: tuple[str, ...] = ()
    """The events that were paused for what was lost."""
    ended: tuple[Ending, ...] = ()
    """The executions that got their fate by it: those that are lost, and those that somebody had
    called off.
    """
    more: bool = False
    """Whether some are left: call again."""

    @property
    def freed(self) -> int:
        """How many executions it was about."""
        return self.reopened + len(self.ended)

    def and_then(self, other: Rescue) -> Rescue:
        """What both have done, this one first."""
        return Rescue(
            tuple(dict.fromkeys(self.nodes + other.nodes)),
            self.reopened + other.reopened,
            self.lost + other.lost,
            self.paused + other.paused,
            self.ended + other.ended,
            other.more,
        )

    def log(self) -> None:
        """Log it, where there was a dead node."""
        if self.nodes:
            _log.warning(
                "executions_rescued",
                nodes=list(self.nodes),
                reopened=self.reopened,
                lost=self.lost,
            )


class NodeStore:
    """The unit-of-work functions around this process's own lease, and those of others."""

    def __init__(
        self, ids: IdSource, node: str, lease_us: int, process: Process | None = None
    ) -> None:
        """``process``: who this node is; None: the one it runs in."""
        self._ids = ids
        self._node = node
        self._lease_us = lease_us
        self._process = ThisProcess() if process is None else process

    @property
    def node(self) -> str:
        """The id of this process's node."""
        return self._node

    def enter(self, db: peewee.Database, *, now: int) -> None:
        """Enter this process as it starts. Where it is the only one, the journal says since when
        nobody was there.
        """
        dead = self._dead_nodes(db, now)
        if len(dead) == self._others(db):
            stamp = Stamp(now=now, ids=self._ids, node=self._node)
            tell_downtime(db, stamp, [self._last_renewal(db, node) for node in dead])
        self.register(db, now=now)

    def register(self, db: peewee.Database, *, now: int) -> None:
        """Enter this process, or its lease again after somebody declared it dead."""
        if _RENEW.change(db, lease_until=now + self._lease_us, node=self._node):
            return
        NodeRow.insert(
            id=self._node,
            place=self._process.place,
            pid=self._process.pid,
            started_at=now,
            lease_until=now + self._lease_us,
        ).execute(db)
        write_entry(
            db,
            JournalKind.NODE_STARTED,
            now=now,
            ids=self._ids,
            node=self._node,
            pid=self._process.pid,
            place=self._process.place,
        )

    def renew(self, db: peewee.Database, *, now: int) -> bool:
        """Prolong the lease; False where this node had been declared dead meanwhile (it is entered
        anew).
        """
        if _RENEW.change(db, lease_until=now + self._lease_us, node=self._node):
            return True
        self.register(db, now=now)
        return False

    def leave(self, db: peewee.Database, *, now: int, abandoned: int) -> Rescue:
        """End the lease, and free what this node still holds."""
        self._remove(db, self._node, min(now, self._last_renewal(db, self._node) + self._lease_us))
        freed = self._rescue_node(db, self._node, now, over=True)
        write_entry(
            db,
            JournalKind.NODE_STOPPED,
            now=now,
            ids=self._ids,
            node=self._node,
            abandoned=abandoned,
        )
        return freed

    def rescue(self, db: peewee.Database, *, now: int, limit: int = RESCUED_AT_ONCE) -> Rescue:
        """Declare dead the nodes that are, and free what they held, ``limit`` executions at most.

        A node of which some are left stays entered, as dead as it is, and the journal has an entry
        for each call.
        """
        total = Rescue()
        dead = self._dead_nodes(db, now) | dict.fromkeys(self._unknown_nodes(db), False)
        for node, over in dead.items():
            if total.freed >= limit:
                return msgspec.structs.replace(total, more=True)
            freed = self._rescue_node(db, node, now, over=over, limit=limit - total.freed)
            total = total.and_then(freed)
            if not freed.more:
                self._remove(db, node, self._last_renewal(db, node))
            write_entry(
                db,
                JournalKind.NODE_DIED,
                now=now,
                ids=self._ids,
                node=node,
                reopened=freed.reopened,
                lost=freed.lost,
                noticed_by=self._node,
            )
            if freed.more:
                break
        return total

    def held(self, db: peewee.Database, *, before: int) -> tuple[Held, ...]:
        """The open executions of this node that were claimed before an instant."""
        return tuple(
            Held(id, event_id, due, attempt, bool(manual))
            for id, event_id, due, attempt, manual in _HELD.rows(db, node=self._node, before=before)
        )

    def called_off(self, db: peewee.Database) -> Ended:
        """What other nodes have done to executions of this one; see ``overlaps.called_off``."""
        return called_off(db, self._node)

    def give_back(self, db: peewee.Database, held: Sequence[Held | Claim], *, now: int) -> None:
        """Undo claims of this node that have not begun; see ``accounts.give_back``."""
        give_back(db, held, self._node, now=now)

    def _remove(self, db: peewee.Database, node: str, alive: int) -> None:
        """A node goes; it was alive at ``alive``."""
        if NodeRow.delete().where(NodeRow.id == node).execute(db):
            note_alive(db, alive)

    def _last_renewal(self, db: peewee.Database, node: str) -> int:
        """When a node last renewed its lease, if that is as long as this node's; 0: it is gone."""
        row = first_row(db, NodeRow.select(NodeRow.lease_until).where(NodeRow.id == node))
        return 0 if row is None else int(row[0]) - self._lease_us

    def _others(self, db: peewee.Database) -> int:
        row = first_row(
            db, NodeRow.select(peewee.fn.COUNT(NodeRow.id)).where(NodeRow.id != self._node)
        )
        return 0 if row is None else int(row[0])

    def _dead_nodes(self, db: peewee.Database, now: int) -> dict[str, bool]:
        """The nodes that count as dead, and whether it is certain that their process is over."""
        dead: dict[str, bool] = {}
        for node, place, pid, lease_until in _OTHERS.rows(db, node=self._node):
            over = place == self._process.place and self._process.is_gone(pid)
            if over or lease_until < now:
                dead[node] = over
        return dead

    def _unknown_nodes(self, db: peewee.Database) -> list[str]:
        """Nodes that hold executions and are not entered.

        One that stood still past its lease may claim after others have removed it, and die before
        it enters itself again.
        """
        return [node for (node,) in _UNKNOWN.rows(db, node=self._node)]

    def _rescue_node(
        self, db: peewee.Database, node: str, now: int, *, over: bool, limit: int | None = None
    ) -> Rescue:
        """Free what a node held. ``over``: its process has ended for certain; else it may only have
        been slow, and begin what it had claimed ahead whatever is told here.
        """
        query = (
            ExecutionRow.select(
                ExecutionRow.id, fn.COALESCE(ExecutionRow.ready_at, ExecutionRow.due),
                ExecutionRow.attempt, ExecutionRow.started_at, ExecutionRow.claimed_at,
                EventRow.policies, EventRow.status, ExecutionRow.event_id, ExecutionRow.due,
                ExecutionRow.manual, ExecutionRow.cancel,
            )
            .join(EventRow, peewee.JOIN.LEFT_OUTER, on=(EventRow.id == ExecutionRow.event_id))
            .where(ExecutionRow.node == node, ExecutionRow.ended_at.is_null())
            .limit(None if limit is None else limit + 1)
        )  # fmt: skip
        rows = list(query.tuples().execute(db))
        more = limit is not None and len(rows) > limit
        ended: list[Ending] = []
        unbegun: list[Held] = []
        begun: dict[str, tuple[str, int, int]] = {}
        held: dict[str, Policies | None] = {}
        for *row, event_id, due, manual, mark in rows[:limit]:
            execution_id, ready_at, attempt, started_at, claimed_at, text, status = row
            this = execution_id, event_id, due, attempt
            if mark:
                end_called_off(db, execution_id, mark, now=now)
                ended.append(Ending(*this, Fate.CANCELLED, reason_of(mark), now))
            elif over and started_at is None and claimed_at <= now < ready_at:
                # Claimed ahead, and the time to begin has not come: it cannot have begun. Where the
                # clock stands before the claim it was set back since, and the time may have come.
                unbegun.append(Held(*this, bool(manual)))
            else:
                begun[execution_id] = event_id, due, attempt
                held[execution_id] = None if status == EventStatus.DELETED else _readable(text)
        give_back(db, unbegun, node, now=now)
        again = rescue_executions(db, held, now=now)
        lost = [execution_id for execution_id in held if execution_id not in again]
        ended += [Ending(one, *begun[one], Fate.LOST, Reason.PROCESS_DIED, now) for one in lost]
        gone(db, node)
        paused = [
            begun[one][0]
            for one in lost
            if pause_after_failures(
                db,
                begun[one][0],
                held[one] or Policies(),
                execution_id=one,
                now=now,
                ids=self._ids,
                node=self._node,
            )
        ]
        return Rescue(
            (node,), len(unbegun) + len(again), len(lost), tuple(paused), tuple(ended), more
        )


def _readable(text: str | None) -> Policies | None:
    try:
        return None if text is None else load_policies(text)
    except ValidationFailed:
        return None


def place_of_this_process() -> str:
    """Where process ids mean the same as here: host, boot and (on Linux) pid namespace."""
    parts = [socket.gethostname()]
    for name in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        path = Path(name)
        try:
            parts.append(os.readlink(path) if path.is_symlink() else path.read_text().strip())
        except OSError:
            continue  # not Linux: the host name has to do
    return "/".join(parts)
