"""Reading a time zone's transitions from its compiled file (TZif, RFC 8536).

``zoneinfo`` converts single moments but does not say where a zone's transitions are, and trigger
arithmetic needs them: probing for them could miss a short span. So the file that ``zoneinfo``
itself would open is read once more here: the listed transitions, and the rule in its footer (a
POSIX TZ string) for all years after them.
"""

from __future__ import annotations

import importlib.resources
import re
import struct
import zoneinfo
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kalends.triggers.days import year_start

__all__ = ["Footer", "ZoneData", "footer_transitions", "load", "parse"]

_HEADER = struct.Struct(">4sc15x6I")
_DAY = 86_400


class Change(msgspec.Struct, frozen=True):
    """When in a year a footer's offset changes: an ``M``, ``J`` or zero-based day, and seconds
    after midnight."""

    kind: str
    numbers: tuple[int, ...]
    seconds: int


class Footer(msgspec.Struct, frozen=True):
    """The rule for the years after the last listed transition; offsets in seconds east of UTC."""

    standard: int
    daylight: int | None = None
    begins: Change | None = None
    ends: Change | None = None


class ZoneData(msgspec.Struct, frozen=True):
    """What a file says: the first offset, (UTC second, offset from then on) in order, and the
    footer."""

    initial: int
    transitions: tuple[tuple[int, int], ...]
    footer: Footer | None


def load(key: str) -> ZoneData:
    """The data of an IANA name, from where ``zoneinfo`` finds it; KeyError where it does not."""
    for folder in zoneinfo.TZPATH:
        path = Path(folder, key)
        if path.is_file():
            return parse(path.read_bytes())
    resource = importlib.resources.files("tzdata").joinpath("zoneinfo", *key.split("/"))
    if not resource.is_file():
        raise KeyError(key)
    return parse(resource.read_bytes())


def parse(data: bytes) -> ZoneData:
    """Read a TZif file of any version; ValueError for anything else."""
    magic, version, *counts = _HEADER.unpack_from(data)
    if magic != b"TZif":
        raise ValueError("not a TZif file")
    if version == b"\0":
        return _block(data, _HEADER.size, counts, 4)[0]
    second = _HEADER.size + _size(counts, 4)
    _, _, *counts = _HEADER.unpack_from(data, second)
    zone, end = _block(data, second + _HEADER.size, counts, 8)
    text = data[end:].strip(b"\n").decode("ascii")
    return msgspec.structs.replace(zone, footer=parse_footer(text)) if text else zone


def _size(counts: list[int], width: int) -> int:
    isut, isstd, leap, times, types, chars = counts
    return times * (width + 1) + types * 6 + chars + leap * (width + 4) + isstd + isut


def _block(data: bytes, at: int, counts: list[int], width: int) -> tuple[ZoneData, int]:
    _, _, _, times, types, _ = counts
    stamps = struct.unpack_from(f">{times}{'q' if width == 8 else 'l'}", data, at)
    kinds = data[at + times * width : at + times * (width + 1)]
    table = [
        struct.unpack_from(">l?B", data, at + times * (width + 1) + 6 * row) for row in range(types)
    ]
    # Before the first transition: the first standard time, as zoneinfo has it.
    initial = next((offset for offset, daylight, _ in table if not daylight), table[0][0])
    listed = tuple((stamp, table[kind][0]) for stamp, kind in zip(stamps, kinds, strict=True))
    return ZoneData(initial, listed, None), at + _size(counts, width)


_NAME = r"(?:<[^>]+>|[A-Za-z]{3,})"
_TIME = r"[+-]?\d+(?::\d+(?::\d+)?)?"
_FOOTER = re.compile(
    rf"{_NAME}({_TIME})(?:{_NAME}({_TIME})?,(J?\d+|M[\d.]+)(?:/({_TIME}))?,(J?\d+|M[\d.]+)(?:/({_TIME}))?)?"
)


def parse_footer(text: str) -> Footer:
    """Read a POSIX TZ string as RFC 8536 extends it (hours from -167 to 167)."""
    match = _FOOTER.fullmatch(text)
    if match is None:
        raise ValueError(f"not a POSIX TZ string: {text[:60]!r}")
    west, summer, begins, begins_at, ends, ends_at = match.groups()
    standard = -_seconds(west)
    if begins is None:
        return Footer(standard)
    daylight = standard + 3_600 if summer is None else -_seconds(summer)
    return Footer(standard, daylight, _change(begins, begins_at), _change(ends, ends_at))


def _seconds(text: str) -> int:
    hours, minutes, seconds = [*text.lstrip("+-").split(":"), "0", "0"][:3]
    size = int(hours) * 3_600 + int(minutes) * 60 + int(seconds)
    return -size if text.startswith("-") else size


def _change(day: str, time: str | None) -> Change:
    seconds = 7_200 if time is None else _seconds(time)
    if day[0] == "M":
        return Change("M", tuple(int(number) for number in day[1:].split(".")), seconds)
    return Change("J" if day[0] == "J" else "N", (int(day.lstrip("J")),), seconds)


def footer_transitions(footer: Footer, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The (UTC second, offset) of the years ``first`` to ``last``, in order."""
    if footer.daylight is None or footer.begins is None or footer.ends is None:
        return
    found = []
    for year in range(first, last + 1):
        start = year_start(year)
        leap = year_start(year + 1) - start == 366
        on = _day(footer.begins, start, leap) * _DAY + footer.begins.seconds - footer.standard
        off = _day(footer.ends, start, leap) * _DAY + footer.ends.seconds - footer.daylight
        found += [(off, footer.standard), (on, footer.daylight)]
    # An end and a beginning that coincide (daylight time all year) leave daylight time, because
    # the sort is stable.
    found.sort(key=lambda change: change[0])
    yield from found


def _day(change: Change, start: int, leap: bool) -> int:
    """The day number that ``change`` falls on in the year that starts on day ``start``."""
    if change.kind == "N":
        return start + change.numbers[0]
    if change.kind == "J":
        return start + change.numbers[0] - 1 + (leap and change.numbers[0] >= 60)
    month, week, weekday = change.numbers
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    first = start + sum(lengths[: month - 1])
    offset = (weekday - (first + 4)) % 7 + 7 * (week - 1)
    return first + (offset if offset < lengths[month - 1] else offset - 7)
