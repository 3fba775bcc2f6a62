"""Time zones as spans of constant offset, in microseconds.

A ``Spans`` table is immutable: parallel lists, one entry a span, made for bisection. Beside each
span's offset it holds the *high-water mark*: the furthest wall-clock moment that any earlier span
reached. Below the mark wall-clock time repeats (a fold); above the mark and below the span's own
beginning it was skipped (a gap). That is all a daylight-saving rule needs to know. A zone's table
is extended when somebody asks for later years; the new table replaces the old one in one
assignment, so threads may share a zone.
"""

from __future__ import annotations

import struct
import zoneinfo
from bisect import bisect_right
from functools import lru_cache

from kalends.clock import MAX_US, MIN_US, US
from kalends.errors import ValidationFailed, did_you_mean
from kalends.triggers.days import year_of, year_start
from kalends.triggers.local import DAY_US
from kalends.triggers.tzif import ZoneData, footer_transitions, load

__all__ = ["Spans", "Zone", "zone"]

_OF_THE_MACHINE = frozenset({"localtime", "posixrules", "factory"})
"""Files of a zone database that are no zones: what they say is up to each machine."""

_HORIZONS = (2_100, 2_500, 10_000)
"""The years up to which a table is made at first, on demand, and at last."""

_MINUTE_US = 60 * US
_START = MIN_US // US - 400 * 86_400
"""The UTC second a table begins with, earlier than every instant."""

_FAR_US = MAX_US + 400 * DAY_US
"""Later than every instant and every wall-clock moment of one."""


class Spans:
    """The spans of one zone up to ``end`` (exclusive, UTC). Span ``i`` is ``starts[i] <= t <
    starts[i + 1]``."""

    __slots__ = ("begins", "end", "ends", "fresh", "highs", "lows", "offsets", "starts")

    def __init__(self, changes: list[tuple[int, int]], end: int) -> None:
        self.end = end
        self.starts = [start for start, _ in changes]
        self.offsets = [offset for _, offset in changes]
        self.begins = [start + offset for start, offset in changes]
        """The wall-clock moment each span begins with."""
        self.ends = [
            stop + offset
            for stop, offset in zip([*self.starts[1:], end], self.offsets, strict=True)
        ]
        """The wall-clock moment each span ends before."""
        self.highs: list[int] = []
        """The high-water mark before each span, and one more: after the last."""
        self.fresh: list[int] = []
        """The first wall-clock moment of each span at which a rule that runs once can run: the
        high-water mark in a fold; in a gap the span's beginning, raised to a whole minute (offsets
        once had seconds)."""
        high = self.begins[0]
        for begin, stop in zip(self.begins, self.ends, strict=True):
            self.highs.append(high)
            self.fresh.append(-(-begin // _MINUTE_US) * _MINUTE_US if begin > high else high)
            high = max(high, stop)
        self.highs.append(high)
        self.lows = [_FAR_US] * len(self.begins)
        """The earliest wall-clock moment that any later span goes back to."""
        for index in range(len(self.begins) - 1, 0, -1):
            self.lows[index - 1] = min(self.lows[index], self.begins[index])

    @property
    def final(self) -> bool:
        """Whether the table reaches beyond the last instant there is."""
        return self.end > MAX_US

    def index(self, at: int) -> int:
        """The span that the instant ``at`` lies in; the first for everything earlier."""
        return max(bisect_right(self.starts, at) - 1, 0)


class Zone:
    """A time zone by its IANA name. Obtain it from ``zone``."""

    __slots__ = ("_data", "name", "spans")

    def __init__(self, name: str, data: ZoneData) -> None:
        self.name = name
        self._data = data
        self.spans = self._build(_HORIZONS[0])

    def later(self, spans: Spans) -> Spans:
        """A table that reaches further than ``spans``, which must not be final."""
        for year in _HORIZONS:
            if year_start(year) * DAY_US > spans.end:
                self.spans = self._build(year)
                break
        return self.spans

    def until(self, at: int) -> Spans:
        """A table that has ``at`` inside, or the final one."""
        spans = self.spans
        while spans.end <= at and not spans.final:
            spans = self.later(spans)
        return spans

    def _build(self, year: int) -> Spans:
        end = year_start(year) * DAY_US
        footer = self._data.footer
        if footer is None or footer.daylight is None:
            end = _FAR_US
        changes: list[tuple[int, int]] = []
        for second, offset in self._changes(year):
            start = second * US
            if start >= end:
                break
            if changes and start <= changes[-1][0]:  # the earlier one never came into force
                start = changes.pop()[0]
            if not changes or offset * US != changes[-1][1]:
                changes.append((start, offset * US))
        return Spans(changes, end)

    def _changes(self, year: int) -> list[tuple[int, int]]:
        """(UTC second, offset in seconds) from before the first instant until ``year``."""
        changes = [(_START, self._data.initial), *self._data.transitions]
        footer = self._data.footer
        if footer is None:
            return changes
        # The footer holds from the last listed transition on, so it says the offset there too.
        known = max(changes[-1][0], _START)
        offset = footer.standard
        later = []
        for change in footer_transitions(footer, year_of(known // 86_400) - 1, year):
            if change[0] <= known:
                offset = change[1]
            else:
                later.append(change)
        return [*changes[:-1], (known, offset), *later]


def zone(name: object) -> Zone:
    """The zone of an IANA name such as ``Europe/Oslo``; ``ValidationFailed`` for every other
    value, and for names that stand for the zone of the machine: a rule means the same everywhere.
    """
    if not isinstance(name, str):
        raise ValidationFailed(
            f"tz must be the name of a time zone, not {type(name).__name__}", path="tz"
        )
    if name.casefold() in _OF_THE_MACHINE:
        raise ValidationFailed(
            f"tz: {name!r} depends on the machine; name the zone, such as 'Europe/Oslo'",
            path="tz",
            value=name,
        )
    try:
        return _load(name[:200])
    except (ValueError, LookupError, OSError, struct.error):
        near = did_you_mean(name, _likely(name))
        raise ValidationFailed(
            f"tz: there is no time zone {name[:60]!r}{near}", path="tz", value=name[:60]
        ) from None


@lru_cache(maxsize=1024)
def _load(name: str) -> Zone:
    zoneinfo.ZoneInfo(name)  # refuses names that are paths, and whatever else is no zone
    return Zone(name, load(name))


def _likely(name: str) -> list[str]:
    """What may have been meant: the same in other letters, or the name of a place. Abbreviations
    that look alike may lie hours apart."""
    same = [known for known in _names() if known.casefold() == name.casefold()]
    return same or [known for known in _names() if "/" in known and not known.startswith("Etc/")]


@lru_cache(maxsize=1)
def _names() -> list[str]:
    return sorted(
        known for known in zoneinfo.available_timezones() if known.casefold() not in _OF_THE_MACHINE
    )
