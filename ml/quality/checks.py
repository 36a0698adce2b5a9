"""Checks of one file as a whole, and checks of the rows of many files at once."""

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
from ml.quality.suites import Result
from ml.quality.values import ValueFault

NO_EVENT = "event_id: a label for an event that was never seen"
UNTERMINATED = "the file ends in this line without a newline, so its last value may be cut off"


@dataclass
class PendingRows:
    """Rows of several files on their way through the checks.

    `table`, `file` (index of the file) and `number` (data row in the file, from 1) are aligned. `reasons` holds, by position,
    why a row goes to quarantine; `rejected` marks repeats of rows that are in the lake already; `warnings` are by file, and
    `results` is what each expectation on rows came to.
    """

    table: pa.Table
    file: np.ndarray
    number: np.ndarray
    reasons: dict[int, list[str]] = field(default_factory=dict)
    rejected: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))
    warnings: dict[int, list[str]] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    def quarantine(self, position: int | np.integer, reason: str) -> None:
        """Add a reason why a row goes to quarantine."""
        self.reasons.setdefault(int(position), []).append(reason)

    def warn(self, file: int, warning: str) -> None:
        """Add a warning about a file whose rows are accepted."""
        self.warnings.setdefault(file, []).append(warning)

    def good(self) -> np.ndarray:
        """Mask of shape (n_rows,) of the rows that are neither rejected nor quarantined so far."""
        mask = ~self.rejected
        mask[list(self.reasons)] = False
        return mask

    def stored(self) -> pa.Table:
        """The rows with the column names of the lake."""
        return self.table.rename_columns([stored(name) for name in self.table.column_names])


def suite_of(config: Config, kind: str) -> Suite | None:
    """The expectation suite for files of this kind; None if there is none."""
    return events_suite(config) if kind == "events" else labels_suite(config)


def check_columns(config: Config, raw: Raw, kind: str) -> tuple[list[str], list[str]]:
    """Problems of a file's columns and lines that stop the file, and warnings."""
    present = raw.table.column_names
    feed_names = columns_of(config, kind)
    problems = [
        f"column {feed_name!r}: expect_column_to_exist, observed only {present}; "
        f"if it was renamed, change {kind}.columns.{column}"
        + ("; if every row means a positive, leave it out there" if (kind, column) == ("labels", "label") else "")
        for column, feed_name in feed_names.items()
        if feed_name not in present
    ]
    warnings = [
        f"column {name!r} is not in {kind}.columns and was left out" for name in present if name not in set(feed_names.values())
    ]
    rows = raw.table.num_rows + len(raw.malformed)
    if len(raw.malformed) > config.events.unreadable.value * rows:
        first = raw.malformed[0]
        problems.append(
            f"{len(raw.malformed)} of {rows} lines have the wrong number of fields; row {first.row}: {first.reason}"
        )
    return problems, warnings


def check_file(
    config: Config, as_of: dt.datetime, columns: pa.Table, kind: str, found: list[Result]
) -> tuple[list[str], list[str]]:
    """Problems that stop a file, by the suite's list `file`, and warnings; `ml.quality.volume` checks the rows per day.

    Args:
        columns: the file's rows, as `ml.quality.parse.parse` returns them.
        found: gains what each expectation came to.
    """
    suite = suite_of(config, kind)
    entries = tuple(entry for entry in suite.file if not entry.is_daily) if suite else ()
    if not entries or columns.num_rows == 0:
        return [], []
    needed = set().union(*(entry.used_columns for entry in entries))
    used = columns.select([name for name in columns.column_names if name in needed])
    frame = used.to_pandas() if needed else pd.DataFrame(index=range(columns.num_rows))
    results = suites.evaluate(entries, frame, _times(config, as_of))
    found.extend(results)
    failures = suites.failures(results)
    return [f.summary for f in failures if f.critical], [f.summary for f in failures if not f.critical]


def _times(config: Config, as_of: dt.datetime) -> dict[str, pd.Timestamp]:
    now = pd.Timestamp(as_of)
    return {"as_of": now, "earliest": now - pd.Timedelta(days=config.events.oldest.value)}


def check_types(config: Config, faults: dict[str, list[ValueFault]], raw: Raw, kind: str) -> list[str]:
    """Problems of a file in which a column has changed its type."""
    limit = config.events.unreadable
    feed_names = columns_of(config, kind)
    problems = []
    for column, column_faults in faults.items():
        type_faults = [fault for fault in column_faults if fault.of_type and fault.rows.any()]
        mask = np.logical_or.reduce([fault.rows for fault in type_faults], axis=0) if type_faults else np.zeros(0, bool)
        if mask.sum() > limit.value * len(mask):
            most_frequent = max(type_faults, key=lambda fault: int(fault.rows.sum()))
            sample = value_of(raw.table[feed_names[column]][int(np.flatnonzero(most_frequent.rows)[0])])
            problems.append(
                f"column {feed_names[column]!r}: expect_column_values_to_be_of_type {readable_as(config, column)}, observed "
                f"{int(mask.sum())} of {len(mask)} values that are not, such as {sample!r}, which {most_frequent.reason}"
            )
    return problems


def readable_as(config: Config, column: str) -> str:
    """The type that a column must be readable as, in words."""
    if column in ("event_time", "reported_at"):
        return "a time (ISO 8601)"
    if column == "label":
        return "0 or 1"
    return "a number" if column in config.measures else "text"


