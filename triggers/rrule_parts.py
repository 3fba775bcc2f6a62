"""Reading the recurrence rules of RFC 5545 (section 3.3.10).

``FREQ`` with ``INTERVAL``, ``COUNT`` or ``UNTIL``, ``WKST`` and the BY parts, in any order and
case; ``RRULE:`` may stand before it. Stricter than some readers: what the RFC forbids is refused.
Laxer in one point: ``BYWEEKNO``, ``BYYEARDAY`` and ``BYMONTHDAY`` go with every ``FREQ``. Time
here has no leap seconds, so second 60 is read as 59, as the RFC advises (section 3.3.12).
"""

from __future__ import annotations

import datetime as dt
import re
from typing import NoReturn

import msgspec

from kalends.errors import PayloadTooLarge, ValidationFailed, did_you_mean

__all__ = ["FREQUENCIES", "RuleParts", "parse_rrule"]

MAX_TEXT = 1_000
"""Characters in a rule, at most."""

FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")

_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

_LISTS = {
    "BYSECOND": (0, 60),
    "BYMINUTE": (0, 59),
    "BYHOUR": (0, 23),
    "BYMONTHDAY": (-31, 31),
    "BYYEARDAY": (-366, 366),
    "BYWEEKNO": (-53, 53),
    "BYMONTH": (1, 12),
    "BYSETPOS": (-366, 366),
}
"""The parts that are lists of numbers, and their range; below zero counts from the end."""

_NUMBERS = {"INTERVAL": (1, 1_000_000_000), "COUNT": (0, 10_000_000)}
"""The parts that are one number, and its range."""

_KNOWN = ("FREQ", "UNTIL", "WKST", "BYDAY", *_NUMBERS, *_LISTS)


class RuleParts(msgspec.Struct, frozen=True):
    """What a rule says; empty lists where it says nothing."""

    freq: str
    interval: int = 1
    count: int | None = None
    until: dt.datetime | None = None
    """Aware (UTC) where the rule says ``Z``; otherwise a wall-clock time."""
    week_start: int = 0
    """0 is Monday."""
    by_second: tuple[int, ...] = ()
    by_minute: tuple[int, ...] = ()
    by_hour: tuple[int, ...] = ()
    by_day: tuple[tuple[int, int], ...] = ()
    """(which one, or 0 for each; weekday, 0 is Monday)."""
    by_monthday: tuple[int, ...] = ()
    by_yearday: tuple[int, ...] = ()
    by_weekno: tuple[int, ...] = ()
    by_month: tuple[int, ...] = ()
    by_setpos: tuple[int, ...] = ()


def parse_rrule(text: object) -> RuleParts:
    """Read a rule; ``ValidationFailed`` says what is wrong with it."""
    if not isinstance(text, str):
        raise ValidationFailed(
            f"rule must be text such as 'FREQ=DAILY', not {type(text).__name__}", path="rule"
        )
    if len(text) > MAX_TEXT:
        raise PayloadTooLarge(
            f"rule: a recurrence rule has at most {MAX_TEXT} characters, not {len(text)}",
            path="rule",
            size=len(text),
            limit=MAX_TEXT,
        )
    given = _split(text)
    freq = given.get("FREQ", "")
    if freq not in FREQUENCIES:
        near = did_you_mean(freq, FREQUENCIES)
        _refuse("FREQ", freq, f"is not one of {', '.join(FREQUENCIES)}{near}")
    numbers = {name: _number(name, given[name]) for name in _NUMBERS if name in given}
    lists = {name: _list(name, given[name]) for name in _LISTS if name in given}
    parts = RuleParts(
        freq=freq,
        interval=numbers.get("INTERVAL", 1),
        count=numbers.get("COUNT"),
        until=_until(given["UNTIL"]) if "UNTIL" in given else None,
        week_start=_weekday("WKST", given["WKST"]) if "WKST" in given else 0,
        by_second=tuple(sorted({min(second, 59) for second in lists.get("BYSECOND", ())})),
        by_minute=lists.get("BYMINUTE", ()),
        by_hour=lists.get("BYHOUR", ()),
        by_day=_by_day(given["BYDAY"]) if "BYDAY" in given else (),
        by_monthday=lists.get("BYMONTHDAY", ()),
        by_yearday=lists.get("BYYEARDAY", ()),
        by_weekno=lists.get("BYWEEKNO", ()),
        by_month=lists.get("BYMONTH", ()),
        by_setpos=lists.get("BYSETPOS", ()),
    )
    _check(parts, given)
    return parts


