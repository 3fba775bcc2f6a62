"""What a job tells while it runs: how far it is, and the lines it logs; as much as is kept of it.

Promises: telling is cheap and never waits, so that a job may do it a million times; of progress the
latest counts, of lines the newest are kept, within a number of lines and of bytes, and those that
are dropped are counted. Whatever is told, a level's name too, is kept as text that every database
and encoder takes, without secrets, of bounded length. Nothing goes anywhere from here: whoever
wants to know takes ``told``. Every method may be called from any thread.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated

import msgspec

from kalends.clock import MAX_US, Clock
from kalends.jobs.codec import clip, kept, storable
from kalends.native import allocate_lock
from kalends.redaction import SECRET_KEYS, Redactor, redactor_of
from kalends.validation import MAX_NOTE, note, number, shown
from kalends.work import Told

__all__ = ["Keeps", "Logbook", "News"]

_LONGEST = 4096
"""How many characters of a line are kept, at most."""


_LEVEL = 40
"""How many characters of a level's name."""


class Keeps(msgspec.Struct, frozen=True):
    """How much of what an attempt logs is kept, and what is left out of all that it tells."""

    lines: int = 200
    bytes: int = 16_384
    secret_keys: tuple[str, ...] = SECRET_KEYS

    @property
    def redactor(self) -> Redactor:
        """What leaves out the values of such keys."""
        return redactor_of(self.secret_keys)


class News(msgspec.Struct, frozen=True):
    """What a job has told since the last news, where that has to travel."""

    progress: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | None
    note: Annotated[str, msgspec.Meta(max_length=MAX_NOTE)] | None
    lines: list[tuple[Annotated[int, msgspec.Meta(ge=0, le=MAX_US)], str, str]]
    """When, at which level, and what."""
    dropped: Annotated[int, msgspec.Meta(ge=0)]
    """How many lines came between the last news and these, and were not kept."""


class Logbook:
    """What one attempt has told."""

    __slots__ = (
        "_bytes", "_clock", "_dropped", "_fresh", "_keeps", "_lines", "_lock", "_longest",
        "_progress",
    )  # fmt: skip

    def __init__(self, clock: Clock, keeps: Keeps) -> None:
        self._clock = clock
        self._keeps = keeps
        self._longest = min(_LONGEST, keeps.bytes)
        self._lock = allocate_lock()
        self._progress: tuple[float | None, str | None] = (None, None)
        self._lines: deque[tuple[int, int, str, str]] = deque()
        """Each behind its size in bytes: when, its level, and its text."""
        self._bytes = 0
        self._dropped = 0
        self._fresh = False

    @property
    def redactor(self) -> Redactor:
        """What leaves secrets out of what is told here."""
        return self._keeps.redactor

    def progress(self, fraction: float, remark: str | None) -> None:
        """The job is so far: 0 to 1. Raises ``ValidationFailed`` for anything else."""
        if type(fraction) is not float or not 0.0 <= fraction <= 1.0:
            fraction = float(number(fraction, "fraction", 0.0, 1.0))
        if remark is not None and not (
            type(remark) is str and len(remark) <= MAX_NOTE and remark.isprintable()
        ):
            remark = note(remark, "note")
        self._progress = (fraction, remark)
        self._fresh = True

    def line(self, level: str, message: str) -> None:
        """The job has logged a line. Raises nothing."""
        self._write(self._clock.now_us(), level, message)
        self._fresh = True

    def drain(self) -> News | None:
        """What was told since this was last called; its lines are not kept here any longer."""
        if not self._fresh:
            return None
        self._fresh = False  # before the look: what comes in between is told again
        with self._lock:
            lines = [line[1:] for line in self._lines]
            news = News(*self._shown_progress(), lines, self._dropped)
            self._lines.clear()
            self._bytes = self._dropped = 0
        return news

    def absorb(self, news: News) -> None:
        """What the job has told elsewhere."""
        remark = None if news.note is None else storable(news.note)
        self._progress = (news.progress, remark)
        with self._lock:
            self._dropped += news.dropped
        for at, level, message in news.lines:
            self._write(at, level, message)
        self._fresh = True

    def _write(self, at: int, level: str, message: str) -> None:
        level = clip(storable(clip(_text(level), 2 * _LEVEL)), _LEVEL)
        text = kept(_text(message), self._longest, self.redactor)
        size = len(text.encode())
        with self._lock:
            self._lines.append((size, at, level, text))
            self._bytes += size
            while len(self._lines) > self._keeps.lines or self._bytes > self._keeps.bytes:
                self._bytes -= self._lines.popleft()[0]
                self._dropped += 1

    @property
    def told(self) -> Told:
        """All of it, as it is stored."""
        with self._lock:
            lines, dropped = [line[1:] for line in self._lines], self._dropped
        logged = bool(lines or dropped)
        log = msgspec.json.encode((dropped, lines)).decode() if logged else None
        return Told(*self._shown_progress(), log)

    def _shown_progress(self) -> tuple[float | None, str | None]:
        fraction, remark = self._progress
        return fraction, None if remark is None else clip(self.redactor.text(remark), MAX_NOTE)

    def news(self) -> Told | None:
        """All of it, where something was told since this was last called."""
        if not self._fresh:
            return None
        self._fresh = False  # before the look: what comes in between is told again
        return self.told


def _text(text: object) -> str:
    """The text, whatever was handed in for it."""
    return str.__str__(text) if issubclass(type(text), str) else shown(text)
