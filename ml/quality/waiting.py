"""Answers that came before their events: they wait in quarantine, and come in by themselves once their events are in."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import content, quarantine
from ml.quality.checks import UNSEEN
from ml.quality.parse import parse
from ml.quality.quarantine import NotInQuarantine

ACTOR, REASON = "load_batch", "its event has come in"


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
            try:
                accepted += quarantine.readmit(config, as_of, batch, REASON, ACTOR, arrived).accepted
            except NotInQuarantine:
                continue  # somebody readmitted one of them at this moment; the next load tries the others
    return accepted


def _are_in(config: Config, events: pa.ChunkedArray) -> list[bool]:
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        connection.register("answered", pa.table({"event_id": events}))
        found = connection.execute("SELECT DISTINCT event_id FROM answered SEMI JOIN events USING (event_id)").to_arrow_table()
    here: list[bool] = pc.is_in(events, found["event_id"].combine_chunks()).to_pylist()
    return here
