"""What the pictures of the pages are made of. Colours are classes and variables of the pages' style, so they follow its theme.

A picture has a description for screen readers, and a title on whatever has a figure. All texts are escaped here.

Example: a shape with its title, in the colour of a tone.
    >>> marked("good", "version <3>", "<circle/>")
    '<g class="good"><title>version &lt;3&gt;</title><circle/></g>'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from ml.explanation.document import Drawing
from ml.quality.report import printable

WIDTH, NARROW = 1040, 420
"""Pixels of a picture on a desk and in a hand."""
NARROWEST = 680
"""Pixels to which a wide picture shrinks; then it scrolls."""
SMALLEST = 280
"""Pixels to which a narrow picture shrinks."""


@dataclass(frozen=True)
class Both:
    """A picture for wide and for narrow screens; the style of the pages shows one of them."""

    wide: Drawing
    narrow: Drawing


def both(draw: Callable[[int], Drawing]) -> Both:
    """What is drawn for a width, for both widths."""
    return Both(draw(WIDTH), draw(NARROW))


def narrowest(width: float) -> int:
    """Pixels to which a picture of a width shrinks."""
    return NARROWEST if width > NARROW else SMALLEST


def marked(kind: str, title: str, *shapes: str) -> str:
    """Shapes of one tone with their title."""
    return f'<g class="{kind}"><title>{escape(printable(title))}</title>{"".join(shapes)}</g>'


def shortened(name: str, most: int) -> str:
    """A name of at most so many characters; its middle is left out, for names often differ at their end.

    >>> shortened("customer_amount_mean_7d", 17), shortened("amount", 17)
    ('customer…_mean_7d', 'amount')
    """
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def box(kind: str, x: float, y: float, width: float, height: float, corner: float = 1, opacity: float = 1) -> str:
    """A rectangle with round corners."""
    fill = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
    size = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" rx="{corner:g}"'
    return f'<rect class="{kind}" {size}{fill}/>'


def dot(x: float, y: float, radius: float) -> str:
    """A ring."""
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>'


def ticks(lowest: float, highest: float) -> list[float]:
    """Round numbers that enclose an interval.

    >>> ticks(0.31, 0.58), ticks(0.0, 230.0)
    ([0.3, 0.4, 0.5, 0.6], [0.0, 100.0, 200.0, 300.0])
    """
    span = (highest - lowest) or abs(highest) or 1.0
    size = 10.0 ** math.floor(math.log10(span))
    step = next(size * factor for factor in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if span / (size * factor) <= 4)
    first, last = math.floor(lowest / step + 1e-9), math.ceil(highest / step - 1e-9)
    return [round(step * n, 12) for n in range(first, max(last, first + 1) + 1)]


def path(kind: str, points: Sequence[tuple[float, float]]) -> str:
    """A line along points."""
    return f'<path class="{kind}" d="M{"L".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    """Escaped text."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(printable(text))}</text>'


def drawing(width: float, height: float, shapes: Sequence[str], description: str, fluid: bool = True) -> Drawing:
    """A picture; `fluid` ones are as wide as the page, up to their width and not below `narrowest` of it."""
    size = (
        f'class="fluid" style="max-width:{width:.0f}px;min-width:{min(width, narrowest(width)):.0f}px"'
        if fluid
        else f'width="{width:.0f}" height="{height:.0f}"'
    )
    label = escape(printable(description), quote=True)
    view = f'viewBox="0 0 {width:.0f} {height:.0f}"'
    return Drawing(f'<svg role="img" aria-label="{label}" {view} {size}>{"".join(shapes)}</svg>', description)
