"""The outbox: in order, until dropped, and no wake-up lost."""

from __future__ import annotations

import threading
from typing import Any

from kalends.jobs.outbox import Outbox
from kalends.model import Fate
from kalends.work import Outcome


def outcome(id: str, attempt: int = 1) -> Outcome:
    values: dict[str, Any] = {"event_id": "e", "started_us": 1, "ended_us": 2}
    return Outcome(execution_id=id, attempt=attempt, fate=Fate.SUCCEEDED, **values)


def ids(outcomes: list[Outcome]) -> list[str]:
    return [each.execution_id for each in outcomes]


def test_outcomes_come_in_order_and_stay_until_dropped() -> None:
    outbox = Outbox(lambda: None)
    for id in "abc":
        outbox.put(outcome(id))
    assert ids(outbox.peek(2)) == ["a", "b"]
    assert ids(outbox.peek(9)) == ["a", "b", "c"]
    outbox.drop(2)
    assert (ids(outbox.peek(9)), set(outbox.pending()), len(outbox)) == (["c"], {"c"}, 1)
    outbox.drop(9)
    assert (outbox.peek(9), outbox.pending()) == ([], {})


def test_what_two_readers_were_told_of_is_dropped_once() -> None:
    outbox = Outbox(lambda: None)
    for id in "abcd":
        outbox.put(outcome(id))
    first, second = (2, outbox.dropped), (3, outbox.dropped)
    outbox.drop(*first)
    assert ids(outbox.peek(9)) == ["c", "d"]
    outbox.drop(*second)
    assert ids(outbox.peek(9)) == ["d"]
    outbox.drop(*first)
    assert ids(outbox.peek(9)) == ["d"]


def test_it_signals_once_until_the_reader_found_it_empty() -> None:
    calls: list[int] = []
    outbox = Outbox(lambda: calls.append(1))
    for id in "abc":
        outbox.put(outcome(id))
    assert len(calls) == 1
    assert not outbox.rest()
    outbox.drop(3)
    outbox.put(outcome("d"))
    assert len(calls) == 1
    outbox.drop(1)
    assert outbox.rest()
    outbox.put(outcome("e"))
    assert len(calls) == 2


def test_a_signal_that_fails_is_given_again_with_the_next_outcome() -> None:
    calls: list[int] = []

    def full() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("full")

    outbox = Outbox(full)
    outbox.put(outcome("a"))
    outbox.put(outcome("b"))
    outbox.put(outcome("c"))
    assert len(calls) == 2


def test_a_later_attempt_stays_pending_when_the_earlier_one_is_dropped() -> None:
    outbox = Outbox(lambda: None)
    outbox.put(outcome("a", 1))
    outbox.put(outcome("a", 2))
    assert (outbox.holds("a", 1), outbox.holds("a", 2)) == (False, True)
    outbox.drop(1)
    assert outbox.holds("a", 2)
    assert not outbox.holds("b", 1)


def test_no_wake_up_is_lost_between_many_writers_and_a_reader_that_rests() -> None:
    ready = threading.Semaphore(0)
    calls: list[int] = []

    def tell() -> None:
        calls.append(1)
        ready.release()

    outbox = Outbox(tell)
    total, read = 4 * 2000, 0

    def write(part: int) -> None:
        for n in range(2000):
            outbox.put(outcome(f"{part}-{n}"))

    writers = [threading.Thread(target=write, args=(part,)) for part in range(4)]
    for writer in writers:
        writer.start()
    while read < total:
        assert ready.acquire(timeout=10), "a wake-up was lost"
        while not outbox.rest():
            batch = outbox.peek(100)
            read += len(batch)
            outbox.drop(len(batch))
    for writer in writers:
        writer.join(10)
    assert read == total
    assert len(calls) <= total
