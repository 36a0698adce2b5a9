"""A word of the command line."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ml.config import Config

Arguments = tuple[tuple[tuple[str, ...], dict[str, Any]], ...]


@dataclass(frozen=True)
class Command:
    """A word of the command line, or a word of a group such as `quarantine list`; the function's docstring is its help.

    One that needs no deployment file is given None in its place.
    """

    run: Callable[[Config, argparse.Namespace], int | None] | Callable[[None, argparse.Namespace], int | None]
    needs_as_of: bool = False
    needs_config: bool = True
    arguments: Arguments = ()


def instant(text: str) -> dt.datetime:
    """An instant of the command line; without a zone it is UTC."""
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no instant; write it like 2025-05-02T02:00:00Z") from None
    return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)
