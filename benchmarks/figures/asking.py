"""Messages between actors: ask, tell and proxy calls, ours and Pykka's own."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Any

import pykka
from harness.plan import Column, Figure, Task

from kalends.actors.asking import Proxy
from kalends.actors.hub import Hub
from kalends.actors.runtime import Actor, Cell, Ref, handles
from kalends.clock import SystemClock

__all__ = ["FIGURE", "between_actors", "ours", "theirs"]

_TEXT = """
Round trips a second to an actor that answers with what it was sent: Kalends' actors, which are
greenlets on one thread and outlive their crashes, beside Pykka's `ThreadingActor`. *From asyncio*
is `await`ed in a running event loop, one after the other; Pykka's future blocks the loop
meanwhile. A *tell* has no answer; the rate holds the time until the last of them was handled. The
last column is asynchronous from a host thread: all asked, then all answers collected.
"""


class _Echo:
    """What is sent."""


class _AskOther:
    """Have an actor ask another one, so often."""

    def __init__(self, other: Any, count: int) -> None:
        self.other, self.count = other, count


class _Ours(Actor):
    @handles(_Echo)
    def echo(self, message: _Echo) -> _Echo:
        return message

    @handles(_AskOther)
    def ask_other(self, message: _AskOther) -> float:
        began, echo = time.perf_counter(), _Echo()
        for _ in range(message.count):
            message.other.ask(echo)
        return message.count / (time.perf_counter() - began)


class _OurProxy(Proxy):
    def echo(self) -> Any:
        return self._ask(_Echo())  # type: ignore[arg-type]  # a message of nobody's


class _Theirs(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        if isinstance(message, _AskOther):
            began, echo = time.perf_counter(), _Echo()
            for _ in range(message.count):
                message.other.ask(echo)
            return message.count / (time.perf_counter() - began)
        return message

    def echo(self) -> None:
        """What the proxy calls."""


def _nothing(_: object) -> None:
    """Nobody watches these actors."""


def ours(*, count: int) -> dict[str, float]:
    """Kalends' actors."""
    refs = _our_refs(count)
    proxy = _OurProxy(lambda: refs[0])
    return _measured(refs, lambda: proxy.echo().get(), count)


def between_actors(most: int) -> Callable[[int], float]:
    """Has an actor ask another one so often, up to ``most`` times; how often that is a second."""
    one, other = _our_refs(most)
    return lambda count: float(one.ask(_AskOther(other, count)))


def _our_refs(count: int) -> list[Ref[_Ours]]:
    hub = Hub("bench", SystemClock(), stall_after=60.0)
    hub.start()
    refs: list[Ref[_Ours]] = []
    for name in ("one", "other"):
        cell: Cell[_Ours] = Cell(name, hub, _Ours, _Ours, mailbox_limit=count + 10)
        hub.run(functools.partial(cell.start, _nothing, _nothing), 5.0)
        refs.append(cell.ref)
    return refs


def theirs(*, count: int) -> dict[str, float]:
    """Pykka's actors."""
    refs = [_Theirs.start(), _Theirs.start()]
    proxy: Any = refs[0].proxy()
    found = _measured(refs, lambda: proxy.echo().get(), count)
    pykka.ActorRegistry.stop_all()
    return found


def _measured(refs: Any, call: Callable[[], object], count: int) -> dict[str, float]:
    ref, echo = refs[0], _Echo()
    ref.ask(echo)

    def tells() -> None:
        for _ in range(count):
            ref.tell(echo)
        ref.ask(echo)

    def together() -> None:
        for future in [ref.ask(echo, block=False) for _ in range(count)]:
            future.get()

    async def awaited() -> None:
        for _ in range(count):
            await ref.ask(echo, block=False)

    return {
        "host": _rate(count, lambda: [ref.ask(echo) for _ in range(count)]),
        "proxy": _rate(count, lambda: [call() for _ in range(count)]),
        "tell": _rate(count, tells),
        "actors": ref.ask(_AskOther(refs[1], count)),
        "asyncio": _rate(count, lambda: asyncio.run(awaited())),
        "together": _rate(count, together),
    }


def _rate(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def _tasks(quick: bool) -> list[Task]:
    count = 200 if quick else 20_000
    return [
        Task(row=row, code=f"figures.asking:{code}", arguments={"count": count})
        for row, code in (("Kalends' actors", "ours"), ("Pykka's ThreadingActor", "theirs"))
    ]


FIGURE = Figure(
    name="asking",
    title="Asking actors",
    text=_TEXT,
    columns=(
        Column("host", "ask from a host thread", "per second", more=True),
        Column("proxy", "proxy call", "per second", more=True),
        Column("tell", "tell", "per second", more=True),
        Column("actors", "ask between actors", "per second", more=True),
        Column("asyncio", "ask from asyncio", "per second", more=True),
        Column("together", "ask, together", "per second", more=True),
    ),
    tasks=_tasks,
)
