"""Converts the feed's columns to the deployment's names and types, times to UTC. Unreadable values become null and a fault."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.config import Config
from ml.lake.schema import INSTANT
from ml.quality.times import instants
from ml.quality.values import Read, Reader, ValueFault, keys, labels, numbers, shown, summable, texts, unreadable

TIME = {"events": "event_time", "labels": "reported_at"}


def columns_of(config: Config, kind: str) -> dict[str, str]:
    """The columns that a file of this kind must have: the deployment's name → the feed's name."""
    if kind == "labels":
        return dict(config.labels.columns)
    columns = dict(config.events.columns)
    if config.labels.column is not None:
        columns["label"] = config.labels.column
    return columns


def parse(table: pa.Table, config: Config, kind: str, in_order: bool = True) -> tuple[pa.Table, dict[str, list[ValueFault]]]:
    """Convert a raw table to typed columns.

    Args:
        table: columns by the feed's names; every column of `columns_of` must be there.
        in_order: the rows are a complete file in the order of delivery, which resolves ambiguous local times.

    Returns:
        A table with the deployment's names (times as UTC microseconds, measures and label as doubles, all else text) and, by
        column, the faults: values that are present but could not be read; they are null in the table.
    """
    parsed: dict[str, pa.ChunkedArray] = {}
    faults: dict[str, list[ValueFault]] = {}
    section = config.events if kind == "events" else config.labels
    for column, feed_name in columns_of(config, kind).items():
        read = _reader(config, kind, column, in_order)
        try:
            parsed[column], faults[column] = _without(table[feed_name], read, section.missing_in(column))
        except (pa.ArrowException, ValueError, OverflowError) as error:
            # No Arrow kernel reads a column of this type, so all its values are faults.
            nulls = pa.chunked_array([pa.nulls(len(table), _type_of(config, column, kind))])
            reason = f"is {table[feed_name].type}, which is not read ({str(error).splitlines()[0]})"
            parsed[column], faults[column] = nulls, [unreadable(table[feed_name], nulls, reason)]
    if kind == "labels" and "label" not in parsed:
        parsed["label"], faults["label"] = pa.chunked_array([pa.array(np.ones(len(table)))]), []
    return pa.table(parsed), faults


def _reader(config: Config, kind: str, column: str, in_order: bool) -> Reader:
    if column == TIME[kind]:
        epoch = config.events.epoch if kind == "events" else config.labels.epoch
        return partial(instants, timezone=config.events.timezone, in_order=in_order, epoch=epoch)
    if column == "label":
        return labels
    if kind == "events" and column in config.measures:
        return summable if any(window.column == column for window in config.windows) else numbers
    return keys if column == "event_id" or column in config.entities.values() else texts


def _without(raw: pa.ChunkedArray, read: Reader, missing: list[str]) -> Read:
    """Read a column; texts that the deployment declares as missing, and the values that they read as, become null."""
    values, faults = read(raw)
    if not missing:
        return values, faults
    declared_texts = pa.chunked_array([pc.utf8_trim_whitespace(pa.array(missing, pa.string()))])
    readable = pc.drop_null(read(declared_texts)[0])
    is_declared = pc.is_in(pc.utf8_trim_whitespace(shown(raw)), declared_texts.combine_chunks())
    missing_mask = pc.or_(is_declared, pc.is_in(values, readable.combine_chunks()))
    present = ~missing_mask.to_numpy().astype(bool)
    kept = [ValueFault(fault.rows & present, fault.reason, fault.of_type) for fault in faults]
    return pc.if_else(missing_mask, pa.scalar(None, values.type), values), kept


def _type_of(config: Config, column: str, kind: str) -> pa.DataType:
    if column == TIME[kind]:
        return INSTANT
    return pa.float64() if column == "label" or (kind == "events" and column in config.measures) else pa.string()
