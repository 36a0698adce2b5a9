"""The two loops without Airflow, and the feed that a simulation or a replay needs."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml import pipeline
from ml.commands.command import Command
from ml.commands.terminal import say, stdout_to_stderr, with_deployment
from ml.config import Config
from ml.pipeline import Record


def ingest(config: Config, asked: argparse.Namespace) -> int:
    """Validate and load all new landing files, publish what is due, fill the online store; 1 if a file was stopped."""
    noted = _say_note(asked, "validate_batch", "load_batch")
    records = pipeline.run(pipeline.INGEST, config, asked.as_of, on_record=noted, within=stdout_to_stderr)
    return 1 if records["validate_batch"]["stopped"] else 0


def train(config: Config, asked: argparse.Namespace) -> None:
    """One training from admission to the champion's alias, and then what explains it, in this process."""
    records = decide(config, asked.as_of, asked, explain=True, reason=asked.reason, force=asked.force, trigger=asked.trigger)
    if "write_card" in records:
        say(f"training set: {records['explore']['page']}")
        say(f"card: {records['write_card']['html']}")


def decide(
    config: Config, as_of: dt.datetime, asked: argparse.Namespace | None = None, explain: bool = False, **given: Any
) -> dict[str, Record]:
    """The steps of a training from admission to the champion's alias; the records by step, `admit` alone if it was held back.

    Args:
        asked: how the command line was called, for the commands in notes.
        explain: whether to run what explains the decision too.
        given: who asks and why, see `ml.steps.OF_RUN` and `ml.decision.admit.admit`.
    """
    noted = _say_note(asked, "validate_training_set", "choose_settings", "refit", "promote")

    def on_record(step: str, record: Record) -> None:
        if step == "admit" and not record["admitted"]:
            say(_addressed(f"held back: {record['reason']}", asked))
        noted(step, record)

    return pipeline.run(pipeline.training(config), config, as_of, given, on_record, explain, stdout_to_stderr)


def _say_note(asked: argparse.Namespace | None, *steps: str) -> Callable[[str, Record], None]:
    def on_record(step: str, record: Record) -> None:
        if step in steps and record["note"]:
            say(_addressed(record["note"], asked))

    return on_record


def _addressed(text: str, asked: argparse.Namespace | None) -> str:
    return text if asked is None else with_deployment(text, asked)


def feed(config: Config, asked: argparse.Namespace) -> None:
    """Drop files into the landing folder: simulated days, or the days of a file, up to a day."""
    from ml.simulate.feed import write_until

    written = write_until(config, asked.until, asked.data)
    say(f"{len(written)} files written to {config.landing}")


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it like 2025-05-02") from None


COMMANDS = {
    "ingest": Command(ingest, needs_as_of=True),
    "train": Command(
        train,
        needs_as_of=True,
        arguments=(
            (("--reason",), {"default": "", "help": "why, for the ledger"}),
            (("--force",), {"action": "store_true", "help": "train although nothing is new"}),
            (
                ("--trigger",),
                {
                    "choices": ("on_demand", "schedule"),
                    "default": "on_demand",
                    "help": "what asks, for the ledger: a person, or cron (default: %(default)s)",
                },
            ),
        ),
    ),
    "feed": Command(
        feed,
        arguments=(
            (("--until",), {"type": _day, "required": True, "help": "last day to write"}),
            (("--data",), {"type": Path, "default": None, "help": "file of past events, for a feed of kind replay"}),
        ),
    ),
}
