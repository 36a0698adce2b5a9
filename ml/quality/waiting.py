"""Rows that wait in quarantine and come in by themselves: answers for their events, last lines until they prove whole."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import content, landing, quarantine
from ml.quality.checks import UNENDED, UNSEEN
from ml.quality.formats import format_of
from ml.quality.landing import LandingFile
from ml.quality.parse import parse
from ml.quality.quarantine import NotInQuarantine

ACTOR, REASON = "load_batch", "its event has come in"
WHOLE = "its file has not changed, and this feed's files end without a newline"


def readmit_answers(config: Config, as_of: dt.datetime) -> int:
    """Readmit the answers that only lacked an event that is in now, each tried once; returns how many came in.

    They are known from now on, like everything that is readmitted. Call it outside of `lake.writing()`.
    """
    accepted = 0
    for batch, rows in quarantine.waiting(config, UNSEEN, ACTOR).items():
        answered, _ = parse(content.unpack(list(rows.values())), config, "labels")
        here = _are_in(config, answered["event_id"])
        arrived = [row for row, there in zip(rows, here, strict=True) if there]
        if arrived:
            accepted += _readmit(config, as_of, batch, REASON, arrived)
    return accepted


def readmit_last_lines(config: Config, as_of: dt.datetime) -> int:
    """Readmit last lines without a newline that were set aside earlier and turn out whole; returns how many came in.

    A line is whole when its file lies in the landing folder as it was, and the feed has sent another file that ends so: it
    does not write the last newline. What was cut off in a feed that writes it waits for a person. Call it like
    `readmit_answers`.
    """
    waiting = quarantine.waiting(config, UNENDED, ACTOR, before=as_of)
    if not waiting:
        return 0
    unended = {file.digest: (file.kind, file.source) for file in landing.find_files(config) if _is_unended(file)}
    feeds = list(unended.values())
    return sum(
        _readmit(config, as_of, batch, WHOLE, list(rows))
        for batch, rows in waiting.items()
        if batch in unended and feeds.count(unended[batch]) > 1
    )


def _readmit(config: Config, as_of: dt.datetime, batch: str, reason: str, rows: list[int]) -> int:
    try:
        return quarantine.readmit(config, as_of, batch, reason, ACTOR, rows).accepted
    except NotInQuarantine:
        return 0  # somebody readmitted one of them at this moment; the next load tries the others


def _is_unended(file: LandingFile) -> bool:
    if format_of(file.path.name) != ".csv":
        return False
    try:
        with file.path.open("rb") as content:
            content.seek(-1, 2)
            return content.read(1) not in b"\r\n"
    except OSError:
        return False  # empty, or taken away since the folder was listed


def _are_in(config: Config, events: pa.ChunkedArray) -> list[bool]:
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        connection.register("answered", pa.table({"event_id": events}))
        found = connection.execute("SELECT DISTINCT event_id FROM answered SEMI JOIN events USING (event_id)").to_arrow_table()
    here: list[bool] = pc.is_in(events, found["event_id"].combine_chunks()).to_pylist()
    return here
