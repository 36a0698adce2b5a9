"""The command that makes and upgrades what the other commands keep in databases."""

from __future__ import annotations

import argparse

from ml.commands.command import Command
from ml.commands.terminal import say, stdout_to_stderr
from ml.config import Config


def migrate(config: Config, asked: argparse.Namespace) -> None:
    """Bring the ledger and Feast's registry up to date; every command does so, this one before several start at once."""
    from ml.ledger.ledger import Ledger
    from ml.store.feast import open_store

    with stdout_to_stderr():
        Ledger(config.ledger)
        open_store(config, joins=False)
    say(f"{config.name}: the ledger and Feast's registry are up to date")


COMMANDS = {"migrate": Command(migrate)}
