"""One worker process, as its keeper sees it: started, given orders, and seen to its end.

Promises:

- The process is started by ``multiprocessing``'s ``spawn`` or ``forkserver``, so that no thread,
  lock or connection of the host is copied into it.
- ``WorkerDied`` says how it ended: by which signal, by its name, or with which exit code.
- Whatever it sends is bounded and is text; anything else ends it.

All methods but ``tell``, ``alive`` and ``kill`` are for one thread, its keeper, which has to
outlive it: the kernel ends the process with the thread that started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import TypeVar

import msgspec

from kalends.jobs.answers import Answer
from kalends.jobs.executors.process_ending import ending_of
from kalends.jobs.executors.process_orders import (
    CHANNEL_LOST,
    GOODBYE,
    Heard,
    Order,
    Unfit,
    decode_greeting,
    decode_message,
    encode,
)
from kalends.jobs.executors.process_worker import Told, serve
from kalends.jobs.logbook import News
from kalends.native import allocate_lock

__all__ = ["Child", "WorkerDied"]

T = TypeVar("T")

_LAST_MOMENTS = 1.0
"""Seconds that a process gets to end once its channel is closed."""
_LONGEST_GREETING = 65_536
_starting = allocate_lock()


class WorkerDied(Exception):
    """The process in which a job ran ended without an answer: it was killed, or left.

    Its name is for ``retry_on`` and ``give_up_on``; jobs and hosts never see it raised.
    """


class Child:
    """One process. ``number`` counts the orders that it was given."""

    def __init__(self, context: SpawnContext | ForkServerContext, memory_limit: int | None) -> None:
        self.number = 0
        self.doomed = False
        """True once it was killed from here."""
        self._told: Told = context.RawValue("q", 0)
        # One way each: a pair of sockets does not block in a host that gevent has patched.
        orders, self._orders = context.Pipe(duplex=False)
        self._answers, answers = context.Pipe(duplex=False)
        spawned = isinstance(context, SpawnContext)
        process = context.Process(
            target=serve,
            args=(orders, answers, self._told, os.getpid() if spawned else None, memory_limit),
            name="kalends-worker",
        )
        try:
            # One after the other: in a patched process the locks of multiprocessing are gevent's.
            with _starting:
                process.start()
            assert process.pid is not None, "it was started"
            self._pid = process.pid
            self._ending = ending_of(process, direct=spawned)
        except BaseException:
            self._orders.close()
            self._answers.close()
            raise
        finally:
            orders.close()
            answers.close()

    @property
    def pid(self) -> int:
        """Its number, among processes."""
        return self._pid

    # -- talking -------------------------------------------------------------------------------

    def greet(self, patience: float) -> None:
        """Wait until it takes orders. Raises ``WorkerDied`` where it does not within so many
        seconds.
        """
        greeting = self._receive(decode_greeting, _LONGEST_GREETING, patience)
        if greeting is None:
            raise WorkerDied(f"a worker process was not ready within {patience:g} seconds")
        if isinstance(greeting, Unfit):
            raise WorkerDied(greeting.reason)

    def send(self, order: Order) -> None:
        """Give it an order. Raises ``WorkerDied`` where it is gone."""
        try:
            self._orders.send_bytes(encode(order))
        except OSError:
            raise WorkerDied(self._last_words()) from None

    def hear(self, longest: int, listen: Callable[[News], None]) -> Answer:
        """Its answer to the last order; before that, ``listen`` gets what the job tells. Both of at
        most ``longest`` bytes.

        Raises ``WorkerDied`` where it ends instead, or sends anything else.
        """
        while True:
            message = self._receive(decode_message, longest, None)
            assert message is not None, "there is no limit to the patience"
            if not isinstance(message, Heard):
                return message
            if message.number == self.number:  # else it comes from what a job before left behind
                listen(message.news)

    def _receive(
        self, decode: Callable[[bytes], T], longest: int, patience: float | None
    ) -> T | None:
        ready = wait([self._answers, self._ending.door], patience)
        if self._answers not in ready:
            if ready:
                raise WorkerDied(self._last_words())
            return None
        try:
            return decode(self._answers.recv_bytes(longest))
        except (EOFError, OSError):
            # It ends, and its files were closed a moment before; or a job has closed them.
            why = "the channel for its answer was closed"
        except msgspec.DecodeError as error:
            why = f"what it sent is no answer: {error}"
        if self._ending.wait(_LAST_MOMENTS):
            raise WorkerDied(self._last_words())
        self.kill()
        raise WorkerDied(f"its worker process was killed: {why}")

    def tell(self, number: int) -> None:
        """Ask the job of this order to stop, through its context. From any thread."""
        self._told.value = number

    # -- ending --------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return not self._ending.wait(0.0)

    def kill(self) -> None:
        """End it now, and what it has started. From any thread, any number of times."""
        self.doomed = True
        self._ending.kill()

    def retire(self) -> None:
        """Have it end, by force where it does not within a second; give back what it took here."""
        with contextlib.suppress(OSError):  # it has ended already
            self._orders.send_bytes(GOODBYE)
        if not self._ending.wait(_LAST_MOMENTS):
            self.kill()
            self._ending.wait(_LAST_MOMENTS)
        self._orders.close()
        self._answers.close()
        self._ending.close()

    def _last_words(self) -> str:
        """How it ended."""
        if not self._ending.wait(_LAST_MOMENTS):
            return "its worker process was killed, and has not ended"
        code = self._ending.exit_code
        if code is None:
            return "its worker process ended; the host's program has taken its exit status"
        if code == CHANNEL_LOST:
            return "its worker process ended: the channel for its answer was closed"
        if code >= 0:
            return f"exited with code {code}"
        return f"killed by {_signal_name(-code)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
