"""Daily files in a landing folder, as a bank's feed would leave them: of a simulated stream, or of a file of past events.

A file is written under a name that begins with a dot and then renamed, so that a reader of `payments_*` never reads an
incomplete one. Writing a day again gives the same bytes.
"""

from __future__ import annotations

import datetime as dt
import glob
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ml.clock import REPORTS
from ml.errors import BadInput
from ml.simulate.drift import FeedFault
from ml.simulate.stream import PaymentStream, Purpose

if TYPE_CHECKING:
    import duckdb

FileFormat = Literal["parquet", "csv"]
Progress = Callable[[dt.date], None]

PAYMENTS = "payments"

PAYMENTS_SCHEMA = pa.schema(
    [
        ("payment_id", pa.string()),
        ("paid_at", pa.timestamp("us")),
        ("customer_id", pa.string()),
        ("terminal_id", pa.string()),
        ("amount", pa.float64()),
        ("merchant_category", pa.string()),
        ("channel", pa.string()),
        ("country", pa.string()),
    ]
)
REPORTS_SCHEMA = pa.schema(
    [("payment_id", pa.string()), ("is_fraud", pa.int8()), ("reported_at", pa.string()), ("source", pa.string())]
)

_TIMESTAMPS = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE")


def write_days(
    stream: PaymentStream,
    landing: Path,
    first: dt.date,
    last: dt.date,
    file_format: FileFormat = "parquet",
    progress: Progress | None = None,
) -> list[Path]:
    """Write the files of the days `first` to `last`, both inclusive, and return them in the order of writing.

    Each day has `fraud_reports_YYYY-MM-DD.csv`, the reports that reached the bank on that day (only a header if none did),
    and then `payments_YYYY-MM-DD.parquet` or `.csv`, without the truth and with the faults of the stream's feed.

    Parameters
    ----------
    progress : callable, optional
        Called with each day once its files are in place.

    Raises
    ------
    ValueError
        `file_format` is unknown, or the days are not days of the stream.
    """
    _check_format(file_format)
    _check_order(first, last)
    written = []
    expected = []
    if first > stream.first_day:
        oldest = max(stream.first_day, first - dt.timedelta(days=stream.longest_delay))
        expected.append(stream.reports_of(stream.payments(oldest, first - dt.timedelta(days=1))))
    for day in _days(first, last):
        payments = stream.payments(day, day)
        reports = pd.concat([*expected, stream.reports_of(payments)])
        arrived = reports["reported_at"] < pd.Timestamp(day + dt.timedelta(days=1))
        today = reports[arrived & (reports["reported_at"] >= pd.Timestamp(day))]
        expected = [reports[~arrived]]
        # Reports go first: a payments file says that its day is complete, see last_written_day.
        written.append(_write(_reports_table(today), landing, REPORTS, day, "csv"))
        delivered = pa.Table.from_pandas(_delivered(stream, day, payments), PAYMENTS_SCHEMA, preserve_index=False, nthreads=1)
        written.append(_write(delivered, landing, PAYMENTS, day, file_format))
        if progress is not None:
            progress(day)
    return written


