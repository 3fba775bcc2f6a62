"""One seed lived through: a time in which faults rain, and a time after them.

*Safety*: whatever happens, the ledger is in order, what was acknowledged is there, and no attempt
begins twice. *Liveness*: once the faults are over and all nodes run, what was due has its fate
within ``bound`` seconds, nothing older is held or waits, and an orderly shutdown leaves nothing.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.simulation.checker import (
    check_calls,
    check_ledger,
    check_runs,
    check_targets,
    events_of,
)
from tests.faults.simulation.faults import Faults
from tests.faults.simulation.jobs import Log
from tests.faults.simulation.nodes import Node, make_nodes
from tests.faults.simulation.sparing import sparing
from tests.faults.simulation.story import START, Story, draw_story
from tests.faults.simulation.user import DONE, User
from tests.faults.simulation.world import SimulatedWorld
from tests.listing import every_one

from kalends.clock import US, to_us
from kalends.errors import StorageUnavailable
from kalends.testing import VirtualScheduler

__all__ = ["Figures", "Lived", "live", "live_all"]

_FAULTS = ("kill", "refuse", "lose", "freeze", "crash", "jump", "outage")
"""The words with which a line of a trace begins that tells of one."""
_STEPS = (0.0, 0.05, 0.4, 1.0, 3.0, 9.0)
"""Seconds between two things that are done."""
_AWAY = (0.0, 0.5, 5.0, 20.0, 60.0)
"""Seconds until a node that is down is started again."""
_HEARING = 0.03
"""How likely a node has word of others' commits, which only real threads watch for."""
_JUMPS = (-86_400, -3600, -60, 2, 60, 3600, 86_400)
"""None back by less than what is claimed ahead: nobody could tell whether that had begun."""
_LATE = 25.0
"""Seconds for what goes step by step when the faults are over: retries and their delays, lines."""


@dataclass
class Lived:
    """What there was in a story."""

    seed: int
    trace: list[str]
    """All that happened, in order."""
    targets: int
    runs: int


@dataclass
class Figures:
    """What there was in many stories."""

    stories: int = 0
    targets: int = 0
    runs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """How many of each kind."""
    failures: dict[int, str] = field(default_factory=dict)
    """By seed: what did not hold, and what happened last."""

    def __iadd__(self, other: Figures) -> Figures:
        self.stories += other.stories
        self.targets += other.targets
        self.runs += other.runs
        self.faults += other.faults
        self.failures |= other.failures
        return self

    @property
    def words(self) -> str:
        """All of it on one line."""
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.faults.items()))
        return (
            f"{self.stories:,} stories, {len(self.failures)} failed; {self.targets:,} targets,"
            f" {self.runs:,} runs; {kinds}"
        )


def live_all(seeds: Sequence[int]) -> Figures:
    """Live through the stories of these seeds, whatever becomes of any."""
    found = Figures()
    with sparing():
        for seed in seeds:
            found.stories += 1
            try:
                lived = live(seed)
            except Exception as error:
                found.failures[seed] = "".join(traceback.format_exception(error))
                continue
            found.targets += lived.targets
            found.runs += lived.runs
            words = (line.split()[1] for line in lived.trace)
            found.faults.update(word for word in words if word in _FAULTS)
    return found


def live(seed: int) -> Lived:
    """Live through the story of a seed. Raises ``AssertionError`` where something does not hold."""
    story = draw_story(seed)
    if not story.on_file:
        return _Life(story, ":memory:").live()
    with tempfile.TemporaryDirectory() as folder:
        return _Life(story, str(Path(folder) / "k.db")).live()


