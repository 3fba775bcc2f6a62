"""A future works from everywhere, resolves once, and every wait on it ends."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from kalends.actors.hub import Hub
from kalends.clock import SystemClock
from kalends.errors import AskTimeout, NotInitialized
from kalends.futures import DEADLINES, Future, failed, resolved


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub("futures", SystemClock(), stall_after=30.0, ask_timeout=0.05)
    made.start()
    yield made
    assert made.stop(5.0)


def test_a_future_is_resolved_once_and_readable_for_ever() -> None:
    future: Future[int] = Future()
    assert future.resolve(1)
    assert not future.resolve(2)
    assert not future.resolve(None, ValueError())
    with pytest.raises(RuntimeError):
        future.set(3)
    with pytest.raises(RuntimeError):
        future.set_exception(ValueError())
    assert [future.get(), future.get(timeout=0), future.value, future.error] == [1, 1, 1, None]


def test_an_exception_is_raised_at_each_get() -> None:
    error = NotInitialized("no")
    future = failed(error)
    for _ in range(2):
        with pytest.raises(NotInitialized):
            future.get()
    caught: Future[int] = Future()
    try:
        raise KeyError("handled now")
    except KeyError:
        caught.set_exception()
    assert isinstance(caught.error, KeyError)


@pytest.mark.parametrize("place", range(5))
def test_a_signal_handler_may_wait_for_who_resolves_the_future_it_interrupted(place: int) -> None:
    future: Future[int] = Future()
    told: list[Future[int]] = []
    places = iter(range(100))

    def at_line(_frame: Any, _event: str, _arg: Any) -> Any:
        if next(places) == place:
            # As a handler of the main thread would: it stands still in this very line.
            other = threading.Thread(target=future.resolve, args=(1,))
            other.start()
            other.join(5.0)
            assert not other.is_alive()
        return at_line

    def trace(frame: Any, _event: str, _arg: Any) -> Any:
        mine = frame.f_code.co_name in ("add_done_callback", "remove_done_callback")
        return at_line if mine else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        future.add_done_callback(told.append)
        future.remove_done_callback(told.append)
    finally:
        sys.settrace(before)
    assert future.value == 1
    assert told in ([future], [])


def tell(told: list[int], number: int, _: Future[int]) -> None:
    told.append(number)


def test_every_callback_is_called_once_whoever_comes_first() -> None:
    for _ in range(300):
        future: Future[int] = Future()
        told: list[int] = []
        start = threading.Barrier(3)

        def add(future: Future[int] = future, told: list[int] = told, start: Any = start) -> None:
            start.wait(5.0)
            for number in range(50):
                future.add_done_callback(functools.partial(tell, told, number))

        def resolve(future: Future[int] = future, start: Any = start) -> None:
            start.wait(5.0)
            future.resolve(1)

        threads = [threading.Thread(target=target) for target in (add, add, resolve)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5.0)
        assert sorted(told) == sorted([*range(50), *range(50)])


@pytest.mark.parametrize("timeout", [0.0, -1.0, 0.02])
def test_a_thread_waits_no_longer_than_its_time_out(timeout: float) -> None:
    with pytest.raises(AskTimeout) as caught:
        Future[int]().get(timeout=timeout)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.details["timeout"] == timeout


def test_without_a_time_out_the_futures_own_holds() -> None:
    with pytest.raises(AskTimeout):
        Future[int](0.02).get()


def test_a_thread_is_woken_by_another() -> None:
    future: Future[int] = Future()
    timer = threading.Timer(0.01, future.set, (5,))
    timer.start()
    assert future.get(timeout=5) == 5
    timer.join()


def test_many_waiters_of_one_future_all_hear() -> None:
    future: Future[int] = Future()
    heard: list[int] = []
    threads = [threading.Thread(target=lambda: heard.append(future.get(timeout=5))) for _ in "1234"]
    for thread in threads:
        thread.start()
    future.set(9)
    for thread in threads:
        thread.join(5.0)
    assert heard == [9] * 4


def test_a_callback_that_raises_stops_neither_the_resolver_nor_the_others() -> None:
    future: Future[int] = Future()
    heard: list[int | None] = []

    def bad(_: Future[int]) -> None:
        raise ValueError("callback")

    future.add_done_callback(bad)
    future.add_done_callback(lambda done: heard.append(done.value))
    future.set(1)
    future.add_done_callback(lambda done: heard.append(done.value))
    assert heard == [1, 1]


@pytest.mark.parametrize("timeout", [0.05, 0.02], ids=["shared deadline", "own timer"])
def test_a_greenlet_waits_no_longer_than_its_time_out_and_its_hub_goes_on(
    hub: Hub, timeout: float
) -> None:
    def wait() -> tuple[float, int]:
        turns = [0]

        def turn() -> None:
            while True:
                turns[0] += 1
                gevent.sleep(0)

        other = gevent.spawn(turn)
        began = time.monotonic()
        with pytest.raises(AskTimeout):
            Future[int]().get(timeout=timeout)
        took = time.monotonic() - began
        other.kill()
        return took, turns[0]

    for _ in range(3):
        took, turns = hub.run(wait, 5.0)
        assert timeout <= took < timeout + 1.0
        assert turns > 1


def test_waits_that_share_a_deadline_timer_end_each_at_its_own_time(hub: Hub) -> None:
    def wait_one_after_the_other() -> list[float]:
        took: list[float] = []

        def wait() -> None:
            began = time.monotonic()
            with pytest.raises(AskTimeout):
                Future[int](0.05).get()
            took.append(time.monotonic() - began)

        waiters = []
        for _ in range(3):
            waiters.append(gevent.spawn(wait))
            gevent.sleep(0.013)
        gevent.joinall(waiters, raise_error=True)
        return took

    took = hub.run(wait_one_after_the_other, 5.0)
    assert len(took) == 3
    assert all(0.05 <= seconds < 0.5 for seconds in took)


def test_an_answered_or_killed_wait_leaves_nothing_behind(hub: Hub) -> None:
    def many() -> int:
        for n in range(1_000):
            future: Future[int] = Future(0.05)
            hub.loop.run_callback(future.resolve, n)
            assert future.get() == n
        killed = gevent.spawn(Future[int](0.05).get)
        gevent.sleep(0)
        killed.kill()
        return len(getattr(gevent.get_hub(), DEADLINES).waiting)

    assert hub.run(many, 5.0) == 0


def test_a_hubs_own_callback_must_not_wait(hub: Hub) -> None:
    caught: Future[str] = Future(5.0)

    def callback() -> None:
        try:
            Future[int]().get(timeout=1)
        except RuntimeError as error:
            caught.resolve(str(error))

    hub.call(callback)
    assert "callback" in caught.get()


def test_a_future_resolved_after_its_waiters_hub_has_gone_disturbs_nobody() -> None:
    gone = Hub("gone", SystemClock(), stall_after=30.0)
    gone.start()
    future: Future[int] = Future()
    gone.run(lambda: gevent.spawn(future.get), 5.0)
    gone.run(gevent.idle, 5.0)
    assert gone.stop(5.0)
    future.set(1)
    assert future.get() == 1


def test_asyncio_awaits_without_blocking_its_loop(hub: Hub) -> None:
    async def main() -> tuple[Any, int]:
        future: Future[str] = Future(5.0)
        turns = 0
        waiting = asyncio.ensure_future(asyncio.wait_for(_wrap(future), 5.0))
        while turns < 10:
            await asyncio.sleep(0)
            turns += 1
        hub.call(future.resolve, "from the hub")
        return await waiting, turns

    assert asyncio.run(main()) == ("from the hub", 10)


async def _wrap(future: Future[Any]) -> Any:
    return await future


def test_asyncio_hears_exceptions_time_outs_and_values_that_are_there() -> None:
    async def main() -> None:
        assert await resolved(3) == 3
        with pytest.raises(NotInitialized):
            await failed(NotInitialized("no"))
        with pytest.raises(AskTimeout):
            await Future[int](0.02)

    asyncio.run(main())


def test_a_cancelled_task_leaves_the_future_to_others() -> None:
    future: Future[int] = Future(5.0)

    async def main() -> None:
        task = asyncio.ensure_future(_wrap(future))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    future.set(1)
    assert future.get() == 1


def test_pykkas_map_and_join_work(hub: Hub) -> None:
    first: Future[int] = Future(5.0)
    second = resolved(2)
    doubled = first.map(lambda value: value * 2)
    both = first.join(second)
    hub.call(first.resolve, 1)
    assert doubled.get(timeout=5) == 2
    assert list(both.get(timeout=5)) == [1, 2]


PATCHED = """
{before}
import threading, time
from kalends.actors.hub import Hub
from kalends.actors.runtime import Actor, Cell, handles
from kalends.clock import SystemClock
from kalends.futures import Future
{after}
import gevent
from gevent.threadpool import ThreadPool

