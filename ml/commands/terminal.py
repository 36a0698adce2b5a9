"""Prints to the terminal; text that comes from files is escaped, so that nothing in it reaches the terminal as a command."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ml.quality.report import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

DEFAULT_CONFIG = "config/demo.yaml"
OWN_COMMAND = re.compile(r"(`python -m ml (?:(?:golden|quarantine|releases) )?[a-z_]+)(?=[^`]*`)(?![^`]*--config)")
FRAME = 3
"""Characters that a column of a table takes besides its text."""


def say(text: str) -> None:
    """Print text of our own; once nobody reads any more it is dropped, and what is being done goes on."""
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:
        drop_output()


def drop_output() -> None:
    """Nobody reads what is printed any more: let it go nowhere, so that nothing fails when it is flushed at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """What libraries print meanwhile goes to stderr, also what native code writes."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def with_deployment(text: str, asked: argparse.Namespace) -> str:
    """Text whose commands name the deployment that they are about, so that they can be run as they are printed.

    >>> asked = argparse.Namespace(config="config/yours.yaml", home=None)
    >>> with_deployment("mend it, then run `python -m ml ingest --as-of 2025-05-02T02:00:00Z`", asked)
    'mend it, then run `python -m ml ingest --config config/yours.yaml --as-of 2025-05-02T02:00:00Z`'
    >>> with_deployment("look at `python -m ml releases list`", asked)
    'look at `python -m ml releases list --config config/yours.yaml`'
    """
    config = str(getattr(asked, "config", DEFAULT_CONFIG))
    options = "" if config == DEFAULT_CONFIG else f" --config {shlex.quote(config)}"
    options += f" --home {shlex.quote(str(asked.home))}" if getattr(asked, "home", None) else ""
    return OWN_COMMAND.sub(lambda found: found[1] + options, text)


def line(text: str) -> None:
    """Print text that comes from files."""
    say(printable(text))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], lines: int | None = None) -> int:
    """Print rows of text under a head, as wide as the terminal; one below the other where that is shorter or no word would fit.

    Args:
        lines: print only so many rows as fit into so many lines, at least one.

    Returns:
        The number of rows printed.
    """
    from rich.console import Console

    console = Console()
    cells = [[printable(cell) for cell in row] for row in rows]
    longest = [max(len(word) for cell in column for word in cell.split() or [""]) for column in zip(head, *cells, strict=True)]
    shown, blocks = _table(head, cells, longest), _blocks(head, cells, console.width)
    fits = sum(longest) + FRAME * len(longest) + 1 <= console.width
    if not fits or _height(console, shown) > sum(len(block) for block in blocks):
        kept = _first(blocks, lines)
        say("\n".join(row for block in kept for row in block))
        return len(kept)
    while lines is not None and len(cells) > 1 and _height(console, shown) > lines:
        cells = cells[:-1]
        shown = _table(head, cells, longest)
    console.print(shown)
    return len(cells)


def screen() -> int:
    """Lines of the terminal, less the head line of a prompt."""
    from rich.console import Console

    return Console().height - 2


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], longest: Sequence[int]) -> Table:
    from rich.table import Column, Table
    from rich.text import Text

    made = Table(*[Column(name, min_width=width) for name, width in zip(head, longest, strict=True)])
    for row in rows:
        made.add_row(*[Text(cell) for cell in row])
    return made


def _height(console: Console, shown: Table) -> int:
    return len(console.render_lines(shown))


def _blocks(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Each row as lines of its own: a paragraph a column, and an empty line."""
    wrap = partial(textwrap.wrap, width=width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return [[*(line for name, cell in zip(head, row, strict=True) for line in wrap(f"{name}: {cell}")), ""] for row in rows]


def _first(blocks: list[list[str]], lines: int | None) -> list[list[str]]:
    """The first blocks that fit into so many lines, at least one."""
    if lines is None:
        return blocks
    ends = accumulate(len(block) for block in blocks)
    return blocks[: max(1, sum(end <= lines for end in ends))]


def tree(name: str, branches: dict[str, Any]) -> None:
    """Print facts by name under each stage."""
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    printed = Tree(name)
    for stage, facts in branches.items():
        branch = printed.add(stage)
        for fact, value in facts.items():
            branch.add(Text(printable(f"{fact}: {value}")))
    Console().print(printed)
