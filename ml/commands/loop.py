"""The two loops without Airflow, and the feed that a simulation or a replay needs."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

from ml import steps
from ml.commands.command import Command
from ml.commands.terminal import say
from ml.config import Config


def ingest(config: Config, asked: argparse.Namespace) -> int:
    """Validate and load all new landing files, publish what is due, fill the online store; 1 if a file was stopped."""
    told = steps.run("validate_batch", config, asked.as_of)
    say(told["note"])
    if told["files"]:
        loaded = steps.run("load_batch", config, asked.as_of, {"staged": told["staged"]})
        if loaded["note"]:
            say(loaded["note"])
    steps.run("publish_features", config, asked.as_of)
    steps.run("materialize", config, asked.as_of)
    return 1 if told["stopped"] else 0


def train(config: Config, asked: argparse.Namespace) -> None:
    """One training from admission to the champion's alias, and then what explains it, in this process."""
    told = steps.run("admit", config, asked.as_of, {"reason": asked.reason, "force": asked.force})
    if not told["admitted"]:
        say(f"held back: {told['reason']}")
        return
    made = steps.run("build_training_set", config, asked.as_of)
    steps.run("validate_training_set", config, asked.as_of, {"training_set": made["training_set"]})
    tuned = _tune(config, asked.as_of, made["training_set"]) if config.training.tuning else {}
    fitted = steps.run("fit", config, asked.as_of, {"training_set": made["training_set"], **tuned})
    steps.run("export", config, asked.as_of, {"model": fitted["model"]})
    judged = steps.run("judge", config, asked.as_of, {"model": fitted["model"]})
    version = steps.run("register", config, asked.as_of, {"judgement": judged["judgement"]})["version"]
    decided = steps.run("promote", config, asked.as_of, {"judgement": judged["judgement"], "version": version})
    say(decided["note"])
    # An explanation that fails is told, and changes nothing of what was decided.
    steps.run("explain", config, asked.as_of, {"model": fitted["model"]})
    say(f"training set: {steps.run('explore', config, asked.as_of, {'training_set': made['training_set']})['page']}")
    say(f"card: {steps.run('write_card', config, asked.as_of, {'version': version})['html']}")


def _tune(config: Config, as_of: dt.datetime, training_set: str) -> dict[str, str]:
    """Search settings, one worker after the other; what `fit` takes of it."""
    plan = steps.run("plan_tuning", config, as_of, {"training_set": training_set})
    for worker in plan["workers"]:
        steps.run("search", config, as_of, {"study": plan["study"], "worker": worker})
    chosen = steps.run("choose_settings", config, as_of, {"study": plan["study"]})
    say(chosen["note"])
    return {"settings": chosen["settings"]}


def feed(config: Config, asked: argparse.Namespace) -> None:
    """Drop files into the landing folder: simulated days, or the days of a file, up to a day."""
    from ml.simulate.feed import write_until

    written = write_until(config, asked.until, asked.data)
    say(f"{len(written)} files written to {config.landing}")


def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


COMMANDS = {
    "ingest": Command(ingest, needs_as_of=True),
    "train": Command(
        train,
        needs_as_of=True,
        arguments=(
            (("--reason",), {"default": "", "help": "why, for the ledger"}),
            (("--force",), {"action": "store_true", "help": "train although nothing is new"}),
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
