"""The command that takes a version out of the house."""

from __future__ import annotations

import argparse
from pathlib import Path

from ml.commands.command import Command
from ml.commands.explanation import ANY_VERSION
from ml.commands.terminal import say
from ml.config import Config


def export(config: Config, asked: argparse.Namespace) -> None:
    """Write a version as a folder for a machine without this project: its graph, schema, golden rows, and examples.

    `score.py` needs onnxruntime alone, and `score.mjs` onnxruntime-node, which `npm ci` in the folder installs. Both score
    the golden rows and compare; see docs/serving.md.
    """
    from ml.serving.edge import export as write

    package = write(config, asked.version, asked.to)
    say(
        f"version {package.version} in {package.folder}, checked: {package.rows} golden rows score at most "
        f"{package.difference:.2g} away from the registered model"
    )


COMMANDS = {
    "export": Command(
        export,
        arguments=(ANY_VERSION, (("--to",), {"type": Path, "required": True, "help": "folder to write, new or empty"})),
    )
}
