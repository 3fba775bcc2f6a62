"""gunicorn: each worker process starts a scheduler of its own, after the fork, and ends it.

The same file serves every application of this folder and every class of workers, also with
``--preload``. Four workers share the database, and each instant is run by one of them.

    gunicorn --config gunicorn_conf.py flask_app:app
"""

from __future__ import annotations

from typing import Any

workers = 4
graceful_timeout = 20


def post_worker_init(worker: Any) -> None:
    """In the new process, once its application has been loaded."""
    import scheduling  # here: in a gevent worker, after it has been patched

    scheduling.start()


def worker_exit(server: Any, worker: Any) -> None:
    """In the process that ends: running jobs have some seconds."""
    import scheduling

    scheduling.scheduler.shutdown(timeout=10)
