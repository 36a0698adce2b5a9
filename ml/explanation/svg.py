"""Small SVG drawings for pages: histograms, time series, shares and heat maps.

All texts are escaped here. Widths and heights are in CSS pixels; each drawing has a description for screen readers.

Example: a bar of half the width, and the colours of correlations.
    >>> bar(0.5, highest=1.0, description="share", width=102).svg.count('width="50.0"')
    1
    >>> diverging(0.0), diverging(1.0) == ORANGE, diverging(-1.0) == BLUE
    ('#ffffff', True, True)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from ml.evaluation.pictures import COLOURS, INK, LINE, MUTED
from ml.explanation.document import Drawing
from ml.quality.report import printable

BLUE, ORANGE = COLOURS[1], COLOURS[2]
PALE = "#c9dce5"
PAPER = "#ffffff"


def histogram(negatives: ArrayLike, positives: ArrayLike, description: str, width: int = 190, height: int = 40) -> Drawing:
    """Two histograms over the same bins, each as shares of its own label: negatives filled, positives as a line."""
    shapes = []
    for counts, style in (
        (negatives, f'fill="{PALE}"'),
        (positives, f'fill="none" stroke="{ORANGE}" stroke-width="1.6" stroke-linejoin="round"'),
    ):
        values = np.asarray(counts, dtype=np.float64)
        if values.sum() <= 0:
            continue
        heights = height - 2 - (height - 4) * values / values.max()
        edges = np.linspace(0, width, len(values) + 1)
        steps = [point for i, y in enumerate(heights) for point in ((edges[i], y), (edges[i + 1], y))]
        path = _path([(0, height - 1), *steps, (width, height - 1)])
        shapes.append(f'<path d="{path}" {style}/>')
    line = f'<line x1="0" x2="{width}" y1="{height - 1}" y2="{height - 1}" stroke="{LINE}"/>'
    return _drawing(width, height, [*shapes, line], description)


def share_bar(value: float, low: float, high: float, highest: float, description: str, width: int = 170) -> Drawing:
    """A share with its interval on a scale from 0 to `highest`."""
    scale = (width - 8) / (highest or 1.0)
    y = 9
    shapes = [
        f'<line x1="4" x2="{width - 4}" y1="{y}" y2="{y}" stroke="{LINE}"/>',
        f'<line x1="{4 + low * scale:.1f}" x2="{4 + high * scale:.1f}" y1="{y}" y2="{y}" stroke="{BLUE}" stroke-width="2"/>',
        f'<circle cx="{4 + value * scale:.1f}" cy="{y}" r="3.6" fill="{BLUE}"/>',
    ]
    return _drawing(width, 2 * y, shapes, description)


def interval_bar(
    value: float, low: float, high: float, reach: tuple[float, float], colour: str, description: str, width: int = 170
) -> Drawing:
    """A difference with its interval and a line at 0, on the common scale `reach` of a table."""
    left, right = min(reach[0], 0.0), max(reach[1], 0.0)
    scale = (width - 12) / ((right - left) or 1.0)

    def x(at: float) -> float:
        return 6 + (min(max(at, left), right) - left) * scale

    y = 9
    shapes = [
        f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="1" y2="{2 * y - 1}" stroke="{INK}"/>',
        f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>',
        f'<circle cx="{x(value):.1f}" cy="{y}" r="3.6" fill="{colour}"/>',
    ]
    return _drawing(width, 2 * y, shapes, description)


def bar(value: float, highest: float, description: str, width: int = 170) -> Drawing:
    """A value, not negative, as a bar on a scale from 0 to `highest`."""
    length = (width - 2) * value / (highest or 1.0)
    return _drawing(width, 14, [f'<rect x="0" y="2" width="{length:.1f}" height="10" fill="{BLUE}"/>'], description)


def over_time(
    days: Sequence[str],
    values: ArrayLike,
    bands: Iterable[tuple[str, int, int]],
    description: str,
    percent: bool,
    interval: tuple[ArrayLike, ArrayLike] | None = None,
) -> Drawing:
    """One value per day: a line if an interval is given, otherwise bars.

    Args:
        days: ISO dates, shape (n_days,).
        values: shape (n_days,); NaN for a day without a value.
        bands: name, first index and last index of each shaded window.
        description: of what it shows, for screen readers.
        percent: whether values are shares, with a scale in percent.
        interval: lower and upper bounds, each of shape (n_days,).
    """
    width, height, left, top, bottom = 1080, 210, 52, 24, 26
    y_values = np.asarray(values, dtype=np.float64)
    tops = y_values if interval is None else np.asarray(interval[1], dtype=np.float64)
    highest = float(tops[np.isfinite(tops)].max(initial=0.0))
    ticks = _ticks(highest)
    step = (width - left - 8) / max(len(days), 1)

    def x(index: float) -> float:
        return left + (index + 0.5) * step

    def y(value: float) -> float:
        return height - bottom - (height - top - bottom) * min(value / ticks[-1], 1.0)

    shapes = []
    for number, (name, first, last) in enumerate(bands):
        start, end = left + first * step, left + (last + 1) * step
        fill = "#f6f8f9" if number % 2 == 0 else "#eef2f4"
        shapes.append(f'<rect x="{start:.1f}" y="{top}" width="{end - start:.1f}" height="{y(0) - top:.1f}" fill="{fill}"/>')
        shapes.append(_text(start + 4, top - 8, name, MUTED, 11))
    for tick in ticks:
        shapes.append(f'<line x1="{left}" x2="{width - 8}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="{LINE}"/>')
        label = f"{100 * tick:.3g} %" if percent else f"{tick:,.0f}"
        shapes.append(_text(left - 8, y(tick) + 4, label, MUTED, 11, "end"))
    defined = [i for i in range(len(days)) if np.isfinite(y_values[i])]
    if interval is None:
        for i in defined:
            tall = y(0) - y(y_values[i])
            shapes.append(
                f'<rect x="{x(i) - 0.38 * step:.1f}" y="{y(y_values[i]):.1f}" width="{0.76 * step:.1f}" '
                f'height="{tall:.1f}" fill="{BLUE}"/>'
            )
    else:
        low, high = (np.asarray(bound, dtype=np.float64) for bound in interval)
        for run in _runs(defined):
            outline = [*[(x(i), y(high[i])) for i in run], *[(x(i), y(low[i])) for i in reversed(run)]]
            shapes.append(f'<path d="{_path(outline)}Z" fill="{PALE}" opacity="0.75"/>')
            line = _path([(x(i), y(y_values[i])) for i in run])
            shapes.append(f'<path d="{line}" fill="none" stroke="{BLUE}" stroke-width="1.8"/>')
    labelled = range(0, len(days), max(1, round(len(days) / 9)))
    shapes += [_text(x(i), height - 8, days[i], MUTED, 11, "middle") for i in labelled]
    return _drawing(width, height, shapes, description, fluid=True)


def heat_map(names: Sequence[str], values: np.ndarray, description: str) -> Drawing:
    """A square matrix of correlations in [-1, 1], shape (n, n): blue below 0, orange above; a tooltip shows the value."""
    count = len(names)
    cell = max(11.0, min(26.0, 760 / max(count, 1)))
    left = 34 + 6.3 * max((len(name) for name in names), default=0)
    width, height = int(left + cell * count + 8), int(cell * count + 8)
    shapes = []
    for i, name in enumerate(names):
        shapes.append(_text(left - 6, 4 + (i + 0.5) * cell + 4, f"{name}  {i + 1}", INK, 11, "end"))
        for j, other in enumerate(names):
            if j > i:
                continue
            value = float(values[i, j])
            title = escape(printable(f"{name} and {other}: {value:+.2f}"))
            shapes.append(
                f'<rect x="{left + j * cell:.1f}" y="{4 + i * cell:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}" '
                f'fill="{diverging(value)}"><title>{title}</title></rect>'
            )
        shapes.append(_text(left + (i + 1) * cell + 3, 4 + (i + 0.5) * cell + 4, str(i + 1), MUTED, 9))
    return _drawing(width + 16, height, shapes, description, fluid=True)


def diverging(value: float) -> str:
    """Colour of a value in [-1, 1]: blue, white, orange."""
    end = ORANGE if value >= 0 else BLUE
    amount = min(abs(value), 1.0) if np.isfinite(value) else 0.0
    mixed = (round(255 + amount * (int(end[i : i + 2], 16) - 255)) for i in (1, 3, 5))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _runs(indices: Sequence[int]) -> list[list[int]]:
    """Group consecutive indices."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _ticks(highest: float) -> list[float]:
    """Three to six round numbers from 0 to at least `highest`."""
    if not highest > 0:
        return [0.0, 1.0]
    size = 10.0 ** np.floor(np.log10(highest))
    step = next(size * factor for factor in (0.2, 0.25, 0.5, 1, 2) if highest / (size * factor) <= 5)
    return [float(step * i) for i in range(int(np.ceil(highest / step - 1e-9)) + 1)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, text: str, colour: str, size: int, anchor: str = "start") -> str:
    shown = escape(printable(text))
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" text-anchor="{anchor}">{shown}</text>'


def _drawing(width: int, height: int, shapes: Sequence[str], description: str, fluid: bool = False) -> Drawing:
    size = f'viewBox="0 0 {width} {height}"' + (
        f' style="width:100%;max-width:{width}px"' if fluid else f' width="{width}" height="{height}"'
    )
    label = escape(printable(description), quote=True)
    return Drawing(f'<svg role="img" aria-label="{label}" {size}>{"".join(shapes)}</svg>', description)
