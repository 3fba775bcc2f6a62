"""Beside a host's own Pykka actors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., dict[str, Any]]

WORST = ("SystemExit", "KeyboardInterrupt", "GreenletExit", "BaseException", "StopIteration")


def test_a_hosts_own_actors_survive_whatever_jobs_and_handlers_raise(run: Run) -> None:
    told = run("pykka_host.py")
    assert {name: fate.rpartition(".")[2].split()[-1] for name, fate in told["fates"].items()} == {
        name: name for name in WORST
    }
    assert all(fate.startswith("failed ") for fate in told["fates"].values())
    assert told["heard"] == {name: name for name in WORST}
    assert told["answers"] == [3]
    assert (told["events"], told["state"], told["registered"]) == (len(WORST), "running", 3)
