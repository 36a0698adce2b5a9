"""Sets `known_at` of new rows; it never runs backwards.

Models are trained and features are published from the rows known at an instant. So rows that arrive now must not appear in a
past that was read already, whatever `as_of` they are ingested at:

- new rows are known from `as_of` on, but never before rows that arrived earlier;
- once features are published as of that instant or a later one, new rows are known right after that publication;
- archive rows are backdated to the time when the live feed would have delivered them; this ends with `archive_until` and with
  the first publication.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml import artifacts
from ml.config import Config
from ml.errors import BadInput
from ml.lake import schema
from ml.lake.tables import Lake

STEP = dt.timedelta(microseconds=1)
DAY = dt.timedelta(days=1)
FEATURES = "features"
"""Kind of the artifacts in which features are published, by view."""


@dataclass(frozen=True)
class Arrival:
    """The instant at which a batch becomes known, and whether its rows are backdated to the live feed's schedule."""

    at: dt.datetime
    archive: bool

    def known_at(self, config: Config, times: pa.ChunkedArray) -> pa.ChunkedArray:
        """When each row was known.

        Args:
            times: when the rows happened or were reported, UTC, shape (n_rows,).
        """
        at = pa.scalar(self.at, schema.INSTANT)
        if not self.archive:
            return pa.chunked_array([pa.repeat(at, len(times))])
        lag = config.events.lag.span
        delivered = pc.add(pc.floor_temporal(times, unit="day"), pa.scalar(DAY + lag, pa.duration("us")))
        return pc.if_else(pc.less(delivered, at), delivered, at).cast(schema.INSTANT)


def published(config: Config) -> dt.datetime | None:
    """When the newest features of the deployment were published; None before the first publication.

    Raises:
        ValueError: the metadata of a feature file have no `created`.
    """
    newest, store = [], artifacts.of(config)
    for view in store.list(FEATURES):
        keys = [key for key in store.list(f"{FEATURES}/{view}") if key.endswith(".parquet")]
        if keys:
            file = store.get(f"{FEATURES}/{view}", keys[-1])
            created = (pq.read_schema(file).metadata or {}).get(b"created")
            if created is None:
                raise BadInput(f"{file} does not say when it was published: its Parquet metadata lack `created`")
            newest.append(dt.datetime.fromisoformat(created.decode()).astimezone(dt.UTC))
    return max(newest, default=None)


def arrival(config: Config, lake: Lake, as_of: dt.datetime) -> Arrival:
    """The arrival of rows that are ingested now, at `as_of`."""
    stamps = {table: schema.of(table, config) for table in (schema.BATCHES, schema.READMISSIONS)}
    with lake.connect(stamps) as connection:
        (newest,) = connection.execute(
            f"SELECT max(known_at) FROM (SELECT known_at FROM {schema.BATCHES} UNION ALL "
            f"SELECT known_at FROM {schema.READMISSIONS})"
        ).fetchone() or (None,)
    at = max(as_of, newest or as_of).astimezone(dt.UTC)
    last = published(config)
    if last is not None and last >= at:
        at = last + STEP
    return Arrival(at, archive=last is None and at <= config.archive_until)
