"""Triggers from JSON: a closed table of types, and nothing else is ever looked up, imported or
called.

``from_json(rule.to_json()) == rule``, and prints the same. What a database holds may be damaged or
hostile: every value is checked as if a stranger had passed it to the constructor, and refused with
``ValidationFailed``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from kalends.clock import to_us
from kalends.errors import ValidationFailed, did_you_mean
from kalends.triggers import search
from kalends.triggers.base import MAX_DEPTH, Trigger
from kalends.triggers.bounded import Bounded
from kalends.triggers.calendar import CALENDAR_KEYS, Calendar
from kalends.triggers.combine import MOST_RULES, Difference, Intersection, Union
from kalends.triggers.cron import Cron
from kalends.triggers.days_codec import days_from_json
from kalends.triggers.interval import UNITS, Interval
from kalends.triggers.jitter import Jittered, jitter_us
from kalends.triggers.limit import Limited
from kalends.triggers.on_days import OnDays
from kalends.triggers.once import Once
from kalends.triggers.periods import UNITS as PERIODS
from kalends.triggers.rrule import rrule

__all__ = ["VERSION", "from_json"]

VERSION = 1
"""The version of the form that ``to_json`` writes."""


def from_json(value: object) -> Trigger:
    """The trigger that ``to_json`` described; ``ValidationFailed`` for anything else.

    All the rules in it together may search for twice as long as one rule may.
    """
    with search.budget(2 * search.STEPS):
        return _decode(value, "trigger", MAX_DEPTH)


def _decode(value: object, path: str, levels: int) -> Trigger:
    if not isinstance(value, dict):
        raise ValidationFailed(
            f"{path} must be a JSON object, not {type(value).__name__}", path=path
        )
    if levels < 1:
        raise ValidationFailed(
            f"{path}: triggers may be put into each other at most {MAX_DEPTH} deep", path=path
        )
    version, kind = value.get("v"), value.get("type")
    if type(version) is not int or version != VERSION:
        raise ValidationFailed(
            f"{path}.v must be {VERSION}: this is not a form that this version of Kalends reads",
            path=f"{path}.v",
        )
    if not isinstance(kind, str) or kind not in _TYPES:
        near = did_you_mean(kind, _TYPES)
        raise ValidationFailed(
            f"{path}.type: no trigger is of type {str(kind)[:40]!r}{near}", path=f"{path}.type"
        )
    keys, decode = _TYPES[kind]
    for key in value:
        if key not in ("v", "type", *keys):
            raise ValidationFailed(
                f"{path}: a trigger of type {kind!r} has no {str(key)[:40]!r}", path=path
            )
    return decode(value, path, levels)


def _once(value: dict[str, Any], path: str, levels: int) -> Trigger:
    return Once(_instant(value, "at", path))


def _every(value: dict[str, Any], path: str, levels: int) -> Trigger:
    given = {name: value[name] for name in UNITS if name in value}
    anchor = value.get("anchor")
    return Interval(given, None if anchor is None else _instant(value, "anchor", path))


def _cron(value: dict[str, Any], path: str, levels: int) -> Trigger:
    for key in ("expr", "tz", "dialect"):
        if not isinstance(value.get(key), str):
            raise ValidationFailed(f"{path}.{key} must be text", path=f"{path}.{key}")
    choices = value.get("gap"), value.get("fold")
    return Cron(value["expr"], value["tz"], value["dialect"], *choices)


def _calendar(value: dict[str, Any], path: str, levels: int) -> Trigger:
    given = {unit: value[unit] for unit in PERIODS if unit in value}
    anchor = None if value.get("anchor") is None else _instant(value, "anchor", path)
    dst = value.get("gap"), value.get("fold")
    return Calendar(given, value, value.get("at", "00:00"), value.get("tz", "UTC"), anchor, dst)


def _rrule(value: dict[str, Any], path: str, levels: int) -> Trigger:
    for key in ("rule", "tz"):
        if not isinstance(value.get(key), str):
            raise ValidationFailed(f"{path}.{key} must be text", path=f"{path}.{key}")
    start = value.get("anchor")
    if start is not None and not isinstance(start, str):
        raise ValidationFailed(f"{path}.anchor must be text", path=f"{path}.anchor")
    choices = {"gap": value.get("gap"), "fold": value.get("fold")}
    return rrule(value["rule"], start=start, tz=value["tz"], **choices)


def _between(value: dict[str, Any], path: str, levels: int) -> Trigger:
    bounds = [
        None if value.get(key) is None else _instant(value, key, path) for key in ("start", "end")
    ]
    return Bounded(_inner(value, "rule", path, levels), *bounds)


def _jitter(value: dict[str, Any], path: str, levels: int) -> Trigger:
    return Jittered(_inner(value, "rule", path, levels), jitter_us(value.get("seconds")))


def _limit(value: dict[str, Any], path: str, levels: int) -> Trigger:
    anchor = None if value.get("anchor") is None else _instant(value, "anchor", path)
    return Limited(_inner(value, "rule", path, levels), value.get("n"), anchor)  # type: ignore[arg-type]  # it checks


def _union(value: dict[str, Any], path: str, levels: int) -> Trigger:
    return Union(_inners(value, path, levels))


def _intersection(value: dict[str, Any], path: str, levels: int) -> Trigger:
    return Intersection(_inners(value, path, levels))


def _difference(value: dict[str, Any], path: str, levels: int) -> Trigger:
    rule, minus = (_inner(value, key, path, levels) for key in ("rule", "minus"))
    return Difference(rule, minus)


def _except_days(value: dict[str, Any], path: str, levels: int) -> Trigger:
    days = days_from_json(value.get("days"), f"{path}.days")
    return OnDays(_inner(value, "rule", path, levels), days, keep=False)


def _only_days(value: dict[str, Any], path: str, levels: int) -> Trigger:
    days = days_from_json(value.get("days"), f"{path}.days")
    return OnDays(_inner(value, "rule", path, levels), days, keep=True)


def _inner(value: dict[str, Any], key: str, path: str, levels: int) -> Trigger:
    return _decode(value.get(key), f"{path}.{key}", levels - 1)


def _inners(value: dict[str, Any], path: str, levels: int) -> list[Trigger]:
    rules = value.get("rules")
    if not isinstance(rules, list) or not 2 <= len(rules) <= MOST_RULES:
        raise ValidationFailed(
            f"{path}.rules must be a list of 2 to {MOST_RULES} triggers", path=f"{path}.rules"
        )
    return [_decode(rule, f"{path}.rules[{at}]", levels - 1) for at, rule in enumerate(rules)]


def _instant(value: dict[str, Any], key: str, path: str) -> int:
    text = value.get(key)
    if not isinstance(text, str):
        raise ValidationFailed(f"{path}.{key} must be an ISO 8601 instant", path=f"{path}.{key}")
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValidationFailed(
            f"{path}.{key}: {text[:40]!r} is not an ISO 8601 instant", path=f"{path}.{key}"
        ) from None
    return to_us(at, f"{path}.{key}")


_TYPES: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Any], str, int], Trigger]]] = {
    "between": (("rule", "start", "end"), _between),
    "calendar": (CALENDAR_KEYS, _calendar),
    "cron": (("expr", "tz", "dialect", "gap", "fold"), _cron),
    "difference": (("rule", "minus"), _difference),
    "every": ((*UNITS, "anchor"), _every),
    "except_days": (("rule", "days"), _except_days),
    "intersection": (("rules",), _intersection),
    "jitter": (("rule", "seconds"), _jitter),
    "limit": (("rule", "n", "anchor"), _limit),
    "once": (("at",), _once),
    "only_days": (("rule", "days"), _only_days),
    "rrule": (("rule", "anchor", "tz", "gap", "fold"), _rrule),
    "union": (("rules",), _union),
}
"""Each type: the keys it may have beside ``v`` and ``type``, and its decoder."""
