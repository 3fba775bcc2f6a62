"""FastAPI under uvicorn: the scheduler lives as long as the application, handlers await it.

uvicorn --workers 4 fastapi_app:app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import scheduling
from fastapi import FastAPI

from kalends import every


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Start with the application and end with it, without blocking its loop."""
    async with scheduling.scheduler as scheduler:
        await scheduler.events.create("tick", every(seconds=0.1), name="tick", on_conflict="keep")
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def index() -> dict[str, Any]:
    """What has run."""
    ran = await scheduling.scheduler.executions.count(fate="succeeded")
    return {"pid": os.getpid(), "ran": ran}


@app.post("/remind")
async def remind(text: str) -> dict[str, Any]:
    """Schedule a reminder."""
    event = await scheduling.scheduler.events.create(
        "remind", scheduling.in_a_moment(), kwargs={"text": text}
    )
    return {"event": event.id}
