"""What a person types besides single steps: whole loops, the ledger's pages, rollback, and mending the landing folder."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml import steps
from ml.config import Config

Arguments = tuple[tuple[tuple[str, ...], dict[str, Any]], ...]


@dataclass(frozen=True)
class Command:
    """A word of the command line, or a word of a group such as `quarantine list`; the function's docstring is its help."""

    run: Callable[[Config, argparse.Namespace], int | None]
    needs_as_of: bool = False
    arguments: Arguments = ()


def ingest(config: Config, asked: argparse.Namespace) -> int:
    """Validate and load all new landing files, publish features, fill the online store; 1 if a file was stopped."""
    told = steps.run("validate_batch", config, asked.as_of)
    _say(told["note"])
    if told["files"]:
        loaded = steps.run("load_batch", config, asked.as_of, {"staged": told["staged"]})
        if loaded["note"]:
            _say(loaded["note"])
        steps.run("publish_features", config, asked.as_of)
        steps.run("materialize", config, asked.as_of)
    return 1 if told["stopped"] else 0


def train(config: Config, asked: argparse.Namespace) -> None:
    """One training from admission to the champion's alias, in this process."""
    told = steps.run("admit", config, asked.as_of, {"reason": asked.reason, "force": asked.force})
    if not told["admitted"]:
        _say(f"held back: {told['reason']}")
        return
    made = steps.run("build_training_set", config, asked.as_of)
    steps.run("validate_training_set", config, asked.as_of, {"training_set": made["training_set"]})
    fitted = steps.run("fit", config, asked.as_of, {"training_set": made["training_set"]})
    steps.run("export", config, asked.as_of, {"model": fitted["model"]})
    judged = steps.run("judge", config, asked.as_of, {"model": fitted["model"]})
    version = steps.run("register", config, asked.as_of, {"judgement": judged["judgement"]})["version"]
    decided = steps.run("promote", config, asked.as_of, {"judgement": judged["judgement"], "version": version})
    _say(decided["note"])


def feed(config: Config, asked: argparse.Namespace) -> None:
    """Drop files into the landing folder: simulated days, or the days of a file, up to a day."""
    from ml.simulate.feed import write_until

    written = write_until(config, asked.until, asked.data)
    _say(f"{len(written)} files written to {config.landing}")


def history(config: Config, asked: argparse.Namespace) -> None:
    """Print the promotion ledger: every move of the champion, oldest first."""
    from ml.registry.ledger import Ledger

    moves = Ledger(config.ledger).history(config.name)
    if asked.json:
        _say(json.dumps([_plain(move) for move in moves], indent=1, default=str))
        return
    _table(
        ["move", "when", "as of", "what", "from", "to", "who", "why"],
        [
            [
                str(m.sequence),
                f"{m.recorded_at:%Y-%m-%d %H:%M}",
                f"{m.as_of:%Y-%m-%d %H:%M}",
                m.action,
                m.from_version or "-",
                m.to_version,
                m.actor,
                m.reason,
            ]
            for m in moves
        ],
    )


def status(config: Config, asked: argparse.Namespace) -> None:
    """Print the champion and its age, the last verdict, the last batch and the quarantine, as of the newest thing known."""
    from ml.lake import schema
    from ml.lake.tables import Lake
    from ml.quality import quarantine
    from ml.registry.ledger import Ledger

    ledger = Ledger(config.ledger)
    moves, decisions = ledger.history(config.name), ledger.decisions(config.name)
    with Lake(config.lake).connect({schema.BATCHES: schema.BATCHES_SCHEMA}) as connection:
        batch = connection.execute(
            "SELECT known_at, count(*), sum(rows), sum(accepted), sum(quarantined), sum(rejected) FROM batches "
            "GROUP BY known_at ORDER BY known_at DESC LIMIT 1"
        ).fetchone()
    newest = max([d.as_of for d in decisions] + ([batch[0]] if batch else []), default=None)
    if moves and newest:
        age = (newest - moves[-1].as_of).days
        _say(f"champion      version {moves[-1].to_version}, {age} days old, since {moves[-1].as_of:%Y-%m-%d %H:%M}")
    else:
        _say("champion      none yet")
    if decisions:
        last = decisions[-1]
        _say(
            f"last verdict  {last.outcome} on version {last.challenger_version} as of {last.as_of:%Y-%m-%d %H:%M}: "
            f"{last.reason}"
        )
    if batch:
        known, files, rows, accepted, quarantined, rejected = batch
        _say(
            f"last batch    {known:%Y-%m-%d %H:%M}: {files} files, {rows:,} rows = {accepted:,} accepted + "
            f"{quarantined:,} quarantined + {rejected:,} rejected"
        )
    waiting = quarantine.count_open(config)
    if waiting:
        _say(f"quarantine    {waiting:,} rows are open, see `python -m ml quarantine list`")


