"""Reads the tables of a page back, from HTML and from Markdown."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

Rows = list[list[str]]


class _Tables(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Rows] = []
        self.tags: list[str] = []
        self._cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []
        elif tag == "svg" and self._cell is not None:
            self._cell.append("\N{BULLET}drawn")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append("".join(self._cell))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)


def of_html(text: str) -> list[Rows]:
    """Tables of a page; columns that are drawn are left out."""
    parser = _Tables()
    parser.feed(text)
    return [_without_drawings(table) for table in parser.tables]


def tags(text: str) -> set[str]:
    """Every tag that a browser would see."""
    parser = _Tables()
    parser.feed(text)
    return set(parser.tags)


def of_markdown(text: str) -> list[Rows]:
    """Tables of a page of Markdown, their text as it would be shown."""
    tables: list[Rows] = []
    within = False
    for line in text.splitlines():
        if line.startswith("| "):
            if not within:
                tables.append([])
            within = True
            tables[-1].append([_shown(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif not line.startswith("|---") and not line.startswith("|"):
            within = False
    return [rows if any(rows[0]) else rows[1:] for rows in tables]


def _shown(cell: str) -> str:
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", cell.strip()))


def _without_drawings(rows: Rows) -> Rows:
    drawn = {i for row in rows for i, cell in enumerate(row) if cell.startswith("\N{BULLET}drawn")}
    return [[cell for i, cell in enumerate(row) if i not in drawn] for row in rows]


def under(tables: list[Rows], head: str) -> dict[str, list[str]]:
    """The rows of the table whose first head is `head`, by their first cell."""
    table = next(rows for rows in tables if rows[0][0] == head)
    return {row[0]: row[1:] for row in table[1:]}
