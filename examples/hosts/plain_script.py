"""A plain script: SIGTERM lets running jobs end, a second one hurries.

Under systemd, in a container, in a shell: whoever stops a process sends SIGTERM and waits for a
while. The first one gives running jobs ``DRAIN`` seconds; what has not begun by then is left to the
next start. A second one does not wait any longer.

    python plain_script.py
"""

from __future__ import annotations

import signal
import sys
import threading

import scheduling

import kalends
from kalends import every

DRAIN = 25.0
"""Seconds: a little less than whoever sends the signal waits before it kills."""


@kalends.job("work")
def work(seconds: float) -> str:
    """Take a while, and look now and then whether to stop."""
    scheduling.note("work begun")
    execution, pause, told = kalends.current(), threading.Event(), False
    for _ in range(round(seconds / 0.05)):
        pause.wait(0.05)
        if execution.cancelled and not told:
            told = True
            scheduling.note("work told to stop")
    scheduling.note("work ended")
    return "done"


def main(seconds: float) -> None:
    """Run until somebody says stop."""
    scheduler = scheduling.start()
    asked = 0

    def stop(*_: object) -> None:
        nonlocal asked
        asked += 1
        scheduler.shutdown(timeout=DRAIN if asked == 1 else 0.0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    event = scheduler.schedule_event(
        "work", every(days=300), name="work", kwargs={"seconds": seconds}, on_conflict="replace"
    )
    scheduler.trigger_now(event.id)
    scheduler.wait()
    print(f"stopped; asked {asked} times", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if sys.argv[1:] else 1.0)
