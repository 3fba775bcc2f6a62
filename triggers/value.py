"""What triggers and sets of days have in common: they are values.

Promises: a value never changes, so that a copy of it is itself; it is equal to another of the same
class that says the same; pickled, it is the JSON form that a database would hold, and is checked
like that form when it comes back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Value"]


class Value(ABC):
    """Immutable, and equal to another of the same kind and values."""

    __slots__ = ()

    noun: ClassVar[str]
    """What the kind of value is called in a message."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The value as JSON values, with ``v`` (version of the form) and ``type``."""

    @abstractmethod
    def _key(self) -> tuple[object, ...]:
        """The values that make two of one class equal."""

    @abstractmethod
    def _reader(self) -> Callable[[dict[str, Any]], Self]:
        """The function that makes the value of what ``to_json`` gave."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{self.noun} does not change: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self.noun} does not change: cannot delete {name!r}")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], Self], tuple[dict[str, Any]]]:
        return self._reader(), (self.to_json(),)

    def _set(self, **values: object) -> None:
        """Give the slots their values; for ``__init__`` alone."""
        for name, value in values.items():
            object.__setattr__(self, name, value)
