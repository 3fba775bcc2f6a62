"""The raw limit of lateness: a ``threading.Timer`` for each event. Nothing is kept."""

from __future__ import annotations

import threading
import time

import recording

__all__ = ["Subject"]


class Subject:
    """Timers, started when they are added."""

    def __init__(self, folder: str) -> None:
        self._timers: list[threading.Timer] = []

    def start(self) -> None:
        """They run already."""

    def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def add_at(self, instants: list[float]) -> None:
        for at in instants:
            self.add_one(at)

    def add_every(self, seconds: float, first: list[float]) -> None:
        raise NotImplementedError("it fires once")

    def add_one(self, instant: float) -> None:
        timer = threading.Timer(instant - time.time(), recording.record, [instant])
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def settled(self) -> bool:
        return len(recording.RAN) == len(self._timers)
