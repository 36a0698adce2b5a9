"""Automatic readmission: answers whose events arrived, and last lines without a newline that prove complete."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import content, landing, quarantine
from ml.quality.checks import NO_EVENT, UNTERMINATED
from ml.quality.formats import format_of
from ml.quality.landing import LandingFile
from ml.quality.parse import parse
from ml.quality.quarantine import NotInQuarantine

ACTOR, REASON = "load_batch", "its event has come in"
COMPLETE = "its file has not changed, and this feed's files end without a newline"


def readmit_answers(config: Config, as_of: dt.datetime) -> int:
    """Readmit answers whose only fault was a missing event that is loaded now, each once; returns the number accepted.

    Their `known_at` is the time of readmission, as for every readmitted row. Call it outside of `lake.writing()`.
    """
    accepted = 0
    for batch, rows in quarantine.waiting(config, NO_EVENT, ACTOR).items():
        labels, _ = parse(content.unpack(list(rows.values())), config, "labels")
        loaded = _are_loaded(config, labels["event_id"])
        ready = [row for row, is_loaded in zip(rows, loaded, strict=True) if is_loaded]
        if ready:
            accepted += _readmit(config, as_of, batch, REASON, ready)
    return accepted


def readmit_last_lines(config: Config, as_of: dt.datetime) -> int:
    """Readmit quarantined last lines without a newline that prove complete; returns the number accepted.

    A line is complete if its file is unchanged in the landing folder and the feed has sent another file that ends like it: such
    a feed does not write the last newline. In a feed that does write it, the line waits for a person. Call it like
    `readmit_answers`.
    """
    waiting = quarantine.waiting(config, UNTERMINATED, ACTOR, before=as_of)
    if not waiting:
        return 0
    unterminated = {file.digest: (file.kind, file.source) for file in landing.find_files(config) if _is_unterminated(file)}
    feeds = list(unterminated.values())
    return sum(
        _readmit(config, as_of, batch, COMPLETE, list(rows))
        for batch, rows in waiting.items()
        if batch in unterminated and feeds.count(unterminated[batch]) > 1
    )


def _readmit(config: Config, as_of: dt.datetime, batch: str, reason: str, rows: list[int]) -> int:
    try:
        return quarantine.readmit(config, as_of, batch, reason, ACTOR, rows).accepted
    except NotInQuarantine:
        return 0  # another process readmitted one of them just now; the next load tries the others


def _is_unterminated(file: LandingFile) -> bool:
    if format_of(file.path.name) != ".csv":
        return False
    try:
        with file.path.open("rb") as content:
            content.seek(-1, 2)
            return content.read(1) not in b"\r\n"
    except OSError:
        return False  # empty, or deleted since the folder was listed


def _are_loaded(config: Config, events: pa.ChunkedArray) -> list[bool]:
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        connection.register("answered", pa.table({"event_id": events}))
        matches = connection.execute(
            "SELECT DISTINCT event_id FROM answered SEMI JOIN events USING (event_id)"
        ).to_arrow_table()
    loaded: list[bool] = pc.is_in(events, matches["event_id"].combine_chunks()).to_pylist()
    return loaded