def rollback(config: Config, asked: argparse.Namespace) -> None:
    """Make the version before the current champion the champion again; what it replaced stays registered."""
    from ml.registry import promotion
    from ml.registry.ledger import Ledger
    from ml.training import export, fit

    ledger = Ledger(config.ledger)
    run_id = asked.run_id or f"command line, after move {len(ledger.history(config.name))}"
    moved = promotion.rollback(
        ledger,
        fit.registry(config),
        as_of=asked.as_of,
        actor=asked.actor,
        reason=asked.reason,
        run_id=run_id,
        check=export.check_copy,
    )
    _say(f"champion is version {moved.to_version} again, in place of version {moved.from_version}")


def reproduce(config: Config, asked: argparse.Namespace) -> int:
    """Make a registered version again from its record and compare it; 1 if anything is not equal."""
    from ml.training.reproduce import reproduce as make_again

    told = make_again(config, asked.version)
    head = ["what", "equal", "compared"]
    _table(head, [[check.name, "yes" if check.equal else "NO", check.told] for check in told.checks])
    _say(f"version {told.version} as of {told.as_of}, made at commit {told.commit}: {'equal' if told.equal else 'NOT EQUAL'}")
    return 0 if told.equal else 1


def lineage(config: Config, asked: argparse.Namespace) -> None:
    """Print where a version came from, from landing files to promotions; `--send` sends it to OpenLineage's transport."""
    from ml.lineage import events
    from ml.lineage.trace import summary, trace

    told = trace(config, asked.version)
    if asked.send and not events.configured():
        raise ValueError("no OpenLineage transport is configured; set OPENLINEAGE_URL, or OPENLINEAGE_CONFIG to its file")
    if asked.send:
        _say(f"{events.send(config, told)} events sent")
    elif asked.json:
        _say(json.dumps(asdict(told), indent=1, default=str))
    elif asked.files:
        head = ["file", "kind", "rows", "accepted", "batch", "known at"]
        _table(head, [[b.file, b.kind, *map(str, (b.rows, b.accepted, b.batch_id, b.known_at))] for b in told.batches])
    else:
        _tree(f"{told.model} version {told.version}", summary(told))


def discard(config: Config, asked: argparse.Namespace) -> None:
    """Take a file that cannot be mended out of the landing folder; it is kept in `discarded`."""
    source = config.landing / asked.file
    if source.parent != config.landing or not source.is_file() or source.is_symlink():
        raise ValueError(f"{asked.file!r} is not a file directly in {config.landing}")
    target = config.home / "discarded" / asked.file
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise ValueError(f"{target} exists already; move it away first")
    source.rename(target)
    _say(f"moved to {target}")


def list_quarantine(config: Config, asked: argparse.Namespace) -> None:
    """Print the batches with rows in quarantine: how many are open and why, and how many were settled since."""
    from ml.quality import quarantine

    _table(
        ["batch", "file", "kind", "open", "readmitted", "rejected", "commonest reasons"],
        [
            [
                told.batch_id[:12],
                told.file,
                told.kind,
                f"{told.open:,}",
                f"{told.accepted:,}",
                f"{told.rejected:,}",
                "; ".join(f"{count:,} × {reason}" for reason, count in told.reasons.items()),
            ]
            for told in quarantine.summary(config)
        ],
    )


