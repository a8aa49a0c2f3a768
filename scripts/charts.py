"""Draw the rows of a benchmark as bars, in SVG that follows the colours of the page around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

_LETTER, _BAR, _LINE = 7, 380, 22


def chart(row: Mapping[str, Mapping[str, float]]) -> str:
    """Return one bar for each contender: its median, and a whisker from the first to the third quartile."""
    longest = max(timing["high"] for timing in row.values()) or 1.0
    label_width = max(map(len, row)) * _LETTER + 8
    width, height = label_width + _BAR + 90, _LINE * len(row) + 4
    shape = f'viewBox="0 0 {width} {height}" width="100%" style="max-width:{width}px"'
    parts: list[str] = []
    for index, (name, timing) in enumerate(row.items()):
        top = index * _LINE + 4
        low, median, high = (timing[key] / longest * _BAR for key in ("low", "median", "high"))
        colour = f'fill="#4051b5" fill-opacity="{1 if name.startswith("qicore") else 0.45}"'
        label = f'x="{label_width + max(median, high) + 8:.1f}" y="{top + 13}"'
        parts += [
            f'<text x="{label_width - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{label_width}" y="{top}" width="{max(median, 1):.1f}" height="16" {colour}/>',
            f'<path d="M{label_width + low:.1f} {top + 8}H{label_width + high:.1f}" stroke="currentColor"/>',
            f"<text {label}>{seconds(timing['median'])}</text>",
        ]
    # Markdown reads on inside a bare svg, and leaves a block alone.
    return f'<div><svg {shape} role="img" font-size="13" fill="currentColor">{"".join(parts)}</svg></div>'


def seconds(value: float) -> str:
    """Return a duration with its unit, three digits.

    >>> seconds(0.0000123)
    '12.3 µs'
    """
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def illustrate(text: str, data: Path) -> str:
    """Put the chart of each operation that was timed below its heading in the page of a suite."""
    rows: dict[str, Any] = json.loads(data.read_text(encoding="utf-8"))["rows"]
    for operation, row in rows.items():
        if not all("median" in measured for measured in row.values()):
            continue  # it was counted, not timed
        heading = f"\n## {operation}\n"
        text = text.replace(heading, f"{heading}\n{chart(row)}\n", 1)
    return text