class Where: ...
class A(Actor):
    @handles(Where)
    def where(self, message):
        gevent.sleep(0.05)
        from kalends.native import get_ident
        return get_ident()

from kalends.native import get_ident
hub = Hub("patched", SystemClock())
hub.start()
cell = Cell("a", hub, A, A)
hub.run(lambda: cell.start(lambda e: None, lambda x: None), 5)
turns = 0
def turn():
    global turns
    while True:
        turns += 1
        gevent.sleep(0.001)
other = gevent.spawn(turn)
there = cell.ref.ask(Where(), timeout=5)
assert there == hub.ident != get_ident(), "the actors share the host's thread"
assert turns > 5, f"the host's hub was blocked: {{turns}} turns"
late = Future(0.02)
try:
    late.get()
    raise SystemExit("no time-out")
except TimeoutError:
    pass
pool = ThreadPool(1)
assert pool.spawn(lambda: cell.ref.ask(Where(), timeout=5)).get(timeout=5) == there
pool.kill()
other.kill()
assert hub.stop(5)
print("fine")
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_patched_host_waits_without_blocking_its_own_hub(moment: str) -> None:
    patch = "import gevent.monkey; gevent.monkey.patch_all()"
    program = PATCHED.format(**{"before": "", "after": "", moment: patch})
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("fine\n", "", 0)
