"""Makes ``docs/performance.md`` and its charts of the results: nothing on it comes from elsewhere.

The page's words are in ``page.md`` beside this and in the figures' own modules; numbers come from
the JSON file alone, so the same file gives the same page.
"""

from __future__ import annotations

import math
from pathlib import Path

from figures.catalogue import FIGURES
from harness.chart import bar_chart
from harness.plan import Column, Figure
from harness.results import Cell, FigureResult, Results, Row

__all__ = ["make_page", "write_page"]

_HEAD = Path(__file__).with_name("page.md")


def write_page(docs: Path, results: Results) -> None:
    """Write the page and the charts."""
    for name, text in make_page(results).items():
        (docs / name).parent.mkdir(exist_ok=True)
        (docs / name).write_text(text, encoding="utf-8")


def make_page(results: Results) -> dict[str, str]:
    """The files of the page, by their paths in ``docs``."""
    files: dict[str, str] = {}
    sections = [_HEAD.read_text(encoding="utf-8").rstrip()]
    for name, figure in FIGURES.items():
        if name not in results.figures:
            continue
        measured = results.figures[name]
        sections += [f"## {figure.title}", figure.text.strip(), _table(figure, measured)]
        if figure.growth:
            sections.append(_growth(figure, measured))
        if chart := _chart(figure, measured):
            files[f"performance/{name}.svg"] = chart
            sections.append(f"![{figure.title}](performance/{name}.svg)")
        sections.append(_below(figure, measured))
    if results.figures:
        sections.append(_environment(results))
    else:
        sections.append("Nothing has been measured yet.")
    files["performance.md"] = "\n\n".join(sections) + "\n"
    return files


def _table(figure: Figure, measured: FigureResult) -> str:
    columns = [c for c in figure.columns if any(c.key in row.cells for row in measured.rows)]
    lines = [
        "| | " + " | ".join(f"{column.title} ({column.unit})" for column in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for row in measured.rows:
        if row.absent is None:
            cells = (_cell(row.cells.get(column.key)) for column in columns)
            lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    if len(cell.rounds) == 1:
        return f"**{number(cell.median)}**"
    return f"**{number(cell.median)}** ({number(cell.low)} to {number(cell.high)})"


def number(value: float) -> str:
    """Three significant digits, and commas."""
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    return f"{rounded:,.{max(0, digits)}f}"


def _growth(figure: Figure, measured: FigureResult) -> str:
    titles = {column.key: column for column in figure.columns}
    pairs = [(titles[small], titles[large]) for small, large in figure.growth]
    lines = [
        "How the cost grows: its exponent for ten times the size (0: not at all; 1: as the size).",
        "",
        "| | " + " | ".join(f"{a.title} → {b.title}" for a, b in pairs) + " |",
        "|---|" + "---:|" * len(pairs),
    ]
    for row in measured.rows:
        cells = [_exponent(row, pair, figure.rates) for pair in pairs]
        if any(cells):
            lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _exponent(row: Row, pair: tuple[Column, Column], rates: bool) -> str:
    small, large = (row.cells.get(column.key) for column in pair)
    if small is None or large is None or small.median <= 0 or large.median <= 0:
        return ""
    ratio = small.median / large.median if rates else large.median / small.median
    return f"{math.log10(ratio):+.2f}"


def _chart(figure: Figure, measured: FigureResult) -> str | None:
    if figure.chart is None:
        return None
    column = next(column for column in figure.columns if column.key == figure.chart)
    bars = [
        (row.name, row.cells[column.key].median, number(row.cells[column.key].median),
         row.name.startswith("Kalends"))
        for row in measured.rows
        if column.key in row.cells and row.cells[column.key].median > 0
    ]  # fmt: skip
    if len(bars) < 2:
        return None
    better = "more is better" if column.more else "less is better"
    bars.sort(key=lambda bar: bar[1], reverse=column.more)
    return bar_chart(f"{figure.title}: {column.title}, {column.unit}; {better}", bars)


def _below(figure: Figure, measured: FigureResult) -> str:
    rounds = {len(cell.rounds) for row in measured.rows for cell in row.cells.values()}
    shown = " or ".join(str(count) for count in sorted(rounds))
    facts = measured.environment
    words = [
        f"Measured {measured.measured_at[:10]} in {measured.seconds:,.0f} s; median of {shown} "
        f"rounds (lowest to highest); commit {facts.get('commit', 'unknown')}, load before: "
        f"{facts.get('load before', 'unknown')}."
    ]
    settings = {row.name: row.settings for row in measured.rows if row.settings}
    if len(set(settings.values())) > 1:
        listed = "; ".join(f"{name}: {text}" for name, text in settings.items())
        words.append(f"Settings: {listed}.")
    if measured.missing:
        words.append(f"Not measured: {', '.join(measured.missing)}.")
    if measured.failures:
        words.append(f"Failed: {'; '.join(measured.failures)}.")
    if measured.quick:
        words.append("A quick run: its numbers mean nothing.")
    return f"One figure: `tox -e bench -- {figure.name}`. " + " ".join(words)


def _environment(results: Results) -> str:
    merged: dict[str, set[str]] = {}
    for measured in results.figures.values():
        for name, value in measured.environment.items():
            if name not in ("load before", "commit"):
                merged.setdefault(name, set()).add(value)
    lines = ["## The machine and the versions", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {'; '.join(sorted(values))} |" for name, values in merged.items()]
    return "\n".join(lines)
