"""The step `score`: a table of the lake, or some days of it, scored by a version into the table `scores`.

Rows are read in one stream and committed in chunks, so that memory does not grow with the table; while a chunk is committed,
the next one is scored and the one after it is read. A run scores the rows that have no score of that version yet. The commits
of a version on a table are numbered: a run that finds its next number taken is not alone; it looks again and goes on with what
is left, so that no row is scored twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.config import Config
from ml.explanation.reasons import CHAMPION
from ml.lake import schema
from ml.lake.sql import text
from ml.model.version import Version
from ml.serving.champion import open_champion
from ml.serving.registered import open_registered
from ml.serving.source import ID, TIME, Source, Span
from ml.store.feast import retrieve


@dataclass(frozen=True)
class Scored:
    """The record of a run: the rows of the range, those of them that it scored, and those of these that are alerts."""

    table: str
    version: str
    rows: int
    added: int
    alerts: int
    note: str


def score(
    config: Config, as_of: dt.datetime, version: str = CHAMPION, table: str = schema.EVENTS, first: str = "", last: str = ""
) -> Scored:
    """Score the rows of a table of the lake that have no score of a version yet; the same call again writes nothing.

    The features of events are joined as of each event, as for a training. Any other table needs `event_id`, which no two rows
    share, `event_time` and all inputs of the version.

    Args:
        version: a number, or `champion`.
        table: a table of the lake.
        first: first day, UTC; empty for the first one of the table.
        last: last day, UTC; empty for the last one of the table.

    Raises:
        BadInput: the range is none, or the table or the deployment lacks an input of the version.
        NotThere: there is no such version or table, or it has nothing in the range.
    """
    span = Span.of(first, last, as_of)
    opened = open_champion(config) if version == CHAMPION else open_registered(config, version)
    source = Source.open(config, table, opened, span, as_of)
    rows, added, alerts = source.count(), 0, 0
    is_done = False
    while not is_done:
        is_done, scored, alerted = _pass(config, as_of, opened, source)
        added, alerts = added + scored, alerts + alerted
    before = f"; {rows - added:,} had a score" if added < rows else ""
    note = f"version {opened.number} scored {added:,} of {rows:,} rows of {table}{span}: {alerts:,} alerts{before}"
    return Scored(table, opened.number, rows, added, alerts, note)


def _pass(config: Config, as_of: dt.datetime, version: Version, source: Source) -> tuple[bool, int, int]:
    """Score what has no score; whether all has one now, and how many rows were scored and alerted."""
    named: Callable[[int], str] = partial(_batch, source.table, version)
    # The number comes first: what is committed after it takes that number, and this run notices.
    taken = source.lake.count_batches(schema.SCORES, named)
    scores = source.lake.version(schema.SCORES)
    mine = f"batch_id BETWEEN {text(named(0))} AND {text(named(taken))}" if taken else "false"
    added = alerts = 0
    with closing(_ahead(source.without(scores, mine))) as chunks:
        numbered = enumerate(chunks, start=taken)
        answers = (_scored(config, as_of, version, source, chunk, named(number)) for number, chunk in numbered)
        with closing(_ahead(answers)) as ready:
            for scored in ready:
                if not source.lake.append_batches(schema.SCORES, scored):
                    return False, added, alerts
                added += scored.num_rows
                alerts += pc.sum(pc.equal(scored["decision"], "alert")).as_py()
    return True, added, alerts


def _ahead(tables: Iterator[pa.Table]) -> Generator[pa.Table, None, None]:
    """The same tables; a thread makes the next one while one is used."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, tables, None)
        while (table := following.result()) is not None:
            following = thread.submit(next, tables, None)
            yield table


def _batch(table: str, version: Version, number: int) -> str:
    return f"{table} by {version.sha256} {number:010d}"


def _scored(config: Config, as_of: dt.datetime, version: Version, source: Source, rows: pa.Table, batch: str) -> pa.Table:
    scores = version.model.score(_inputs(config, as_of, source, rows))
    columns = {
        ID: rows[ID],
        TIME: rows[TIME],
        "source": pa.repeat(source.table, len(rows)),
        "version": pa.repeat(version.number, len(rows)),
        "score": scores,
        "decision": pc.if_else(pa.array(scores >= version.threshold), "alert", "pass"),
        "known_at": pa.repeat(pa.scalar(as_of, schema.INSTANT), len(rows)),
        "batch_id": pa.repeat(batch, len(rows)),
    }
    return pa.table(columns, schema=schema.SCORES_SCHEMA)


def _inputs(config: Config, as_of: dt.datetime, source: Source, rows: pa.Table) -> pd.DataFrame:
    """The inputs of rows; texts of complete ones as categories, which are converted several times faster."""
    if source.table == schema.EVENTS:
        events = rows.to_pandas()
        return pd.concat([events, retrieve(config, events, as_of, {source.table: source.at})], axis=1)
    texts = [name for name, is_number in source.columns.items() if not is_number]
    return rows.drop_columns([ID, TIME]).to_pandas(categories=texts, split_blocks=True)
