"""The command that lists the keys of the deployment file."""

from __future__ import annotations

import argparse

from ml.commands.command import Command
from ml.commands.terminal import say
from ml.config.keys import page


def keys(config: None, asked: argparse.Namespace) -> None:
    """Print every key of the deployment file with type, unit, default and meaning, as Markdown."""
    say(page())


COMMANDS = {"keys": Command(keys, needs_config=False)}