def join(config: Config, kind: str, raws: list[Raw], parsed: list[tuple[pa.Table, dict[str, list[ValueFault]]]]) -> PendingRows:
    """Concatenate the rows of several files; values that could not be read become the first reasons."""
    lengths = [raw.table.num_rows for raw in raws]
    table = pa.concat_tables([columns for columns, _ in parsed])
    if kind == "labels" and "source" not in table.column_names:
        table = table.append_column("source", pa.nulls(table.num_rows, pa.string()))
    rows = PendingRows(
        table=table,
        file=np.repeat(np.arange(len(raws)), lengths),
        number=np.concatenate([raw.rows for raw in raws]),
        rejected=np.zeros(table.num_rows, dtype=bool),
    )
    feed_names = columns_of(config, kind)
    offset = 0
    for raw, (_, faults), length in zip(raws, parsed, lengths, strict=True):
        for column, column_faults in faults.items():
            for fault in column_faults:
                for row in np.flatnonzero(fault.rows):
                    value = value_of(raw.table[feed_names[column]][int(row)])
                    reason = f"{value!r} {fault.reason}" if fault.of_type else f"{fault.reason}, observed {value!r}"
                    rows.quarantine(offset + row, f"{column}: {reason}")
        if raw.unterminated is not None:
            rows.quarantine(offset + length - 1, UNTERMINATED)
        offset += length
    return rows


def check_rows(config: Config, as_of: dt.datetime, rows: PendingRows, kind: str) -> None:
    """Run the suite's `rows` on all rows: critical failures become reasons, the others warnings of their files."""
    suite = suite_of(config, kind)
    if suite is None or rows.table.num_rows == 0:
        return
    unreadable = set(rows.reasons)
    rows.results = suites.evaluate_rows(suite.rows, rows.table, _times(config, as_of))
    for failure in suites.failures(rows.results):
        if not failure.critical:
            for number in np.unique(rows.file[failure.rows]):
                rows.warnings.setdefault(int(number), []).append(failure.summary)
            continue
        for position, value in zip(failure.rows, failure.values, strict=True):
            missing = failure.expectation == "expect_column_values_to_not_be_null"
            if not (missing and position in unreadable):
                rows.quarantine(position, f"{failure.column}: {failure.expectation} ({failure.expected}), observed {value}")


def find_repeats(lake: Lake, schema_of_events: pa.Schema, rows: PendingRows) -> None:
    """Reject an event that is in the lake already with the same values; quarantine it if its values differ."""
    values = [c for c in schema_of_events.names if c not in ("known_at", "batch_id")]
    same = " AND ".join(f"new.{quoted(c)} IS NOT DISTINCT FROM old.{quoted(c)}" for c in values)
    with lake.connect({schema.EVENTS: schema_of_events}) as connection:
        connection.register("new", _good(rows, values))
        if connection.execute(f"SELECT count(*) FROM {schema.EVENTS} SEMI JOIN new USING (event_id)").fetchone() != (0,):
            _find_loaded(connection, same, rows)
            connection.register("new", _good(rows, values))
        repeated = connection.execute(
            "WITH repeats AS (SELECT event_id FROM new GROUP BY event_id HAVING count(*) > 1) "
            f"SELECT new._position, {columns(values, 'new')} FROM new JOIN repeats USING (event_id) ORDER BY new._position"
        ).df()
    for event, group in repeated.groupby("event_id", sort=False):
        positions = group["_position"].to_numpy()
        if len(group[values].drop_duplicates()) == 1:
            rows.rejected[positions[1:]] = True
        else:
            for position in positions:
                rows.quarantine(position, f"event_id: {event!r} occurs {len(group)} times here with different values")


def _good(rows: PendingRows, names: list[str]) -> pa.Table:
    """Those columns of the good rows, and the rows' `_position`."""
    mask = rows.good()
    good_rows = rows.stored().select(names).append_column("_position", pa.array(np.arange(len(mask))))
    return good_rows if mask.all() else good_rows.filter(pa.array(mask))


def _find_loaded(connection: duckdb.DuckDBPyConnection, same: str, rows: PendingRows) -> None:
    matches = connection.execute(
        f"SELECT new._position, bool_or({same}), min(old.batch_id) FROM new "
        f"JOIN {schema.EVENTS} old USING (event_id) GROUP BY new._position"
    ).fetchall()
    for position, same_values, batch in matches:
        if same_values:
            rows.rejected[position] = True
        else:
            rows.quarantine(position, f"event_id: delivered before with other values, in batch {batch[:12]}")


def match_labels(lake: Lake, schema_of_events: pa.Schema, accepted: pa.Table | None, rows: PendingRows) -> None:
    """Quarantine labels without an event and contradictory labels of one source at one time; reject repeated labels.

    Args:
        accepted: events that are loaded into the lake together with these labels.
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
        rows.quarantine(position, NO_EVENT)
    for (position,) in repeated:
        rows.rejected[position] = True
    left = _good(rows, values).to_pandas().set_index("_position")
    rows.rejected[left.index[left.duplicated()]] = True
    left = left[~left.duplicated()]
    for position in left.index[left.duplicated(["event_id", "source", "reported_at"], keep=False)]:
        rows.quarantine(position, "label: one source gave two different answers for this event at the same time")
