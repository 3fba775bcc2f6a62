"""The columns of what jobs tell while they run: progress, its note, and the lines they log.

They belong to an attempt, and are written only for the node that has it. One statement takes any
number of attempts, and there is none for those that tell nothing.
"""

from __future__ import annotations

from kalends.storage.models import ExecutionRow
from kalends.work import Told

__all__ = ["NOTHING_TOLD", "TELL", "told_row"]

NOTHING_TOLD = {"progress": None, "note": None, "log": None}
"""As an attempt begins."""

TELL = ExecutionRow.update(**NOTHING_TOLD).where(
    ExecutionRow.id == "", ExecutionRow.node == "", ExecutionRow.attempt == 0
)
"""Takes rows of ``told_row``."""


def told_row(execution_id: str, node: str, attempt: int, told: Told) -> tuple[object, ...]:
    """What the attempt of a node has told."""
    return told.progress, told.note, told.log, execution_id, node, attempt
