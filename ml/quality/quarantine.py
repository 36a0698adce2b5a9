"""The quarantine: lists quarantined rows with their reasons, exports them, and readmits them to the lake.

The table `quarantine` is never changed. A row in it is open until an attempt to readmit it was accepted, or rejected because
the same row is in the lake by then; attempts are rows of the lake's table `readmissions`. An attempt checks rows like every
other row: as they were delivered, after the suite was corrected, or with corrected values. `known_at` of accepted rows is the
time of the attempt, never earlier.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ml.artifacts import write_file
from ml.config import Config
from ml.errors import BadInput, Refused
from ml.lake import schema
from ml.lake.schema import ACCEPTED, QUARANTINED, REJECTED
from ml.lake.tables import Lake
from ml.quality import accept, checks, content, staging
from ml.quality.arrival import arrival
from ml.quality.formats import Malformed, Raw, Unreadable, read_as
from ml.quality.parse import columns_of, parse
from ml.quality.report import reason_of
from ml.quality.staging import Record, Tables
from ml.quality.values import shown

BATCH, ROW = "batch_id", "row"
COMMONEST = 3
SETTLED = f"(SELECT source, \"row\" FROM {schema.READMISSIONS} WHERE outcome IN ('{ACCEPTED}', '{REJECTED}'))"
OPEN = f'{schema.QUARANTINE} q ANTI JOIN {SETTLED} s ON q.batch_id = s.source AND q."row" = s."row"'


class NotInQuarantine(Refused, ValueError):
    """The requested batch or row is not in quarantine, or the row is not open."""


class NotReadmittable(Refused, ValueError):
    """The mended rows cannot be matched with rows of the quarantine."""


@dataclass(frozen=True)
class BatchSummary:
    """The quarantined rows of one batch: counts of open, accepted and rejected rows, and the most frequent open reasons."""

    batch_id: str
    file: str
    kind: str
    open: int
    accepted: int
    rejected: int
    reasons: dict[str, int]


@dataclass(frozen=True)
class Attempt:
    """One attempt to readmit a row: time, actor, reason, the content that was tried, and the outcome with its reasons."""

    known_at: dt.datetime
    actor: str
    reason: str
    outcome: str
    reasons: tuple[str, ...]
    content: str


@dataclass(frozen=True)
class QuarantinedRow:
    """A row as it was delivered, the reasons of its quarantine, and the attempts to readmit it, oldest first."""

    batch_id: str
    file: str
    row: int
    reasons: tuple[str, ...]
    content: str
    attempts: tuple[Attempt, ...]

    @property
    def is_open(self) -> bool:
        """Whether no attempt has settled the row yet."""
        return all(attempt.outcome == QUARANTINED for attempt in self.attempts)


@dataclass(frozen=True)
class Readmission:
    """The result of one attempt by row counts; rows = accepted + quarantined + rejected."""

    attempt: str
    rows: int
    accepted: int
    quarantined: int
    rejected: int
    reasons: dict[str, int]


def count_open(config: Config) -> int:
    """Number of open rows of all batches."""
    with opened(config) as connection:
        return count_open_in(connection)


def count_open_in(connection: duckdb.DuckDBPyConnection) -> int:
    """As `count_open`, in what `opened` gives."""
    (rows,) = connection.execute(f"SELECT count(*) FROM {OPEN}").fetchone() or (0,)
    return int(rows)


def summary(config: Config) -> list[BatchSummary]:
    """Every batch with rows in quarantine, oldest first."""
    with opened(config) as connection:
        return summary_in(connection)


def summary_in(connection: duckdb.DuckDBPyConnection) -> list[BatchSummary]:
    """As `summary`, in what `opened` gives."""
    batches = connection.execute(
        f"SELECT q.batch_id, any_value(q.file), coalesce(any_value(b.kind), '?'), min(q.known_at) AS since "
        f"FROM {schema.QUARANTINE} q LEFT JOIN {schema.BATCHES} b USING (batch_id) GROUP BY q.batch_id ORDER BY since, 2, 1"
    ).fetchall()
    waiting = dict(connection.execute(f"SELECT batch_id, count(*) FROM {OPEN} GROUP BY batch_id").fetchall())
    settled = connection.execute(
        f"SELECT source, outcome, count(*) FROM {schema.READMISSIONS} GROUP BY source, outcome"
    ).fetchall()
    counted = connection.execute(
        "SELECT batch_id, split_part(reason, ', observed', 1) AS fault, count(*) AS times FROM "
        f"(SELECT batch_id, unnest(reasons) AS reason FROM {OPEN}) GROUP BY batch_id, fault ORDER BY times DESC, fault"
    ).fetchall()
    outcomes = {(batch, outcome): count for batch, outcome, count in settled}
    reasons: dict[str, dict[str, int]] = {batch: {} for batch, *_ in batches}
    for batch, reason, count in counted:
        if len(reasons[batch]) < COMMONEST:
            reasons[batch][reason] = count
    return [
        BatchSummary(
            batch_id=batch,
            file=file,
            kind=kind,
            open=waiting.get(batch, 0),
            accepted=outcomes.get((batch, ACCEPTED), 0),
            rejected=outcomes.get((batch, REJECTED), 0),
            reasons=reasons[batch],
        )
        for batch, file, kind, _ in batches
    ]


def rows_of(config: Config, batch: str, row: int | None = None) -> list[QuarantinedRow]:
    """The rows of a batch in quarantine, open or not, or one of them.

    Args:
        batch: first characters of the batch's id.
        row: data row of the file, from 1.

    Raises:
        NotInQuarantine: no batch, or more than one, begins so; or it has no such row.
    """
    with opened(config) as connection:
        batch, _ = _batch(connection, batch)
        attempts: dict[int, list[Attempt]] = {}
        for number, *values in connection.execute(
            f'SELECT "row", known_at, actor, reason, outcome, reasons, content FROM {schema.READMISSIONS} '
            "WHERE source = $batch ORDER BY known_at, batch_id",
            {"batch": batch},
        ).fetchall():
            known_at, actor, reason, outcome, reasons, tried = values
            attempts.setdefault(number, []).append(Attempt(known_at, actor, reason, outcome, tuple(reasons), tried))
        rows = connection.execute(
            f'SELECT batch_id, file, "row", reasons, content FROM {schema.QUARANTINE} '
            'WHERE batch_id = $batch AND ($row IS NULL OR "row" = $row) ORDER BY "row"',
            {"batch": batch, "row": row},
        ).fetchall()
    if not rows:
        raise NotInQuarantine(f"row {row} of batch {batch[:12]} is not in quarantine; see `python -m ml quarantine show`")
    return [
        QuarantinedRow(batch_id, file, number, tuple(reasons), content, tuple(attempts.get(number, ())))
        for batch_id, file, number, reasons, content in rows
    ]


def waiting(config: Config, reason: str, actor: str, before: dt.datetime | None = None) -> dict[str, dict[int, str]]:
    """Open rows with this reason alone that the actor has not tried to readmit: their content by batch and row.

    Args:
        before: only rows that were known before this instant.
    """
    tried = f'(SELECT source, "row" FROM {schema.READMISSIONS} WHERE actor = $actor)'
    rows: dict[str, dict[int, str]] = {}
    with opened(config) as connection:
        for batch, row, row_content in connection.execute(
            f'SELECT batch_id, "row", content FROM (SELECT q.* FROM {OPEN}) q '
            f'ANTI JOIN {tried} t ON q.batch_id = t.source AND q."row" = t."row" WHERE reasons = [$reason] '
            "AND ($before IS NULL OR known_at < $before) ORDER BY 1, 2",
            {"actor": actor, "reason": reason, "before": before},
        ).fetchall():
            rows.setdefault(batch, {})[row] = row_content
    return rows


def export(config: Config, batch: str, target: Path, row: int | None = None) -> int:
    """Write the open rows of a batch as CSV, in the feed's own columns with `batch_id` and `row` in front, to be mended.

    Values are written as they were delivered, also those that a spreadsheet reads as formulas: an escape character would be
    read back as part of the value. A line that could not be split into fields has empty fields.

    Raises:
        NotInQuarantine: see `rows_of`.
        ValueError: the file is there already, or the feed itself has columns of those names.
    """
    if target.exists():
        raise BadInput(f"{target} exists already; move it away first")
    rows = [r for r in rows_of(config, batch, row) if r.is_open]
    raw = content.unpack([r.content for r in rows if content.line_of(r.content) is None])
    lines = sum(content.line_of(r.content) is not None for r in rows)
    with opened(config) as connection:
        kind = _batch(connection, batch)[1]
    names = raw.column_names or list(columns_of(config, kind).values())
    if {BATCH, ROW} & set(names):
        raise BadInput(f"the feed has columns {BATCH!r} or {ROW!r} of its own; write mended rows by hand, as a new file")
    in_order = sorted(rows, key=lambda r: content.line_of(r.content) is not None)
    columns = {
        name: pa.concat_arrays([shown(raw[name]).combine_chunks(), pa.nulls(lines, pa.string())]) for name in raw.column_names
    }
    columns = columns or {name: pa.nulls(lines, pa.string()) for name in names}
    keys = {BATCH: [r.batch_id for r in in_order], ROW: [r.row for r in in_order]}
    write_file(target, lambda path: pa.csv.write_csv(pa.table(keys | columns), path))
    return len(rows)


def readmit(
    config: Config,
    as_of: dt.datetime,
    batch: str,
    reason: str,
    actor: str,
    rows: list[int] | None = None,
    data: Path | None = None,
) -> Readmission:
    """Take open rows of a batch through the checks again and load those that pass; the same attempt again changes nothing.

    Args:
        batch: first characters of the batch's id.
        reason: why the rows should pass now; it is recorded.
        actor: who readmits them; it is recorded.
        rows: data rows of the file, from 1; all open ones, or all that `data` holds, when left out.
        data: CSV or Parquet file with mended rows in the feed's columns and their `row`; as delivered when left out.

    Raises:
        NotInQuarantine: there is no such batch or row, or the row was accepted or rejected before.
        NotReadmittable: `data` does not fit the quarantine.
    """
    lake = Lake(config.lake)
    with lake.writing():
        staging.finish_interrupted(config, lake)
        with opened(config) as connection:
            batch, kind = _batch(connection, batch)
        mended_bytes = None if data is None else data.read_bytes()
        arguments = [batch, sorted(set(rows or [])), reason, actor, as_of.isoformat()]
        attempt = staging.address(config, lake, [*arguments, mended_bytes and hashlib.sha256(mended_bytes).hexdigest()])
        if not lake.committed(schema.READMISSIONS, [attempt]):
            in_quarantine = {row.row: row for row in rows_of(config, batch)}
            mended = None if data is None or mended_bytes is None else _mended(config, kind, batch, data, mended_bytes)
            wanted = sorted(set(rows or [])) or (
                sorted(mended[1]) if mended else [number for number, row in in_quarantine.items() if row.is_open]
            )
            _must_be_open(batch, wanted, in_quarantine)
            raw = _delivered([in_quarantine[number] for number in wanted]) if mended is None else _only(*mended, wanted)
            if not wanted:
                return Readmission(attempt, 0, 0, 0, 0, {})
            tables = _check(config, as_of, lake, kind, raw, attempt, {"source": batch, "actor": actor, "reason": reason})
            staging.write(config, attempt, tables, Record(staging.lake_state(config, lake), (attempt,), ()))
            staging.commit(config, lake, attempt)
    return _outcome(config, attempt)


def _check(config: Config, as_of: dt.datetime, lake: Lake, kind: str, raw: Raw, attempt: str, common: dict[str, str]) -> Tables:
    """Tables of an attempt: the accepted rows, and the outcome of each row that was tried."""
    tables: Tables = {name: [] for name in staging.ORDER}
    arrived = replace(arrival(config, lake, as_of), archive=False)
    outcomes = [(line.row, QUARANTINED, [line.reason], content.pack_line(line.text)) for line in raw.malformed]
    if raw.table.num_rows:
        joined = checks.join(config, kind, [raw], [parse(raw.table, config, kind, in_order=False)])
        accept.judge(config, as_of, lake, kind, joined, tables)
        accept.collect(config, kind, joined, arrived, [attempt], tables)
        good = joined.good()
        for position, tried in enumerate(content.pack(raw.table)):
            outcome = ACCEPTED if good[position] else REJECTED if joined.rejected[position] else QUARANTINED
            outcomes.append((int(joined.number[position]), outcome, joined.reasons.get(position, []), tried))
    common = common | {"batch_id": attempt}
    records = [
        common | {"row": row, "outcome": outcome, "reasons": reasons, "content": tried, "known_at": arrived.at}
        for row, outcome, reasons, tried in outcomes
    ]
    tables[schema.READMISSIONS].append(pa.Table.from_pylist(records, schema.READMISSIONS_SCHEMA))
    return tables


def _outcome(config: Config, attempt: str) -> Readmission:
    with opened(config) as connection:
        attempted = connection.execute(
            f"SELECT outcome, reasons FROM {schema.READMISSIONS} WHERE batch_id = $attempt", {"attempt": attempt}
        ).fetchall()
    counts = Counter(outcome for outcome, _ in attempted)
    reasons = Counter(reason_of(reason) for _, reasons in attempted for reason in reasons)
    return Readmission(
        attempt, len(attempted), counts[ACCEPTED], counts[QUARANTINED], counts[REJECTED], dict(reasons.most_common())
    )


def _must_be_open(batch: str, wanted: list[int], in_quarantine: dict[int, QuarantinedRow]) -> None:
    for number in wanted:
        if number not in in_quarantine:
            raise NotInQuarantine(
                f"row {number} of batch {batch[:12]} is not in quarantine; see `python -m ml quarantine show`"
            )
        if not in_quarantine[number].is_open:
            last = in_quarantine[number].attempts[-1]
            raise NotInQuarantine(
                f"row {number} of batch {batch[:12]} was {last.outcome} at {last.known_at:%Y-%m-%d %H:%M} ({last.reason}); "
                "leave it out"
            )


def _delivered(rows: list[QuarantinedRow]) -> Raw:
    """Rows as the feed delivered them."""
    lines = {row.row: content.line_of(row.content) for row in rows}
    complete = [row for row in rows if lines[row.row] is None]
    return Raw(
        content.unpack([row.content for row in complete]),
        np.array([row.row for row in complete], dtype=np.int64),
        [Malformed(row.row, str(lines[row.row]), row.reasons[0]) for row in rows if lines[row.row] is not None],
    )


def _mended(config: Config, kind: str, batch: str, data: Path, file_content: bytes) -> tuple[pa.Table, dict[int, int]]:
    """Mended rows without their keys, and the position of each by its data row in the file that was delivered."""
    try:
        raw = read_as(data.name, file_content)
    except Unreadable as error:
        raise NotReadmittable(f"{data}: {error}") from error
    if raw.malformed:
        line = raw.malformed[0]
        raise NotReadmittable(f"{data}: {line.reason} (row {line.row}: {line.text!r})")
    missing = {ROW, *columns_of(config, kind).values()} - set(raw.table.column_names)
    if missing:
        raise NotReadmittable(
            f"{data}: no columns {sorted(missing)}; write it with `python -m ml quarantine show --to FILE.csv`"
        )
    if BATCH in raw.table.column_names and set(raw.table[BATCH].to_pylist()) - {batch}:
        raise NotReadmittable(f"{data}: {BATCH} names other batches than {batch}; one batch at a time")
    try:
        numbers = pc.cast(raw.table[ROW], pa.int64()).to_pylist()
    except pa.ArrowInvalid as error:
        raise NotReadmittable(f"{data}: column {ROW!r} must hold the data rows of the file, from 1: {error}") from error
    if None in numbers or len(set(numbers)) < len(numbers):
        raise NotReadmittable(f"{data}: column {ROW!r} is empty in a row, or names a row twice")
    columns = [name for name in raw.table.column_names if name not in (BATCH, ROW)]
    return raw.table.select(columns), {number: position for position, number in enumerate(numbers)}


def _only(table: pa.Table, positions: dict[int, int], wanted: list[int]) -> Raw:
    missing = sorted(set(wanted) - set(positions))
    if missing:
        raise NotReadmittable(f"rows {missing} were asked for, and the mended data do not hold them")
    taken = table.take(pa.array([positions[number] for number in wanted], pa.int64()))
    return Raw(taken, np.array(wanted, dtype=np.int64), [])


@contextmanager
def opened(config: Config) -> Iterator[duckdb.DuckDBPyConnection]:
    """The lake's tables of quarantined rows, of attempts to readmit them, and of batches."""
    names = (schema.QUARANTINE, schema.READMISSIONS, schema.BATCHES)
    with Lake(config.lake).connect({name: schema.of(name, config) for name in names}) as connection:
        yield connection


def _batch(connection: duckdb.DuckDBPyConnection, prefix: str) -> tuple[str, str]:
    """Id and kind of the only batch in quarantine whose id begins with the prefix."""
    batches: list[tuple[str, Any]] = connection.execute(
        f"SELECT DISTINCT q.batch_id, b.kind FROM {schema.QUARANTINE} q LEFT JOIN {schema.BATCHES} b USING (batch_id) "
        "WHERE starts_with(q.batch_id, $prefix) LIMIT 2",
        {"prefix": prefix},
    ).fetchall()
    if len(batches) != 1:
        number = "more than one batch" if batches else "no batch"
        raise NotInQuarantine(f"{number} in quarantine begins with {prefix!r}; see `python -m ml quarantine list`")
    return batches[0]
