"""A Celery worker: Celery runs tasks that are sent, Kalends what is due.

The scheduler starts once the pool of the worker has been forked, and ends with the worker. A task
may schedule events: it runs in a process of the pool, as a client.

    celery --app celery_worker worker --concurrency 2
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import scheduling
from celery import Celery
from celery.signals import worker_ready, worker_shutdown

from kalends import Scheduler

MAIL = Path("mail")
"""A broker of files, for an example that needs no other process."""
MAIL.mkdir(exist_ok=True)
app = Celery("example", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(MAIL), "data_folder_out": str(MAIL), "control_folder": str(MAIL),
    },
    worker_hijack_root_logger=False,
)  # fmt: skip


@worker_ready.connect
def start(**_: Any) -> None:
    """In the parent process, after the pool has been forked."""
    scheduling.start()


@worker_shutdown.connect
def stop(**_: Any) -> None:
    """Running jobs have some seconds."""
    scheduling.scheduler.shutdown(timeout=10)


@app.task
def remind(text: str) -> str:
    """A task that schedules an event: it runs nothing itself."""
    with Scheduler("sqlite:///kalends.db", enabled=False) as client:
        return client.schedule_event("remind", scheduling.in_a_moment(), kwargs={"text": text}).id
