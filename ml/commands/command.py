"""A word of the command line."""

from __future__ import annotations

import argparse
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