def replay_days(
    data: Path,
    time_column: str,
    landing: Path,
    first: dt.date | None,
    last: dt.date,
    file_format: FileFormat = "parquet",
    progress: Progress | None = None,
) -> list[Path]:
    """Cut a file of past events into daily files `<its stem>_YYYY-MM-DD`, and return them in the order of writing.

    Columns, types and the order of a day's rows stay as they are, except that timestamps come in microseconds. A day
    without events gets a file without rows. Rows outside these days are not kept in memory.

    Parameters
    ----------
    data : Path
        A `.parquet` or `.csv` file; of a CSV file all values are texts, as they stand there, and go on as such.
    time_column : str
        The timestamp whose UTC day selects the file of a row.
    first, last : date
        Both inclusive; `first=None` is the first day in the file.
    progress : callable, optional
        Called with each day once its file is in place.

    Raises
    ------
    FileNotFoundError
        There is no file `data`.
    ValueError
        The file is neither Parquet nor CSV; it lacks the column, or that is no timestamp or empty in some rows; or the file
        does not reach from `first` to `last`. Nothing has been written then.
    """
    import duckdb

    _check_format(file_format)
    if not data.is_file():
        raise FileNotFoundError(f"{data}: no such file; expected a Parquet or CSV file of past events")
    with tempfile.TemporaryDirectory() as spill, duckdb.connect(config={"temp_directory": spill}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        events, time = _open_events(connection, data, time_column)
        start, end, untimed = events.aggregate(
            f"min({time})::DATE, max({time})::DATE, count(*) FILTER ({time} IS NULL)"
        ).fetchall()[0]
        if untimed:
            raise BadInput(f"{data}: {untimed} row(s) have no {time_column!r}, so no day to go to; remove them first")
        if start is None:
            raise BadInput(f"{data}: no rows, so there is nothing to replay")
        first = start if first is None else first
        _check_order(first, last)
        if first < start or last > end:
            raise BadInput(f"{data}: holds {start} to {end}, but {first} to {last} was asked for")
        beyond = last + dt.timedelta(days=1)
        events.filter(f"{time} >= DATE '{first}' AND {time} < DATE '{beyond}'").project(_in_microseconds(events)).to_table(
            "events"
        )
        written = []
        for day in _days(first, last):
            on_day = f"{time} >= DATE '{day}' AND {time} < DATE '{day + dt.timedelta(days=1)}'"
            rows = connection.table("events").filter(on_day).to_arrow_table()
            written.append(_write(rows, landing, data.stem, day, file_format))
            if progress is not None:
                progress(day)
    return written


def _check_format(file_format: str) -> None:
    if file_format not in ("parquet", "csv"):
        raise BadInput(f"file_format is {file_format!r}, expected 'parquet' or 'csv'")


def _check_order(first: dt.date, last: dt.date) -> None:
    if first > last:
        raise BadInput(f"first day {first} is after last day {last}")


def _days(first: dt.date, last: dt.date) -> Iterator[dt.date]:
    return (first + dt.timedelta(days=i) for i in range((last - first).days + 1))


def _delivered(stream: PaymentStream, day: dt.date, payments: pd.DataFrame) -> pd.DataFrame:
    """The payments of a day as the feed delivers them: without the truth, with the planted faults of the day."""
    payments = payments[PAYMENTS_SCHEMA.names]
    for entry, drift in enumerate(stream.drift):
        if isinstance(drift, FeedFault) and drift.acts_on(day):
            payments = drift.apply(payments, stream.generator(Purpose.FEED, day, entry))
    return payments


def _reports_table(reports: pd.DataFrame) -> pa.Table:
    reports = reports.sort_values(["reported_at", "payment_id"])
    reports = reports.assign(reported_at=reports["reported_at"].dt.strftime("%Y-%m-%dT%H:%M:%S"))
    return pa.Table.from_pandas(reports, REPORTS_SCHEMA, preserve_index=False, nthreads=1)


def _open_events(connection: duckdb.DuckDBPyConnection, data: Path, time_column: str) -> tuple[duckdb.DuckDBPyRelation, str]:
    """The events, and their time as SQL."""
    if data.suffix == ".parquet":
        events = connection.read_parquet(glob.escape(str(data)))
    elif data.suffix == ".csv":
        options = "header = true, all_varchar = true, allow_quoted_nulls = false"
        events = connection.sql(f"SELECT * FROM read_csv($path, {options})", params={"path": glob.escape(str(data))})
    else:
        raise BadInput(f"{data}: the name ends in {data.suffix!r}, expected '.parquet' or '.csv'")
    types = dict(zip(events.columns, map(str, events.types), strict=True))
    time = _quoted(time_column)
    if time_column not in types:
        raise BadInput(f"{data}: no column {time_column!r}; it has {list(types)}")
    if types[time_column] == "VARCHAR" and data.suffix == ".csv":
        read = f"TRY_CAST({time} AS TIMESTAMPTZ)"
        if wrong := events.filter(f"{time} IS NOT NULL AND {read} IS NULL").project(time).limit(1).fetchall():
            raise BadInput(f"{data}: column {time_column!r} has {wrong[0][0]!r}, expected a timestamp")
        return events, read
    if types[time_column] not in _TIMESTAMPS:
        raise BadInput(f"{data}: column {time_column!r} is {types[time_column]}, expected a timestamp")
    return events, time


def _in_microseconds(events: Any) -> str:
    """SQL that selects all columns, those with other units of time cast to microseconds."""
    other = {"TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
    return ", ".join(
        f"{_quoted(name)}::TIMESTAMP AS {_quoted(name)}" if str(kind) in other else _quoted(name)
        for name, kind in zip(events.columns, events.types, strict=True)
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _write(table: pa.Table, landing: Path, stem: str, day: dt.date, file_format: str) -> Path:
    path = landing / f"{stem}_{day}.{file_format}"
    with _renamed_to(path) as unfinished:
        if file_format == "parquet":
            pa.parquet.write_table(table.replace_schema_metadata(None), unfinished)
        else:
            pa.csv.write_csv(table, unfinished)
    return path


@contextmanager
def _renamed_to(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
