"""Each actor crashed a hundred times while eight threads talk to all of them and events fire."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pendulum
import pytest

from kalends import ActorCrashed, EventStatus, Scheduler, every, once

FAR = pendulum.datetime(2090, 1, 1, tz="UTC")
ACTORS = ("execution_tracker", "event_manager", "loop", "housekeeper")
TIMES = 100
ASK_TIMEOUT = 20.0


class Talker:
    """One thread's questions, and what it knows of the events that are its own."""

    def __init__(self, scheduler: Scheduler, number: int, seed: int) -> None:
        self.scheduler = scheduler
        self.number = number
        self.rng = random.Random(seed + number)
        self.known: dict[str, tuple[str, str | None, EventStatus]] = {}
        self.gone: list[str] = []
        self.runs: list[tuple[str, str]] = []
        self.asked = 0
        self.slowest = 0.0

    def talk(self, stop: threading.Event) -> None:
        self.create()
        verbs = [getattr(self, name) for name in VERBS for _ in range(VERBS[name])]
        while not stop.is_set():
            began = time.monotonic()
            self.rng.choice(verbs)()
            self.asked += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

    def _one(self) -> str:
        return self.rng.choice(list(self.known))

    def create(self) -> None:
        name = f"{self.number}-{len(self.known) + len(self.gone)}"
        if self.rng.random() < 0.5:
            event = self.scheduler.schedule_event("tick", once(FAR), name=name)
        else:
            event = self.scheduler.events.create("tick", once(FAR), name=name).get()
        assert event.name == name
        self.known[event.id] = (name, None, EventStatus.ACTIVE)

    def create_many(self) -> None:
        names = [f"{self.number}-m{self.asked}-{place}" for place in range(3)]
        events = self.scheduler.schedule_events(
            [{"job": "tick", "trigger": once(FAR), "name": name} for name in names]
        )
        assert [event.name for event in events] == names
        self.known |= {event.id: (event.name, None, EventStatus.ACTIVE) for event in events}

    def get(self) -> None:
        futures = {id: self.scheduler.events.get(id) for id in list(self.known)[-5:]}
        for id, future in futures.items():
            event = future.get()
            assert (event.id, (event.name, event.note, event.status)) == (id, self.known[id])

    def update(self) -> None:
        id = self._one()
        name, _, status = self.known[id]
        note = f"note {self.asked}"
        assert self.scheduler.update_event(id, note=note).note == note
        self.known[id] = (name, note, status)

    def pause_or_resume(self) -> None:
        id = self._one()
        name, _, status = self.known[id]
        if status is EventStatus.ACTIVE:
            event = self.scheduler.pause_event(id)
        else:
            event = self.scheduler.resume_event(id)
        assert event.id == id
        assert event.status is not status
        self.known[id] = (name, event.note, event.status)

    def delete(self) -> None:
        if len(self.known) > 3:
            id = self._one()
            self.scheduler.delete_event(id)
            del self.known[id]
            self.gone.append(id)

    def look(self) -> None:
        id = self._one()
        name = self.known[id][0]
        assert [event.id for event in self.scheduler.list_events(name=name).items] == [id]
        assert self.scheduler.count_events(name=name) == 1
        assert self.scheduler.preview(id, 3) == (FAR,)
        assert all(entry.event_id == id for entry in self.scheduler.list_journal(event_id=id).items)

    def run(self) -> None:
        id = self._one()
        execution = self.scheduler.trigger_now(id)
        assert execution.event_id == id
        self.runs.append((id, execution.id))

    def history(self) -> None:
        if self.runs:
            id, execution_id = self.rng.choice(self.runs)
            assert self.scheduler.get_execution(execution_id).event_id == id
            page = self.scheduler.list_executions(event_id=id)
            assert execution_id in [execution.id for execution in page.items]
            assert self.scheduler.count_executions(event_id=id) == len(page.items)
            assert self.scheduler.list_gaps(event_id=id).items == ()
            self.scheduler.report(event_id=id)

    def keep_house(self) -> None:
        assert self.scheduler.housekeeper.run_cleanup("r", dry_run=True).get().dry_run
        assert self.scheduler.keep_house().errors == {}


VERBS = {
    "create": 4, "create_many": 1, "get": 6, "update": 3, "pause_or_resume": 3, "delete": 2,
    "look": 2, "run": 4, "history": 3, "keep_house": 1,
}  # fmt: skip


