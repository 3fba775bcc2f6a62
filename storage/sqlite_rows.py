"""One statement for many rows: what is compiled for one row, spelled out for a whole block of them.

Running a statement once a row gives the interpreter away and asks for it back each time, and where
jobs keep it busy, that is a wait of milliseconds a row. A statement for a block of rows is one such
wait, and as quick for the database. Blocks have a few sizes, so that there are few statements.

An update of one row, ``UPDATE t SET a = ? WHERE id = ?``, becomes ``UPDATE t SET a = many.column1
FROM (VALUES (?, ?), …) AS many WHERE id = many.column2``. So no two rows of a block may be about
one and the same row of the table: only one of them would count.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["blocks"]

_SIZES = (128, 32, 8)
_INSERT = re.compile(r"(INSERT .* VALUES )(\([?, ]+\))(.*)", re.DOTALL)


def blocks(
    sql: str, rows: Sequence[Sequence[Any]]
) -> Iterator[tuple[str, Sequence[Sequence[Any]]]]:
    """The rows in blocks, each with the statement that takes it: its rows one after the other where
    it is ``sql`` itself, else the values of all of them at once.
    """
    start = 0
    for size in _SIZES if len(rows) >= _SIZES[-1] else ():
        spelled = _for_block(sql, size)
        while spelled is not None and len(rows) - start >= size:
            block = rows[start : start + size]
            yield spelled, [tuple(itertools.chain.from_iterable(block))]
            start += size
    if start < len(rows):
        yield sql, rows[start:]


@functools.lru_cache(maxsize=256)
def _for_block(sql: str, size: int) -> str | None:
    """The statement for ``size`` rows of an insert or update of one; None where there is none."""
    insert = _INSERT.fullmatch(sql)
    if insert is not None:
        head, values, tail = insert.groups()
        return f"{head}{', '.join([values] * size)}{tail}"
    if not sql.startswith("UPDATE ") or sql.count(" WHERE ") != 1:
        return None
    first, *others = sql.split("?")
    named = first + "".join(f"many.column{place}{part}" for place, part in enumerate(others, 1))
    change, where, condition = named.partition(" WHERE ")
    values = f"({', '.join('?' * len(others))})"
    source = f" FROM (VALUES {', '.join([values] * size)}) AS many"
    return f"{change}{source}{where}{condition}"
