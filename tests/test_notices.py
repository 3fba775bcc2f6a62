"""Notices without a scheduler: queues, bounds, threads and loops."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kalends.clock import from_us
from kalends.errors import AskTimeout
from kalends.notices import KINDS, Notice, NoticeKind, Notices, Subscription


def notice(number: int, kind: str = "execution_ended") -> Notice:
    return Notice(kind=kind, at=from_us(number), details={"number": number})


def numbers(found: list[Notice]) -> list[int]:
    return [item.details["number"] for item in found]


def test_what_is_told_comes_in_order() -> None:
    notices = Notices()
    with Subscription(notices, KINDS, 10) as mine:
        for number in range(5):
            notices.tell(notice(number))
        assert len(mine) == 5
        mine.end()
        assert numbers(list(mine)) == [0, 1, 2, 3, 4]


def test_only_what_is_wanted_is_queued_and_only_that_need_be_made() -> None:
    notices = Notices()
    assert not notices.wanted(*KINDS)
    mine = Subscription(notices, ["execution_started"], 10)
    assert notices.wanted("execution_started", "execution_ended")
    assert not notices.wanted("execution_ended")
    notices.tell(notice(1))
    notices.tell(notice(2, "execution_started"))
    assert numbers([mine.next().get()]) == [2]  # type: ignore[list-item]  # one is there
    mine.close()
    assert not notices.wanted(*KINDS)


def test_a_full_queue_drops_and_says_how_many() -> None:
    notices = Notices()
    mine = Subscription(notices, KINDS, 2)
    for number in range(5):
        notices.tell(notice(number))
    assert (len(mine), mine.dropped) == (2, 3)
    first = mine.get(1)
    notices.tell(notice(5))
    second, third = mine.get(1), mine.get(1)
    assert first is not None
    assert second is not None
    assert third is not None
    assert numbers([first, second, third]) == [0, 1, 5]
    assert (first.dropped, second.dropped, third.dropped) == (0, 0, 3)
    notices.tell(notice(6))
    last = mine.get(1)
    assert last is not None
    assert (last.dropped, mine.dropped) == (0, 3)


def test_a_stuck_callback_holds_up_nobody() -> None:
    notices = Notices()
    held, begun, heard = threading.Event(), threading.Event(), queue.Queue[int]()

    def stuck(_: Notice) -> None:
        begun.set()
        held.wait(30)

    Subscription(notices, KINDS, 3, stuck)
    Subscription(notices, KINDS, 1000, lambda item: heard.put(item.details["number"]))
    notices.tell(notice(0))
    assert begun.wait(30)
    for number in range(1, 100):
        notices.tell(notice(number))
    assert [heard.get(timeout=30) for _ in range(100)] == list(range(100))
    held.set()
    notices.end()


def test_a_callback_that_raises_goes_on_and_is_logged(logged: list[dict[str, Any]]) -> None:
    notices, heard = Notices(), queue.Queue[int]()

    def callback(item: Notice) -> None:
        heard.put(item.details["number"])
        raise SystemExit

    Subscription(notices, KINDS, 10, callback)
    notices.tell(notice(1))
    notices.tell(notice(2))
    assert [heard.get(timeout=30) for _ in range(2)] == [1, 2]
    notices.end()
    assert {entry["event"] for entry in logged} == {"subscriber_failed"}


def test_the_end_is_heard_after_what_was_queued(until: Callable[..., Any]) -> None:
    notices, heard = Notices(), list[int]()
    Subscription(notices, KINDS, 10, lambda item: heard.append(item.details["number"]))
    idle = Subscription(notices, KINDS, 10)
    ended = threading.Thread(target=lambda: heard.extend(numbers(list(idle))))
    ended.start()
    notices.tell(notice(1))
    notices.end()
    ended.join(30)
    until(lambda: heard == [1, 1])
    assert idle.closed
    notices.tell(notice(2))
    assert idle.get(1) is None


def test_a_wait_has_an_end() -> None:
    notices = Notices()
    mine = Subscription(notices, KINDS, 10)
    with pytest.raises(AskTimeout):
        mine.get(0.01)
    notices.tell(notice(1))
    assert numbers([mine.get(1)]) == [1]  # type: ignore[list-item]  # nobody else took it


def test_under_asyncio_the_loop_goes_on_while_nothing_comes() -> None:
    notices = Notices()
    mine = Subscription(notices, KINDS, 10)

    async def listen() -> list[Notice]:
        return [item async for item in mine]

    def speak() -> None:
        for number in range(50):
            notices.tell(notice(number))
        notices.end()

    async def main() -> list[Notice]:
        listening = asyncio.create_task(listen())
        for _ in range(10):
            await asyncio.sleep(0)
        threading.Thread(target=speak).start()
        return await asyncio.wait_for(listening, 30)

    found = numbers(asyncio.run(main()))
    assert found == list(range(len(found)))
    assert len(found) + mine.dropped == 50


def test_a_cancelled_task_takes_nothing_with_it() -> None:
    notices = Notices()
    mine = Subscription(notices, KINDS, 10)

    async def main() -> Notice:
        waiting = asyncio.ensure_future(anext(mine))
        await asyncio.sleep(0)
        notices.tell(notice(1))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await asyncio.wait_for(anext(mine), 30)

    assert numbers([asyncio.run(main())]) == [1]


def test_a_loop_that_was_closed_takes_nothing_with_it() -> None:
    notices = Notices()
    mine = Subscription(notices, KINDS, 10)
    waits: list[asyncio.Future[Notice]] = []

    async def ask() -> None:
        waits.append(asyncio.ensure_future(anext(mine)))
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(ask())
    loop.close()
    notices.tell(notice(1))
    heard = mine.get(1)
    assert heard is not None
    assert numbers([heard]) == [1]
    assert (mine.dropped, len(waits)) == (0, 1)  # it is still there


def test_every_kind_has_a_word_of_its_own() -> None:
    assert set(map(str, NoticeKind)) < KINDS
    assert len(KINDS) == len(NoticeKind) + len(KINDS - set(map(str, NoticeKind)))
