"""Render a `Document` as one self-contained HTML page, and as Markdown.

Example: Markdown special characters of a text are escaped.
    >>> escaped("*bold* <b> snake_case")
    '\\\\*bold\\\\* &lt;b&gt; snake_case'
"""

from __future__ import annotations

import base64
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ml.explanation.document import Block, Cell, Document, Drawing, Facts, Missing, Picture, Points, Table, Text
from ml.quality.report import printable

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

HERE = Path(__file__).parent


def html(document: Document) -> str:
    """The page as HTML: with embedded pictures and style, without scripts, and a content security policy that blocks them."""
    from markupsafe import Markup

    style = Markup((HERE / "page.css").read_text())  # noqa: S704
    return _template().render(document=document, style=style)


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def markup(drawing: Drawing) -> Markup:
        return Markup(drawing.svg)  # noqa: S704

    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    environment.filters["shown"] = printable
    environment.tests["drawing"] = lambda value: isinstance(value, Drawing)
    environment.globals |= {"markup": markup, "kind_of": lambda block: type(block).__name__, "inline": _inline}
    return environment.get_template("page.html")


def _inline(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


def markdown(document: Document) -> str:
    """The page as Markdown; drawings in tables are left out, and pictures are links to files in the folder of the page."""
    badge = f" ({escaped(document.badge)})" if document.badge else ""
    lines = [f"# {escaped(document.title)}{badge}", "", f"{escaped(document.kind)}. {escaped(document.lead)}", ""]
    if document.figures:
        lines += [*_rows(["", ""], [list(pair) for pair in document.figures], [False, True]), ""]
    for section in document.sections:
        lines += [f"## {escaped(section.title)}", ""]
        for block in section.blocks:
            lines += [*_block(block), ""]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text that Markdown shows literally: no markup, no HTML, no links, no line breaks."""
    shown = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = re.sub(r"([\\`*\[\]{}#|~!$@])", r"\\\1", shown)
    shown = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", shown)
    shown = re.sub(r":(?=//)", r"\\:", shown)
    shown = re.sub(r"(?i)\b(www)\.", r"\1\\.", shown)
    return shown


def _line(text: str) -> str:
    """As `escaped`, at the beginning of a line: it starts neither a list nor a title."""
    shown = re.sub(r"^(\s*)([-+=])", r"\1\\\2", escaped(text))
    return re.sub(r"^(\s*\d+)([.)])(?=\s)", r"\1\\\2", shown)


def _block(block: Block) -> list[str]:
    match block:
        case Text(text=text):
            return [_line(text)]
        case Missing(text=text):
            return [f"**Missing.** {escaped(text)}"]
        case Points(sentences=sentences):
            return [f"- {_line(sentence)}" for sentence in sentences]
        case Facts(rows=rows):
            return _rows(["", ""], [list(row) for row in rows], [False, False])
        case Table(columns=columns, rows=rows):
            kept = [i for i in range(len(columns)) if not any(isinstance(row[i], Drawing) for row in rows)]
            cells = [[row[i] for i in kept] for row in rows]
            return _rows([columns[i].name for i in kept], cells, [columns[i].right for i in kept])
        case Picture(shown=Path() as file, caption=caption):
            return [f"![{escaped(caption)}](<{file.name}>)", "", _line(caption)]
        case Picture(caption=caption):
            return [_line(caption)]


def _rows(head: list[str], rows: list[list[Cell]] | list[list[str]], right: list[bool]) -> list[str]:
    """A table in GitHub Flavored Markdown."""
    rule = "|".join("---:" if each else "---" for each in right)
    body = ["| " + " | ".join(escaped(cell) for cell in row if isinstance(cell, str)) + " |" for row in rows]
    return ["| " + " | ".join(map(escaped, head)) + " |", f"|{rule}|", *body]
