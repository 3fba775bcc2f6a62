"""What one process has of the storage, for ledgers that are driven by hand."""

from __future__ import annotations

from kalends.clock import US
from kalends.ids import IdSource
from kalends.storage.claims import ClaimStore
from kalends.storage.dialect import Dialect
from kalends.storage.events import EventStore
from kalends.storage.executions import ExecutionStore
from kalends.storage.nodes import NodeStore
from kalends.storage.outcomes import OutcomeStore

LEASE_US = 30 * US


class Node:
    """What one process has of the storage: its stores, and the claims it holds."""

    def __init__(self, dialect: Dialect, ids: IdSource, name: str) -> None:
        self.name = name
        self.events = EventStore(dialect, ids, name)
        self.claims = ClaimStore(dialect, ids, name)
        self._parts = (dialect, ids, name)
        self.executions = ExecutionStore()
        self.outcomes = OutcomeStore(dialect, ids, name)
        self.leases = NodeStore(ids, name, LEASE_US)

    def limit(self, limits: dict[str, int] | None) -> None:
        """Begin again with named limits in the settings."""
        self.claims = ClaimStore(*self._parts, limits)
