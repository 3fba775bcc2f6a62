"""A node of a simulation: a scheduler that dies, is started again, and has a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.faults.simulation.faults import Faults
from tests.faults.simulation.jobs import Jobs, Log
from tests.faults.simulation.story import Story
from tests.faults.simulation.world import SimulatedWorld

from kalends import KalendsError
from kalends.clock import US
from kalends.messages import OthersCommitted
from kalends.testing import ProcessKilled, VirtualScheduler
from kalends.testing.virtual.process import VirtualProcess

__all__ = ["Node", "make_nodes"]


class Node:
    """One machine, and the scheduler on it."""

    def __init__(
        self,
        name: str,
        place: str,
        skew: float,
        world: SimulatedWorld,
        note: Callable[[str], None],
    ) -> None:
        self.name = name
        self.place = place
        self.skew = skew
        self.scheduler: VirtualScheduler
        self._world = world
        self._note = note

    @property
    def process(self) -> VirtualProcess | None:
        """The process that lives there, if one does."""
        return self.scheduler._life._process

    @property
    def pid(self) -> int:
        """The id of the process that lives there."""
        assert self.process is not None
        return self.process.pid

    @property
    def up(self) -> bool:
        """Whether it lives and does not stand still: whoever asks it something is answered."""
        process = self.process
        return self.scheduler.alive and process is not None and not process.frozen

    def reached_us(self) -> int:
        """The latest instant that the wall clock there has shown."""
        return self._world.reached_us() + round(self.skew * US)

    def ask(self, call: Callable[[], Any]) -> Any:
        """Its answer. Raises ``ProcessKilled`` where the process dies meanwhile."""
        with self._world.waiting_for(self.process):
            return call()

    def start(self) -> bool:
        """Start it; False where that failed, or it died on the way."""
        self._world.place = self.place
        try:
            self.ask(self.scheduler.start)
        except (KalendsError, ProcessKilled) as error:
            self._note(f"{self.name} does not start: {type(error).__name__}")
            return False
        self._note(f"{self.name} has started")
        return True

    def shut_down(self, timeout: float) -> Any:
        """Shut it down; the report, or None where it died on the way."""
        try:
            report = self.ask(lambda: self.scheduler.shutdown(timeout))
        except ProcessKilled:
            return None
        self._note(f"{self.name} has shut down: {report}")
        return report

    def hear(self) -> None:
        """Others may have changed the ledger."""
        system = self.scheduler._system
        if system is not None:
            system.tracker.tell_urgent(OthersCommitted())

    def kill(self) -> None:
        """A power cut."""
        if self.scheduler.alive:
            self._note(f"kill {self.name}")
            self.scheduler.kill()


def make_nodes(
    story: Story,
    world: SimulatedWorld,
    faults: Faults,
    log: Log,
    database: str,
    note: Callable[[str], None],
) -> list[Node]:
    """The nodes of a story, on one database; none has started."""
    nodes: list[Node] = []
    for number in range(story.nodes):
        name = f"node {number + 1}"
        place, skew = "host" if story.one_host else name, story.skew if number else 0.0
        node = Node(name, place, skew, world, note)
        values: dict[str, Any] = {
            "registry": Jobs(story, log, node, note).registry,
            "probe": faults.probe(node),
        }
        if nodes:
            node.scheduler = nodes[0].scheduler.peer(**values)
        else:
            node.scheduler = VirtualScheduler(database, world=world, **values, **_settings(story))
        node.scheduler.skew = skew
        nodes.append(node)
    return nodes


def _settings(story: Story) -> dict[str, Any]:
    return {
        "lease": story.lease,
        "claim_ahead": story.claim_ahead,
        "max_sleep": 30.0,
        "housekeeping_every": 60.0,
        "follow_every": 10.0,
        "busy_timeout": 0.0,  # nothing waits, and nobody would go on meanwhile
        "workers": 3,
        "concurrency_limits": {"one": 1, "two": 2},
    }
