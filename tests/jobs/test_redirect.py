"""A job that is imported by a worker may turn out to be for another executor."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalends.clock import SystemClock
from kalends.jobs.executors.asyncio import AsyncioExecutor
from kalends.jobs.executors.thread import ThreadExecutor
from kalends.jobs.outbox import Outbox
from kalends.jobs.registry import Registry
from kalends.jobs.runner import Runner

SOURCE = """
import threading

async def work():
    return threading.current_thread().name
"""


def test_a_coroutine_function_that_a_thread_has_imported_runs_under_asyncio(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    claim: Callable[..., Any],
    until: Callable[..., Any],
) -> None:
    (tmp_path / "kalends_test_later.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "kalends_test_later", raising=False)
    refused: list[str] = []
    outbox = Outbox(lambda: None)
    runner = Runner(
        SystemClock(),
        Registry(allow_imports=("kalends_test_later",)),
        {"thread": ThreadExecutor(1), "asyncio": AsyncioExecutor(1)},
        outbox,
        lambda _, error: refused.append(error.message),
    )
    runner.start()
    try:
        job = "kalends_test_later:work"
        runner.submit([claim("a", job=job), claim("b", job=job, executor="thread")])
        until(lambda: len(outbox) + len(refused) == 2)
        assert [item.result for item in outbox.peek(9)] == ['"kalends-asyncio"']
        (why,) = refused
        assert "executor 'thread' cannot run" in why
    finally:
        runner.stop(10)
