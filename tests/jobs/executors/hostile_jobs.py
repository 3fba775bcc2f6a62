"""Jobs that do to their process what no job should, and some that look around in it.

A module of its own, because worker processes import it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

import kalends

_SIGNALS = [number for number in signal.valid_signals() if number not in (9, 19)]
_pause = threading.Event()


class Unwelcome(LookupError):
    """An exception that only this module knows."""


def _forever() -> None:
    _pause.wait()


def pid() -> int:
    return os.getpid()


def leaves(code: int) -> None:
    os._exit(code)


def crashes() -> None:
    ctypes.string_at(0)


def aborts() -> None:
    os.abort()


def is_killed() -> None:
    """What the out-of-memory killer does."""
    os.kill(os.getpid(), signal.SIGKILL)


def blocks(path: str) -> None:
    """Withstand everything that can be withstood; ``path`` is written when that begins."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    with open(path, "w") as file:
        file.write("begun")
    while True:
        try:
            _forever()
        except BaseException:
            continue


def starts_a_program_and_blocks(path: str) -> None:
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    with open(path, "w") as file:
        file.write(str(program.pid))
    _forever()


def is_told(path: str) -> str:
    with open(path, "w") as file:
        file.write("begun")
    while not kalends.current().cancelled:
        _pause.wait(0.001)
    return "told"


def returns_much() -> str:
    return "x" * 100_000_000


def allocates() -> None:
    kept = []
    while True:
        kept.append(bytearray(10_000_000))


def recurses() -> None:
    sys.setrecursionlimit(2**31 - 1)

    def deep(number: int) -> int:
        return sorted([number], key=lambda n: deep(n + 1))[0]

    deep(0)


def forks() -> str:
    """The child comes back from here, too."""
    child = os.fork()
    return "child" if child == 0 else "parent"


def forks_and_leaves(path: str) -> None:
    """A process that goes on holds all files of the one that ends."""
    child = os.fork()
    if child == 0:
        _forever()
    with open(path, "w") as file:
        file.write(str(child))
    os._exit(4)


def closes_files() -> str:
    os.closerange(3, 4096)
    return "nobody hears this"


def closes_and_opens_files(folder: str) -> str:
    """Afterwards the numbers of the channel belong to ordinary files."""
    os.closerange(3, 4096)
    for number in range(64):
        os.open(os.path.join(folder, str(number)), os.O_CREAT | os.O_RDWR)
    return "x" * 1000


def changes_everything() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.stdout.close()
    sys.stdout = sys.stderr = None
    sys.path.clear()
    os.chdir("/")
    os.environ.clear()


def raises_unwelcome() -> None:
    raise Unwelcome("not today")


def asks(what: str) -> None:
    raise {
        "retry": kalends.Retry(5.0, "later"),
        "snooze": kalends.Snooze(7.0),
        "cancel": kalends.Cancel("not needed"),
    }[what]


def sees() -> dict[str, Any]:
    here = kalends.current()
    return {
        "execution": here.execution_id,
        "event": here.event_name,
        "attempt": here.attempt,
        "due": here.due.timestamp(),
        "deadline": here.deadline and here.deadline.timestamp(),
        "cancelled": here.cancelled,
        "job": here.job,
    }


def time_left() -> float | None:
    return kalends.current().remaining()


async def waits() -> None:
    """Not a plain function."""


def hides_a_coroutine() -> Any:
    return waits()


def _outer(function: Any) -> Any:
    def outer() -> str:
        return f"outer {function()}"

    outer.__qualname__ = function.__qualname__
    return outer


@_outer
@kalends.job("hostile.wrapped", executor="process")
def wrapped() -> str:
    """The job is this function; its name in the module is another's."""
    return "inner"


def closes_files_and_blocks() -> None:
    os.closerange(3, 4096)
    _forever()


def writes_into_the_channel(text: str) -> None:
    """Finds where the worker's answers go, and is faster."""
    for item in gc.get_objects():
        if isinstance(item, Connection) and not item.closed and item.writable:
            item.send_bytes(text.encode())
    _forever()


def sends_itself(number: int) -> None:
    os.kill(os.getpid(), number)
    _forever()


def tells_and_crashes() -> None:
    kalends.current().progress(0.75, "nearly there")
    kalends.current().log.error("the last words", size=3)
    ctypes.string_at(0)


def tells_much(times: int) -> str:
    for number in range(times):
        kalends.current().progress(number / times, f"step {number}")
        kalends.current().log.info("step", number=number)
    kalends.current().progress(1, "done")
    return "done"


def tells_secrets(pin: str) -> dict[str, str]:
    kalends.current().log.info("telling", pin=pin)
    kalends.current().progress(0.5, f"pin={pin}")
    return {"pin": pin}


def raises_secrets(pin: str) -> None:
    raise ValueError(f"wrong pin={pin}" + " " * 5000)


def tells_much_and_blocks() -> None:
    for number in range(100):
        kalends.current().progress(number / 100, f"step {number}")
    _forever()


def tells_in_a_forked_process() -> str:
    child = os.fork()
    kalends.current().progress(0.5 if child else 0.9, "parent" if child else "child")
    if child:
        os.waitpid(child, 0)
        return "parent"
    os._exit(0)


class Holder:
    """A place for jobs that is no module."""

    @staticmethod
    def holds() -> str:
        return "held"

    def method(self) -> None:
        """Needs an instance."""
