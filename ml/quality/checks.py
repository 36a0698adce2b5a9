"""Checks of one file as a whole, and of the rows of many files at once."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from ml.config import Config
from ml.config.suites import Suite, events_suite, labels_suite
from ml.lake import schema
from ml.lake.sql import columns, quoted, stored
from ml.lake.tables import Lake
from ml.quality import suites
from ml.quality.content import value_of
from ml.quality.formats import Raw
from ml.quality.parse import columns_of
from ml.quality.values import Fault

UNSEEN = "event_id: a label for an event that was never seen"
UNENDED = "the file ends in this line without a newline, so its last value may be cut off"


@dataclass
class Rows:
    """Rows of several files on their way through the checks.

    `table`, `file` (which of the files) and `number` (data row in it, from 1) are aligned; `reasons` holds by position why a
    row is set aside, `rejected` marks repeats of rows that are in already.
    """

    table: pa.Table
    file: np.ndarray
    number: np.ndarray
    reasons: dict[int, list[str]] = field(default_factory=dict)
    rejected: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))
    warnings: dict[int, list[str]] = field(default_factory=dict)

    def set_aside(self, position: int | np.integer, reason: str) -> None:
        """Remember one more reason why a row goes to quarantine."""
        self.reasons.setdefault(int(position), []).append(reason)

    def warn(self, file: int, warning: str) -> None:
        """Remember what is to be said of a file whose rows are taken."""
        self.warnings.setdefault(file, []).append(warning)

    def good(self) -> np.ndarray:
        """Mask of shape (n_rows,) of the rows that nothing speaks against so far."""
        mask = ~self.rejected
        mask[list(self.reasons)] = False
        return mask

    def stored(self) -> pa.Table:
        """The rows by the names that their columns have in the lake."""
        return self.table.rename_columns([stored(name) for name in self.table.column_names])


def suite_of(config: Config, kind: str) -> Suite | None:
    """The suite on files of this kind, if there is one."""
    return events_suite(config) if kind == "events" else labels_suite(config)


def check_columns(config: Config, raw: Raw, kind: str) -> tuple[list[str], list[str]]:
    """Problems of a file's columns and lines that stop it, and warnings."""
    has = raw.table.column_names
    named = columns_of(config, kind)
    problems = [
        f"column {theirs!r}: expect_column_to_exist, observed only {has}; if it was renamed, change {kind}.columns.{ours}"
        for ours, theirs in named.items()
        if theirs not in has
    ]
    warnings = [f"column {c!r} is not in {kind}.columns and was left out" for c in has if c not in set(named.values())]
    rows = raw.table.num_rows + len(raw.malformed)
    if len(raw.malformed) > config.events.unreadable.value * rows:
        first = raw.malformed[0]
        problems.append(
            f"{len(raw.malformed)} of {rows} lines have the wrong number of fields; row {first.row}: {first.reason}"
        )
    return problems, warnings


def check_file(config: Config, as_of: dt.datetime, columns: pa.Table, kind: str) -> tuple[list[str], list[str]]:
    """Problems by the suite's list `file` that stop a file, and warnings; the volume of its days is judged elsewhere.

    Args:
        columns: the file's rows as `ml.quality.parse.parse` reads them.
    """
    suite = suite_of(config, kind)
    entries = tuple(entry for entry in suite.file if not entry.of_days) if suite else ()
    if not entries or columns.num_rows == 0:
        return [], []
    needed = set().union(*(entry.needed for entry in entries))
    told = columns.select([name for name in columns.column_names if name in needed])
    frame = told.to_pandas() if needed else pd.DataFrame(index=range(columns.num_rows))
    failures = suites.run(entries, frame, _times(config, as_of))
    return [f.told for f in failures if f.critical], [f.told for f in failures if not f.critical]


def _times(config: Config, as_of: dt.datetime) -> dict[str, pd.Timestamp]:
    now = pd.Timestamp(as_of)
    return {"as_of": now, "earliest": now - pd.Timedelta(days=config.events.oldest.value)}


def check_types(config: Config, faults: dict[str, list[Fault]], raw: Raw, kind: str) -> list[str]:
    """Problems of a file in which a whole column has changed its type."""
    most = config.events.unreadable
    named = columns_of(config, kind)
    told = []
    for ours, found in faults.items():
        counted = [fault for fault in found if fault.of_type and fault.rows.any()]
        mask = np.logical_or.reduce([fault.rows for fault in counted], axis=0) if counted else np.zeros(0, bool)
        if mask.sum() > most.value * len(mask):
            commonest = max(counted, key=lambda fault: int(fault.rows.sum()))
            sample = value_of(raw.table[named[ours]][int(np.flatnonzero(commonest.rows)[0])])
            told.append(
                f"column {named[ours]!r}: expect_column_values_to_be_of_type {readable_as(config, ours)}, observed "
                f"{int(mask.sum())} of {len(mask)} values that are not, such as {sample!r}, which {commonest.reason}"
            )
    return told


def readable_as(config: Config, column: str) -> str:
    """What a column must be readable as, in words."""
    if column in ("event_time", "reported_at"):
        return "a time (ISO 8601)"
    if column == "label":
        return "0 or 1"
    return "a number" if column in config.measures else "text"


