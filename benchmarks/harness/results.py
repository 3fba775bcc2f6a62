"""The results as they are kept: one JSON file, read and written with types."""

from __future__ import annotations

import statistics
from pathlib import Path

import msgspec

__all__ = ["Cell", "FigureResult", "Results", "Row", "read", "write"]


class Cell(msgspec.Struct, frozen=True):
    """One number: the median of the rounds, and its spread."""

    median: float
    low: float
    high: float
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, values: list[float]) -> Cell:
        """What several rounds gave."""
        kept = [_rounded(value) for value in values]
        return cls(_rounded(statistics.median(kept)), min(kept), max(kept), tuple(kept))


class Row(msgspec.Struct):
    """One contender, or one kind of work."""

    name: str
    cells: dict[str, Cell] = {}
    absent: str | None = None
    """Why it was not measured."""
    settings: str = ""
    """How it was set up."""


class FigureResult(msgspec.Struct):
    """One figure, measured."""

    measured_at: str
    seconds: float
    quick: bool
    environment: dict[str, str]
    rows: list[Row] = []
    missing: list[str] = []
    """Whose software is not installed."""
    failures: list[str] = []
    """What peers did not finish."""


class Results(msgspec.Struct):
    """Everything that was measured."""

    format: int = 1
    figures: dict[str, FigureResult] = {}


def read(file: Path) -> Results:
    """The results of earlier runs; none where there is no file."""
    if not file.exists():
        return Results()
    return msgspec.json.decode(file.read_bytes(), type=Results)


def write(file: Path, results: Results) -> None:
    """Keep them, in a form that a version control system shows changes of."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(results), indent=1)
    file.write_bytes(text + b"\n")


def _rounded(value: float) -> float:
    """Four significant digits: more than any of these numbers means."""
    return float(f"{value:.4g}")
