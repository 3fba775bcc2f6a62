"""Rules made of rules: ``a | b`` (either), ``a & b`` (both at one instant), ``a - b`` (one and not
the other).

The answers are exact. Where two rules can be put together by arithmetic (``fuse``), counting what
they share is arithmetic too; elsewhere it takes steps in proportion to the rarer of the two. A
search for an instant is bounded, as ``search`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kalends.clock import MAX_US, MIN_US
from kalends.errors import ValidationFailed
from kalends.triggers import search
from kalends.triggers.base import Trigger, check_depth, operand, phrase
from kalends.triggers.fuse import fuse
from kalends.triggers.search import Search, Searching, budget, check_possible, step

__all__ = ["MOST_RULES", "Difference", "Intersection", "Union", "intersection", "union"]

MOST_RULES = 100
"""Rules in one union or intersection, at most."""


def union(*rules: Trigger) -> Union:
    """``a | b | …`` as one rule."""
    return Union(_flat(rules, Union))


def intersection(*rules: Trigger) -> Intersection:
    """``a & b & …`` as one rule."""
    return Intersection(_flat(rules, Intersection))


class _Several(Trigger):
    """What unions and intersections share: two rules or more."""

    __slots__ = ()  # _rules, in each subclass: slots of two bases do not mix
    compound = True
    _rules: tuple[Trigger, ...]

    def __init__(self, rules: Sequence[Trigger]) -> None:
        if not 2 <= len(rules) <= MOST_RULES:
            raise ValidationFailed(
                f"2 to {MOST_RULES} rules may be joined, not {len(rules)}", path="trigger"
            )
        check_depth(*rules)
        self._set(_rules=tuple(rules))

    @property
    def rules(self) -> tuple[Trigger, ...]:
        return self._rules

    def anchored(self, at_us: int) -> Trigger:
        rules = tuple(rule.anchored(at_us) for rule in self.rules)
        same = all(new is old for new, old in zip(rules, self.rules, strict=True))
        return self if same else type(self)(rules)

    def delay_us(self, instant_us: int, seed: str) -> int:
        for rule in self.rules:
            if _due(rule, instant_us):
                return rule.delay_us(instant_us, seed)
        return 0

    def _key(self) -> tuple[object, ...]:
        return self.rules

    def _json(self, kind: str) -> dict[str, Any]:
        return {"v": 1, "type": kind, "rules": [rule.to_json() for rule in self.rules]}


class Union(_Several):
    """Due whenever one of ``rules`` is. Made by ``|``. Where several are due at one instant, the
    first that is decides its delay."""

    __slots__ = ("_rules",)

    @property
    def origin_us(self) -> int | None:
        origins = [rule.origin_us for rule in self.rules]
        known = [origin for origin in origins if origin is not None]
        return min(known) if len(known) == len(origins) else None

    def next_us(self, after_us: int) -> int | None:
        found = [rule.next_us(after_us) for rule in self.rules]
        return min((due for due in found if due is not None), default=None)

    def previous_us(self, before_us: int) -> int | None:
        found = [rule.previous_us(before_us) for rule in self.rules]
        return max((due for due in found if due is not None), default=None)

    def count_us(self, a: int, b: int) -> int:
        total = self.rules[0].count_us(a, b)
        for number in range(1, len(self.rules)):
            rule = self.rules[number]
            total += rule.count_us(a, b) - self._already(rule, number, a, b)
        return total

    def _already(self, rule: Trigger, number: int, a: int, b: int) -> int:
        """How many instants of ``rule`` one of the first ``number`` rules has too."""
        if number == 1:
            return _shared(self.rules[0], rule, a, b)
        before = Union(self.rules[:number])
        return _shared(before, rule, a, b)

    def describe(self) -> str:
        return "; and also ".join(map(phrase, self.rules))

    def to_json(self) -> dict[str, Any]:
        return self._json("union")

    def __repr__(self) -> str:
        return " | ".join(map(operand, self.rules))


class Intersection(_Several, Searching):
    """Due whenever all of ``rules`` are, at one and the same instant. Made by ``&``."""

    __slots__ = ("_fused", "_rules")
    _fused: tuple[Trigger, ...]

    def __init__(self, rules: Sequence[Trigger]) -> None:
        super().__init__(rules)
        fused: list[Trigger] = []
        for rule in () if self.needs_anchor else self.rules:
            for at, other in enumerate(fused):
                both = fuse(other, rule)
                if both is not None:
                    fused[at] = both
                    break
            else:
                fused.append(rule)
        self._set(_fused=tuple(fused) or self.rules)
        self._forget()
        check_possible(self)

    @property
    def origin_us(self) -> int | None:
        known = [origin for rule in self.rules if (origin := rule.origin_us) is not None]
        return max(known, default=None)

    def _search_next(self, after_us: int) -> int | None:
        search = Search(self)
        at: int | None = max(after_us, MIN_US - 1) + 1
        while at is not None and search.goes_on(at):
            latest = at
            for rule in self._fused:
                due = rule.next_us(latest - 1)
                if due is None:
                    return None
                latest = due
            if latest == at:
                return at
            at = latest
        return None

    def _search_previous(self, before_us: int) -> int | None:
        search = Search(self)
        at: int | None = min(before_us, MAX_US + 1) - 1
        while at is not None and search.goes_on(at):
            earliest = at
            for rule in self._fused:
                due = rule.previous_us(earliest + 1)
                if due is None:
                    return None
                earliest = due
            if earliest == at:
                return at
            at = earliest
        return None

    def _counted(self, a: int, b: int) -> int:
        if len(self._fused) == 1:
            return self._fused[0].count_us(a, b)
        total = 0
        due = self.next_us(max(a, MIN_US) - 1)
        while due is not None and due < b:
            step(*self.rules)
            total += 1
            due = self.next_us(due)
        return total

    def describe(self) -> str:
        first, *others = map(phrase, self.rules)
        return f"{first}; only when that is also: {'; and also: '.join(others)}"

    def to_json(self) -> dict[str, Any]:
        return self._json("intersection")

    def __repr__(self) -> str:
        return " & ".join(map(operand, self.rules))


class Difference(Searching):
    """Due whenever ``rule`` is and ``minus`` is not. Made by ``-``."""

    __slots__ = ("minus", "rule")
    compound = True
    minus: Trigger
    rule: Trigger

    def __init__(self, rule: Trigger, minus: Trigger) -> None:
        check_depth(rule, minus)
        self._set(rule=rule, minus=minus)
        self._forget()
        check_possible(self)

    @property
    def rules(self) -> tuple[Trigger, ...]:
        return (self.rule, self.minus)

    @property
    def origin_us(self) -> int | None:
        return self.rule.origin_us

    def anchored(self, at_us: int) -> Trigger:
        rule, minus = self.rule.anchored(at_us), self.minus.anchored(at_us)
        return self if (rule, minus) == self.rules else Difference(rule, minus)

    def _search_next(self, after_us: int) -> int | None:
        search = Search(self)
        due = self.rule.next_us(after_us)
        while due is not None and search.goes_on(due):
            if not _due(self.minus, due):
                return due
            due = self.rule.next_us(due)
        return None

    def _search_previous(self, before_us: int) -> int | None:
        search = Search(self)
        due = self.rule.previous_us(before_us)
        while due is not None and search.goes_on(due):
            if not _due(self.minus, due):
                return due
            due = self.rule.previous_us(due)
        return None

    def _counted(self, a: int, b: int) -> int:
        return self.rule.count_us(a, b) - _shared(self.rule, self.minus, a, b)

    def delay_us(self, instant_us: int, seed: str) -> int:
        return self.rule.delay_us(instant_us, seed)

    def describe(self) -> str:
        return f"{phrase(self.rule)}; except when that is also: {phrase(self.minus)}"

    def to_json(self) -> dict[str, Any]:
        return {
            "v": 1,
            "type": "difference",
            "rule": self.rule.to_json(),
            "minus": self.minus.to_json(),
        }

    def _key(self) -> tuple[object, ...]:
        return self.rules

    def __repr__(self) -> str:
        return f"{operand(self.rule)} - {operand(self.minus)}"


def _flat(rules: Sequence[Trigger], kind: type[_Several]) -> list[Trigger]:
    """``rules``, with those of rules of the same ``kind`` in their place."""
    return [part for rule in rules for part in (rule.rules if isinstance(rule, kind) else (rule,))]


def _due(rule: Trigger, at_us: int) -> bool:
    return rule.next_us(at_us - 1) == at_us


def _shared(one: Trigger, other: Trigger, a: int, b: int) -> int:
    """How many instants ``t`` with ``a <= t < b`` two rules have in common."""
    both = fuse(one, other)
    if both is not None:
        return both.count_us(a, b)
    total, at = 0, max(a, MIN_US)
    with budget(search.COUNTED):
        while at < b:
            step(one, other)
            due = one.next_us(at - 1)
            if due is None:
                break
            met = other.next_us(due - 1)
            if met is None:
                break
            if met == due and due < b:
                total += 1
            at = max(met, due + 1)
    return total
