"""Executors: where jobs run. One contract (``base``), several kinds."""

from kalends.jobs.executors.asyncio import AsyncioExecutor
from kalends.jobs.executors.greenlet import GreenletExecutor
from kalends.jobs.executors.process import ProcessExecutor
from kalends.jobs.executors.thread import ThreadExecutor

__all__ = ["AsyncioExecutor", "GreenletExecutor", "ProcessExecutor", "ThreadExecutor"]