class _Life:
    """One story under way."""

    def __init__(self, story: Story, database: str) -> None:
        self.story = story
        self.trace: list[str] = []
        self.log = Log()
        self.world = SimulatedWorld(START, story.seed, self.note)
        self.faults = Faults(story, self.world, self.note)
        self.nodes = make_nodes(story, self.world, self.faults, self.log, database, self.note)
        self.user = User(story, self.nodes, self.note)
        self.reader: VirtualScheduler = self.nodes[0].scheduler.reader()
        self.rng = random.Random(f"life/{story.seed}")
        self.back_at: dict[Node, int] = {}

    def note(self, line: str) -> None:
        self.trace.append(f"{self.world.clock.monotonic_us / US:.6f} {line}")

    @property
    def mono(self) -> int:
        return self.world.clock.monotonic_us

    def live(self) -> Lived:
        with self.faults.installed():
            try:
                self.world.place = "reader"
                self.reader.start()
                self.note(f"{self.story}")
                self.rain()
                self.heal()
                return self.look_back()
            except Exception as error:
                error.add_note("\n".join(["what happened last:", *self.trace[-40:]]))
                raise
            finally:
                for node in self.nodes:
                    node.scheduler.kill()
                self.reader.kill()

    # -- safety --------------------------------------------------------------------------------

    def rain(self) -> None:
        for node in self.nodes:
            node.start()
        for _ in range(self.rng.randint(1, 4)):
            self.user.act("create")
        end = self.mono + self.story.seconds * US
        while self.mono < end:
            self.world.advance(self.rng.choice(_STEPS))
            self.look_after_nodes()
            if self.rng.random() < _HEARING:
                self.rng.choice(self.nodes).hear()
            if self.rng.random() < 0.4:
                self.act(self.rng.choice(self.story.acts))
            if self.rng.random() < 0.01:
                self.check(healed=False)
        self.check(healed=False)

    def look_after_nodes(self) -> None:
        """The host of each: starts it again some time after it has ended."""
        for node in self.nodes:
            if node.scheduler.status().state == "failed":
                node.shut_down(0.0)
            if node.scheduler.alive:
                self.back_at.pop(node, None)
                continue
            away = round(self.rng.choice(_AWAY) * US)
            if self.mono >= self.back_at.setdefault(node, self.mono + away):
                del self.back_at[node]
                node.start()

    def act(self, act: str) -> None:
        node = self.rng.choice(self.nodes)
        if act == "kill":
            node.kill()
        elif act == "shut_down" and node.up:
            node.shut_down(self.rng.choice((0.0, 2.0, 20.0)))
        elif act == "freeze" and node.up and node.process is not None:
            seconds = self.rng.choice((2.0, 2 * self.story.lease))
            self.note(f"freeze {node.name} for {seconds}")
            self.world.freeze(node.process, seconds)
        elif act == "jump":
            seconds = self.rng.choice(_JUMPS)
            self.note(f"jump {seconds}")
            self.world.jump(seconds)
        elif act == "outage":
            self.note("outage")
            self.faults.outage_until = self.mono + self.rng.choice((1, 10, 40)) * US
        elif act in ("kill", "shut_down", "freeze", "idle"):
            return
        else:
            self.user.act(act)

    def check(self, *, healed: bool) -> None:
        if self.world.frozen and self.story.on_file:
            return  # it may hold the database
        try:
            check_ledger(self.reader, healed=healed)
            check_calls(self.reader, self.user)
            check_runs(self.reader, self.user, self.log)
        except StorageUnavailable as busy:
            # A node may have been left in the middle of a transaction, for another one's turn.
            if healed or not self.story.on_file or busy.details["reason"] != "locked":
                raise

    # -- liveness ------------------------------------------------------------------------------

    @property
    def bound(self) -> float:
        """Seconds within which all that was due has its fate: a lease that has to end and a beat
        that notices, once for a process that died and once for what nobody knew to be committed;
        the longest sleep; and what goes step by step.
        """
        return 2 * (self.story.lease + self.story.lease / 3) + 30.0 + _LATE

    def heal(self) -> None:
        self.note("the faults are over")
        self.faults.over = self.log.healed = True
        self.world.thaw_all()
        self.world.settle()
        for node in self.nodes:
            if node.scheduler.status().state == "failed":
                node.shut_down(0.0)
            if not node.scheduler.alive:
                assert node.start(), f"{node.name} does not start although nothing is wrong"
        for event in events_of(self.reader, self.user):
            if event.status == "paused":
                told = self.user.ask(self.nodes[0], "resume", event.id)
                assert told.outcome is DONE, f"{told}, although nothing is wrong"
        instant = self.world.clock.now_us()
        self.world.advance(self.bound)
        self.check(healed=True)
        for node in self.nodes:
            status = node.scheduler.status()
            assert status.state == "running", status
            assert status.unrecorded == 0, status
        self.check_fates(instant)
        for node in self.nodes:
            report = node.shut_down(10.0)
            assert report.clean, report
            assert report.unrecorded == 0, report
            assert not report.abandoned, report
        self.check(healed=True)

    def check_fates(self, instant: int) -> None:
        """What was due by then has its fate; but for events that are paused for failures that began
        before the faults were over.
        """
        paused = {
            event.id
            for event in every_one(self.reader.list_events, status="paused", sort="name")
            if event.policies.pause_after_failures is not None
        }
        for execution in every_one(self.reader.list_executions):
            if execution.event_id in paused:
                continue
            begins = execution.due if execution.moved_to is None else execution.moved_to
            if execution.ready_at is not None:  # by a clock that was set back since, maybe
                begins = max(begins, execution.ready_at)
            over = execution.ended_at is not None or to_us(begins) > instant
            assert over, f"{execution} is late"
            assert not execution.still_running, execution
        for event in events_of(self.reader, self.user):
            if event.status == "active":
                assert event.next_due is not None, event
                assert to_us(event.next_due) > instant, f"{event.name} is not looked at: {event}"
            elif event.id not in paused:
                assert event.status in ("completed", "deleted"), event

    def look_back(self) -> Lived:
        targets = check_targets(self.reader, self.user)
        self.note(f"ledger {hashlib.sha256(self.reader.dump()).hexdigest()}")
        return Lived(self.story.seed, self.trace, targets, len(self.log.runs))
