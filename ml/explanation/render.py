"""Writes a `Document` as one self-contained HTML page, and as Markdown."""

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
    """The page as HTML: pictures and style inside, no script, and a policy that lets none run."""
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
    """The page as Markdown; a table's drawings are left out, and pictures are links to files beside the page."""
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
    """Text that Markdown shows as it is: no markup, no HTML, no links, no line of its own."""
    shown = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = re.sub(r"([\\`*\[\]{}#|~!$@])", r"\\\1", shown)
    shown = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", shown)
    shown = re.sub(r":(?=//)", r"\\:", shown)
    shown = re.sub(r"(?i)\b(www)\.", r"\1\\.", shown)
    return shown


def _line(text: str) -> str:
    """The same at the beginning of a line, where it starts neither a list nor a title."""
    shown = re.sub(r"^(\s*)([-+=])", r"\1\\\2", escaped(text))
    return re.sub(r"^(\s*\d+)([.)])(?=\s)", r"\1\\\2", shown)


def _block(block: Block) -> list[str]:
    match block:
        case Text(told=told):
            return [_line(told)]
        case Missing(told=told):
            return [f"**Missing.** {escaped(told)}"]
        case Points(told=points):
            return [f"- {_line(point)}" for point in points]
        case Facts(rows=rows):
            return _rows(["", ""], [list(row) for row in rows], [False, False])
        case Table(columns=columns, rows=rows):
            kept = [i for i in range(len(columns)) if not any(isinstance(row[i], Drawing) for row in rows)]
            cells = [[row[i] for i in kept] for row in rows]
            return _rows([columns[i].name for i in kept], cells, [columns[i].right for i in kept])
        case Picture(shown=Path() as file, told=told):
            return [f"![{escaped(told)}](<{file.name}>)", "", _line(told)]
        case Picture(told=told):
            return [_line(told)]


def _rows(head: list[str], rows: list[list[Cell]] | list[list[str]], right: list[bool]) -> list[str]:
    """A table of GitHub's Markdown."""
    rule = "|".join("---:" if each else "---" for each in right)
    body = ["| " + " | ".join(escaped(cell) for cell in row if isinstance(cell, str)) + " |" for row in rows]
    return ["| " + " | ".join(map(escaped, head)) + " |", f"|{rule}|", *body]
