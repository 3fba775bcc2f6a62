"""Inside of a worker process: takes orders, one after the other, and answers each.

Promises:

- Jobs run on the main thread, each in a context of its own where ``current()`` answers; whatever
  one returns or raises becomes an answer, and the worker waits for the next order.
- The worker ends when its host has closed the channel or is gone, whatever a job does then: on
  Linux the kernel kills it with the thread that keeps it; elsewhere, and under a fork server, a
  thread ends the process as soon as the interpreter lets it.
- SIGINT and SIGTERM, which reach all processes of a terminal or a service, do not end it: its host
  hears them too, and decides. Programs that a job starts are not touched by that. It leads a
  process group of its own, so that it can be killed with them.
- A process that a job forks never takes orders, answers or tells.
- What a job tells (its progress, its log lines) is with the host soon, and before its answer.
- An answer goes into the channel that was there at the start, never into a file that got its
  number after a job had closed it.

This module is imported in every worker, before the modules of any job.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from contextvars import copy_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from kalends.clock import SystemClock
from kalends.errors import KalendsError
from kalends.jobs.answers import Answer, answer_of, answer_of_error
from kalends.jobs.codec import decode_arguments
from kalends.jobs.context import ExecutionContext, enter
from kalends.jobs.executors.process_messenger import Messenger
from kalends.jobs.executors.process_orders import (
    CHANNEL_LOST,
    GOODBYE,
    Greeting,
    Message,
    Order,
    Ready,
    Unfit,
    decode_order,
    encode,
    find_job,
)
from kalends.jobs.logbook import Logbook
from kalends.native import NativeThread

__all__ = ["Told", "serve"]

_PR_SET_PDEATHSIG = 1


class Told(Protocol):
    """A number in memory that is shared with the host: the order whose job is to stop."""

    value: int


def serve(
    orders: Connection,
    answers: Connection,
    told: Told,
    host: int | None,
    memory_limit: int | None,
) -> None:
    """The life of a worker. ``host``: the process that started it, where that is its parent."""
    _settle_signals()
    _end_with_host(host)
    worker = _Worker(orders, answers, told)
    reason = None if memory_limit is None else _limit_memory(memory_limit)
    if reason is not None:
        worker.send(Unfit(reason))
        return
    worker.send(Ready())
    worker.work()


class _Worker:
    """One process and its channel."""

    def __init__(self, orders: Connection, answers: Connection, told: Told) -> None:
        self._orders = orders
        self._answers = answers
        self._told = told
        self._pid = os.getpid()
        self._door = _identity(answers.fileno())
        self._context = copy_context()
        self._messenger = Messenger(self.send)

    def work(self) -> None:
        """Take orders until the host says goodbye or is gone."""
        while True:
            try:
                received = self._orders.recv_bytes()
            except (EOFError, ConnectionError):
                return
            if received == GOODBYE:
                return
            order = decode_order(received)
            book = self._messenger.book_for(order)
            answer = self._context.copy().run(self._run, order, book)
            self._settle()
            self._messenger.send(answer)

    def _run(self, order: Order, book: Logbook) -> Answer:
        enter(ExecutionContext(order.claim, _Run(self._told, order, book)), order.claim)
        redactor = order.keeps.redactor
        try:
            job = find_job(order.reference)
            args, kwargs = job.parameters.typed(*decode_arguments(order.claim.arguments))
        except KalendsError as error:
            return answer_of_error(error, order.failure_limit, redactor)
        try:
            value = job.function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - the barrier: a job's exception is its answer
            # args and kwargs would live on in this frame, which the traceback holds.
            del args, kwargs
            return answer_of_error(error, order.failure_limit, redactor)
        return answer_of(value, order.result_limit, redactor)

    def _settle(self) -> None:
        """After a job: a process that it forked ends here, and what it printed goes out."""
        if os.getpid() != self._pid:
            os._exit(0)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:  # noqa: BLE001 - the job closed or replaced it: its affair
                continue

    def send(self, message: Greeting | Message) -> None:
        """Tell the host; where the channel is not there any more the process ends."""
        if _identity(self._answers.fileno()) != self._door:
            os._exit(CHANNEL_LOST)
        try:
            self._answers.send_bytes(encode(message))
        except OSError:
            os._exit(CHANNEL_LOST)


class _Run:
    """Where the job's context looks whether, and by when, it is to stop, and tells how it goes."""

    def __init__(self, told: Told, order: Order, book: Logbook) -> None:
        self._told = told
        self._number = order.number
        self._clock = SystemClock()
        self._stops_at: float | None = None
        if order.remaining is not None:
            self._stops_at = self._clock.monotonic() + order.remaining
        self.deadline_us = order.deadline_us
        self._book = book

    @property
    def cancelled(self) -> bool:
        return self._told.value == self._number

    def remaining(self) -> float | None:
        if self._stops_at is None:
            return None
        return max(0.0, self._stops_at - self._clock.monotonic())

    def logbook(self) -> Logbook:
        return self._book


def _identity(number: int) -> tuple[int, int] | None:
    """What the number of a file stands for; None: nothing."""
    if sys.platform == "win32":
        return (0, number)
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


# -- the process -------------------------------------------------------------------------------


def _settle_signals() -> None:
    # Functions, not SIG_IGN: a program that a job starts would inherit that.
    signal.signal(signal.SIGINT, _pass_over)
    signal.signal(signal.SIGTERM, _pass_over)
    if sys.platform != "win32":
        os.setpgid(0, 0)


def _pass_over(signal_number: int, frame: Any) -> None:
    """The host has had this signal as well."""


def _end_with_host(host: int | None) -> None:
    if host is not None and sys.platform == "linux":
        if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) == 0:
            if os.getppid() != host:
                os._exit(1)
            return
    parent = multiprocessing.parent_process()
    if parent is not None:
        door = parent.sentinel
        identity = _identity(door)
        NativeThread(lambda: _watch_host(door, identity), "kalends-watch").start()


def _watch_host(door: int, identity: tuple[int, int] | None) -> None:
    """End with the host, whose end opens the door. One that a job has closed tells nothing."""
    with contextlib.suppress(OSError, ValueError):
        wait([door])
    if _identity(door) == identity:
        os._exit(1)


def _limit_memory(limit: int) -> str | None:
    """Bound the address space of this process; why that cannot be, or None."""
    if sys.platform == "win32":
        return "this platform has no limit of memory"
    import resource  # not on every platform

    taken = _address_space()
    if taken >= limit:
        return f"memory_limit is {limit} bytes, and a worker takes {taken} before any job"
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (OSError, ValueError) as error:
        return f"memory_limit cannot be {limit} bytes: {error}"
    return None


def _address_space() -> int:
    """Bytes of address space of this process; 0 where that cannot be told."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
