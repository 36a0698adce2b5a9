"""The commands that describe the deployment file: for people, and for editors."""

from __future__ import annotations

import argparse
import json

from ml.commands.command import Command
from ml.commands.terminal import say
from ml.config.keys import page
from ml.config.schema import schema as schema_of_file


def keys(config: None, asked: argparse.Namespace) -> None:
    """Print every key of the deployment file with type, unit, default and meaning, as Markdown."""
    say(page())


def schema(config: None, asked: argparse.Namespace) -> None:
    """Print the JSON Schema of the deployment file, with which editors complete it."""
    say(json.dumps(schema_of_file(), indent=1))


COMMANDS = {"keys": Command(keys, needs_config=False), "schema": Command(schema, needs_config=False)}
