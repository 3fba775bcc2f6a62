"""An application without a framework, for gunicorn.

gunicorn --config gunicorn_conf.py wsgi_app:app
gunicorn --config gunicorn_conf.py --worker-class gevent wsgi_app:app
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import scheduling


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """``POST /remind?text=…`` schedules, ``GET /`` tells what has run."""
    if environ["PATH_INFO"] == "/remind":
        (text,) = parse_qs(environ["QUERY_STRING"])["text"]
        answer: dict[str, Any] = {"event": scheduling.remind_soon(text).id}
    else:
        ran = scheduling.scheduler.count_executions(fate="succeeded")
        answer = {"pid": os.getpid(), "ran": ran}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
