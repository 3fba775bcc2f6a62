"""Storage: the ledger in a database, behind units of work."""

from __future__ import annotations

from kalends.storage.engine import Storage
from kalends.storage.opening import open_storage

__all__ = ["Storage", "open_storage"]
