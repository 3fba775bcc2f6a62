"""Runs the tasks of a figure: each in a process of its own, round by round, in changing order."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from harness.facts import environment
from harness.plan import Figure, Task
from harness.results import Cell, FigureResult, Row
from peers.catalogue import PEERS

__all__ = ["MARK", "TaskFailed", "child", "measure"]

MARK = "measured: "
"""What the line that holds a child's numbers begins with."""
_TOP = Path(__file__).parent.parent


class TaskFailed(Exception):
    """A process did not measure what it was to measure."""


def measure(figure: Figure, *, quick: bool, rounds: int | None = None) -> FigureResult:
    """Measure a figure, and say on standard error how far it is.

    A peer that fails leaves its place empty, and the page says so; ``TaskFailed`` is for ours.
    """
    tasks, facts, began = figure.tasks(quick), environment(), time.perf_counter()
    rows: dict[str, Row] = {}
    values: dict[tuple[str, str], list[float]] = {}
    missing = {
        task.peer: PEERS[task.peer].why_absent or ""
        for task in tasks
        if task.peer is not None and PEERS[task.peer].why_absent
    }
    present = [task for task in tasks if task.peer not in missing]
    for task in tasks:
        if task.row is not None:
            settings = "" if task.peer is None else PEERS[task.peer].settings
            row = rows.setdefault(task.row, Row(task.row, settings=settings))
            if all(other.peer in missing for other in tasks if other.row == task.row):
                row.absent = missing[task.peer or ""]
    failures: list[str] = []
    for number in range(max((_rounds(task, quick, rounds) for task in present), default=0)):
        # Each round begins with another one: what runs first, or after whom, is nobody's luck.
        turn = number % len(present)
        for task in present[turn:] + present[:turn]:
            if number < _rounds(task, quick, rounds):
                for name, cells in _turn(figure.name, task, number, failures).items():
                    for key, value in cells.items():
                        values.setdefault((name, key), []).append(value)
    for (name, key), found in values.items():
        rows.setdefault(name, Row(name)).cells[key] = Cell.of(found)
    return FigureResult(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - began, 1),
        quick=quick,
        environment=facts,
        rows=list(rows.values()),
        missing=sorted(set(missing.values())),
        failures=failures,
    )


def _rounds(task: Task, quick: bool, rounds: int | None) -> int:
    return 1 if quick else task.rounds if rounds is None else rounds


def _turn(figure: str, task: Task, number: int, failures: list[str]) -> dict[str, dict[str, float]]:
    """Run a task; where a peer's fails, note that down and go on without."""
    try:
        return _run(figure, task, number)
    except TaskFailed as failure:
        if task.peer is None or PEERS[task.peer].ours:
            raise
        print(failure, file=sys.stderr, flush=True)
        words = str(failure).strip().splitlines()
        what = task.code.partition(":")[2]
        failures.append(f"{task.row}, {what}, round {number + 1}: {words[-1]}")
        return {}


def _run(figure: str, task: Task, number: int) -> dict[str, dict[str, float]]:
    environ = dict(os.environ)
    if task.peer is not None and (folder := PEERS[task.peer].folder):
        environ["PYTHONPATH"] = os.pathsep.join([folder, environ.get("PYTHONPATH", "")])
    given = msgspec.json.encode([task.code, task.arguments]).decode()
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(_TOP), "--child", given],
            env=environ, capture_output=True, text=True, timeout=task.patience, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TaskFailed(f"{figure}, {task.row}: not done after {task.patience:g} s") from error
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or len(lines) != 1:
        raise TaskFailed(
            f"{figure}, {task.row}, {task.code} {task.arguments}: ended with {done.returncode}\n"
            f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
    line = lines[0].removeprefix(MARK)
    if task.row is None:
        found = msgspec.json.decode(line, type=dict[str, dict[str, float]])
    else:
        found = {task.row: msgspec.json.decode(line, type=dict[str, float])}
    took = time.perf_counter() - began
    for name, cells in found.items():
        shown = ", ".join(f"{key} {value:.4g}" for key, value in cells.items())
        print(f"{figure} {number + 1} {name}: {shown} ({took:.1f} s)", file=sys.stderr, flush=True)
    return found


def child(given: str) -> None:
    """Be the process of a task: call its function and print its numbers."""
    code, arguments = msgspec.json.decode(given, type=tuple[str, dict[str, Any]])
    module, _, name = code.partition(":")
    found = getattr(importlib.import_module(module), name)(**arguments)
    print(MARK + msgspec.json.encode(found).decode(), flush=True)
    # Peers leave threads behind that nobody can end; what was to be measured has been.
    sys.stdout.flush()
    os._exit(0)
