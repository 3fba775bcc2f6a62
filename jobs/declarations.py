"""Declared schedules: events that stand in the code, beside the jobs that they run.

A registry keeps them until a scheduler that uses it starts and makes the stored events so; see
``kalends.reconciliation``. Nothing is stored, and no rule is asked, when one is declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from kalends.errors import ConflictError, JobNotFound, ValidationFailed
from kalends.native import allocate_lock
from kalends.triggers import Trigger

__all__ = ["Declaration", "Declarations"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Declaration:
    """An event as it was declared: its values are checked when a scheduler reconciles."""

    name: str
    job: str
    trigger: Trigger
    fields: Mapping[str, Any]
    function: Callable[..., Any]

    def values(self) -> dict[str, Any]:
        """The fields of ``schedule_event``."""
        return {**self.fields, "job": self.job, "trigger": self.trigger, "name": self.name}

    def may_replace(self, known: Declaration) -> bool:
        """True where a module is loaded again; two above one function are two events."""
        if known.function is self.function:
            return (known.trigger, known.fields) == (self.trigger, self.fields)
        return known.job == self.job


class Declarations:
    """The declared events of one registry, by name. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._by_name: dict[str, Declaration] = {}

    def decorator(
        self,
        name_of: Callable[[Callable[..., Any]], str],
        trigger: Trigger,
        name: str | None,
        fields: Mapping[str, Any],
    ) -> Callable[[F], F]:
        """What declares an event of the job that it is put above; ``name_of`` knows the jobs.

        Raises ``ValidationFailed`` where this is no rule, or no name.
        """
        _check(trigger, name)

        def declare(function: F) -> F:
            try:
                job = name_of(function)
            except JobNotFound as error:
                raise ValidationFailed(
                    f"put @scheduled above the @job of its function: {error.message}",
                    path="job",
                ) from error
            self._add(Declaration(name or job, job, trigger, fields, function))
            return function

        return declare

    def _add(self, declaration: Declaration) -> None:
        with self._lock:
            known = self._by_name.get(declaration.name)
            if known is not None and not declaration.may_replace(known):
                raise ConflictError(
                    f"an event {declaration.name!r} is declared already, for job {known.job!r};"
                    " give one of them another name=",
                    path="name",
                    name=declaration.name,
                )
            self._by_name[declaration.name] = declaration

    def all(self) -> tuple[Declaration, ...]:
        """Every one, by name."""
        with self._lock:
            return tuple(self._by_name[name] for name in sorted(self._by_name))


def _check(trigger: object, name: object) -> None:
    if name is not None and not (isinstance(name, str) and name.strip()):
        raise ValidationFailed(f"name must be a text, not {name!r:.80}", path="name")
    if not isinstance(trigger, Trigger):
        raise ValidationFailed(
            "scheduled() takes a rule, such as every(...) or cron(...) make, not"
            f" {type(trigger).__name__}",
            path="trigger",
        )
