"""What is done to a node of a program to make a mutant of it: one small, wrong change.

Each function is given a node and yields the texts that may stand in its place. They are the usual
ones of mutation testing: bounds, comparisons, ``and`` and ``or``, ``not``, arithmetic, numbers and
truth values, ``min`` and ``max``, ends of slices, what is returned, and statements left out; and
the same in the text of an SQL statement.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator

__all__ = ["REMOVED", "of_expression", "of_sql", "of_statement"]

REMOVED = "pass"

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_BOUNDS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_NAMES_IN_QUERIES = {"MIN": "MAX", "MAX": "MIN", "asc": "desc", "desc": "asc"}
_SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|WHERE|ORDER BY|VALUES)\b|\b(AND|OR) ")
_IN_SQL = (
    (re.compile(r" < "), " <= "),
    (re.compile(r" <= "), " < "),
    (re.compile(r" > "), " >= "),
    (re.compile(r" >= "), " > "),
    (re.compile(r"(?<=\w) \+ (?=\w)"), " - "),
    (re.compile(r"\bAND\b"), "OR"),
    (re.compile(r"\bOR\b(?! (?:IGNORE|REPLACE))"), "AND"),
    (re.compile(r"\bIS NULL\b"), "IS NOT NULL"),
    (re.compile(r"\bIS NOT NULL\b"), "IS NULL"),
    (re.compile(r"\bNOT (?=EXISTS|IN)"), ""),
    (re.compile(r"\bMIN\b|\bmin\b(?=\()"), "MAX"),
    (re.compile(r"\bMAX\b|\bmax\b(?=\()"), "MIN"),
    (re.compile(r" DESC\b"), ""),
)


def of_expression(node: ast.expr, *, condition: bool) -> Iterator[str]:
    """``condition``: whether a branch hangs on it."""
    if isinstance(node, ast.Compare):
        yield from _comparisons(node)
    elif isinstance(node, ast.Constant):
        yield from _constants(node.value)
    elif isinstance(node, ast.Subscript):
        yield from _slices(node)
    elif isinstance(node, ast.BoolOp | ast.UnaryOp | ast.BinOp):
        yield from _operations(node)
    else:
        yield from _names(node)
    # What turns into its opposite by another comparison is not negated as well.
    if condition and not _has_opposite(node):
        yield f"(not {_text(node)})"


def _has_opposite(node: ast.expr) -> bool:
    if isinstance(node, ast.Compare):
        return len(node.ops) == 1 and not isinstance(node.ops[0], _BOUNDS)
    return isinstance(node, ast.UnaryOp | ast.Constant)


def of_statement(node: ast.stmt) -> Iterator[str]:
    """What is left out stands as ``pass``."""
    if isinstance(node, ast.Expr):
        if not isinstance(node.value, ast.Constant | ast.Yield | ast.YieldFrom):
            yield REMOVED
    elif isinstance(node, ast.Assign):
        # Without its assignment a local name is an error and no wrong answer.
        if not any(isinstance(target, ast.Name | ast.Tuple) for target in node.targets):
            yield REMOVED
    elif isinstance(node, ast.AugAssign | ast.Raise | ast.Delete):
        yield REMOVED
    elif isinstance(node, ast.Continue):
        yield "break"
    elif isinstance(node, ast.Break):
        yield "continue"
    elif isinstance(node, ast.Return):
        yield from _returns(node.value)


def of_sql(text: str) -> Iterator[tuple[int, int, str]]:
    """Where in the source of a string that holds SQL something is put in place of something."""
    if not _SQL.search(text):
        return
    for pattern, instead in _IN_SQL:
        for found in pattern.finditer(text):
            yield found.start(), found.end(), instead


def _returns(value: ast.expr | None) -> Iterator[str]:
    if value is None or (isinstance(value, ast.Constant) and value.value is None):
        yield REMOVED
    elif not (isinstance(value, ast.Constant) and isinstance(value.value, bool)):
        yield "return None"  # a truth value is turned round as such


def _comparisons(node: ast.Compare) -> Iterator[str]:
    for place, op in enumerate(node.ops):
        ops = [*node.ops]
        ops[place] = _COMPARISONS[type(op)]()
        yield _with(node, ops=ops)


def _operations(node: ast.BoolOp | ast.UnaryOp | ast.BinOp) -> Iterator[str]:
    if isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp):
        if isinstance(node.op, ast.Not | ast.USub):
            yield _text(node.operand)
    elif type(node.op) in _ARITHMETIC:
        yield _with(node, op=_ARITHMETIC[type(node.op)]())


def _names(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Name) and node.id in _NAMES:
        yield _NAMES[node.id]
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES_IN_QUERIES:
        yield f"{_text(node.value)}.{_NAMES_IN_QUERIES[node.attr]}"
    elif isinstance(node, ast.Call) and not node.args and _is_method(node.func, "is_null"):
        yield f"{_text(node.func)}(False)"


def _is_method(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name


def _constants(value: object) -> Iterator[str]:
    if isinstance(value, bool):
        yield str(not value)
    elif isinstance(value, int | float):
        yield repr(value + 1)


def _slices(node: ast.Subscript) -> Iterator[str]:
    bounds = node.slice
    for name in ("lower", "upper") if isinstance(bounds, ast.Slice) else ():
        bound = getattr(bounds, name)
        # A number is changed as such.
        if bound is not None and not isinstance(bound, ast.Constant):
            moved = ast.BinOp(bound, ast.Add(), ast.Constant(1))
            changed = copy.copy(bounds)
            setattr(changed, name, moved)
            yield _with(node, slice=changed)


def _with(node: ast.expr, **changes: object) -> str:
    changed = copy.copy(node)
    for name, value in changes.items():
        setattr(changed, name, value)
    return _text(changed)


def _text(node: ast.expr) -> str:
    text = ast.unparse(ast.fix_missing_locations(node))
    atom = isinstance(node, ast.Name | ast.Constant | ast.Attribute | ast.Subscript | ast.Call)
    return text if atom else f"({text})"
