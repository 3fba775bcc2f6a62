"""What several figures do: wait for something, and condense lateness."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["millisecond_percentiles", "percentile", "scratch", "until"]


def until(true: Callable[[], bool], what: str, *, patience: float = 240.0) -> None:
    """Look every 2 ms. Raises ``TimeoutError`` naming ``what``."""
    deadline = time.monotonic() + patience
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {patience:g} s")
        time.sleep(0.002)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))]


def millisecond_percentiles(seconds: list[float], prefix: str = "") -> dict[str, float]:
    """Median, 99th percentile and maximum, in milliseconds."""
    return {
        f"{prefix}p50": percentile(seconds, 0.5) * 1e3,
        f"{prefix}p99": percentile(seconds, 0.99) * 1e3,
        f"{prefix}max": max(seconds) * 1e3,
    }


@contextmanager
def scratch() -> Iterator[str]:
    """A folder for one database."""
    with tempfile.TemporaryDirectory(prefix="kalends-bench-", ignore_cleanup_errors=True) as folder:
        yield folder