def show_quarantine(config: Config, asked: argparse.Namespace) -> None:
    """Print the rows of a batch in quarantine with their history, or write the open ones to a CSV file to be mended.

    A spreadsheet takes values that begin with =, +, - or @ for formulas; they are written as they were delivered, so open a
    file of a feed that you do not trust in a text editor.
    """
    from ml.quality import quarantine

    if asked.to is not None:
        _say(f"{quarantine.export(config, asked.batch, asked.to, asked.row)} open rows written to {asked.to}")
        return
    for row in quarantine.rows_of(config, asked.batch, asked.row):
        _line(f"{row.file}, row {row.row}, batch {row.batch_id[:12]}: {'open' if row.is_open else row.attempts[-1].outcome}")
        for reason in row.reasons:
            _line(f"  {reason}")
        _line(f"  {row.content}")
        for attempt in row.attempts:
            when, what = f"{attempt.known_at:%Y-%m-%d %H:%M}", "; ".join((attempt.outcome, *attempt.reasons))
            _line(f"  {when} {attempt.actor} ({attempt.reason}): {what}")


def readmit(config: Config, asked: argparse.Namespace) -> int:
    """Take open rows through the checks again, as delivered or mended, and load those that pass; 1 if some failed again.

    What is accepted is known from now on, never earlier. The same command again changes nothing; after the suite or the data
    were mended once more, or at another --as-of, it is another attempt.
    """
    from ml.quality import quarantine

    told = quarantine.readmit(config, asked.as_of, asked.batch, asked.reason, asked.actor, asked.row, asked.data)
    _say(
        f"{told.rows:,} rows = {told.accepted:,} accepted + {told.quarantined:,} still quarantined + {told.rejected:,} rejected"
    )
    for reason, count in told.reasons.items():
        _line(f"- {count:,} × {reason}")
    return 1 if told.quarantined else 0


def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


VERSION: tuple[tuple[str, ...], dict[str, Any]] = (("--version",), {"required": True, "help": "registered version, a number"})

BATCH = (("--batch",), {"required": True, "help": "first characters of the batch's id"})
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
    "status": Command(status),
    "history": Command(history, arguments=((("--json",), {"action": "store_true", "help": "print JSON"}),)),
    "rollback": Command(
        rollback,
        needs_as_of=True,
        arguments=(
            (("--reason",), {"required": True, "help": "why, for the ledger"}),
            (("--actor",), {"required": True, "help": "who, for the ledger"}),
            (("--run-id",), {"default": "", "help": "the same id again changes nothing (default: one roll back from here)"}),
        ),
    ),
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
    "quarantine list": Command(list_quarantine),
    "quarantine show": Command(
        show_quarantine,
        arguments=(
            BATCH,
            (("--row",), {"type": int, "default": None, "help": "data row of the file, from 1 (default: all)"}),
            (("--to",), {"type": Path, "default": None, "help": "write the open rows to this CSV file"}),
        ),
    ),
    "quarantine readmit": Command(
        readmit,
        needs_as_of=True,
        arguments=(
            BATCH,
            (
                ("--row",),
                {"type": int, "action": "append", "help": "data row of the file, from 1; can be repeated (default: all open)"},
            ),
            (
                ("--data",),
                {"type": Path, "default": None, "help": "CSV or Parquet file with mended rows (default: as delivered)"},
            ),
            (("--reason",), {"required": True, "help": "why they should pass now, for the record"}),
            (("--actor",), {"required": True, "help": "who, for the record"}),
        ),
    ),
    "discard": Command(discard, arguments=((("--file",), {"required": True, "help": "name of the file"}),)),
}


def _plain(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _say(text: str) -> None:
    print(text)  # noqa: T201


def _line(text: str) -> None:
    """Print text that comes from files, so that nothing in it reaches the terminal as a command."""
    from ml.quality.report import printable

    _say(printable(text))


def _table(head: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ml.quality.report import printable

    table = Table(*head)
    for row in rows:
        table.add_row(*[Text(printable(cell)) for cell in row])
    Console().print(table)


def _tree(name: str, told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    from ml.quality.report import printable

    tree = Tree(name)
    for stage, facts in told.items():
        branch = tree.add(stage)
        for fact, value in facts.items():
            branch.add(Text(printable(f"{fact}: {value}")))
    Console().print(tree)
