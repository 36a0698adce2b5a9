"""Where a version came from, whether it can be made again, and what its features mean."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from ml.commands.command import Command
from ml.commands.terminal import say, table, tree
from ml.config import Config
from ml.errors import BadInput


def reproduce(config: Config, asked: argparse.Namespace) -> int:
    """Make a registered version again from its record and compare it; 1 if anything is not equal."""
    from ml.training.reproduce import reproduce as make_again

    reproduction = make_again(config, asked.version)
    head = ["what", "equal", "compared"]
    table(head, [[check.name, "yes" if check.equal else "NO", check.summary] for check in reproduction.checks])
    say(
        f"version {reproduction.version} as of {reproduction.as_of}, made at commit {reproduction.commit}: "
        f"{'equal' if reproduction.equal else 'NOT EQUAL'}"
    )
    return 0 if reproduction.equal else 1


def lineage(config: Config, asked: argparse.Namespace) -> None:
    """Print where a version came from, from landing files to promotions; `--send` sends it to OpenLineage's transport."""
    from ml.lineage import events
    from ml.lineage.trace import summary, trace

    lineage = trace(config, asked.version)
    if asked.send and not events.configured():
        raise BadInput("no OpenLineage transport is configured; set OPENLINEAGE_URL, or OPENLINEAGE_CONFIG to its file")
    if asked.send:
        say(f"{events.send(config, lineage)} events sent")
    elif asked.json:
        say(json.dumps(asdict(lineage), indent=1, default=str))
    elif asked.files:
        head = ["file", "kind", "rows", "accepted", "batch", "known at"]
        table(head, [[b.file, b.kind, *map(str, (b.rows, b.accepted, b.batch_id, b.known_at))] for b in lineage.batches])
    else:
        tree(f"{lineage.model} version {lineage.version}", summary(lineage))


def features(config: Config, asked: argparse.Namespace) -> None:
    """Print every input of the model: the event's own columns, and the features with the view that serves each."""
    from ml.features.catalogue import catalogue

    own = [[name, "event", "double", "a measure of the event itself"] for name in config.measures]
    own += [[name, "event", "string", "a category of the event itself"] for name in config.categories]
    table(["input", "from", "type", "meaning"], [*own, *(list(feature) for feature in catalogue(config))])


VERSION: tuple[tuple[str, ...], dict[str, Any]] = (("--version",), {"required": True, "help": "registered version, a number"})

COMMANDS = {
    "features": Command(features),
    "reproduce": Command(reproduce, arguments=(VERSION,)),
    "lineage": Command(
        lineage,
        arguments=(
            VERSION,
            (("--files",), {"action": "store_true", "help": "list every landing file"}),
            (("--json",), {"action": "store_true", "help": "print all of it as JSON"}),
            (("--send",), {"action": "store_true", "help": "send it as OpenLineage events"}),
        ),
    ),
}
