"""Sets of days from JSON, with the same care as triggers; see ``codec``."""

from __future__ import annotations

from typing import Any

from kalends.errors import ValidationFailed, did_you_mean
from kalends.triggers.day_sets import MOST_SETS, Dates, Days, DaysUnion, Weekdays
from kalends.triggers.public_holidays import Holidays
from kalends.triggers.working_days import WorkingDays

__all__ = ["days_from_json", "days_of"]

_KEYS = {
    "dates": ("dates", "tz"),
    "days": ("sets",),
    "holidays": ("country", "subdiv", "categories", "tz"),
    "weekdays": ("weekdays", "tz"),
    "working_day": ("numbers", "closed"),
}
"""Each type, and the keys it may have beside ``v`` and ``type``."""


def days_from_json(value: object, path: str, outer: tuple[str, ...] = ()) -> Days:
    """The set of days that ``to_json`` described; ``ValidationFailed`` for anything else.

    ``outer`` are the types that it cannot have, being a part of another set.
    """
    if not isinstance(value, dict):
        raise ValidationFailed(
            f"{path} must be a JSON object, not {type(value).__name__}", path=path
        )
    if type(value.get("v")) is not int or value["v"] != 1:
        raise ValidationFailed(f"{path}.v must be 1", path=f"{path}.v")
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in _KEYS or kind in outer:
        raise ValidationFailed(
            f"{path}.type: no set of days is of type {str(kind)[:40]!r}{did_you_mean(kind, _KEYS)}",
            path=f"{path}.type",
        )
    for key in value:
        if key not in ("v", "type", *_KEYS[kind]):
            raise ValidationFailed(f"{path}: {kind!r} has no {str(key)[:40]!r}", path=path)
    return _made(kind, value, path, outer)


def days_of(value: object) -> Days:
    """The same, for a set of days that was pickled by itself."""
    return days_from_json(value, "days")


def _made(kind: str, value: dict[str, Any], path: str, outer: tuple[str, ...]) -> Days:
    if kind == "dates":
        return Dates(tuple(_listed(value, "dates", path)), value.get("tz"))
    if kind == "weekdays":
        return Weekdays(tuple(_listed(value, "weekdays", path)), value.get("tz"))
    if kind == "holidays":
        words = value.get("categories")
        categories = None if words is None else tuple(_listed(value, "categories", path))
        return Holidays(value.get("country"), value.get("subdiv"), categories, value.get("tz"))  # type: ignore[arg-type]  # it checks
    if kind == "working_day":
        closed = days_from_json(value.get("closed"), f"{path}.closed", (kind,))
        return WorkingDays(tuple(_listed(value, "numbers", path)), closed)
    sets = _listed(value, "sets", path)
    if len(sets) > MOST_SETS:
        raise ValidationFailed(f"{path}.sets holds more than {MOST_SETS}", path=f"{path}.sets")
    outer = (*outer, kind)
    return DaysUnion(
        tuple(days_from_json(one, f"{path}.sets[{at}]", outer) for at, one in enumerate(sets))
    )


def _listed(value: dict[str, Any], key: str, path: str) -> list[Any]:
    found = value.get(key)
    if not isinstance(found, list):
        raise ValidationFailed(f"{path}.{key} must be a list", path=f"{path}.{key}")
    return found
