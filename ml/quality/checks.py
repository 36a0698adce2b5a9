"""Checks of one file as a whole, and of the rows of many files at once."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import suites
from ml.quality.landing import LandingFile, Raw
from ml.quality.parse import columns_of

VOLUME_FILES = 28


@dataclass
class Rows:
    """Rows of several files on their way through the checks.

    `frame`, `file` (which of the files) and `number` (data row in it, from 1) are aligned; `reasons` holds by position why a
    row is set aside, `rejected` marks repeats of rows that are in already.
    """

    files: list[LandingFile]
    frame: pd.DataFrame
    file: np.ndarray
    number: np.ndarray
    reasons: dict[int, list[str]] = field(default_factory=dict)
    rejected: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))
    warnings: dict[int, list[str]] = field(default_factory=dict)

    def set_aside(self, position: int | np.integer, reason: str) -> None:
        """Remember one more reason why a row goes to quarantine."""
        self.reasons.setdefault(int(position), []).append(reason)

    def good(self) -> np.ndarray:
        """Mask of shape (n_rows,) of the rows that nothing speaks against so far."""
        mask = ~self.rejected
        mask[list(self.reasons)] = False
        return mask


def usual_volume(lake: Lake) -> list[int]:
    """Rows of the newest event files in the lake, oldest first."""
    with lake.connect({schema.BATCHES: schema.BATCHES_SCHEMA}) as connection:
        found = connection.execute(
            f"SELECT rows FROM {schema.BATCHES} WHERE kind = 'events' AND accepted > 0 "
            f"ORDER BY last_event DESC LIMIT {VOLUME_FILES}"
        ).fetchall()
    return [int(rows) for (rows,) in reversed(found)]


def check_file(config: Config, raw: Raw, kind: str, usual: list[int]) -> tuple[list[str], list[str]]:
    """Problems that stop the file, and warnings.

    Args:
        usual: rows of the files before it, for the volume.
    """
    section = config.events if kind == "events" else config.labels
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
            f"{len(raw.malformed)} of {rows} lines have the wrong number of fields, the first is row {first.row}: "
            f"expected {first.expected}, observed {first.found}"
        )
    if problems or section.suite is None:
        return problems, warnings
    median = float(np.median(usual[-VOLUME_FILES:])) if usual else None
    parameters = {
        "rows_low": max(1, int(config.events.volume_low.value * (median or 0))),
        "rows_high": None if median is None else int(config.events.volume_high.value * median),
    }
    for failure in suites.run(suites.load(section.suite).file, raw.table.to_pandas(), parameters):
        (problems if failure.critical else warnings).append(failure.told)
    return problems, warnings


def check_types(config: Config, unreadable: dict[str, np.ndarray], raw: Raw, kind: str) -> list[str]:
    """Problems of a file in which a whole column has changed its type."""
    most = config.events.unreadable
    named = columns_of(config, kind)
    told = []
    for ours, mask in unreadable.items():
        if mask.sum() > most.value * len(mask):
            sample = raw.table[named[ours]][int(np.flatnonzero(mask)[0])].as_py()
            told.append(
                f"column {named[ours]!r}: expect_column_values_to_be_of_type {readable_as(config, ours)}, observed "
                f"{int(mask.sum())} of {len(mask)} values that are not, such as {sample!r}"
            )
    return told


def readable_as(config: Config, column: str) -> str:
    """What a column must be readable as, in words."""
    if column in ("event_time", "reported_at"):
        return "a time (ISO 8601)"
    if column == "label":
        return "0 or 1"
    return "a number" if column in config.measures else "text"


def join(config: Config, kind: str, files: list[LandingFile], raws: list[Raw], parsed: list[tuple]) -> Rows:
    """Put the rows of several files behind each other; unreadable values are the first reasons."""
    lengths = [raw.table.num_rows for raw in raws]
    rows = Rows(
        files=files,
        frame=pd.concat([frame for frame, _ in parsed], ignore_index=True),
        file=np.repeat(np.arange(len(files)), lengths),
        number=np.concatenate([np.asarray(raw.rows, dtype=np.int64) for raw in raws]),
    )
    rows.rejected = np.zeros(len(rows.frame), dtype=bool)
    named = columns_of(config, kind)
    offset = 0
    for raw, (_, unreadable), length in zip(raws, parsed, lengths, strict=True):
        for ours, mask in unreadable.items():
            for row in np.flatnonzero(mask):
                value = raw.table[named[ours]][int(row)].as_py()
                rows.set_aside(offset + row, f"{ours}: {value!r} cannot be read as {readable_as(config, ours)}")
        offset += length
    return rows


def check_rows(config: Config, as_of: dt.datetime, rows: Rows, kind: str) -> None:
    """Run the suite's `rows` on all rows: critical failures become reasons, the others warnings of their files."""
    section = config.events if kind == "events" else config.labels
    if section.suite is None or rows.frame.empty:
        return
    suite = suites.load(section.suite)
    unknown = suite.columns() - set(rows.frame)
    if unknown:
        raise ValueError(f"{section.suite}: checks {sorted(unknown)}, which are not in {kind}.columns {sorted(rows.frame)}")
    now = pd.Timestamp(as_of)
    parameters = {"as_of": now, "earliest": now - pd.Timedelta(days=config.events.oldest.value)}
    unreadable = set(rows.reasons)
    for failure in suites.run(suite.rows, rows.frame, parameters, rows=True):
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
    own = [f.digest for f in rows.files]
    values = [c for c in schema_of_events.names if c not in ("known_at", "batch_id")]
    good = np.flatnonzero(rows.good())
    new = rows.frame.loc[good, values].assign(position=good)
    same = " AND ".join(f"new.{c} IS NOT DISTINCT FROM old.{c}" for c in values)
    with lake.connect({schema.EVENTS: schema_of_events}) as connection:
        connection.register("new", new)
        found = connection.execute(
            f"SELECT position, bool_or({same}) AS same, min(old.batch_id) AS batch FROM new "
            f"JOIN {schema.EVENTS} old USING (event_id) WHERE NOT list_contains($own, old.batch_id) GROUP BY position",
            {"own": own},
        ).fetchall()
    for position, same_values, batch in found:
        if same_values:
            rows.rejected[position] = True
        else:
            rows.set_aside(position, f"event_id: delivered before with other values, in batch {batch[:12]}")
    left = rows.frame.loc[np.flatnonzero(rows.good()), values]
    for event, group in left[left.duplicated("event_id", keep=False)].groupby("event_id", sort=False):
        if len(group.drop_duplicates()) == 1:
            rows.rejected[group.index[1:]] = True
        else:
            for position in group.index:
                rows.set_aside(position, f"event_id: {event!r} occurs {len(group)} times here with different values")


