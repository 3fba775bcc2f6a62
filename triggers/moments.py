"""What a rule says by the wall clock, before a time zone makes instants of it."""

from __future__ import annotations

from typing import Protocol

from kalends.errors import ValidationFailed
from kalends.triggers.base import Trigger

__all__ = ["Moments", "NoMoments"]


class Moments(Protocol):
    """Matching wall-clock moments, in microseconds on an endless naive time line."""

    def at_or_after(self, moment: int) -> int | None:
        """The first matching moment that is not before ``moment``."""

    def before(self, moment: int) -> int | None:
        """The last matching moment before ``moment``."""

    def count(self, a: int, b: int) -> int:
        """How many matching moments ``m`` have ``a <= m < b``."""


class NoMoments:
    """The moments of a rule that counts from an instant it has not been given yet: asking is
    refused. ``word`` names what is missing.
    """

    __slots__ = ("_rule", "_word")

    def __init__(self, rule: Trigger, word: str) -> None:
        self._rule = rule
        self._word = word

    def _refuse(self) -> ValidationFailed:
        return ValidationFailed(
            f"{self._rule!r} has no {self._word} yet, so it has no instants: give {self._word}=, "
            "or ask anchored(at_us) for a rule that counts from that instant",
            path=self._word,
        )

    def at_or_after(self, moment: int) -> int | None:
        raise self._refuse()

    def before(self, moment: int) -> int | None:
        raise self._refuse()

    def count(self, a: int, b: int) -> int:
        raise self._refuse()
