"""The faults of a story, drawn each time one could happen: at steps of transactions, at messages.

``installed`` has the mailboxes and actors of all nodes ask here, as long as it lasts; ``probe``
gives what a node's storage asks. When ``over`` is set nothing happens any more.
"""

from __future__ import annotations

import contextlib
import random
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from unittest.mock import patch

import apsw
from greenlet import getcurrent
from tests.faults.simulation.story import Story
from tests.faults.simulation.world import SimulatedWorld

from kalends.actors.mailbox import Envelope, Mailbox
from kalends.actors.runtime import Actor
from kalends.clock import US
from kalends.errors import KalendsError
from kalends.testing import StorageStep
from kalends.testing.virtual.process import VirtualProcess

__all__ = ["Faults", "Injected"]

_REFUSALS: dict[StorageStep, tuple[type[apsw.Error], ...]] = {
    StorageStep.BEGIN: (apsw.BusyError, apsw.IOError),
    StorageStep.UNIT: (apsw.IOError, apsw.FullError),
    StorageStep.UNIT_DONE: (apsw.IOError, apsw.FullError),
    StorageStep.COMMIT: (apsw.FullError, apsw.IOError, apsw.BusyError),
}
_FROZEN = (1.0, 4.0, 20.0, 50.0, 100.0)
"""Seconds that a process stands still: within its lease, and past it."""
_DELAYS = (0.0, 0.001, 0.05, 0.3, 2.0, 8.0)


class Injected(RuntimeError):
    """A bug that an actor did not have."""


class Lives(Protocol):
    """A node."""

    @property
    def process(self) -> VirtualProcess | None: ...


class Faults:
    """Draws them. ``note`` is told of each."""

    def __init__(self, story: Story, world: SimulatedWorld, note: Callable[[str], None]) -> None:
        self.over = False
        self.outage_until = 0
        """Microseconds of monotonic time up to which the database takes nothing."""
        self._rates = story.rates
        self._midway = story.on_file
        """Whether one can stand still in the middle of a transaction: not where all share one
        connection.
        """
        self._world = world
        self._note = note
        self._rng = random.Random(f"faults/{story.seed}")
        self._channels: weakref.WeakKeyDictionary[Any, dict[Mailbox, int]] = (
            weakref.WeakKeyDictionary()
        )
        """By sender: when the last message to each mailbox arrives."""

    def _strikes(self, rate: float) -> bool:
        return not self.over and rate > 0.0 and self._rng.random() < rate

    # -- storage -------------------------------------------------------------------------------

    def probe(self, node: Lives) -> Callable[[StorageStep], None]:
        """What the storage of a node asks at each step."""

        def ask(step: StorageStep) -> None:
            here = node.process
            if here is not None and here in self._world.afflicted:
                self._strike(step, here)

        return ask

    def _strike(self, step: StorageStep, process: VirtualProcess) -> None:
        rates = self._rates
        if self._strikes(rates.kill):
            self._note(f"kill {process.pid} at {step}")
            process.kill()
        if self._midway or step in (StorageStep.BEGIN, StorageStep.COMMITTED):
            if self._strikes(rates.swap):
                self._world.freeze(process, 0.0)
            if self._strikes(rates.freeze):
                seconds = self._rng.choice(_FROZEN)
                self._note(f"freeze {process.pid} at {step} for {seconds}")
                self._world.freeze(process, seconds)
        if step is StorageStep.COMMITTED:
            if self._strikes(rates.lose):
                self._note(f"lose the answer to {process.pid}'s commit")
                raise apsw.IOError("the answer to the commit is lost")
            return
        away = not self.over and self._world.clock.monotonic_us < self.outage_until
        if away or self._strikes(rates.refuse):
            error = self._rng.choice(_REFUSALS[step])
            if not away:
                self._note(f"refuse {process.pid} {step}: {error.__name__}")
            raise error("a fault")

    # -- actors --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """While entered, messages may be delayed and actors may crash at them."""
        put, put_urgent, receive = Mailbox.put, Mailbox.put_urgent, Actor.on_receive

        def send(mailbox: Mailbox, envelope: Envelope) -> None:
            self._send(mailbox, envelope, put)

        def send_urgent(mailbox: Mailbox, envelope: Envelope) -> None:
            self._send(mailbox, envelope, put_urgent)

        def take(actor: Actor, message: Any) -> Any:
            return self._take(actor, message, receive)

        with (
            patch.object(Mailbox, "put", send),
            patch.object(Mailbox, "put_urgent", send_urgent),
            patch.object(Actor, "on_receive", take),
        ):
            yield

    def _take(self, actor: Actor, message: Any, receive: Callable[..., Any]) -> Any:
        process = self._home(actor.cell.mailbox)
        crash = process is not None and self._strikes(self._rates.crash)
        what = f"{actor.cell.name} of {process.pid} at {type(message).__name__}" if process else ""
        if crash and self._rng.random() < 0.5:
            self._note(f"crash {what}, before")
            raise Injected("before")
        answer = receive(actor, message)
        if crash:
            self._note(f"crash {what}, after")
            raise Injected("after")
        return answer

    def _home(self, mailbox: Mailbox) -> VirtualProcess | None:
        """The process of a mailbox, where faults befall it."""
        for process in self._world.afflicted:
            if process.loop is mailbox._loop:
                return process
        return None

    def _send(
        self, mailbox: Mailbox, envelope: Envelope, put: Callable[[Mailbox, Envelope], None]
    ) -> None:
        process = self._home(mailbox)
        channels = self._channels.setdefault(getcurrent(), {})
        now = self._world.clock.monotonic_us
        arrives = max(now, channels.get(mailbox, 0))
        if process is not None and self._strikes(self._rates.delay):
            arrives = max(arrives, now + round(self._rng.choice(_DELAYS) * US))
        if process is None or (arrives == now and channels.get(mailbox, 0) < now):
            put(mailbox, envelope)
            return
        channels[mailbox] = arrives

        def deliver() -> None:
            try:
                put(mailbox, envelope)
            except KalendsError as refusal:
                if envelope.reply_to is not None:
                    envelope.reply_to.resolve(None, refusal)

        process.loop.timer((arrives - now) / US).start(deliver)
