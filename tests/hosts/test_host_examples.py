"""The examples of ``examples/hosts``, each run as its own page says, under traffic.

In each: however many processes there are, an instant is run once; the ledger tells of each run that
the jobs have written down themselves, and of no other; start and stop are clean.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kalends import Scheduler

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the servers are POSIX programs")

HOSTS = Path(__file__).resolve().parents[2] / "examples" / "hosts"
TEXTS = [f"text-{number}" for number in range(24)]
Until = Callable[..., None]


class Host:
    """A program of the examples in a folder of its own."""

    def __init__(self, folder: Path, *command: object) -> None:
        for file in HOSTS.glob("*.py"):
            shutil.copy(file, folder)
        self.folder = folder
        self.said = folder / "said"
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                cwd=folder, stdout=said, stderr=said, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def lines(self, job: str) -> list[list[str]]:
        """What the runs of a job have written down."""
        file = self.folder / "runs.txt"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line.split()[1:] for line in lines if line.split()[0] == job]

    def alive(self) -> bool:
        assert self.process.poll() is None, self.said.read_text()
        return True

    def stop(self, *, code: int = 0) -> str:
        """End it as an operator does; what it has said."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == code, self.said.read_text()
        said = self.said.read_text()
        assert "Traceback" not in said
        return said

    def check_account(self) -> None:
        """The ledger and what the runs have written down say the same."""
        ran = [due for due, _ in self.lines("tick")]
        assert len(set(ran)) == len(ran)
        with Scheduler(self.folder / "kalends.db", enabled=False) as client:
            verification = client.verify()
            assert verification.ok, verification
            event = client.list_events(name="tick").items[0]
            fates: dict[str, str] = {}
            cursor = None
            while True:
                page = client.list_executions(event_id=event.id, limit=1000, cursor=cursor)
                fates |= {item.due.isoformat(): item.fate.value for item in page.items}
                cursor = page.cursor
                if cursor is None:
                    break
            assert {due for due, fate in fates.items() if fate == "succeeded"} == set(ran)
            assert client.count_executions(fate="running") == 0
            reminded = client.count_executions(fate="succeeded") - len(ran)
        assert reminded >= len(self.lines("remind"))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def start(*command: object) -> Host:
        hosts.append(Host(tmp_path, *command))
        return hosts[-1]

    yield start
    for host in hosts:
        if host.process.poll() is None:
            host.process.kill()
            host.process.wait(10)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def ask(port: int, method: str, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found
    finally:
        connection.close()


def answers(host: Host, port: int) -> bool:
    """Whether anybody listens yet."""
    host.alive()
    try:
        ask(port, "GET", "/")
    except ConnectionError:
        return False
    return True


def send_traffic(host: Host, port: int, until: Until) -> list[dict[str, Any]]:
    """Visitors, several at a time; wait for what they asked for. What was answered to them."""
    until(lambda: answers(host, port), 60)
    with ThreadPoolExecutor(8) as visitors:
        asked = visitors.map(lambda text: ask(port, "POST", f"/remind?text={text}"), TEXTS)
        seen = list(visitors.map(lambda _: ask(port, "GET", "/"), range(60)))
        assert len({answer["event"] for answer in asked}) == len(TEXTS)
    until(lambda: host.alive() and len(host.lines("remind")) >= len(TEXTS), 60)
    assert sorted(text for text, _ in host.lines("remind")) == sorted(TEXTS)
    until(lambda: host.alive() and len(host.lines("tick")) >= 20, 60)
    return seen


def gunicorn(port: int, app: str, *options: str) -> list[str]:
    return [
        "-m", "gunicorn", "--config", "gunicorn_conf.py", "--bind", f"127.0.0.1:{port}",
        "--log-level", "warning", "--no-control-socket", *options, app,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("app", "options"),
    [
        ("wsgi_app:app", []),
        ("wsgi_app:app", ["--worker-class", "gevent"]),
        ("wsgi_app:app", ["--worker-class", "gevent", "--preload"]),
        ("wsgi_app:app", ["--worker-class", "gthread", "--preload"]),
        ("flask_app:app", []),
    ],
)
def test_four_workers_of_gunicorn_run_each_instant_once(
    run: Callable[..., Host], until: Until, app: str, options: list[str]
) -> None:
    pytest.importorskip("gunicorn")
    port = free_port()
    host = run(*gunicorn(port, app, *options))
    seen = send_traffic(host, port, until)
    assert all(answer["ran"] >= 0 for answer in seen)
    runners = {pid for _, pid in host.lines("tick") + host.lines("remind")}
    assert str(host.process.pid) not in runners
    host.stop()
    host.check_account()


def test_flask_in_one_process(run: Callable[..., Host], until: Until) -> None:
    port = free_port()
    host = run("flask_app.py", port)
    send_traffic(host, port, until)
    host.stop()
    host.check_account()


@pytest.mark.parametrize("workers", [1, 4])
def test_fastapi_under_uvicorn(run: Callable[..., Host], until: Until, workers: int) -> None:
    port = free_port()
    host = run(
        "-m", "uvicorn", "--port", port, "--workers", workers, "--log-level", "warning",
        "fastapi_app:app",
    )  # fmt: skip
    send_traffic(host, port, until)
    # Alone, uvicorn ends by the signal that it was stopped with.
    host.stop(code=-signal.SIGTERM if workers == 1 else 0)
    host.check_account()


def test_django_jobs_use_models_and_leave_no_connection_open(
    run: Callable[..., Host], until: Until
) -> None:
    made = run("django_site.py")
    assert made.process.wait(60) == 0, made.said.read_text()
    port = free_port()
    host = run(*gunicorn(port, "django_site:app", "--workers", "2"))
    send_traffic(host, port, until)
    until(lambda: ask(port, "GET", "/")["visits"] == len(TEXTS), 60)
    if Path("/proc/self/fd").is_dir():
        # Requests of a sync worker are over when they are answered, and a job soon after.
        until(lambda: not open_in_children(host.process.pid, "site.db"), 60)
    host.stop()
    host.check_account()


def open_in_children(parent: int, name: str) -> list[str]:
    """The files of this name that children of a process have open."""
    found = []
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        for fd in Path(f"/proc/{child}/fd").iterdir():
            try:
                target = os.readlink(fd)
            except OSError:
                continue
            if Path(target).name == name:
                found.append(f"{child}: {target}")
    return found


def test_a_celery_worker_runs_tasks_and_events(run: Callable[..., Host], until: Until) -> None:
    host = run(
        "-m", "celery", "--app", "celery_worker", "worker", "--concurrency", "2",
        "--without-gossip", "--without-mingle", "--loglevel", "warning",
    )  # fmt: skip
    until(lambda: host.alive() and len(host.lines("tick")) >= 5, 90)
    sent = subprocess.run(
        [sys.executable, "-c",
         "import sys; from celery_worker import remind\n"
         "for text in sys.argv[1:]: remind.delay(text)", *TEXTS[:5]],
        cwd=host.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert sent.returncode == 0, sent.stderr
    until(lambda: host.alive() and len(host.lines("remind")) >= 5, 60)
    assert {pid for _, pid in host.lines("tick")} == {str(host.process.pid)}
    host.stop()
    host.check_account()


TOLD = ["told", "to", "stop"]
"""What a job writes when it sees that it is to end."""


@pytest.mark.parametrize(("seconds", "signals"), [(2.0, 1), (60.0, 2)])
def test_a_script_drains_at_sigterm_and_hurries_at_the_second(
    run: Callable[..., Host], until: Until, seconds: float, signals: int
) -> None:
    host = run("plain_script.py", seconds)
    until(lambda: host.alive() and host.lines("work") == [["begun"]], 60)
    if signals == 2:
        host.process.send_signal(signal.SIGTERM)
        until(lambda: host.alive() and host.lines("work") == [["begun"], TOLD], 60)
    said = host.stop()
    assert said == f"stopped; asked {signals} times\n"
    with Scheduler(host.folder / "kalends.db", enabled=False) as client:
        work = client.list_executions(event_id=client.list_events(name="work").items[0].id)
        fate = work.items[0].fate.value
    if signals == 1:
        assert host.lines("work") == [["begun"], TOLD, ["ended"]]
        assert fate == "succeeded"
    else:
        assert host.lines("work") == [["begun"], TOLD]
        assert fate == "pending"  # at least once: the next start attempts it again
    host.check_account()


def test_children_of_a_multiprocessing_parent_are_clients(run: Callable[..., Host]) -> None:
    host = run("multiprocessing_parent.py", "fork", "spawn", "fork", "spawn")
    assert host.process.wait(90) == 0, host.said.read_text()
    assert host.said.read_text() == f"{host.process.pid} [0, 0, 0, 0] 4\n"
    said = sorted(" ".join(line[:3]) for line in host.lines("remind"))
    assert said == [
        "child 0 FORKED", "child 1 NOT_INITIALIZED", "child 2 FORKED", "child 3 NOT_INITIALIZED",
    ]  # fmt: skip
    host.check_account()


KERNEL = """
import ast, asyncio, inspect

async def main(cells):
    namespace = {"__name__": "__main__"}
    for cell in cells:
        code = compile("#" + cell, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        answer = eval(code, namespace)
        if inspect.isawaitable(answer):
            await answer
        await asyncio.sleep(0)

text = open("notebook.py").read()
asyncio.run(main(text.split("# %%")))
"""


def test_a_notebook_runs_events_while_its_cells_wait(run: Callable[..., Host]) -> None:
    host = run("-c", KERNEL)
    assert host.process.wait(60) == 0, host.said.read_text()
    assert host.said.read_text() == "events were run\nsample running\nTrue\n"


def test_every_host_is_in_the_documentation() -> None:
    page = (HOSTS.parents[1] / "docs" / "embedding.md").read_text(encoding="utf-8")
    missing = [file.name for file in HOSTS.glob("*.py") if f"`{file.name}`" not in page]
    assert missing == ["scheduling.py"]
