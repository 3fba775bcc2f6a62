"""``holidays("NO")``: the public holidays of a country, as a set of days.

The dates come from the ``holidays`` package (``pip install kalends[holidays]``), a year at a time
when a year is first asked for, and follow it when it is upgraded, as zones follow tzdata. Years
that the package does not know have no holidays.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kalends.errors import ValidationFailed, did_you_mean
from kalends.refusals import checking
from kalends.triggers.day_sets import Days
from kalends.triggers.days import year_of, year_start
from kalends.triggers.periods import date_of

__all__ = ["Holidays", "holidays"]


@checking
def holidays(
    country: str,
    *,
    subdiv: str | None = None,
    categories: tuple[str, ...] | None = None,
    tz: str | None = None,
) -> Holidays:
    """The public holidays of ``country`` (ISO 3166 code, such as ``"NO"``).

    ``subdiv`` is a part of the country, and ``categories`` what the ``holidays`` package calls so
    (``"bank"``, ``"school"``; usually only ``"public"``).
    """
    return Holidays(country, subdiv, categories, tz)


class Holidays(Days):
    """The public holidays of a country. Made by ``holidays``."""

    __slots__ = ("_year_days", "_years", "categories", "country", "subdiv")
    _year_days: dict[int, tuple[int, ...]]
    _years: tuple[int, int]
    categories: tuple[str, ...] | None
    country: str
    subdiv: str | None

    def __init__(
        self, country: str, subdiv: str | None, categories: tuple[str, ...] | None, tz: str | None
    ) -> None:
        if categories is not None:
            words = isinstance(categories, list | tuple) and all(
                isinstance(word, str) for word in categories
            )
            if not words or not categories:
                raise ValidationFailed("categories must be a list of words", path="categories")
            categories = tuple(sorted(set(categories)))
        for name, value in (("country", country), ("subdiv", subdiv)):
            if not isinstance(value, str) and not (value is None and name == "subdiv"):
                raise ValidationFailed(
                    f"{name} must be a code such as 'NO', not {type(value).__name__}", path=name
                )
        known = _load(country, subdiv, categories)
        self._set(country=country, subdiv=subdiv, categories=categories, _year_days={})
        self._set(_years=(getattr(known, "start_year", 1), getattr(known, "end_year", 9_999)))
        self._set_zone(tz)

    def has(self, day: int) -> bool:
        return day in self._of(year_of(day))

    def until(self, day: int) -> int:
        if self.has(day):
            return day + 1
        first, last = self._years
        year = max(year_of(day), first)
        while year <= last:
            later = [holiday for holiday in self._of(year) if holiday > day]
            if later:
                return later[0]
            year += 1
        return year_start(10_000)

    def since(self, day: int) -> int:
        if self.has(day):
            return day
        first, last = self._years
        year = min(year_of(day), last)
        while year >= first:
            earlier = [holiday for holiday in self._of(year) if holiday < day]
            if earlier:
                return earlier[-1] + 1
            year -= 1
        return year_start(0)

    def describe(self) -> str:
        place = self.country if self.subdiv is None else f"{self.country}-{self.subdiv}"
        kind = "public" if self.categories is None else " and ".join(self.categories)
        return f"{kind} holidays of {place}"

    def name(self, day: int) -> str:
        """The holiday's name, in English where the ``holidays`` package has that."""
        known = _load(self.country, self.subdiv, self.categories, year_of(day))
        return known[date_of(day)]

    def to_json(self) -> dict[str, Any]:
        return {
            "v": 1,
            "type": "holidays",
            "country": self.country,
            "subdiv": self.subdiv,
            "categories": None if self.categories is None else list(self.categories),
            "tz": self.tz,
        }

    def _of(self, year: int) -> tuple[int, ...]:
        """The holidays of a year, sorted."""
        days = self._year_days.get(year)
        if days is None:
            first, last = self._years
            found: tuple[int, ...] = ()
            if first <= year <= last:
                known = _load(self.country, self.subdiv, self.categories, year)
                begin, end = year_start(year), year_start(year + 1)
                # 719163 is the ordinal of 1970-01-01.
                numbers = {date.toordinal() - 719_163 for date in known}
                found = tuple(sorted(number for number in numbers if begin <= number < end))
            days = self._year_days[year] = found
        return days

    def _key(self) -> tuple[object, ...]:
        return (self.country, self.subdiv, self.categories, self.tz)

    def __repr__(self) -> str:
        words = [repr(self.country)]
        for name in ("subdiv", "categories", "tz"):
            value = getattr(self, name)
            if value is not None:
                words.append(f"{name}={value!r}")
        return f"holidays({', '.join(words)})"


@lru_cache(maxsize=4_096)
def _load(
    country: str, subdiv: str | None, categories: tuple[str, ...] | None, year: int | None = None
) -> Mapping[Any, str]:
    """What the ``holidays`` package says of one year, or an empty calendar that knows its
    limits."""
    try:
        import holidays as package
    except ImportError:
        raise ValidationFailed(
            "holidays() needs the package of that name: pip install kalends[holidays]",
            path="country",
        ) from None
    years = () if year is None else (year,)
    try:
        found: Mapping[Any, str] = package.country_holidays(
            country,
            subdiv=subdiv,
            years=years,
            expand=False,
            categories=categories,
            language="en_US",  # otherwise the names are in that of the process's locale
        )
    except NotImplementedError:
        codes = package.list_supported_countries()
        path = "country" if country not in codes else "subdiv"
        wrong, near = (country, codes) if path == "country" else (subdiv, codes[country])
        raise ValidationFailed(
            f"{path}: no holidays are known of {str(wrong)[:40]!r}{did_you_mean(wrong, near)}",
            path=path,
        ) from None
    except ValueError as refusal:
        raise ValidationFailed(f"categories: {str(refusal)[:200]}", path="categories") from None
    return found
