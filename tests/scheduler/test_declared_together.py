"""Processes that start at the same time on one file: what they declare is made once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from kalends import Reconciliation, Registry, Scheduler, every
from kalends.storage.declared import Declared


def work() -> None: ...


def code(*names: str) -> Registry:
    registry = Registry()
    registry.register(work, "work")
    for name in names:
        registry.scheduled(every(hours=1), name=name)(work)
    return registry


def meet(monkeypatch: pytest.MonkeyPatch, parties: int) -> None:
    """Everyone has looked before anyone acts."""
    barrier, look = threading.Barrier(parties, timeout=30), Declared.look

    def wait(self: Declared, db: Any, *, now: int) -> Reconciliation:
        found = look(self, db, now=now)
        barrier.wait()
        return found

    monkeypatch.setattr(Declared, "look", wait)


def test_who_comes_second_finds_nothing_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*names: str) -> Scheduler:
        return Scheduler(tmp_path / "k.db", environ={}, registry=code(*names))

    with make("a", "gone") as before:
        assert before.count_events() == 2
    meet(monkeypatch, 3)
    schedulers = [make("a", "b") for _ in range(3)]
    threads = [threading.Thread(target=scheduler.start) for scheduler in schedulers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    try:
        assert [scheduler.status().state for scheduler in schedulers] == ["running"] * 3
        found = {event.name: event.status for event in schedulers[0].list_events().items}
        assert found == {"a": "active", "b": "active", "gone": "paused"}
        kinds = [entry.kind.value for entry in schedulers[0].list_journal(limit=1000).items]
        assert (kinds.count("events_created"), kinds.count("event_paused")) == (3, 1)
    finally:
        for scheduler in schedulers:
            scheduler.shutdown()
