"""Random load: memory, threads and files stay as they are.

A quarter of a minute here; ``TEST_ENDURANCE`` (seconds) makes it last, ``TEST_SEED`` makes it
another one. ``tox -e endurance`` runs it for an hour.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("TEST_ENDURANCE", "16"))
SEED = int(os.environ.get("TEST_SEED", "20270101"))
WARM = 3
"""Samples of eight until everything that is made once has been made."""
WORKERS = 8
"""Threads that run jobs come and go with the load."""
GROWTH = 8 * 1024
"""KiB that memory may differ by: what one garbage collection finds and another does not."""


@pytest.mark.timeout(SECONDS + 240)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_random_load_leaves_the_process_as_large_as_it_was(
    start: Callable[..., subprocess.Popen[str]], database: Path
) -> None:
    sys.stdout.write(f"TEST_ENDURANCE={SECONDS} TEST_SEED={SEED}\n")
    child = start("endurance.py", database, SECONDS, SEED)
    out, err = child.communicate(timeout=SECONDS + 180)
    assert (err, child.returncode) == ("", 0), out + err
    samples = json.loads(out)
    sys.stdout.write("\n".join(map(str, samples)))
    warm, last = samples[WARM - 1], samples[-1]
    assert {sample["state"] for sample in samples} == {"running"}
    assert last["verified"]
    assert last["executions"] > 50
    assert last["memory"] <= warm["memory"] + GROWTH
    assert last["threads"] <= max(sample["threads"] for sample in samples[:WARM]) + WORKERS
    assert last["files"] <= max(sample["files"] for sample in samples[:WARM]) + 1
