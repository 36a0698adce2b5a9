"""The quarantine's words: what waits there and why, and the way back in."""

from __future__ import annotations

import argparse
from pathlib import Path

from ml.commands.command import Command
from ml.commands.terminal import line, say, table
from ml.config import Config


def list_quarantine(config: Config, asked: argparse.Namespace) -> None:
    """Print the batches with rows in quarantine: how many are open and why, and how many were settled since."""
    from ml.quality import quarantine

    table(
        ["batch", "file", "kind", "open", "readmitted", "rejected", "commonest reasons"],
        [
            [
                batch.batch_id[:12],
                batch.file,
                batch.kind,
                f"{batch.open:,}",
                f"{batch.accepted:,}",
                f"{batch.rejected:,}",
                "; ".join(f"{count:,} × {reason}" for reason, count in batch.reasons.items()),
            ]
            for batch in quarantine.summary(config)
        ],
    )


def show_quarantine(config: Config, asked: argparse.Namespace) -> None:
    """Print the rows of a batch in quarantine with their history, or write the open ones to a CSV file to be mended.

    A spreadsheet takes values that begin with =, +, - or @ for formulas; they are written as they were delivered, so open a
    file of a feed that you do not trust in a text editor.
    """
    from ml.quality import quarantine

    if asked.to is not None:
        say(f"{quarantine.export(config, asked.batch, asked.to, asked.row)} open rows written to {asked.to}")
        return
    for row in quarantine.rows_of(config, asked.batch, asked.row):
        line(f"{row.file}, row {row.row}, batch {row.batch_id[:12]}: {'open' if row.is_open else row.attempts[-1].outcome}")
        for reason in row.reasons:
            line(f"  {reason}")
        line(f"  {row.content}")
        for attempt in row.attempts:
            when, what = f"{attempt.known_at:%Y-%m-%d %H:%M}", "; ".join((attempt.outcome, *attempt.reasons))
            line(f"  {when} {attempt.actor} ({attempt.reason}): {what}")


def readmit(config: Config, asked: argparse.Namespace) -> int:
    """Take open rows through the checks again, as delivered or mended, and load those that pass; 1 if some failed again.

    What is accepted is known from now on, never earlier. The same command again changes nothing; after the suite or the data
    were mended once more, or at another --as-of, it is another attempt.
    """
    from ml.quality import quarantine

    readmission = quarantine.readmit(config, asked.as_of, asked.batch, asked.reason, asked.actor, asked.row, asked.data)
    say(
        f"{readmission.rows:,} rows = {readmission.accepted:,} accepted + "
        f"{readmission.quarantined:,} still quarantined + {readmission.rejected:,} rejected"
    )
    for reason, count in readmission.reasons.items():
        line(f"- {count:,} × {reason}")
    return 1 if readmission.quarantined else 0


BATCH = (("--batch",), {"required": True, "help": "first characters of the batch's id"})

COMMANDS = {
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
}
