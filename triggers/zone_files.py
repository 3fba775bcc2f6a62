"""The files of time zones that this machine has, to notice when they change.

Rules follow the data of their zones, but what was computed from it is kept in the ledger.
"""

from __future__ import annotations

import importlib.resources
import os
import zlib
import zoneinfo
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

__all__ = ["digests", "signature"]

_OTHER_FORMS = {"posix", "right"}
"""Folders that hold the same zones once more."""


@lru_cache(maxsize=1)
def signature() -> str:
    """Changes whenever a file does. Looks at no contents, and at the files once in the life of a
    process, which reads each zone once as well.
    """
    told, newest = 0, 0
    for name, file in _files():
        found = file.stat()
        told = zlib.crc32(f"{name} {found.st_size}\n".encode(), told)
        newest = max(newest, found.st_mtime_ns)
    return f"{told:08x}-{newest:x}"


def digests() -> dict[str, str]:
    """By the name of each zone, a checksum of its file."""
    found: dict[str, str] = {}
    for name, file in _files():
        if name not in found:  # zoneinfo takes the first, too
            with open(file.path, "rb") as opened:
                found[name] = f"{zlib.crc32(opened.read()):08x}"
    return found


def _files() -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The files that may be zones, where ``zoneinfo`` looks for them, in order."""
    for root in zoneinfo.TZPATH:
        yield from _below(root, "")
    package = importlib.resources.files("tzdata").joinpath("zoneinfo")
    if isinstance(package, Path):
        yield from _below(str(package), "")


def _below(folder: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return  # zoneinfo passes over it as well
    for entry in found:
        if entry.is_dir():
            if entry.name not in _OTHER_FORMS:
                yield from _below(entry.path, f"{prefix}{entry.name}/")
        elif "." not in entry.name and entry.is_file():
            yield f"{prefix}{entry.name}", entry
