"""Four processes on one database, killed and stopped at random: no instant without its one fate.

The short form runs always: 40 events of 10 instants each, some ten seconds on each kind of
database. The full one, 10,000 events over two minutes, runs where ``TEST_FULL`` is set (``tox -e
full``). Both print their seed; ``TEST_SEED`` repeats one.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kalends import Event, Fate, Registry, Scheduler, every

CHILD = Path(__file__).with_name("cluster_child.py")
FULL = bool(os.environ.get("TEST_FULL"))
EVENTS, INSTANTS, PERIOD = (10_000, 12, 10.0) if FULL else (40, 10, 0.5)
PROCESSES = 4

pytestmark = [
    pytest.mark.on_both,
    pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP"),
    pytest.mark.timeout(900 if FULL else 240),
]


class Member:
    """One process of the cluster."""

    def __init__(self, home: Path | str, directory: Path) -> None:
        self.lines: list[str] = []
        self.ready = threading.Event()
        self.log = directory / "log"
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(CHILD), str(home), str(self.log)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.strip())
            if line == "ready\n":
                self.ready.set()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it, stopped or not, and read what it had to say."""
        self.send(how)
        self._process.wait(30)
        self._reader.join(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Cluster:
    """Processes on one database, and a scheduler beside them that runs nothing."""

    def __init__(self, home: Path | str, directory: Path) -> None:
        self.home = home
        self.directory = directory
        self.members: list[Member] = []
        registry = Registry()
        registry.register(lambda seconds=0.01: None, "work")
        self.client = Scheduler(
            home, registry=registry, environ={}, enabled=False, busy_timeout=20.0
        )

    def add(self) -> Member:
        self.members.append(Member(self.home, self.directory))
        assert self.members[-1].ready.wait(60)
        return self.members[-1]

    def replace(self, place: int) -> None:
        """Kill one, and start another in its place."""
        self.members[place].end()
        self.members[place] = Member(self.home, self.directory)

    def begun(self) -> Counter[str]:
        """How often each execution has begun."""
        lines = (self.directory / "log").read_text().splitlines()
        return Counter(line.split()[1] for line in lines if line.startswith("begin "))

    def close(self) -> None:
        for member in self.members:
            member.end()
        self.client.shutdown()


@pytest.fixture
def cluster(home: Path | str, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(home, tmp_path)
    with made.client:
        yield made
        made.close()


def disturb(cluster: Cluster, rng: random.Random, seconds: float) -> None:
    """Kill and stop processes at random for so long; in the end all go on."""
    pause, passed = threading.Event(), 0.0
    stopped: dict[int, float] = {}
    while passed < seconds:
        wait = rng.uniform(0.1, 0.6)
        pause.wait(wait)
        passed += wait
        for place in [place for place, until in stopped.items() if until <= passed]:
            cluster.members[place].send(signal.SIGCONT)
            del stopped[place]
        place = rng.randrange(PROCESSES)
        if rng.random() < 0.4:
            stopped.pop(place, None)
            cluster.replace(place)
        elif place not in stopped and len(stopped) < PROCESSES - 1:
            cluster.members[place].send(signal.SIGSTOP)
            stopped[place] = passed + rng.uniform(0.1, 4.0)  # a lease lasts two seconds
    for member in cluster.members:
        member.send(signal.SIGCONT)


def test_every_instant_has_one_fate_whatever_becomes_of_the_processes(
    cluster: Cluster, until: Callable[..., Any]
) -> None:
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().getrandbits(32))
    sys.stdout.write(f"TEST_SEED={seed}\n")  # shown where the test fails
    for _ in range(PROCESSES):
        cluster.add()
    client = cluster.client
    events = client.schedule_events(
        [
            {
                "job": "work",
                "trigger": every(seconds=PERIOD).limit(INSTANTS),
                "delivery": "at_most_once" if number % 2 else "at_least_once",
                "max_attempts": 1000,
                "catch_up": "all",
                "catch_up_limit": 1000,
                "overlap": "allow_all" if number % 3 else "buffer_all",
            }
            for number in range(EVENTS)
        ]
    )
    disturb(cluster, random.Random(seed), INSTANTS * PERIOD)
    until(lambda: client.count_events(status="completed") == EVENTS, 120.0)
    for fate in (Fate.PENDING, Fate.RUNNING):
        until(lambda fate=fate: client.count_executions(fate=fate) == 0, 120.0)
    begun = cluster.begun()
    for event in events:
        check(client, event, begun)
    found = client.verify(integrity=True)
    assert [item.words for item in found.violations] == []
    assert found.executions == EVENTS * INSTANTS


def check(client: Scheduler, event: Event, begun: Counter[str]) -> None:
    """All instants of an event have run: each once, or at least once, as it was promised."""
    executions = client.list_executions(event_id=event.id, limit=1000).items
    assert len(executions) == INSTANTS
    for execution in executions:
        assert begun[execution.id] >= (execution.fate is Fate.SUCCEEDED)
        if event.policies.delivery == "at_most_once":
            assert execution.fate in (Fate.SUCCEEDED, Fate.LOST)
            assert begun[execution.id] <= 1, "at most once"
        else:
            assert execution.fate is Fate.SUCCEEDED, "at least once"


def test_a_process_that_was_stopped_past_its_lease_cannot_finish_what_was_taken_over(
    cluster: Cluster, until: Callable[..., Any]
) -> None:
    first, client = cluster.add(), cluster.client
    event = client.schedule_event("work", every(seconds=0.1).limit(1), kwargs={"seconds": 1.0})
    until((cluster.directory / "log").exists)
    until(lambda: cluster.begun().total() == 1)
    first.send(signal.SIGSTOP)
    second = cluster.add()
    until(lambda: cluster.begun().total() == 2, 60.0)
    first.send(signal.SIGCONT)

    def execution() -> Any:
        return client.list_executions(event_id=event.id).items[0]

    until(lambda: execution().fate is Fate.SUCCEEDED, 60.0)
    until(lambda: f"rejected {execution().id}" in first.lines, 60.0)
    assert [attempt.outcome for attempt in execution().attempts] == [Fate.LOST, Fate.SUCCEEDED]
    assert not any(line.startswith("rejected") for line in second.lines)
    assert client.verify().ok
