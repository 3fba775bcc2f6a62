"""Gaps: how one is cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kalends.clock import US
from kalends.storage.gaps import cut_gap
from kalends.storage.models import GapRow
from kalends.triggers import every

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


@pytest.mark.parametrize(
    ("last", "left"),
    [
        (19.0, [(10, 10, 1, "skipped", "paused")]),
        (20.0, [(10, 20, 2, "skipped", "paused")]),
        (9.0, []),
    ],
)
def test_a_gap_that_is_cut_tells_of_what_comes_up_to_there(
    ledger: Ledger, last: float, left: list[tuple[int, int, int, str, str]]
) -> None:
    start = ledger.now
    rule = every(seconds=10)
    event_id = ledger.add(rule)
    ledger.set_status(event_id, "pause")
    ledger.clock.advance(35.0)
    ledger.set_status(event_id, "resume")
    ((gap_id, first),) = ledger.rows(GapRow.select(GapRow.id, GapRow.first))
    stored = ledger.event(event_id).trigger
    kept = ledger.run(cut_gap, gap_id, stored, first, start + round(last * US), now=ledger.now)
    assert kept == sum(count for _, _, count, _, _ in left)
    assert ledger.gaps(event_id) == left
