"""The mutants of a module: every place where an operator applies, and the source with it applied.

Left alone are what no test is to hold: annotations, decorators, what a class derives from, the
words of errors and of log lines, docstrings, ``__all__``, and assertions, which are there for type
checkers.
"""

from __future__ import annotations

import ast
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.mutation.operators import REMOVED, of_expression, of_sql, of_statement

__all__ = ["Mutant", "mutants_of", "sample"]

_SHOWN = 90
_AROUND = 45
_SMALL = 12
_LEFT_ALONE = {
    ast.FunctionDef: {"decorator_list", "returns", "type_params"},
    ast.AsyncFunctionDef: {"decorator_list", "returns", "type_params"},
    ast.ClassDef: {"decorator_list", "bases", "keywords", "type_params"},
    ast.AnnAssign: {"annotation"},
    ast.arg: {"annotation"},
    ast.Raise: {"exc", "cause"},
    ast.match_case: {"pattern"},
}
_LOGGING = {"debug", "info", "warning", "error", "exception", "critical"}


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    name: str
    """Where it is and what it changes: the same as long as that text of the module is."""
    line: int
    last_line: int
    in_function: bool
    """Whether it runs when something is called, and not as the module is imported."""
    asked: range | None
    """The lines whose tests may find it: its own; for the value of an argument where none is given
    those of the function; None: any of the module.
    """
    source: str
    """The whole module, changed."""


@dataclass(frozen=True)
class _Change:
    """Bytes of the source, and what stands in their place."""

    where: str
    line: int
    last_line: int
    in_function: bool
    start: int
    end: int
    instead: str
    small: bool
    """Whether it is a word or a number."""


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    data = source.encode()
    seen: Counter[str] = Counter()
    found = []
    original = ast.parse(source)
    same = ast.dump(original)
    for change in _Walk(source).changes():
        changed = data[: change.start] + change.instead.encode() + data[change.end :]
        try:
            tree = ast.parse(changed)
        except SyntaxError:
            continue  # a string is no statement everywhere
        if ast.dump(tree) == same:
            continue
        name = f"{change.where}: {_described(data, change)}"
        seen[name] += 1
        if seen[name] > 1:
            name += f" (#{seen[name]})"
        place = change.line, change.last_line, change.in_function
        found.append(Mutant(name, *place, _asked(original, change), changed.decode()))
    return sorted(found, key=lambda mutant: mutant.line)


def sample(mutants: list[Mutant], size: int | None, seed: str) -> list[Mutant]:
    """So many of them, the same for the same seed; None: all of them.

    A larger sample has the smaller one in it.
    """
    places = list(range(len(mutants)))
    random.Random(seed).shuffle(places)
    return [mutants[place] for place in sorted(places[:size])]


def _asked(tree: ast.Module, change: _Change) -> range | None:
    if change.in_function:
        return range(change.line, change.last_line + 1)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0].lineno
            if node.lineno <= change.line < first:
                return range(first, (node.end_lineno or first) + 1)
    return None


def _described(data: bytes, change: _Change) -> str:
    before, after = data[change.start : change.end].decode(), change.instead
    if change.small:
        # By itself it says too little: the line around it belongs to it.
        first = data.rfind(b"\n", 0, change.start) + 1
        last = data.find(b"\n", change.end)
        ahead = data[first : change.start].decode().lstrip()[-_AROUND:]
        behind = data[change.end : last].decode().rstrip()[:_AROUND]
        return f"{ahead}⟨{before} → {after}⟩{behind}"
    before, after = (" ".join(text.split()) for text in (before, after))
    if after == REMOVED:
        return f"without {_short(before)}"
    return f"{_short(before)} → {_short(after)}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


class _Walk:
    """One pass over the tree of a module."""

    def __init__(self, source: str) -> None:
        self._tree = ast.parse(source)
        self._data = source.encode()
        lines = self._data.splitlines(keepends=True)
        self._offsets = [0, *itertools.accumulate(len(line) for line in lines)]

    def changes(self) -> Iterator[_Change]:
        yield from self._below(self._tree, (), in_function=False)

    def _below(
        self, node: ast.AST, where: tuple[str, ...], *, in_function: bool
    ) -> Iterator[_Change]:
        alone = _LEFT_ALONE.get(type(node), set())
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for field, value in ast.iter_fields(node):
            if field in alone:
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    # The values that arguments have by default are those of the import.
                    within = in_function and not (is_function and field == "args")
                    yield from self._at(child, where, within, field in {"test", "ifs"})

    def _at(
        self, node: ast.AST, where: tuple[str, ...], in_function: bool, condition: bool
    ) -> Iterator[_Change]:
        if _to_be_left_alone(node):
            return
        if isinstance(node, ast.stmt):
            for text in of_statement(node):
                yield self._change(node, where, in_function, text)
        elif isinstance(node, ast.expr):
            for text in of_expression(node, condition=condition):
                yield self._change(node, where, in_function, text)
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str)
        ):
            yield from self._sql(node, where, in_function)
            return
        if isinstance(node, ast.ClassDef):
            where = (*where, node.name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            where, in_function = (*where, node.name), True
        if _is_log(node):
            return
        yield from self._below(node, where, in_function=in_function)

    def _sql(
        self, node: ast.JoinedStr | ast.Constant, where: tuple[str, ...], in_function: bool
    ) -> Iterator[_Change]:
        whole = self._change(node, where, in_function, "")
        text = self._data[whole.start : whole.end].decode()
        for start, end, instead in of_sql(text):
            first = whole.start + len(text[:start].encode())
            last = whole.start + len(text[:end].encode())
            yield replace(whole, start=first, end=last, instead=instead, small=True)

    def _change(
        self, node: ast.stmt | ast.expr, where: tuple[str, ...], in_function: bool, text: str
    ) -> _Change:
        last_line = node.end_lineno or node.lineno
        start = self._offsets[node.lineno - 1] + node.col_offset
        end = self._offsets[last_line - 1] + (node.end_col_offset or 0)
        name = ".".join(where) or "module"
        small = isinstance(node, ast.expr) and end - start < _SMALL
        return _Change(name, node.lineno, last_line, in_function, start, end, text, small)


def _to_be_left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # a docstring
    if isinstance(node, ast.Assign):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return names == ["__all__"]
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return False


def _is_log(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _LOGGING
    )
