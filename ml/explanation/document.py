"""A page as dataclasses: sections of facts, tables and pictures, which `ml.explanation.render` writes as HTML and Markdown.

All texts are plain text and are escaped by the renderer, including column names and category values; only a `Drawing` is
markup, and only `ml.explanation.svg` creates one.

Example: figures as text; a missing or infinite figure is a dash.
    >>> number(0.61234), signed(0.0345), count(68108), share(0.0081), brief(12345.6), number(None)
    ('0.6123', '+0.0345', '68,108', '0.81 %', '12,346', '–')
    >>> between((0.1, 0.2)), between((0.1, None))
    ('0.1000 to 0.2000', '–')
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml.errors import BadInput


@dataclass(frozen=True)
class Drawing:
    """An SVG element from `ml.explanation.svg`, and a description of what it shows, for screen readers."""

    svg: str
    description: str


@dataclass(frozen=True)
class Column:
    """Head of a table's column; `right` aligns its cells to the right, for figures."""

    name: str
    right: bool = False


Cell = str | Drawing


@dataclass(frozen=True)
class Table:
    """A table; each row has one cell per column.

    Raises:
        ValueError: a row has another number of cells.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise BadInput(f"a row has {len(row)} cells under {len(self.columns)} heads: {row}")


@dataclass(frozen=True)
class Facts:
    """Names and values, one pair per line."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Text:
    """A paragraph; a note has a smaller font."""

    text: str
    is_note: bool = False


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """A statement that the record lacks something that a reader expects, and why."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A PNG file or a drawing over the whole width, with its caption."""

    shown: Path | Drawing
    caption: str


Block = Table | Facts | Text | Points | Missing | Picture


@dataclass(frozen=True)
class Section:
    """A part of the page under a title."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A page: `kind` (line above the title), title, badge, lead (the most important sentence), key figures, and sections."""

    kind: str
    title: str
    badge: str
    lead: str
    figures: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]


def number(value: float | None, digits: int = 4) -> str:
    """A figure with a fixed number of decimals, at most two from a hundred on; a dash if it is missing or not finite."""
    return "–" if value is None or not math.isfinite(value) else f"{value:,.{_decimals(value, digits)}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """As `number`, with the sign."""
    return "–" if value is None or not math.isfinite(value) else f"{value:+,.{_decimals(value, digits)}f}"


def _decimals(value: float, digits: int) -> int:
    return min(digits, 2) if abs(value) >= 100 else digits


def count(value: float | None) -> str:
    """A count with thousands separators."""
    return "–" if value is None or not math.isfinite(value) else f"{value:,.0f}"


def share(value: float | None, digits: int = 2) -> str:
    """A share as a percentage."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f} %"


def brief(value: float | None) -> str:
    """A figure of any size with four significant digits."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def between(pair: Sequence[float | None] | None, digits: int = 4) -> str:
    """An interval; a dash if one of its ends is missing."""
    return f"{number(pair[0], digits)} to {number(pair[1], digits)}" if is_interval(pair) and pair else "–"


def is_interval(pair: Sequence[float | None] | None) -> bool:
    """Whether an interval has both of its ends."""
    return pair is not None and len(pair) == 2 and all(end is not None and math.isfinite(end) for end in pair)


def worded(value: object) -> str:
    """A name or a sentence; a dash if it is missing."""
    return "–" if value is None else str(value)


def instant(value: object) -> str:
    """An instant to the minute; a dash if it is missing."""
    return worded(value)[:16].replace("T", " ")
