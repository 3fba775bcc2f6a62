"""Lives of a scheduler, one after the other on one database, each ended by a kill -9.

usage: kill_loop.py DIRECTORY CYCLES SEED. Each life is a forked child that is told by the
environment variable ``CRASH_AT`` at which write point to kill itself, as ``point:count``; one that
does not get there is killed from outside after a random time. The last life ends in order, once
nothing is open any more. Prints how often which point has struck, as JSON.

The package knows nothing of this: the points are those of ``kalends.testing.probing`` around the
transactions, of an SQLite VFS below them, and of the jobs. Jobs and the child append what they did
to a log of their own, a line by one write, so that it is whole or not there.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import apsw

from kalends import Registry, Scheduler, current, every
from kalends.clock import US, SystemClock, from_us
from kalends.storage import engine
from kalends.testing.probing import ProbedWriter, StorageStep

POINTS = (*(step.value for step in StorageStep), "write", "torn", "sync", "synced", "job", "ended")
"""``torn``: half of what was to be written is; ``synced``: just after the disk was flushed."""
PERIOD = 0.25
PAUSE, CLOCK = threading.Event(), SystemClock()
KINDS: list[dict[str, Any]] = [
    {"name": f"{delivery}-{job}", "job": job, "delivery": delivery}
    for delivery in ("at_least_once", "at_most_once")
    for job in ("quick", "slow")
]


class Crash:
    """Kills this process when a point has been reached so many times."""

    def __init__(self, at: str) -> None:
        self.point, _, count = at.partition(":")
        self.left = int(count or 0)

    def at(self, point: str) -> bool:
        """Whether this is where to end."""
        if point == self.point:
            self.left -= 1
        return point == self.point and self.left == 0

    def reach(self, point: str) -> None:
        """End here, if here it is."""
        if self.at(point):
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


class Disk(apsw.VFS):
    """The system's own files, with a kill before, within and after what is done to them."""

    def __init__(self, crash: Crash) -> None:
        self.crash = crash
        self.base = apsw.vfs_names()[0]
        super().__init__("killing-disk", self.base, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  (SQLite's name)
        crash, base = self.crash, self.base

        class File(apsw.VFSFile):
            def xSync(self, flags: int) -> None:  # noqa: N802  (SQLite's name)
                crash.reach("sync")
                super().xSync(flags)
                crash.reach("synced")

            def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  (SQLite's name)
                crash.reach("write")
                if crash.at("torn"):
                    super().xWrite(data[: len(data) // 2], offset)
                    die()
                super().xWrite(data, offset)

        return File(base, name, flags)


class Life:
    """What runs in a child."""

    def __init__(self, directory: Path, crash: Crash, rng: random.Random) -> None:
        self.crash = crash
        self.rng = rng
        self.log = os.open(directory / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        registry = Registry()
        registry.register(lambda: self.job(0.0), "quick")
        registry.register(lambda: self.job(0.03), "slow")
        self.scheduler = Scheduler(
            directory / "k.db", registry=registry, environ={}, housekeeping_every=1.0, lease=2.0
        )

    def write(self, *words: object) -> None:
        os.write(self.log, (" ".join(map(str, words)) + "\n").encode())

    def job(self, seconds: float) -> None:
        here = current()
        words = here.execution_id, here.event_id, here.attempt
        self.write("begin", *words, CLOCK.now_us() / US)
        self.crash.reach("job")
        PAUSE.wait(seconds)
        self.write("end", *words, CLOCK.now_us() / US)
        self.crash.reach("ended")

    def live(self) -> None:
        self.scheduler.start()
        for kind in KINDS:
            event = self.scheduler.schedule_event(
                trigger=every(seconds=PERIOD), max_attempts=1000, catch_up="all",
                catch_up_limit=10_000, overlap="allow_all", on_conflict="keep", **kind,
            )  # fmt: skip
            self.write("event", event.id)
        while True:
            self.change()
            PAUSE.wait(self.rng.uniform(0.0, 0.1))

    def change(self) -> None:
        """Something is acknowledged, and the log says so only then."""
        event = self.rng.choice(self.scheduler.list_events().items)
        kind = self.rng.choice(("trigger", "pause", "resume", "create"))
        if kind == "trigger":
            self.write("asked", self.scheduler.trigger_now(event.id).id)
        elif kind == "create" and self.scheduler.count_events() < 40:
            name = f"made-{self.rng.getrandbits(60)}"
            made = self.scheduler.schedule_event("quick", every(hours=1000), name=name)
            self.write("event", made.id)
        elif event.name.startswith("made-"):
            status = self.scheduler.get_event(event.id).status
            if kind == "pause" and status == "active":
                self.write("wanted", event.id, "paused")
                self.scheduler.pause_event(event.id)
                self.write("status", event.id, "paused")
            elif status == "paused":
                self.write("wanted", event.id, "active")
                self.scheduler.resume_event(event.id)
                self.write("status", event.id, "active")

    def finish(self) -> None:
        """Let all that is open end, and go in order."""
        with self.scheduler:
            for event in self.scheduler.list_events(status="paused", limit=1000).items:
                self.scheduler.resume_event(event.id)  # what is to be attempted again waits for it
            self.wait_for_what_is_open(until=from_us(CLOCK.now_us()))
            for kind in KINDS:
                (event,) = self.scheduler.list_events(name=kind["name"]).items
                self.scheduler.pause_event(event.id)
            self.wait_for_what_is_open()

    def wait_for_what_is_open(self, **query: Any) -> None:
        end = time.monotonic() + 60.0
        while any(
            self.scheduler.count_executions(fate=fate, **query) for fate in ("pending", "running")
        ):
            assert time.monotonic() < end, "what is due never ends"
            PAUSE.wait(0.05)


def child(directory: Path, seed: str) -> None:
    """A life, to its end."""
    crash = Crash(os.environ.get("CRASH_AT", ""))
    disk = Disk(crash)

    class Crashing(ProbedWriter):
        def __init__(self, name: str, dialect: Any) -> None:
            super().__init__(name, dialect, crash.reach)

    setattr(engine, "Writer", Crashing)  # noqa: B010  (the seam of tests alone)
    life = Life(directory, crash, random.Random(seed))
    if crash.point:
        life.live()
    life.finish()
    disk.unregister()


def run(directory: Path, seed: str) -> int:
    """Fork a child; its process id. What it has to say is in the file ``errors``."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    try:
        errors = os.open(directory / "errors", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        child(directory, seed)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def wait(process: int, seconds: float | None) -> tuple[bool, int]:
    """Whether it has ended by itself in time, and how. Else it is killed."""
    handle = os.pidfd_open(process)
    ended = bool(select.select([handle], [], [], seconds)[0])
    os.close(handle)
    if not ended:
        os.kill(process, signal.SIGKILL)
    return ended, os.waitpid(process, 0)[1]


def main() -> None:
    directory, cycles, seed = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    rng = random.Random(seed)
    struck: Counter[str] = Counter()
    for cycle in range(cycles):
        first = cycle < 2 * len(POINTS)
        """Each point strikes twice, whatever chance says."""
        point = POINTS[cycle % len(POINTS)] if first or rng.random() < 0.7 else "random"
        count = 1 + (cycle // len(POINTS) if first else int(rng.expovariate(0.1)))
        os.environ["CRASH_AT"] = f"{point}:{count}"
        patience = rng.uniform(0.02, 0.4) if point == "random" else 20.0 if first else 0.7
        ended, status = wait(run(directory, f"{seed}/{cycle}"), patience)
        assert os.WIFSIGNALED(status), (directory / "errors").read_text()
        struck[point if ended else "random"] += 1
    os.environ["CRASH_AT"] = ""
    ended, status = wait(run(directory, f"{seed}/last"), 100.0)
    assert ended, "the last life does not end"
    assert status == 0, (directory / "errors").read_text()
    sys.stdout.write(json.dumps(struck) + "\n")


main()