def crash_once(storm: Any, rng: random.Random, actor: str, bugs: tuple[Any, ...]) -> None:
    """In a way of chance's choosing; whoever sent what crashed it hears so."""
    bug, way = rng.choice(bugs), rng.randrange(4)
    if way == 0:
        storm.crash(actor, bug)
    elif way == 1:
        storm.kill(actor)
    else:
        writer = way == 3 and actor == "event_manager"
        future = storm.poison_writer(bug) if writer else storm.poison(actor, bug)
        with pytest.raises(ActorCrashed) as caught:
            future.get(timeout=ASK_TIMEOUT)
        assert caught.value.details["actor"] == actor


def wait_for(storm: Any, until: Callable[..., Any], wanted: dict[str, int]) -> None:
    until(
        lambda: (
            storm.restarts() == wanted
            and all(str(actor.state) == "running" for actor in storm.scheduler.status().actors)
        )
    )


@pytest.mark.timeout(180)
def test_a_hundred_crashes_of_each_actor_lose_no_reply_no_event_no_instant_and_no_job(
    make_storm: Any, rng: random.Random, tools: Any
) -> None:
    envelopes_before = tools.envelopes()
    storm = make_storm(restart_intensity=1000, ask_timeout=ASK_TIMEOUT)
    scheduler = storm.scheduler
    for place in range(10):
        delivery = "at_most_once" if place % 2 else "at_least_once"
        scheduler.schedule_event(
            "tick", every(seconds=0.1 + place / 50), name=f"f{place}", delivery=delivery
        )
    crashes = [actor for actor in ACTORS for _ in range(round(TIMES * tools.scale))]
    rng.shuffle(crashes)
    talkers = [Talker(scheduler, number, tools.seed) for number in range(8)]
    stop, wanted = threading.Event(), dict.fromkeys(ACTORS, 0)
    with ThreadPoolExecutor(8) as pool:
        talks = [pool.submit(talker.talk, stop) for talker in talkers]
        try:
            for actor in crashes:
                crash_once(storm, rng, actor, tools.bugs)
                group = [actor] if actor == "housekeeper" else ACTORS[ACTORS.index(actor) : 3]
                wanted |= {member: wanted[member] + 1 for member in group}
                wait_for(storm, tools.until, wanted)
        finally:
            stop.set()
        for talk in talks:
            talk.result(timeout=60)  # nothing but the right answer, to each of them
    assert min(talker.asked for talker in talkers) > 5
    assert max(talker.slowest for talker in talkers) < ASK_TIMEOUT
    check_knowledge(scheduler, talkers)
    storm.settle()
    assert storm.check_accounts() > 50
    check_nothing_piled_up(storm, tools, envelopes_before)
    assert scheduler.status().state == "running"


def check_knowledge(scheduler: Scheduler, talkers: list[Talker]) -> None:
    """What was acknowledged is there, what was deleted is not."""
    for talker in talkers:
        for id, known in talker.known.items():
            event = scheduler.get_event(id)
            assert (event.name, event.note, event.status) == known
        for id in talker.gone:
            assert scheduler.get_event(id, deleted=True).status is EventStatus.DELETED


def check_nothing_piled_up(storm: Any, tools: Any, envelopes_before: int) -> None:
    until = tools.until
    until(lambda: all(actor.waiting == 0 for actor in storm.scheduler.status().actors))
    for actor in ACTORS:
        until(lambda actor=actor: not storm.cell(actor).mailbox.unanswered)
        assert len(storm.cell(actor).mailbox._orders) <= 1
    # A heartbeat of each incarnation of the last seconds; cancelled ones are swept by the half.
    timers = [timer for *_, timer in storm.system.hub._timers if timer.callback is not None]
    assert len(timers) < 200
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("kalends")]
    assert len(threads) < 15, [thread.name for thread in threads]
    assert tools.envelopes() < envelopes_before + 100


def test_a_bug_that_cannot_be_told_is_still_answered(make_storm: Any, tools: Any) -> None:
    storm = make_storm()
    for actor in ACTORS:
        with pytest.raises(ActorCrashed) as caught:
            storm.poison(actor, tools.bugs[-1]).get(timeout=5.0)
        assert caught.value.details["cause"] == "Wordless"
    assert storm.scheduler.count_events() == 0


def test_one_accident_that_met_several_transactions_of_an_actor_is_one_crash(
    make_storm: Any, tools: Any
) -> None:
    storm = make_storm(restart_intensity=1)
    held = storm.hold_writer()
    actor, tracker = tools.actor_of(storm, "execution_tracker"), storm.cell("execution_tracker")
    for _ in range(3):
        actor.fail(RuntimeError("the same"))
    held.let_go.set()
    tools.until(lambda: tracker.incarnation == 2 and storm.state("execution_tracker") == "running")
    assert storm.scheduler.count_executions() == 0
    assert storm.restarts()["execution_tracker"] == 1