def join(config: Config, kind: str, raws: list[Raw], parsed: list[tuple[pa.Table, dict[str, list[Fault]]]]) -> Rows:
    """Put the rows of several files behind each other; values that are not taken are the first reasons."""
    lengths = [raw.table.num_rows for raw in raws]
    table = pa.concat_tables([columns for columns, _ in parsed])
    if kind == "labels" and "source" not in table.column_names:
        table = table.append_column("source", pa.nulls(table.num_rows, pa.string()))
    rows = Rows(
        table=table,
        file=np.repeat(np.arange(len(raws)), lengths),
        number=np.concatenate([raw.rows for raw in raws]),
        rejected=np.zeros(table.num_rows, dtype=bool),
    )
    named = columns_of(config, kind)
    offset = 0
    for raw, (_, faults), length in zip(raws, parsed, lengths, strict=True):
        for ours, found in faults.items():
            for fault in found:
                for row in np.flatnonzero(fault.rows):
                    value = value_of(raw.table[named[ours]][int(row)])
                    told = f"{value!r} {fault.reason}" if fault.of_type else f"{fault.reason}, observed {value!r}"
                    rows.set_aside(offset + row, f"{ours}: {told}")
        if raw.unended is not None:
            rows.set_aside(offset + length - 1, UNENDED)
        offset += length
    return rows


def check_rows(config: Config, as_of: dt.datetime, rows: Rows, kind: str) -> None:
    """Run the suite's `rows` on all rows: critical failures become reasons, the others warnings of their files."""
    suite = suite_of(config, kind)
    if suite is None or rows.table.num_rows == 0:
        return
    unreadable = set(rows.reasons)
    for failure in suites.run_rows(suite.rows, rows.table, _times(config, as_of)):
        if not failure.critical:
            for number in np.unique(rows.file[failure.rows]):
                rows.warnings.setdefault(int(number), []).append(failure.told)
            continue
        for position, value in zip(failure.rows, failure.values, strict=True):
            missing = failure.expectation == "expect_column_values_to_not_be_null"
            if not (missing and position in unreadable):
                rows.set_aside(position, f"{failure.column}: {failure.expectation} ({failure.expected}), observed {value}")


def find_repeats(lake: Lake, schema_of_events: pa.Schema, rows: Rows) -> None:
    """An event that is in already is rejected when it is the same, and set aside when it says something else."""
    values = [c for c in schema_of_events.names if c not in ("known_at", "batch_id")]
    same = " AND ".join(f"new.{quoted(c)} IS NOT DISTINCT FROM old.{quoted(c)}" for c in values)
    with lake.connect({schema.EVENTS: schema_of_events}) as connection:
        connection.register("new", _good(rows, values))
        if connection.execute(f"SELECT count(*) FROM {schema.EVENTS} SEMI JOIN new USING (event_id)").fetchone() != (0,):
            _told_before(connection, same, rows)
            connection.register("new", _good(rows, values))
        repeated = connection.execute(
            "WITH told AS (SELECT event_id FROM new GROUP BY event_id HAVING count(*) > 1) "
            f"SELECT new._position, {columns(values, 'new')} FROM new JOIN told USING (event_id) ORDER BY new._position"
        ).df()
    for event, group in repeated.groupby("event_id", sort=False):
        positions = group["_position"].to_numpy()
        if len(group[values].drop_duplicates()) == 1:
            rows.rejected[positions[1:]] = True
        else:
            for position in positions:
                rows.set_aside(position, f"event_id: {event!r} occurs {len(group)} times here with different values")


def _good(rows: Rows, names: list[str]) -> pa.Table:
    """Those columns of the rows that nothing speaks against so far, and the rows' `_position`."""
    good = rows.good()
    told = rows.stored().select(names).append_column("_position", pa.array(np.arange(len(good))))
    return told if good.all() else told.filter(pa.array(good))


def _told_before(connection: duckdb.DuckDBPyConnection, same: str, rows: Rows) -> None:
    found = connection.execute(
        f"SELECT new._position, bool_or({same}), min(old.batch_id) FROM new "
        f"JOIN {schema.EVENTS} old USING (event_id) GROUP BY new._position"
    ).fetchall()
    for position, same_values, batch in found:
        if same_values:
            rows.rejected[position] = True
        else:
            rows.set_aside(position, f"event_id: delivered before with other values, in batch {batch[:12]}")


def match_labels(lake: Lake, schema_of_events: pa.Schema, accepted: pa.Table | None, rows: Rows) -> None:
    """A label needs an event; the same answer again is rejected; two answers of one source at one time are set aside.

    Args:
        accepted: events that come into the lake together with these labels.
    """
    values = ["event_id", "label", "source", "reported_at"]
    fresh = pa.table({"event_id": pa.array([], pa.string())}) if accepted is None else accepted.select(["event_id"])
    with lake.connect({schema.EVENTS: schema_of_events, schema.LABELS: schema.LABELS_SCHEMA}) as connection:
        connection.register("new", _good(rows, values))
        connection.register("fresh", fresh)
        unknown = connection.execute(
            "WITH missing AS (SELECT event_id, _position FROM new ANTI JOIN fresh USING (event_id)) "
            f"SELECT _position FROM missing ANTI JOIN {schema.EVENTS} USING (event_id)"
        ).fetchall()
        repeated = connection.execute(
            f"SELECT DISTINCT _position FROM new JOIN {schema.LABELS} old USING (event_id) "
            "WHERE new.label = old.label AND new.source IS NOT DISTINCT FROM old.source AND new.reported_at = old.reported_at"
        ).fetchall()
    for (position,) in unknown:
        rows.set_aside(position, UNSEEN)
    for (position,) in repeated:
        rows.rejected[position] = True
    left = _good(rows, values).to_pandas().set_index("_position")
    rows.rejected[left.index[left.duplicated()]] = True
    left = left[~left.duplicated()]
    for position in left.index[left.duplicated(["event_id", "source", "reported_at"], keep=False)]:
        rows.set_aside(position, "label: one source gave two different answers for this event at the same time")
