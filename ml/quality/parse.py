"""From the feed's columns to ours: names, types, UTC. What cannot be read becomes null, and why is remembered."""

from __future__ import annotations

from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from ml.config import Config
from ml.lake.schema import INSTANT
from ml.quality.times import instants
from ml.quality.values import Fault, Read, Reader, keys, labels, numbers, shown, summable, texts, unread

TIME = {"events": "event_time", "labels": "reported_at"}


def columns_of(config: Config, kind: str) -> dict[str, str]:
    """Our name → the feed's name of every column that a file of this kind must have."""
    if kind == "labels":
        return dict(config.labels.columns)
    theirs = dict(config.events.columns)
    if config.labels.column is not None:
        theirs["label"] = config.labels.column
    return theirs


def parse(table: pa.Table, config: Config, kind: str, in_order: bool = True) -> tuple[pa.Table, dict[str, list[Fault]]]:
    """Typed columns of a raw table.

    Args:
        table: columns by the feed's names; every column of `columns_of` must be there.
        in_order: the rows are a whole file as it was delivered, whose order may tell of its times.

    Returns:
        A table with our names (times as UTC microseconds, measures and label as doubles, all else text) and, by column, the
        values that are there but are not taken; they are null.
    """
    parsed: dict[str, pa.ChunkedArray] = {}
    faults: dict[str, list[Fault]] = {}
    section = config.events if kind == "events" else config.labels
    for ours, theirs in columns_of(config, kind).items():
        read = _reader(config, kind, ours, in_order)
        try:
            parsed[ours], faults[ours] = _without(table[theirs], read, section.missing_in(ours))
        except (pa.ArrowException, ValueError, OverflowError) as error:
            # No kernel takes a column of this type: none of its values is taken.
            nulls = pa.chunked_array([pa.nulls(len(table), _type_of(config, ours, kind))])
            reason = f"is {table[theirs].type}, which is not read ({str(error).splitlines()[0]})"
            parsed[ours], faults[ours] = nulls, [unread(table[theirs], nulls, reason)]
    return pa.table(parsed), faults


def _reader(config: Config, kind: str, ours: str, in_order: bool) -> Reader:
    if ours == TIME[kind]:
        return partial(instants, timezone=config.events.timezone, in_order=in_order)
    if ours == "label":
        return labels
    if kind == "events" and ours in config.measures:
        return summable if any(window.column == ours for window in config.windows) else numbers
    return keys if ours == "event_id" or ours in config.entities.values() else texts


def _without(raw: pa.ChunkedArray, read: Reader, missing: list[str]) -> Read:
    """A column in which the texts that the deployment declares, and what they read as, are missing."""
    values, faults = read(raw)
    if not missing:
        return values, faults
    declared = pa.chunked_array([pc.utf8_trim_whitespace(pa.array(missing, pa.string()))])
    readable = pc.drop_null(read(declared)[0])
    told = pc.is_in(pc.utf8_trim_whitespace(shown(raw)), declared.combine_chunks())
    gone = pc.or_(told, pc.is_in(values, readable.combine_chunks()))
    there = ~gone.to_numpy().astype(bool)
    kept = [Fault(fault.rows & there, fault.reason, fault.of_type) for fault in faults]
    return pc.if_else(gone, pa.scalar(None, values.type), values), kept


def _type_of(config: Config, column: str, kind: str) -> pa.DataType:
    if column == TIME[kind]:
        return INSTANT
    return pa.float64() if column == "label" or (kind == "events" and column in config.measures) else pa.string()
