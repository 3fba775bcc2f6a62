"""Flask, under gunicorn.

    gunicorn --config gunicorn_conf.py flask_app:app

The development server runs it in one process: ``python flask_app.py``.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import scheduling
from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def index() -> dict[str, Any]:
    """What has run."""
    ran = scheduling.scheduler.count_executions(fate="succeeded")
    return {"pid": os.getpid(), "ran": ran}


@app.post("/remind")
def remind() -> dict[str, Any]:
    """Schedule a reminder."""
    return {"event": scheduling.remind_soon(request.args["text"]).id}


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with scheduling.start():
        app.run(port=int(sys.argv[1]), threaded=True)
