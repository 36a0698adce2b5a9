"""A page as a record: sections of facts, tables and pictures, which `render` writes as HTML and as Markdown.

Whatever stands in a record is plain text and is escaped by the renderer, column names and category values included; only a
`Drawing` is markup, and `ml.explanation.svg` makes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Drawing:
    """An SVG element made by `ml.explanation.svg`, and what it shows in words."""

    svg: str
    told: str


@dataclass(frozen=True)
class Column:
    """Head of a table's column; figures stand to the right."""

    name: str
    right: bool = False


Cell = str | Drawing


@dataclass(frozen=True)
class Table:
    """Rows under a head; a row has one cell a column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells under {len(self.columns)} heads: {row}")


@dataclass(frozen=True)
class Facts:
    """Names and values, one pair a line."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Text:
    """A paragraph; a note is set smaller."""

    told: str
    is_note: bool = False


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    told: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """Says that something a reader expects is not in the record, and why."""

    told: str


@dataclass(frozen=True)
class Picture:
    """A PNG file or a drawing over the whole width, with its caption."""

    shown: Path | Drawing
    told: str


Block = Table | Facts | Text | Points | Missing | Picture


@dataclass(frozen=True)
class Section:
    """A part of the page under a title."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A page: its title, the line above it, a badge, the sentence that matters most, and a few figures before the sections."""

    kind: str
    title: str
    badge: str
    lead: str
    figures: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]


def number(value: float | None, digits: int = 4) -> str:
    """A figure with a fixed number of decimals, two from a hundred on; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:,.{_decimals(value, digits)}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """The same with its sign."""
    return "–" if value is None or not math.isfinite(value) else f"{value:+,.{_decimals(value, digits)}f}"


def _decimals(value: float, digits: int) -> int:
    return min(digits, 2) if abs(value) >= 100 else digits


def count(value: float | None) -> str:
    """A count with separators of thousands."""
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
    """An interval; a dash for one whose ends are not both there."""
    return f"{number(pair[0], digits)} to {number(pair[1], digits)}" if is_interval(pair) and pair else "–"


def is_interval(pair: Sequence[float | None] | None) -> bool:
    """Whether an interval has both of its ends."""
    return pair is not None and len(pair) == 2 and all(end is not None and math.isfinite(end) for end in pair)


def worded(told: object) -> str:
    """A name or a sentence; a dash where there is none."""
    return "–" if told is None else str(told)


def instant(told: object) -> str:
    """An instant to the minute; a dash where there is none."""
    return worded(told)[:16].replace("T", " ")
