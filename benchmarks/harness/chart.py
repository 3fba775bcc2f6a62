"""A bar chart as SVG: a few lines of text, the same for the same numbers."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

__all__ = ["bar_chart"]

_ROW, _LEFT, _WIDTH, _RIGHT = 26, 250, 420, 90


def bar_chart(title: str, bars: list[tuple[str, float, str, bool]]) -> str:
    """Horizontal bars, each of ``(name, value, label, ours)``.

    The scale is logarithmic where the largest is more than fifty times the smallest, and says so.
    """
    values = [value for _, value, _, _ in bars]
    logarithmic = min(values) > 0 and max(values) / min(values) > 50
    low, high = min(values) / 2, max(values)
    height = 40 + _ROW * len(bars)
    note = " (logarithmic scale)" if logarithmic else ""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + _RIGHT}" '
        f'height="{height}" font-family="sans-serif" font-size="13" role="img">',
        f"<title>{escape(title + note)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="8" y="20" font-weight="bold">{escape(title + note)}</text>',
    ]
    for number, (name, value, label, ours) in enumerate(bars):
        top = 34 + number * _ROW
        share = math.log(value / low) / math.log(high / low) if logarithmic else value / high
        width = max(1.0, share * _WIDTH)
        colour = "#1b6f5a" if ours else "#9aa5b1"
        lines += [
            f'<text x="{_LEFT - 8}" y="{top + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="18" fill="{colour}"/>',
            f'<text x="{_LEFT + width + 6:.1f}" y="{top + 14}">{escape(label)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
