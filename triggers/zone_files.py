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
    told = "\n".join(f"{name} {path.stat().st_size}" for name, path in sorted(_files()))
    newest = max((path.stat().st_mtime_ns for _, path in _files()), default=0)
    return f"{zlib.crc32(told.encode()):08x}-{newest:x}"


def digests() -> dict[str, str]:
    """By the name of each zone, a checksum of its file."""
    found: dict[str, str] = {}
    for name, path in _files():
        if name not in found:  # zoneinfo takes the first, too
            found[name] = f"{zlib.crc32(path.read_bytes()):08x}"
    return found


def _files() -> Iterator[tuple[str, Path]]:
    """The files that may be zones, where ``zoneinfo`` looks for them."""
    for root in zoneinfo.TZPATH:
        yield from _below(Path(root))
    package = importlib.resources.files("tzdata").joinpath("zoneinfo")
    if isinstance(package, Path):
        yield from _below(package)


def _below(root: Path) -> Iterator[tuple[str, Path]]:
    for folder, names, files in os.walk(root):
        names[:] = sorted(set(names) - _OTHER_FORMS)
        for file in files:
            if "." not in file:
                path = Path(folder, file)
                yield path.relative_to(root).as_posix(), path
