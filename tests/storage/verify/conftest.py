"""A ledger with a bit of everything in it, made by real use, and its verification."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kalends.clock import US, from_us
from kalends.drafts import Changes
from kalends.model import Fate
from kalends.storage.retention import prune
from kalends.triggers import cron, every, once
from kalends.verification import Verification

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


@pytest.fixture
def verify(ledger: Ledger) -> Callable[..., Verification]:
    return ledger.verify


class Lived:
    """A ledger after some use: its clock stands at 260 seconds from the start.

    ``tens``: every ten seconds; ran at 10, 20 and 30, was out from 40 to 80 (coalesced into 90),
    runs since 250. ``changed``: had two rules before the present one. ``retried``: its node died in
    the first attempt, the second is over. ``once``: completed. ``gone``: deleted. ``paused``: after
    a gap. ``busy``: every second, missed from 11 to 239 in one gap. ``kept``: at most once.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        for node in (ledger.here, ledger.there):
            ledger.run(node.leases.register, now=ledger.now)
        self.tens = ledger.add(every(seconds=10), name="tens", tags=("red", "blue"))
        self.changed = ledger.add(every(seconds=7), name="changed", tags=("red",))
        self.retried = ledger.add(once(from_us(ledger.now + 20 * US)), name="retried")
        self.once = ledger.add(once(from_us(ledger.now + 10 * US)), name="once")
        self.gone = ledger.add(every(seconds=15), name="gone", tags=("blue",))
        self.paused = ledger.add(cron("*/30 * * * * *"), name="paused")
        self.busy = ledger.add(every(seconds=1), name="busy", catch_up="skip", overlap="allow_all")
        self.kept = ledger.add(every(seconds=100), name="kept", delivery="at_most_once")
        self._begin()
        self._change()
        self._outage()
        self.open = self._leave_open()
        self.now = ledger.now

    def _run_until(self, seconds: float, fate: Fate = Fate.SUCCEEDED) -> None:
        ledger = self.ledger
        ledger.clock.advance(seconds)
        for node in (ledger.here, ledger.there):
            ledger.run(node.leases.renew, now=ledger.now)
        ledger.end(*ledger.claim().claims, fate=fate, took=0.5)

    def _begin(self) -> None:
        ledger = self.ledger
        for _ in range(10):
            self._run_until(1)
        ledger.clock.advance(10)
        claims = ledger.claim(node=ledger.there).claims
        mine = [claim for claim in claims if claim.event_id == self.retried]
        ledger.end(*(claim for claim in claims if claim not in mine), node=ledger.there)
        ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
        ledger.run(ledger.there.leases.register, now=ledger.now)
        self._run_until(10, Fate.FAILED)

    def _change(self) -> None:
        ledger = self.ledger
        for rule in (every(seconds=9), every(seconds=11)):
            ledger.run(
                ledger.here.events.update,
                self.changed,
                Changes(trigger=rule),
                now=ledger.now,
                version=None,
                author=None,
                given_back=(),
            )
            ledger.clock.advance(5)
        ledger.set_status(self.gone, "delete")
        ledger.set_status(self.paused, "pause")
        ledger.clock.advance(20)
        ledger.set_status(self.paused, "resume")
        ledger.set_status(self.paused, "pause")

    def _outage(self) -> None:
        self._run_until(25)
        self._run_until(155)
        self._run_until(5)
        ledger = self.ledger
        ledger.run(
            prune,
            ledger.dialect,
            ledger.ids,
            now=ledger.now,
            retain_age_us=235 * US,
            retain_count=None,
            retain_gaps_us=None,
            limit=100,
        )

    def _leave_open(self) -> str:
        ledger = self.ledger
        ledger.clock.advance(5)
        claims = ledger.claim().claims
        begun = next(claim for claim in claims if claim.event_id == self.tens)
        ledger.run(ledger.here.outcomes.mark_running, [(begun.id, begun.attempt, ledger.now)])
        ledger.end(*(claim for claim in claims if claim is not begun))
        ledger.clock.advance(10)
        return begun.id


_made: list[tuple[bytes, Lived]] = []
"""The first one, and its database: the others are copies."""


@pytest.fixture
def ledger(make_ledger: Callable[[], Ledger]) -> Ledger:
    return make_ledger()


@pytest.fixture
def lived(ledger: Ledger) -> Lived:
    connection = ledger.db.connection()
    if not _made:
        made = Lived(ledger)
        _made.append((connection.serialize("main"), made))
        return made
    content, first = _made[0]
    connection.deserialize("main", content)
    ledger.clock.advance((first.now - ledger.now) / US)
    return copy.copy(first)
