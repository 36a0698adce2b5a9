"""The two loops without Airflow, and the feed that a simulation or a replay needs."""

from __future__ import annotations

import argparse
import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from ml import steps
from ml.commands.command import Command
from ml.commands.terminal import say
from ml.config import Config


def ingest(config: Config, asked: argparse.Namespace) -> int:
    """Validate and load all new landing files, publish what is due, fill the online store; 1 if a file was stopped."""
    report = steps.run("validate_batch", config, asked.as_of)
    say(report["note"])
    if report["files"]:
        loaded = steps.run("load_batch", config, asked.as_of, {"staged": report["staged"]})
        if loaded["note"]:
            say(loaded["note"])
    steps.run("publish_features", config, asked.as_of)
    steps.run("materialize", config, asked.as_of)
    return 1 if report["stopped"] else 0


@dataclass(frozen=True)
class Trained:
    """What a training made, and what came of it in words; without a version it was held back."""

    note: str
    training_set: str | None = None
    model: str | None = None
    version: str | None = None


def train(config: Config, asked: argparse.Namespace) -> None:
    """One training from admission to the champion's alias, and then what explains it, in this process."""
    made = decide(config, asked.as_of, reason=asked.reason, force=asked.force)
    say(made.note)
    if made.version is None:
        return
    # An explanation that fails is reported, and changes nothing of what was decided.
    steps.run("explain", config, asked.as_of, {"model": made.model})
    say(f"training set: {steps.run('explore', config, asked.as_of, {'training_set': made.training_set})['page']}")
    say(f"card: {steps.run('write_card', config, asked.as_of, {'version': made.version})['html']}")


def decide(
    config: Config, as_of: dt.datetime, run_id: str = "", reason: str = "", force: bool = False, **of_run: str
) -> Trained:
    """The steps of a training from admission to the champion's alias.

    Args:
        run_id: the run, for the ledger.
        reason, force: see `ml.decision.admit.admit`.
        of_run: `actor` and `trigger` of the run.
    """
    of_run = {"run_id": run_id, **of_run}
    admitted = steps.run("admit", config, as_of, {**of_run, "reason": reason, "force": force})
    if not admitted["admitted"]:
        return Trained(f"held back: {admitted['reason']}")
    training_set = steps.run("build_training_set", config, as_of, of_run)["training_set"]
    if warnings := steps.run("validate_training_set", config, as_of, {"training_set": training_set, **of_run})["note"]:
        say(warnings)
    tuned = _tune(config, as_of, training_set) if config.training.tuning else {}
    model = steps.run("fit", config, as_of, {"training_set": training_set, **tuned})["model"]
    steps.run("export", config, as_of, {"model": model})
    judgement = steps.run("judge", config, as_of, {"model": model, **of_run})["judgement"]
    version = steps.run("register", config, as_of, {"judgement": judgement})["version"]
    decided = steps.run("promote", config, as_of, {"judgement": judgement, "version": version, **of_run})
    return Trained(decided["note"], training_set, model, version)


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
