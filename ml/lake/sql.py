"""Names and texts of a deployment as SQL: whatever they are, they are no words of the language."""

from __future__ import annotations

from collections.abc import Iterable


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def columns(names: Iterable[str], of: str = "events") -> str:
    """Columns of a table, to be selected: `events."order", events."end"`."""
    return ", ".join(f"{of}.{quoted(name)}" for name in names)


def text(value: str) -> str:
    """A text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"
