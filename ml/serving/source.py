"""What a version scores as a whole: a table of the lake, or some days of it, in chunks that fit into memory."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ml.config import Config
from ml.errors import BadInput, NotThere
from ml.lake import schema
from ml.lake.sql import quoted, stored, text
from ml.lake.tables import Lake, instant
from ml.model.version import Version
from ml.store.feast import feature_names

CHUNK = 250_000
"""Rows of a chunk, at least, unless it is the last one."""
MEMORY = "1GB"
"""What finding the rows without a score may take; beyond it, it goes to the disk."""
DAY = dt.timedelta(days=1)
ID, TIME = "event_id", "event_time"
KINDS = {
    "an id": {"string", "long", "integer"},
    "an instant": {"timestamp", "timestamp_ntz"},
    "a number": {"double", "float", "long", "integer", "short", "byte", "boolean"},
    "a text": {"string"},
}
"""Delta Lake's types of a column by what it is."""


@dataclass(frozen=True)
class Span:
    """Days in UTC from an instant to before another; None is no bound."""

    start: dt.datetime | None
    end: dt.datetime | None

    @classmethod
    def of(cls, first: str, last: str, as_of: dt.datetime) -> Span:
        """The days from the first to the last one, as text; empty for no bound.

        Raises:
            BadInput: one is no day, or there is no day that is known as of `as_of` from the first to the last.
        """
        start, end = _midnight("first", first), _midnight("last", last)
        if start and end and end < start:
            raise BadInput(f"from {first} to {last} there is no day; give a first day that is not after the last one")
        if start and start > as_of:
            raise BadInput(f"first is {first}, of which nothing is known as of {as_of.isoformat()}; give an earlier day")
        return cls(start, end + DAY if end else None)

    def __str__(self) -> str:
        """Such as ` from 2025-05-01 to 2025-05-02`; empty without bounds."""
        start = f" from {self.start:%Y-%m-%d}" if self.start else ""
        return start + (f" to {self.end - DAY:%Y-%m-%d}" if self.end else "")

    @property
    def condition(self) -> str:
        """The span as SQL on the time of a row."""
        bounds = [f"{TIME} >= {instant(self.start)}"] if self.start else []
        bounds += [f"{TIME} < {instant(self.end)}"] if self.end else []
        return " AND ".join(bounds) or "true"


def _midnight(name: str, day: str) -> dt.datetime | None:
    try:
        return dt.datetime.combine(dt.date.fromisoformat(day), dt.time(), dt.UTC) if day else None
    except ValueError:
        raise BadInput(f"{name} is {day!r}, expected a day such as 2025-05-02") from None


@dataclass(frozen=True)
class Source:
    """Rows of a table at one of its versions.

    Attributes:
        at: version of the table.
        columns: what is read besides id and time, by name: whether it is a number, or else a text.
        known: as SQL, which rows are known.
    """

    lake: Lake
    table: str
    at: int
    schema: pa.Schema
    columns: dict[str, bool]
    span: Span
    known: str

    @classmethod
    def open(cls, config: Config, table: str, version: Version, span: Span, as_of: dt.datetime) -> Source:
        """The rows that are known as of an instant.

        Events are read with what features are made of; of another table all inputs of the version are read.

        Raises:
            NotThere: there is no such table, or it has no row in the span.
            BadInput: the table or the deployment lacks an input of the version, or has another type for it.
        """
        lake = Lake(config.lake)
        tables = lake.tables()
        delta = lake.open(table) if table in tables else None
        if delta is None:
            raise NotThere(f"the lake {config.lake} has no table {table!r}; there are {', '.join(tables) or 'none yet'}")
        columns = dict.fromkeys(version.model.inputs.fill, True) | dict.fromkeys(version.model.inputs.categories, False)
        if table == schema.EVENTS:
            declared = {*config.measures, *config.categories, *feature_names(config)}
            if missing := [name for name in columns if name not in declared]:
                raise BadInput(f"version {version.number} needs {missing}, which the deployment file does not have")
            texts = [*config.entities.values(), *version.model.inputs.categories]
            columns = dict.fromkeys(config.measures, True) | dict.fromkeys(texts, False)
        types = {column.name: str(getattr(column.type, "type", column.type)) for column in delta.schema().fields}
        _check(table, types, columns, version)
        known = f"known_at <= {instant(as_of)}" if "known_at" in types else "true"
        return cls(lake, table, delta.version(), pa.schema(delta.schema()), columns, span, known)

    def count(self) -> int:
        """How many rows there are.

        Raises:
            NotThere: there is none.
        """
        known = f"FROM {quoted(self.table)} WHERE {self.known}"
        with self.lake.connect({self.table: self.schema}, versions={self.table: self.at}) as connection:
            (rows,) = connection.execute(f"SELECT count(*) {known} AND {self.span.condition}").fetchone() or (0,)
            if rows:
                return int(rows)
            first, last = connection.execute(f"SELECT min({TIME}), max({TIME}) {known}").fetchone() or (None, None)
        there = f"it has rows from {first:%Y-%m-%d} to {last:%Y-%m-%d}" if first else "it has no row that is known by then"
        raise NotThere(f"table {self.table} has nothing to score{self.span}; {there}")

    def without(self, scores: int, condition: str) -> Iterator[pa.Table]:
        """The rows that have no score yet, in chunks.

        Args:
            scores: version of the table of scores, -1 for none.
            condition: as SQL, which of its rows count.

        Raises:
            BadInput: a row has no id or no time.
        """
        tables = {self.table: self.schema, schema.SCORES: schema.SCORES_SCHEMA}
        versions = {self.table: self.at, schema.SCORES: scores}
        kinds = ((name, "DOUBLE" if is_number else "VARCHAR") for name, is_number in self.columns.items())
        read = [f"{quoted(stored(name))}::{kind} AS {quoted(name)}" for name, kind in kinds]
        query = f"""
            SELECT * FROM (
                SELECT {", ".join([f"{ID}::VARCHAR AS {ID}", f"{TIME}::TIMESTAMPTZ AS {TIME}", *read])}
                FROM {quoted(self.table)} WHERE {self.span.condition} AND {self.known}
            ) ANTI JOIN (SELECT {ID} FROM {schema.SCORES} WHERE {self.span.condition} AND {condition}) USING ({ID})
            """
        with tempfile.TemporaryDirectory() as disk, self.lake.connect(tables, versions=versions) as connection:
            connection.execute(f"SET memory_limit = '{MEMORY}'; SET temp_directory = {text(disk)}")
            for chunk in _chunks(connection.sql(query).to_arrow_reader(CHUNK)):
                if chunk[ID].null_count or chunk[TIME].null_count:
                    raise BadInput(f"table {self.table} has a row without {ID} or {TIME}; give it both, or take it out")
                yield chunk


def _check(table: str, types: dict[str, str], columns: dict[str, bool], version: Version) -> None:
    expected = {ID: "an id", TIME: "an instant"}
    expected |= {stored(name): "a number" if is_number else "a text" for name, is_number in columns.items()}
    if missing := [name for name in expected if name not in types]:
        raise BadInput(
            f"table {table} lacks {missing}; a table that version {version.number} can score has {ID}, {TIME} and all its "
            f"inputs, and `{schema.EVENTS}` needs none, for its features are joined"
        )
    for name, kind in expected.items():
        if types[name] not in KINDS[kind] and not (kind == "a number" and types[name].startswith("decimal")):
            raise BadInput(f"table {table}: {name} is of type {types[name]}, expected {kind}")


def _chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[Any] = []
    for batch in batches:
        held.append(batch)
        if sum(each.num_rows for each in held) >= CHUNK:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)
