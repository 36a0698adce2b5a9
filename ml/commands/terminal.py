"""Prints to the terminal; text that comes from files is escaped, so that nothing in it reaches the terminal as a command."""

from __future__ import annotations

from typing import Any

from ml.quality.report import printable


def say(text: str) -> None:
    """Print text of our own."""
    print(text)  # noqa: T201


def line(text: str) -> None:
    """Print text that comes from files."""
    say(printable(text))


def table(head: list[str], rows: list[list[str]]) -> None:
    """Print rows of text under a head."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    printed = Table(*[Column(name, overflow="fold") for name in head])
    for row in rows:
        printed.add_row(*[Text(printable(cell)) for cell in row])
    Console().print(printed)


def tree(name: str, told: dict[str, Any]) -> None:
    """Print facts by name under each stage."""
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    printed = Tree(name)
    for stage, facts in told.items():
        branch = printed.add(stage)
        for fact, value in facts.items():
            branch.add(Text(printable(f"{fact}: {value}")))
    Console().print(printed)
