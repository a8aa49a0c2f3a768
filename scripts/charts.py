"""Draw the rows of a benchmark as bars, in SVG that follows the colours of the page around it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from bench_results import Row, Suite, is_ours

_LETTER, _BAR, _LINE = 7, 380, 22
_LEAST = 560  # pixels
_STYLE = ":root{color:#222;font-family:sans-serif}@media(prefers-color-scheme:dark){:root{color:#ddd}}"


def chart(row: Row) -> str:
    """Return one bar for each contender: its median, and a whisker from the first to the third quartile."""
    width, height, parts = _bars(row, max(map(len, row)) * _LETTER + 8)
    # Markdown reads on inside a bare svg, and leaves a block alone.
    # On a narrow screen it is pushed aside rather than made too small to read.
    shape = _shape(width, height, least=_LEAST)
    return f'<div style="overflow-x:auto"><svg {shape}>{"".join(parts)}</svg></div>'


def drawing(rows: Mapping[str, Row]) -> str:
    """Return all operations of a suite as one picture that stands by itself."""
    label_width = max(len(name) for row in rows.values() for name in row) * _LETTER + 8
    parts: list[str] = [f"<style>{_STYLE}</style>"]
    width = top = 0
    for operation, row in rows.items():
        width, height, bars = _bars(row, label_width)
        parts.append(f'<text x="4" y="{top + 18}" font-weight="bold">{escape(operation)}</text>')
        parts.append(f'<g transform="translate(0 {top + _LINE})">{"".join(bars)}</g>')
        top += height + 2 * _LINE
    return f'<svg xmlns="http://www.w3.org/2000/svg" {_shape(width, top)}>{"".join(parts)}</svg>'


def _shape(width: int, height: int, least: int = 0) -> str:
    size = f"max-width:{width}px" + (f";min-width:{least}px" if least else "")
    box = f'viewBox="0 0 {width} {height}" width="100%" style="{size}"'
    return f'{box} role="img" font-size="13" fill="currentColor"'


def _bars(row: Row, label_width: int) -> tuple[int, int, list[str]]:
    """Return the width and height of the bars of a row, and their parts."""
    longest = max(timing["high"] for timing in row.values()) or 1.0
    parts: list[str] = []
    for index, (name, timing) in enumerate(row.items()):
        top = index * _LINE + 4
        low, median, high = (timing[key] / longest * _BAR for key in ("low", "median", "high"))
        colour = f'fill="#4051b5" fill-opacity="{1 if is_ours(name) else 0.45}"'
        label = f'x="{label_width + max(median, high) + 8:.1f}" y="{top + 13}"'
        parts += [
            f'<text x="{label_width - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{label_width}" y="{top}" width="{max(median, 1):.1f}" height="16" {colour}/>',
            f'<path d="M{label_width + low:.1f} {top + 8}H{label_width + high:.1f}" stroke="currentColor"/>',
            f"<text {label}>{seconds(timing['median'])}</text>",
        ]
    return label_width + _BAR + 90, _LINE * len(row) + 4, parts


def seconds(value: float) -> str:
    """Return a duration with its unit, three digits.

    >>> seconds(0.0000123)
    '12.3 µs'
    """
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def illustrate(text: str, suite: Suite) -> str:
    """Put the chart of each operation that was timed below its heading in the page of a suite."""
    for operation, row in suite.rows.items():
        heading = f"\n## {operation}\n"
        text = text.replace(heading, f"{heading}\n{chart(row)}\n", 1)
    return text
