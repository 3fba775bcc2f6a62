"""Order, bounds, closing, and what outlives whom."""

from __future__ import annotations

import threading
from typing import Any

import gevent
import pytest

from kalends.actors.hub import Hub
from kalends.actors.mailbox import TURN, Envelope, Mailbox
from kalends.errors import MailboxFull, NotInitialized
from kalends.futures import Future


@pytest.fixture
def mailbox(hub: Hub) -> Mailbox:
    return Mailbox("box", 5, hub.loop, hub.ident, hub.clock.monotonic)


def take(hub: Hub, mailbox: Mailbox, count: int) -> list[Any]:
    return list(hub.run(lambda: [mailbox.get().message for _ in range(count)], 5.0))


def test_urgent_messages_come_first_and_orders_before_them(hub: Hub, mailbox: Mailbox) -> None:
    mailbox.put(Envelope("one"))
    mailbox.put(Envelope("two"))
    mailbox.put_urgent(Envelope("fact"))
    hub.run(lambda: mailbox.put_order(Envelope("stop")), 5.0)
    assert take(hub, mailbox, 4) == ["stop", "fact", "one", "two"]
    assert mailbox.received == 3


def test_past_its_limit_a_message_is_refused_and_facts_are_not(hub: Hub, mailbox: Mailbox) -> None:
    for n in range(5):
        mailbox.put(Envelope(n))
    with pytest.raises(MailboxFull) as caught:
        mailbox.put(Envelope(5))
    assert caught.value.details == {"actor": "box", "limit": 5}
    mailbox.put_urgent(Envelope("fact"))
    assert len(mailbox) == 6
    assert take(hub, mailbox, 6) == ["fact", 0, 1, 2, 3, 4]


def test_closing_answers_what_waits_and_refuses_what_comes(hub: Hub, mailbox: Mailbox) -> None:
    futures: list[Future[Any]] = [Future() for _ in range(3)]
    mailbox.put(Envelope(1, futures[0]))
    mailbox.put_urgent(Envelope(2, futures[1]))
    error = NotInitialized("closed")
    mailbox.close(error)
    assert [future.error for future in futures] == [error, error, None]
    assert mailbox.closed is error
    for put in (mailbox.put, mailbox.put_urgent):
        with pytest.raises(NotInitialized):
            put(Envelope(3))
    hub.run(lambda: mailbox.put_order(Envelope("stop")), 5.0)
    assert take(hub, mailbox, 1) == ["stop"]


def test_closing_against_eight_threads_that_put_leaves_no_asker_unanswered(hub: Hub) -> None:
    for _ in range(20):
        mailbox = Mailbox("race", 10_000, hub.loop, hub.ident, hub.clock.monotonic)
        futures: list[Future[Any]] = []
        ready = threading.Barrier(9)

        def put(
            mailbox: Mailbox = mailbox,
            futures: list[Future[Any]] = futures,
            ready: threading.Barrier = ready,
        ) -> None:
            ready.wait(5.0)
            for _ in range(50):
                future: Future[Any] = Future()
                try:
                    mailbox.put(Envelope(1, future))
                except NotInitialized:
                    return
                futures.append(future)

        threads = [threading.Thread(target=put) for _ in range(8)]
        for thread in threads:
            thread.start()
        ready.wait(5.0)
        mailbox.close(NotInitialized("closed"))
        for thread in threads:
            thread.join(5.0)
        assert all(future.done for future in futures)
        assert len(mailbox) == 0


def test_a_message_put_in_the_very_moment_of_closing_is_answered(hub: Hub) -> None:
    error = NotInitialized("closed")

    def close_between_the_look_and_the_append() -> float:
        race.close(error)
        return 0.0

    race = Mailbox("race", 5, hub.loop, hub.ident, close_between_the_look_and_the_append)
    future: Future[Any] = Future()
    race.put(Envelope(1, future))
    assert future.error is error
    assert len(race) == 0


def test_a_kill_of_the_waiting_greenlet_takes_no_message(hub: Hub, mailbox: Mailbox) -> None:
    def wait_and_die() -> None:
        taker = gevent.spawn(mailbox.get)
        gevent.idle()
        taker.kill()
        assert isinstance(taker.value, gevent.GreenletExit)

    hub.run(wait_and_die, 5.0)
    mailbox.put(Envelope("kept"))
    assert take(hub, mailbox, 1) == ["kept"]


def test_a_message_from_any_thread_wakes_the_waiting_greenlet(hub: Hub, mailbox: Mailbox) -> None:
    got: Future[Any] = Future(5.0)
    hub.run(lambda: gevent.spawn(lambda: got.resolve(mailbox.get().message)), 5.0)
    hub.run(gevent.idle, 5.0)
    mailbox.put(Envelope("hello"))
    assert got.get() == "hello"


def test_a_full_mailbox_gives_other_greenlets_their_turn(hub: Hub) -> None:
    mailbox = Mailbox("long", 10_000, hub.loop, hub.ident, hub.clock.monotonic)
    for n in range(1_000):
        mailbox.put(Envelope(n))

    def race() -> int:
        gevent.spawn(lambda: [mailbox.get() for _ in range(1_000)])
        gevent.sleep(0)
        return mailbox.received

    assert hub.run(race, 5.0) <= 2 * TURN


def test_the_age_of_the_oldest_counts_every_lane(hub: Hub) -> None:
    now = [10.0]
    mailbox = Mailbox("old", 10, hub.loop, hub.ident, lambda: now[0])
    assert mailbox.oldest_age() == 0.0
    mailbox.put(Envelope(1))
    now[0] = 11.0
    mailbox.put_urgent(Envelope(2))
    now[0] = 13.0
    assert mailbox.oldest_age() == 3.0
