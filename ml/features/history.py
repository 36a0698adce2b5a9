"""A view's history: a folder of Parquet files that never change; each is named by its ticks and the hash of its content.

A file's metadata are sufficient to rebuild it from the lake. Caches beside them have other names than `*.parquet`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml import artifacts
from ml.artifacts import Store
from ml.config import Config, Window
from ml.features import ticks, windows
from ml.features.running import Snapshots, snapshots
from ml.lake import schema
from ml.lake.tables import Lake

ROW_GROUP = 122_880
# Version of the definition of windows. 2: a missing measure is no value, a missing key is no entity.
DEFINITION_VERSION = 2


@dataclass(frozen=True)
class Due:
    """A publication: its ticks from `first` to `last` at a fixed interval, and the creation time of the last one.

    The initial publication backdates its ticks to the schedule of the live feed: each tick has the same delay from tick to
    creation as the last one. All ticks of a later publication are created together.
    """

    first: dt.datetime
    last: dt.datetime
    interval: dt.timedelta
    created: dt.datetime
    initial: bool

    @property
    def snapshots(self) -> Snapshots:
        """Each tick with its creation time."""
        due = [self.first + i * self.interval for i in range((self.last - self.first) // self.interval + 1)]
        return [(tick, self.created - (self.last - tick if self.initial else dt.timedelta())) for tick in due]

    def text(self, tick: dt.datetime) -> str:
        """A tick in file names: its day, and its hour if a day has several ticks."""
        return f"{tick:%Y-%m-%d}" if self.interval == ticks.DAY else f"{tick:%Y-%m-%dT%H}"


@dataclass(frozen=True)
class Published(Due):
    """A publication and its file."""

    path: Path

    def record(self) -> dict[str, str]:
        """The publication as text; `due_of` reads it."""
        return {"file": self.path.name, **_metadata(self)}


def due_of(window: Window, record: dict[str, str]) -> Due:
    """The publication of a view that `Published.record` describes."""
    return Due(
        first=dt.datetime.fromisoformat(record["first"]).replace(tzinfo=dt.UTC),
        last=dt.datetime.fromisoformat(record["last"]).replace(tzinfo=dt.UTC),
        interval=window.interval,
        created=dt.datetime.fromisoformat(record["created"]),
        initial=record["initial"] == "True",
    )


def kind_of(config: Config, window: Window) -> str:
    """Kind of the artifacts that hold a view's published snapshots; each definition of a view has its own."""
    definition = f"{DEFINITION_VERSION} {window.model_dump_json(exclude={'publish': {'reason'}})}"
    if window.column == "label" and config.labels.complete:
        definition += " of answered events"
    digits = hashlib.sha256(definition.encode()).hexdigest()[:8]
    return f"features/{window.view}-{digits}"


def folder(config: Config, window: Window) -> Path:
    """Folder in which this machine keeps the published snapshots of a view."""
    return artifacts.local(config).path(kind_of(config, window))


def history(config: Config, window: Window, as_of: dt.datetime | None = None) -> list[Published]:
    """The publications of a view, oldest first; with `as_of`, those created by then."""
    publications = [_read(window, path) for path in files(config, window)]
    return [published for published in publications if as_of is None or published.created <= as_of]


def newest_publication(config: Config, window: Window) -> Published | None:
    """The newest publication of a view."""
    found = files(config, window)
    return _read(window, found[-1]) if found else None


def files(config: Config, window: Window) -> list[Path]:
    """The files of a view, oldest first, on this machine."""
    store, kind = artifacts.of(config), kind_of(config, window)
    return [store.get(kind, key) for key in store.list(kind) if key.endswith(".parquet")]


def digest(config: Config, window: Window) -> str:
    """SHA-256 over the names of a view's files, which include hashes of content; equal digests mean equal histories."""
    return hashlib.sha256("\n".join(file.name for file in files(config, window)).encode()).hexdigest()


def rebuild(
    config: Config, window: Window, published: Sequence[Due], into: Store, versions: dict[str, int] | None = None
) -> list[Path]:
    """Rebuild publications from the lake alone.

    Args:
        published: consecutive publications from the initial one on, as `history` returns them.
        into: store for the files; names and bytes equal those of `published` if the lake has the same rows.
        versions: version of the lake by table, the newest for those left out.
    """
    if not published:
        return []
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    due = [snapshot for part in published for snapshot in part.snapshots]
    with Lake(config.lake).connect(tables, published[-1].created, versions) as connection:
        rows = all_snapshots(config, window, connection, due)
    return [write(_part(rows, part), part, into, kind_of(config, window)) for part in published]


def all_snapshots(config: Config, window: Window, connection: duckdb.DuckDBPyConnection, due: Snapshots) -> pa.Table:
    """Rows of all snapshots of a view from the initial one on, from a connection to the lake."""
    numbers = [ticks.number(window, tick) for tick, _ in due]
    table = pa.table({"tick": numbers, "created": pa.array([created for _, created in due], schema.INSTANT)})
    connection.register("snapshot", table)
    contributions = connection.sql(windows.all_contributions(config, window, until=due[-1][1])).to_arrow_table()
    return snapshots(config, window, contributions, due)


def _part(rows: pa.Table, part: Due) -> pa.Table:
    first, last = (pa.scalar(tick, schema.INSTANT) for tick in (part.first, part.last))
    time = rows["event_timestamp"]
    return rows.filter(pc.and_(pc.greater_equal(time, first), pc.less_equal(time, last)))


def write(rows: pa.Table, due: Due, into: Store, kind: str) -> Path:
    """Write the file of a publication; equal rows give equal bytes, and equal bytes the same name."""
    table = rows.replace_schema_metadata(_metadata(due)).combine_chunks()
    repeated = [field.name for field in table.schema if not pa.types.is_floating(field.type)]

    def parquet(path: Path) -> None:
        pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP, use_dictionary=repeated)

    name = f"{due.text(due.first)}_{due.text(due.last)}"
    return into.put_by_content(kind, lambda sha256: f"{name}-{sha256[:16]}.parquet", parquet)[1]


def _metadata(due: Due) -> dict[str, str]:
    return {
        "first": due.text(due.first),
        "last": due.text(due.last),
        "created": due.created.isoformat(),
        "initial": str(due.initial),
    }


def _read(window: Window, path: Path) -> Published:
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema(path).metadata.items()}
    return Published(**vars(due_of(window, metadata)), path=path)
