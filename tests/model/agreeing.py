"""``explain`` says of an instant what the reference knows of it."""

from __future__ import annotations

import random

from tests.model.driving import Real
from tests.model.parts import US, Event
from tests.model.reference import Reference
from tests.model.standing import Expected, expect

from kalends.clock import to_us
from kalends.explanation import Explanation

__all__ = ["check_explanations"]

_ASKED = 3
"""Instants of each kind that are explained, of each event."""


def check_explanations(real: Real, model: Reference, event: Event, rng: random.Random) -> None:
    """At instants with a fate, of each kind; at others in that time; before it and ahead."""
    for instant in sorted(_asked(model, event, rng)):
        wanted = expect(event, instant, model.now)
        found = real.explain(event.name, instant)
        told = (event.name, instant, wanted, found)
        assert found.standing in wanted.standings, told
        assert found.due == wanted.due, told
        for near, at in ((found.why.before, wanted.before), (found.why.after, wanted.after)):
            assert (None if near is None else to_us(near)) == at, told
        _check_rows(found, wanted)
        _check_into(found, event)
        assert 2 <= len(found.sentences) <= 6, told


def _asked(model: Reference, event: Event, rng: random.Random) -> set[int]:
    kinds: list[list[int]] = [
        [due for due, told in event.told.items() if told.reason == "coalesced"],
        [due for due, told in event.told.items() if told.reason != "coalesced"],
        [run.due for run in event.runs if run.manual],
        [run.due for run in event.runs if run.batch is not None],
        [run.due for run in event.runs if run.moved_to is not None],
        [run.due for run in event.runs],
    ]
    known = [instant for kind in kinds for instant in kind]
    low, high = min([event.opened, *known]), max([model.now, *known])
    kinds.append([rng.randrange(low // US - 60, high // US + 60) * US for _ in range(_ASKED)])
    kinds.append([instant + US // 4 for instant in known])
    asked = {event.opened - US, event.opened - 1, high + 86_400 * US}
    for kind in kinds:
        asked |= set(rng.sample(sorted(set(kind)), min(_ASKED, len(set(kind)))))
    if event.next_due is not None:
        asked.add(event.next_due)
        following = event.trigger.next_us(event.next_due)
        asked |= set() if following is None else {following}
    return asked


def _check_rows(found: Explanation, wanted: Expected) -> None:
    run, told = wanted.run, wanted.told
    assert (found.execution is None) == (run is None), found
    assert (found.gap is None) == (told is None), found
    if run is not None and found.execution is not None:
        row = found.execution
        assert str(found.fate) in (run.fate, *(("running",) if run.begun else ())), found
        assert _word(found.reason) == run.reason, found
        assert row.manual == run.manual, found
        assert (row.backfill is not None) == (run.batch is not None), found
        assert (None if row.moved_to is None else to_us(row.moved_to)) == run.moved_to, found
        assert row.cancel_requested or not run.told, found
    elif told is not None and found.gap is not None:
        gap = found.gap
        assert (str(found.fate), _word(found.reason)) == ("skipped", told.reason), found
        assert (None if gap.into is None else to_us(gap.into)) == told.into, found
        assert gap.first <= found.instant <= gap.last, found
        for name, value in found.policies.items():
            assert told.policies is None or str(value) == str(getattr(told.policies, name)), found
    else:
        assert found.fate is None, found


def _check_into(found: Explanation, event: Event) -> None:
    """What became of the instant that a coalesced one was left to."""
    gap = found.gap
    if gap is None or gap.into is None:
        assert found.into is None, found
        return
    assert found.into is not None, found
    assert found.into.due == gap.into, found
    for run in event.runs:
        if run.due == to_us(gap.into) and not run.manual:
            assert str(found.into.fate) in (run.fate, *(("running",) if run.begun else ())), found
            assert _word(found.into.reason) == run.reason, found
            assert not (run.unbegun and found.into.began), found


def _word(value: object) -> str | None:
    return None if value is None else str(value)
