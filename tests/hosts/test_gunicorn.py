"""Under gunicorn: preloaded and forked, in the way that works and in the way that is refused."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gunicorn", reason="gunicorn runs on POSIX only, and is a test dependency")

APP = """
import json, os, threading
from kalends import ForkedError, KalendsError, Registry, Scheduler, every

registry = Registry()
ran = []
registry.register(lambda: ran.append(1), "tick")
parents = Scheduler("k.db", registry=registry, environ={}).start()
parents.schedule_event("tick", every(seconds=0.05), name="tick", on_conflict="keep")
lock = threading.Lock()
own = None

def start_own():
    global own
    with lock:
        if own is None:
            own = Scheduler("k.db", registry=registry, environ={}).start()
    return own

def app(environ, start_response):
    answer = {"pid": os.getpid(), "parent": os.getppid()}
    try:
        parents.count_events()
    except KalendsError as error:
        answer["code"] = error.code
    if environ["PATH_INFO"] == "/own":
        scheduler = start_own()
        answer["events"] = scheduler.count_events()
        answer["state"] = scheduler.status().state
        answer["ran"] = len(ran)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
"""
CONFIG = """
def post_fork(server, worker):
    import app
    app.ran.clear()
    app.start_own()
def worker_exit(server, worker):
    import app
    if app.own is not None:
        app.own.shutdown(5)
"""


class Server:
    """gunicorn on a free port of its own, with the app preloaded."""

    def __init__(self, directory: Path, *options: str) -> None:
        (directory / "app.py").write_text(APP)
        (directory / "config.py").write_text(CONFIG)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.errors = directory / "errors"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2",
                 "--bind", f"127.0.0.1:{self.port}", "--log-level", "warning",
                 "--no-control-socket", *options, "app:app"],
                cwd=directory, stdout=errors, stderr=errors,
            )  # fmt: skip

    def ask(self, path: str = "/") -> dict[str, Any]:
        end = time.monotonic() + 30
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                connection.request("GET", path)
                found: dict[str, Any] = json.loads(connection.getresponse().read())
            except ConnectionError:
                assert time.monotonic() < end, self.errors.read_text()
                assert self.process.poll() is None, self.errors.read_text()
            else:
                return found
            finally:
                connection.close()

    def workers(self, path: str) -> dict[int, dict[str, Any]]:
        """What each of the two workers says."""
        said: dict[int, dict[str, Any]] = {}
        end = time.monotonic() + 30
        while len(said) < 2 or not all(answer.get("ran", 1) for answer in said.values()):
            assert time.monotonic() < end, (said, self.errors.read_text())
            answer = self.ask(path)
            said[answer["pid"]] = answer
        return said

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0
        assert "Traceback" not in self.errors.read_text()


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_workers_of_a_preloaded_app_are_told_and_can_start_their_own(
    tmp_path: Path, worker: str
) -> None:
    server = Server(tmp_path, "--worker-class", worker)
    try:
        for answer in server.workers("/").values():
            assert answer["code"] == "FORKED"
            assert answer["pid"] != answer["parent"] == server.process.pid
        for answer in server.workers("/own").values():
            assert (answer["events"], answer["state"]) == (1, "running")
    finally:
        server.stop()


def test_schedulers_started_after_the_fork_share_the_work(tmp_path: Path) -> None:
    server = Server(tmp_path, "--config", "config.py")
    try:
        assert all(answer["events"] == 1 for answer in server.workers("/own").values())
    finally:
        server.stop()
