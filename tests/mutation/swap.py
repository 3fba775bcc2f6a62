"""The code of a changed module put into the functions of the one that is loaded already."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from types import CodeType, FunctionType

__all__ = ["swap"]

_Place = tuple[str, int]


def swap(path: str, before: str, after: str) -> bool:
    """Give every function of the module at ``path`` the code it has in ``after`` where that is
    another one than in ``before``. False where that cannot be done, or not with all of it: what
    runs only as the module is imported, for instance.
    """
    changed = dict(_differences(compile(before, path, "exec"), compile(after, path, "exec")))
    done = set()
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__.co_filename == path:
            place = function.__code__.co_qualname, function.__code__.co_firstlineno
            if place in changed:
                if len(changed[place].co_freevars) != len(function.__code__.co_freevars):
                    return False
                function.__code__ = changed[place]
                done.add(place)
    return bool(done)


def _differences(before: CodeType, after: CodeType) -> Iterator[tuple[_Place, CodeType]]:
    """The outermost functions that differ, by name and line; what is in them comes with them."""
    pairs = itertools.zip_longest(_inside(before), _inside(after))
    for old, new in pairs:
        if old is None or new is None or old.co_qualname != new.co_qualname:
            return
        if old != new:
            yield (old.co_qualname, old.co_firstlineno), new
            yield from _differences(old, new)


def _inside(code: CodeType) -> Iterator[CodeType]:
    return (value for value in code.co_consts if isinstance(value, CodeType))
