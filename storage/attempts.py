"""An attempt that another one follows: how it went is kept in a row of its own."""

from __future__ import annotations

from kalends.storage.models import AttemptRow
from kalends.storage.prepared import Prepared, hole

__all__ = ["KEEP_ATTEMPT"]

KEEP_ATTEMPT = Prepared(
    AttemptRow.insert(
        execution_id=hole("id"),
        number=hole("attempt"),
        node=hole("node"),
        claimed_at=hole("claimed_at"),
        started_at=hole("started_at"),
        ended_at=hole("ended_at"),
        outcome=hole("outcome"),
        error=hole("error"),
        progress=hole("progress"),
        note=hole("note"),
        log=hole("log"),
        still_running=hole("still_running"),
    )
)