def match_labels(lake: Lake, schema_of_events: pa.Schema, accepted: list[pa.Table], rows: Rows) -> None:
    """A label needs an event; the same answer again is rejected; two answers of one source at one time are set aside."""
    own = [f.digest for f in rows.files]
    values = ["event_id", "label", "source", "reported_at"]
    if "source" not in rows.frame:
        rows.frame["source"] = None
    good = np.flatnonzero(rows.good())
    new = rows.frame.loc[good, values].assign(position=good)
    fresh = pa.concat_tables([t.select(["event_id"]) for t in accepted]) if accepted else None
    with lake.connect({schema.EVENTS: schema_of_events, schema.LABELS: schema.LABELS_SCHEMA}) as connection:
        connection.register("new", new)
        connection.register("fresh", fresh or pa.table({"event_id": pa.array([], pa.string())}))
        unknown = connection.execute(
            f"SELECT position FROM new WHERE event_id NOT IN (SELECT event_id FROM {schema.EVENTS}) "
            "AND event_id NOT IN (SELECT event_id FROM fresh)"
        ).fetchall()
        repeated = connection.execute(
            f"SELECT DISTINCT position FROM new JOIN {schema.LABELS} old USING (event_id) "
            "WHERE new.label = old.label AND new.source IS NOT DISTINCT FROM old.source "
            "AND new.reported_at = old.reported_at AND NOT list_contains($own, old.batch_id)",
            {"own": own},
        ).fetchall()
    for (position,) in unknown:
        rows.set_aside(position, "event_id: a label for an event that was never seen")
    for (position,) in repeated:
        rows.rejected[position] = True
    left = rows.frame.loc[np.flatnonzero(rows.good()), values]
    rows.rejected[left.index[left.duplicated()]] = True
    left = left[~left.duplicated()]
    for position in left.index[left.duplicated(["event_id", "source", "reported_at"], keep=False)]:
        rows.set_aside(position, "label: one source gave two different answers for this event at the same time")
