"""What people ask about a version: its card, the reasons of a score, and its files in a format of their own."""

from __future__ import annotations

import argparse
from pathlib import Path

from ml.commands.command import Command
from ml.commands.provenance import VERSION
from ml.commands.terminal import line, say, table
from ml.config import Config


def card(config: Config, asked: argparse.Namespace) -> None:
    """Write the model card of a version again, as of the newest entry of the ledger, and say where it lies."""
    from ml.explanation.card import newest, write_card
    from ml.explanation.reasons import resolve

    version = resolve(config, asked.version)
    card = write_card(config, newest(config, version), version)
    say(f"{card.html}\n{card.markdown}")
    if card.missing:
        say(f"the record lacks something in: {', '.join(card.missing)}")


def reasons(config: Config, asked: argparse.Namespace) -> None:
    """Print why a version scores an event as it does: each input's contribution in log-odds, the largest first.

    The event's row is taken from the version's frozen training set, or else joined again from the lake.
    """
    from ml.explanation.reasons import of_event

    explained = of_event(config, asked.version, asked.event, asked.top)
    line(f"event {asked.event}: probability {explained.probability:.6f}, log-odds {explained.log_odds:+.4f}")
    rows = [[f"{reason.contribution:+.4f}", reason.sentence] for reason in explained.reasons]
    rows += [
        [f"{explained.rest:+.4f}", "all other inputs together"],
        [f"{explained.base:+.4f}", "base value, the same for every event"],
    ]
    table(["log-odds", "because"], rows)


def model(config: Config, asked: argparse.Namespace) -> None:
    """Write a version's model in a format of another runtime, checked to answer as the registered one does.

    `onnx` and `pmml` take raw columns. `json`, and `cbm` for trees alone, take the numbers that the model was fitted on:
    `inputs.json` beside the file says what stands for a missing number, and the number of each level of a category.
    """
    from ml.explanation.reasons import resolve
    from ml.training.formats import write_checked

    written = write_checked(config, resolve(config, asked.version), asked.format, asked.to)
    for file in written.files:
        say(str(file))
    say(written.checked)


ANY_VERSION = (VERSION[0], VERSION[1] | {"required": False, "default": "champion", "help": "a number (default: champion)"})

COMMANDS = {
    "card": Command(card, arguments=(ANY_VERSION,)),
    "reasons": Command(
        reasons,
        arguments=(
            ANY_VERSION,
            (("--event",), {"required": True, "help": "event id"}),
            (("--top",), {"type": int, "default": 4, "help": "how many reasons (default: %(default)s)"}),
        ),
    ),
    "model": Command(
        model,
        arguments=(
            ANY_VERSION,
            (("--format",), {"required": True, "choices": ["onnx", "pmml", "cbm", "json"], "help": "which runtime it is for"}),
            (("--to",), {"type": Path, "required": True, "help": "file to write"}),
        ),
    ),
}
