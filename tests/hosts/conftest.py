"""Host processes: each test writes its program, which checks what it leaves behind by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PRELUDE = '''
import gc, os, sys, threading, warnings

def greenlets():
    import greenlet
    gc.collect()
    found = [item for item in gc.get_objects() if isinstance(item, greenlet.greenlet)]
    return [item for item in found if not item.dead]

def open_files():
    if not os.path.isdir("/proc/self/fd"):
        return set()
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
        except OSError:
            continue
    return found

class Leaks:
    """Threads, greenlets and open files before and after."""

    def __init__(self):
        self.threads, self.greenlets, self.files = self.look()

    def look(self):
        tasks = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
        return (set(threading.enumerate()), tasks), len(greenlets()), open_files()

    def check(self):
        pause = threading.Event()
        for _ in range(200):
            threads, found, files = self.look()
            same = threads[0] == self.threads[0] and threads[1] <= self.threads[1]
            if same and found <= self.greenlets and files <= self.files:
                return
            pause.wait(0.01)
        raise SystemExit(
            f"left behind: threads {threads} of {self.threads}; greenlets {found} of"
            f" {self.greenlets}: {greenlets()}; files {files - self.files}"
        )

def make(path, ran, **settings):
    """A scheduler whose one job counts up ``ran``, a list."""
    from kalends import Registry, Scheduler
    registry = Registry()
    registry.register(lambda: ran.append(1), "tick")
    registry.register(lambda: 1 / 0, "boom")
    return Scheduler(path, registry=registry, environ={}, **settings)

def use(scheduler, ran, times=5):
    """Schedule, fire and read, on the calling thread."""
    from kalends import every
    scheduler.schedule_event("boom", every(seconds=0.05))
    event = scheduler.schedule_event("tick", every(seconds=0.02))
    pause = threading.Event()
    before = len(ran)
    for _ in range(2000):
        if len(ran) >= before + times:
            break
        pause.wait(0.005)
    assert len(ran) >= before + times, ran
    assert scheduler.get_event(event.id).name == event.name
    assert scheduler.status().state == "running", scheduler.status()
    scheduler.pause_event(event.id)

def warm(path):
    """Everything that is made once for a process is made before the look at what there is."""
    ran = []
    with make(path, ran) as scheduler:
        use(scheduler, ran)
'''


@pytest.fixture
def host(tmp_path: Path) -> Callable[..., str]:
    """Run a program with warnings as errors; its standard output. It must say nothing else."""

    def run(code: str, *arguments: Any, first: str = "", timeout: float = 90.0) -> str:
        program = tmp_path / "host.py"
        program.write_text(f"{first}\n{PRELUDE}\n{code}")
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-P", str(program), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=tmp_path,
        )
        assert ended.stderr == ""
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    return run
