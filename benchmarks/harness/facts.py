"""The machine and the versions that a figure was measured with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import apsw
from peers.catalogue import PEERS, Peer

__all__ = ["environment"]

_OURS = ("kalends", "apsw", "gevent", "msgspec", "peewee", "pendulum", "pykka")


def environment() -> dict[str, str]:
    """Names and values, for the results and for the page."""
    facts = {
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "file system of the databases": _file_system(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "SQLite": f"{apsw.sqlite_lib_version()} (Kalends), {sqlite3.sqlite_version} (peers)",
    }
    facts |= {name: importlib.metadata.version(name) for name in _OURS if _installed(name)}
    facts |= {_named(peer): peer.version for peer in PEERS.values() if peer.version and peer.needs}
    commit = _commit()
    return facts | ({"commit": commit} if commit else {})


def _named(peer: Peer) -> str:
    """The peer; or what ours needs beside itself."""
    return peer.needs if peer.needs and peer.title == "Kalends" else peer.title


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _file_system() -> str:
    folder, best = os.path.realpath(tempfile.gettempdir()), ("", "unknown")
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, point, kind, *_ = line.split()
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def _commit() -> str | None:
    here = Path(__file__).parent
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or None
