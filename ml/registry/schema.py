"""The ledger's tables and their database: SQLite or PostgreSQL, with the rules that the database itself keeps."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

Trigger = Literal["on_demand", "schedule", "new_data", "performance", "drift"]
Outcome = Literal["PROMOTE", "KEEP", "INCONCLUSIVE"]
Action = Literal["promote", "rollback"]

BUSY_SECONDS = 30
WRITERS = 0x5045524E  # the advisory lock that all ledgers of one PostgreSQL database share; any constant would do


class _Instant(sa.TypeDecorator[dt.datetime]):
    """An aware UTC instant. SQLite keeps no zone, so it is put in UTC on the way in and given back on the way out."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> dt.datetime:
        return value.astimezone(dt.UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> dt.datetime:
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class _Json(sa.TypeDecorator[Mapping[str, Any]]):
    """A mapping as JSON text with sorted keys."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str:
        return json.dumps(value, sort_keys=True)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Mapping[str, Any]:
        return json.loads(value)


def _words(column: str, literal: Any) -> sa.CheckConstraint:
    allowed = ", ".join(f"'{word}'" for word in get_args(literal))
    return sa.CheckConstraint(f"{column} IN ({allowed})", name=f"{column}_is_known")


def _recorded_at() -> sa.Column[Any]:
    return sa.Column("recorded_at", _Instant, nullable=False, server_default=sa.func.current_timestamp())


metadata = sa.MetaData(naming_convention={"ck": "%(table_name)s_%(constraint_name)s"})

trainings = sa.Table(
    "trainings",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.Text, nullable=False),
    sa.Column("as_of", _Instant, nullable=False),
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("requested_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("watermark", sa.Text, nullable=False),
    sa.Column("admitted", sa.Boolean, nullable=False),
    sa.Column("outcome_reason", sa.Text, nullable=False),
    _recorded_at(),
    _words("trigger", Trigger),
)
sa.Index(
    "trainings_admitted_once",
    trainings.c.model,
    trainings.c.idempotency_key,
    unique=True,
    sqlite_where=trainings.c.admitted,
    postgresql_where=trainings.c.admitted,
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("as_of", _Instant, nullable=False),
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("champion_version", sa.Text),
    sa.Column("challenger_version", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("difference", sa.Float),
    sa.Column("lower_bound", sa.Float),
    sa.Column("interval_low", sa.Float),
    sa.Column("interval_high", sa.Float),
    sa.Column("minimum_detectable_effect", sa.Float),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("training_rows", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", _Json, nullable=False),
    sa.Column("seconds", sa.Float),
    _recorded_at(),
    _words("trigger", Trigger),
    _words("outcome", Outcome),
)
sa.Index(
    "decisions_once",
    decisions.c.model,
    decisions.c.challenger_version,
    sa.func.coalesce(decisions.c.champion_version, ""),
    unique=True,
)

promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("from_version", sa.Text),
    sa.Column("to_version", sa.Text, nullable=False),
    sa.Column("as_of", _Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("verdict", _Json, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("hashes", _Json, nullable=False),
    _recorded_at(),
    _words("action", Action),
    sa.CheckConstraint("sequence >= 1", name="sequence_from_one"),
)

holdout_uses = sa.Table(
    "holdout_uses",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("challenger_hash", sa.Text, nullable=False),
    sa.Column("champion_hash", sa.Text, nullable=False),
    sa.Column("start", _Instant, nullable=False),
    sa.Column("end", _Instant, nullable=False),
    sa.Column("alpha", sa.Float, nullable=False),
    sa.Column("as_of", _Instant, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    _recorded_at(),
    sa.UniqueConstraint("model", "challenger_hash", "champion_hash", "start", "end", "alpha", name="holdout_used_once"),
    sa.CheckConstraint('start < "end"', name="window_is_not_empty"),
)


def _append_only(table: sa.Table, same_row: str) -> None:
    """Make the database refuse to change `table`; `same_row` matches a stored row that NEW would replace."""
    refusal = f"{table.name} is append-only: add a row instead"
    sqlite = [
        f"CREATE TRIGGER {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name} "
        f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
        for verb in ("UPDATE", "DELETE")
    ]
    # SQLite's INSERT OR REPLACE deletes the old row without firing its DELETE trigger.
    sqlite.append(
        f"CREATE TRIGGER {table.name}_no_replace BEFORE INSERT ON {table.name} "
        f"WHEN EXISTS (SELECT 1 FROM {table.name} WHERE {same_row}) BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
    )
    postgresql = [
        f"CREATE FUNCTION {table.name}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{refusal}' USING ERRCODE = 'restrict_violation'; END $$",
        f"CREATE TRIGGER {table.name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table.name} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table.name}_append_only()",
    ]
    for dialect, statements in (("sqlite", sqlite), ("postgresql", postgresql)):
        for statement in statements:
            sa.event.listen(table, "after_create", sa.DDL(statement).execute_if(dialect=dialect))


_append_only(
    decisions,
    "id = NEW.id OR (model = NEW.model AND challenger_version = NEW.challenger_version"
    " AND champion_version IS NEW.champion_version)",
)
_append_only(promotions, "model = NEW.model AND sequence = NEW.sequence")
_append_only(
    holdout_uses,
    "id = NEW.id OR (model = NEW.model AND challenger_hash = NEW.challenger_hash AND champion_hash = NEW.champion_hash"
    ' AND start = NEW.start AND "end" = NEW."end" AND alpha = NEW.alpha)',
)


class Database:
    """One SQLite file or PostgreSQL database with the ledger's tables, which are made when they are missing.

    No connection outlives its `with` block, so a database may be carried over a fork and needs no closing.
    """

    def __init__(self, url: str) -> None:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
        if backend not in ("sqlite", "postgresql"):
            raise ValueError(f"ledger on {backend!r}: expected a sqlite:/// or a postgresql:// URL")
        self._sqlite = backend == "sqlite"
        if self._sqlite:
            if parsed.database in (None, "", ":memory:"):
                raise ValueError(f"{url!r} is forgotten at once: give a file, for example sqlite:///var/ledger.db")
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
            self._engine = sa.create_engine(parsed, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})
            sa.event.listen(self._engine, "connect", _leave_transactions_to_us)
            sa.event.listen(self._engine, "begin", _begin)
            _write_ahead(self._engine)
        else:
            self._engine = sa.create_engine(parsed, poolclass=NullPool)
        with self.writing() as connection:
            metadata.create_all(connection)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads, and waits for no writer."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that begins when every writer before it has ended, so that it decides on what they wrote."""
        with self._engine.execution_options(writes=True).begin() as connection:
            if not self._sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITERS)))
            yield connection


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    # The driver would open transactions late and as readers, and two readers that turn writers fail at once.
    connection.isolation_level = None


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _write_ahead(engine: sa.Engine) -> None:
    """Switch a SQLite file to write-ahead logging, so that readers and the writer do not wait for each other."""
    connection = engine.raw_connection()
    try:
        for _ in range(BUSY_SECONDS * 20):
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                time.sleep(0.05)  # SQLite itself does not wait here while another process switches
    finally:
        connection.close()
    raise TimeoutError(f"{engine.url}: locked by another process for {BUSY_SECONDS} s; end the process that holds it")