def _split(text: str) -> dict[str, str]:
    body = text.strip().upper().removeprefix("RRULE:")
    given: dict[str, str] = {}
    for piece in body.removesuffix(";").split(";"):
        name, equals, value = piece.strip().partition("=")
        if not equals or not value:
            _refuse(name, piece, "is not NAME=VALUE, as in FREQ=DAILY;COUNT=3")
        if name not in _KNOWN:
            _refuse(name, piece, f"is not part of a rule{did_you_mean(name, _KNOWN)}")
        if name in given:
            _refuse(name, piece, "is there twice")
        given[name] = value
    return given


def _check(parts: RuleParts, given: dict[str, str]) -> None:
    if parts.count is not None and parts.until is not None:
        _refuse("UNTIL", given["UNTIL"], "cannot be given beside COUNT")
    if any(which for which, _ in parts.by_day):
        if parts.freq not in ("YEARLY", "MONTHLY"):
            _refuse("BYDAY", given["BYDAY"], "has a number, which goes with YEARLY or MONTHLY only")
        if parts.by_weekno:
            _refuse("BYDAY", given["BYDAY"], "has a number, which does not go with BYWEEKNO")
    if parts.by_setpos and not any(name.startswith("BY") and name != "BYSETPOS" for name in given):
        _refuse("BYSETPOS", given["BYSETPOS"], "needs another BY part to choose from")


def _number(name: str, text: str) -> int:
    low, high = _NUMBERS[name]
    if not re.fullmatch("[0-9]{1,12}", text) or not low <= int(text) <= high:
        _refuse(name, text, f"must be a whole number from {low} to {high}")
    return int(text)


def _list(name: str, text: str) -> tuple[int, ...]:
    low, high = _LISTS[name]
    found = set()
    for item in text.split(","):
        if not re.fullmatch("[+-]?[0-9]{1,3}", item) or not low <= int(item) <= high:
            _refuse(name, item, f"must be a whole number from {low} to {high}")
        if low < 0 and int(item) == 0:
            _refuse(name, item, "counts from 1, or from -1 at the end")
        found.add(int(item))
    return tuple(sorted(found))


def _by_day(text: str) -> tuple[tuple[int, int], ...]:
    found = set()
    for item in text.split(","):
        match = re.fullmatch("([+-]?[0-9]{1,2})?([A-Z]{2})", item)
        which = int(match[1] or 0) if match else 0
        if match is None or (match[1] and not 1 <= abs(which) <= 53):
            _refuse("BYDAY", item, "is not a weekday such as MO, 1MO or -1FR")
        found.add((which, _weekday("BYDAY", match[2])))
    return tuple(sorted(found))


def _weekday(name: str, text: str) -> int:
    if text not in _DAYS:
        _refuse(name, text, f"is not one of {', '.join(_DAYS)}")
    return _DAYS.index(text)


def _until(text: str) -> dt.datetime:
    match = re.fullmatch("([0-9]{8})(?:T([0-9]{6})(Z?))?", text)
    try:
        if match is None:
            raise ValueError(text)
        at = dt.datetime.strptime(match[1] + (match[2] or "000000"), "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        _refuse("UNTIL", text, "is not a time such as 20271224T180000Z")
    return at.replace(tzinfo=dt.UTC) if match[3] else at


def _refuse(name: str, value: str, why: str) -> NoReturn:
    shown = value if len(value) <= 40 else value[:40] + "…"
    raise ValidationFailed(
        f"rule: {name[:20]}: {shown!r} {why}", path="rule", field=name[:20], value=shown
    )
