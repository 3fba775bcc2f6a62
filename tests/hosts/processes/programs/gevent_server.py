"""A patched WSGI server whose handlers call the scheduler; measures how long its hub stood still.

Arguments: database, and whether it patches ``before`` or ``after`` it imports Kalends.
"""

from __future__ import annotations

import sys

from gevent import monkey

if sys.argv[2] == "before":
    monkey.patch_all()

import kalends

if sys.argv[2] == "after":
    monkey.patch_all()

import json
import threading
import time
from collections.abc import Callable, Iterable
from http.client import HTTPConnection
from typing import Any

import gevent
from gevent.pywsgi import WSGIServer

from kalends.native import allocate_lock, get_ident
from kalends.storage.sqlite import SqliteDialect

ran_on: set[int] = set()


@kalends.job("pulse")
def pulse() -> None:
    ran_on.add(get_ident())


scheduler = kalends.Scheduler(sys.argv[1])


def answer(path: str) -> object:
    if path == "/create":
        return scheduler.schedule_event("pulse", kalends.every(seconds=0.5)).id
    if path == "/count":
        return scheduler.count_executions(fate="succeeded")
    if path == "/wait":
        return scheduler.wait(2.0)
    return scheduler.status().state


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    try:
        body, status = json.dumps(answer(environ["PATH_INFO"])), "200 OK"
    except kalends.KalendsError as error:
        body, status = json.dumps(error.code), "503 Service Unavailable"
    start_response(status, [("Content-Type", "application/json")])
    return [body.encode()]


class Pulse:
    """A greenlet that ticks, and the largest gap between its ticks."""

    def __init__(self) -> None:
        self.ticks = 0
        self.gap = 0.0
        self.greenlet = gevent.spawn(self._beat)

    def _beat(self) -> None:
        before = time.monotonic()
        while True:
            gevent.sleep(0.002)
            now = time.monotonic()
            self.gap, self.ticks, before = max(self.gap, now - before), self.ticks + 1, now

    def take(self) -> float:
        """The gap so far; the next measurement begins."""
        gevent.sleep(0.005)
        gap, self.gap = self.gap, 0.0
        return gap


def fetch(port: int, path: str) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def client(port: int) -> list[Any]:
    return [fetch(port, path) for path in ("/create", "/count", "/status", "/wait", "/count")]


def slow_down() -> None:
    """Opening a database takes 2 s of real time from now on, as on a slow or busy disk."""
    really_prepare = SqliteDialect.prepare

    def prepare(self: SqliteDialect) -> None:
        held = allocate_lock()
        held.acquire()
        held.acquire(timeout=2.0)
        really_prepare(self)

    SqliteDialect.prepare = prepare  # type: ignore[method-assign]


def killed_while_it_starts() -> str:
    """The greenlet that starts a scheduler is killed: nothing is left running."""
    other = kalends.Scheduler(f"{sys.argv[1]}.other")
    starter = gevent.spawn(other.start)
    gevent.sleep(0.1)
    starter.kill()
    pause = threading.Event()
    for _ in range(1000):
        if other.status().state == "stopped":
            break
        pause.wait(0.01)
    return other.status().state


def main() -> None:
    slow_down()
    server = WSGIServer(("127.0.0.1", 0), application, log=None)
    server.start()
    port = server.server_port
    assert port is not None
    pulse = Pulse()
    pulse.take()
    too_early = fetch(port, "/count")
    pulse.take()
    began = time.monotonic()
    scheduler.start()
    assert time.monotonic() - began > 1.9
    gaps = {"start": pulse.take()}
    clients = [gevent.spawn(client, port) for _ in range(20)]
    answers = [greenlet.get(timeout=30) for greenlet in clients]
    gaps["verbs"] = pulse.take()
    pause = threading.Event()
    while not ran_on:
        pause.wait(0.01)
    waiter = gevent.spawn(scheduler.wait)
    report = scheduler.shutdown(5)
    gaps["shutdown"] = pulse.take()
    waited = waiter.get(timeout=5)
    killed = killed_while_it_starts()
    late = fetch(port, "/count")
    server.stop()
    pulse.greenlet.kill()
    told = {
        "gaps": gaps,
        "too_early": too_early,
        "created": sum(isinstance(answer[0], str) for answer in answers),
        "states": sorted({answer[2] for answer in answers}),
        "waits": sorted({answer[3] for answer in answers}),
        "clean": report.clean,
        "waited": waited,
        "late": late,
        "killed": killed,
        "jobs_on_host_thread": get_ident() in ran_on,
    }
    sys.stdout.write(json.dumps(told))


main()
