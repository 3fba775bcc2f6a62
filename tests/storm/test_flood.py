"""More messages than anybody can handle, and a handler that holds the hub."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pendulum
import pytest

from kalends import AskTimeout, KalendsError, MailboxFull, every, once
from kalends.actors.event_manager import EventManagerActor
from kalends.messages import CountEvents, GetEvent
from kalends.queries import EventQuery

FAR = pendulum.datetime(2090, 1, 1, tz="UTC")
MESSAGES = 100_000
"""In the short form; TEST_STORM_SCALE=10 makes it a million."""
LIMIT = 1000


class Flood:
    """Eight threads that send without waiting, and what came of it."""

    def __init__(self, storm: Any, event_id: str, messages: int) -> None:
        self.ref = storm.cell("event_manager").ref
        self.event_id = event_id
        self.share = messages // 8
        self.taken = [0] * 8
        self.refused = [0] * 8
        self.answers: list[list[Any]] = [[] for _ in range(8)]
        self.wrong: list[BaseException] = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._pour, args=(n,)) for n in range(8)]
        for thread in self.threads:
            thread.start()

    def _pour(self, number: int) -> None:
        get, count = GetEvent(self.event_id), CountEvents(EventQuery(name="far"))
        rng = random.Random(number)
        for _ in range(self.share):
            if self.stop.is_set():
                return
            try:
                if number % 2:
                    self.ref.tell(get)
                else:
                    future = self.ref.ask(rng.choice((get, count)), block=False)
                    if isinstance(future.error, MailboxFull):
                        raise future.error
                    self.answers[number].append(future)
                self.taken[number] += 1
            except MailboxFull:
                self.refused[number] += 1
            except BaseException as error:
                self.wrong.append(error)
                return

    def join(self) -> None:
        for thread in self.threads:
            thread.join(60.0)
            assert not thread.is_alive()


@pytest.mark.timeout(120)
def test_a_flood_is_refused_past_the_limit_and_what_was_taken_is_answered(
    make_storm: Any, tools: Any
) -> None:
    storm = make_storm(mailbox_limit=LIMIT, ask_timeout=60.0)
    scheduler = storm.scheduler
    event = scheduler.schedule_event("tick", once(FAR), name="far")
    scheduler.schedule_event("tick", every(seconds=0.1), name="clock")
    cell, readers = storm.cell("event_manager"), storm.system.storage._readers
    flood = Flood(storm, event.id, round(MESSAGES * tools.scale))
    most = 0
    while any(thread.is_alive() for thread in flood.threads):
        queued = sum(len(reader._queue) for reader in readers)
        most = max(most, len(cell.mailbox), len(cell.mailbox.unanswered), queued)
        flood.threads[0].join(0.005)
    flood.join()
    assert flood.wrong == []
    # Eight threads may look at the same last free place; what is answered meanwhile is not counted.
    assert most <= LIMIT + 8 + 64
    assert min(flood.refused) > 0
    assert sum(flood.taken) >= LIMIT
    for future in [future for answers in flood.answers for future in answers]:
        answer = future.get(timeout=60.0)
        assert answer == 1 or answer.id == event.id
    assert len(storm.ran) > 3, "timers and jobs went on"
    tools.until(lambda: not cell.mailbox.unanswered and not len(cell.mailbox))
    assert scheduler.count_events() == 2


def test_a_flood_delays_no_shutdown(make_storm: Any) -> None:
    storm = make_storm()
    event = storm.scheduler.schedule_event("tick", once(FAR), name="far")
    flood = Flood(storm, event.id, 10_000_000)
    threading.Event().wait(0.2)
    began = time.monotonic()
    report = storm.scheduler.shutdown(5.0)
    took = time.monotonic() - began
    flood.stop.set()
    flood.join()
    assert report.clean
    assert took < 10.0
    for future in [future for answers in flood.answers for future in answers]:
        try:
            future.get(timeout=1.0)
        except AskTimeout:
            raise
        except KalendsError:
            continue  # refused: it has an answer


def test_a_flood_delays_no_restart(make_storm: Any, tools: Any) -> None:
    storm = make_storm(mailbox_limit=LIMIT)
    event = storm.scheduler.schedule_event("tick", once(FAR), name="far")
    flood = Flood(storm, event.id, 10_000_000)
    for number in range(3):
        storm.crash("event_manager")
        tools.until(lambda number=number: storm.restarts()["event_manager"] == number + 1, 5.0)
    flood.stop.set()
    flood.join()
    assert flood.wrong == []


def test_a_handler_that_holds_the_hub_is_reported_with_its_stack_and_all_goes_on(
    make_storm: Any, tools: Any, logged: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    storm = make_storm(stall_after=0.4)
    event = storm.scheduler.schedule_event("tick", once(FAR))
    original = EventManagerActor.preview
    pause = threading.Event()

    def a_handler_that_blocks(self: Any, message: Any) -> Any:
        pause.wait(1.5)
        return original(self, message)

    monkeypatch.setattr(EventManagerActor, "preview", a_handler_that_blocks)
    assert storm.scheduler.preview(event.id, 1) == (FAR,)
    tools.until(lambda: [entry for entry in logged if entry["event"] == "hub_stalled"])
    pause.wait(0.5)
    stalls = [entry for entry in logged if entry["event"] == "hub_stalled"]
    assert 2 <= len(stalls) <= 4, "once in each period of 0.4 s"
    assert all("a_handler_that_blocks" in entry["stack"] for entry in stalls)
    assert storm.scheduler.status().stalls == len(stalls)
    storm.scheduler.schedule_event("tick", every(seconds=0.05))
    tools.until(lambda: len(storm.ran) > 3)
    assert storm.scheduler.status().state == "running"
