"""The golden set: which version judges, and freezing the next one."""

from __future__ import annotations

import argparse

from ml.commands.command import Command
from ml.commands.terminal import say
from ml.config import Config


def show(config: Config, asked: argparse.Namespace) -> None:
    """Print the version of the golden set that every challenger is judged on, and why it was frozen."""
    from ml.training import golden

    found = golden.newest(config)
    say("no golden set yet; the first training freezes one" if found is None else _told(found))


def freeze(config: Config, asked: argparse.Namespace) -> None:
    """Freeze the reserved events that have matured as the next version; the versions before it stay."""
    from ml.training import golden

    say(_told(golden.freeze(config, asked.as_of, asked.actor, asked.reason)))


def _told(found: object) -> str:
    record = vars(found)
    return (
        f"version {record['version']}: {record['rows']:,} rows, {record['positives']:,} positives, "
        f"frozen as of {record['as_of']} by {record['actor']}: {record['reason']} (SHA-256 {record['sha256'][:16]})"
    )


COMMANDS = {
    "golden show": Command(show),
    "golden freeze": Command(
        freeze,
        needs_as_of=True,
        arguments=(
            (("--reason",), {"required": True, "help": "why a new version, for the record"}),
            (("--actor",), {"required": True, "help": "who, for the record"}),
        ),
    ),
}
