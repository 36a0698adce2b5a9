"""The ledger's database, SQLite or PostgreSQL, and what its tables have in common: instants, records, rows that stay."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

BUSY_SECONDS = 30
WRITERS = 0x5045524E  # the advisory lock that all ledgers of one PostgreSQL database share; any constant would do


class Instant(sa.TypeDecorator[dt.datetime]):
    """An aware UTC instant. SQLite keeps no zone, so it is put in UTC on the way in and given back on the way out."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> dt.datetime:
        return value.astimezone(dt.UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> dt.datetime:
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class Json(sa.TypeDecorator[Mapping[str, Any]]):
    """A mapping as JSON text with sorted keys."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str:
        return json.dumps(value, sort_keys=True)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Mapping[str, Any]:
        return json.loads(value)


def words(column: str, literal: Any) -> sa.CheckConstraint:
    allowed = ", ".join(f"'{word}'" for word in get_args(literal))
    return sa.CheckConstraint(f"{column} IN ({allowed})", name=f"{column}_is_known")


def recorded_at() -> sa.Column[Any]:
    return sa.Column("recorded_at", Instant, nullable=False, server_default=sa.func.current_timestamp())


metadata = sa.MetaData(naming_convention={"ck": "%(table_name)s_%(constraint_name)s"})


def append_only(table: sa.Table, same_row: str) -> None:
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
