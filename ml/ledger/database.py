"""The ledger's database, a SQLite file or PostgreSQL: its connections and its transactions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool, QueuePool

from ml.errors import BadInput

BUSY_SECONDS = 30
Also = Callable[[sa.Connection], None]
"""What is to be recorded in the transaction of something else: both or neither. What it raises undoes both."""
WRITERS = 0x5045524E  # the advisory lock that all ledgers of one PostgreSQL database share; any constant would do


class Database:
    """One SQLite file or PostgreSQL database.

    No connection outlives its `with` block, so a database may be carried over a fork and needs no closing.

    Args:
        keeps_connection: one connection stays open, for a process that reads again and again; it must not fork then. A SQLite
            file that is put in the place of another one is not seen by it.
    """

    def __init__(self, url: str, keeps_connection: bool = False) -> None:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
        if backend not in ("sqlite", "postgresql"):
            raise BadInput(f"ledger on {backend!r}: expected a sqlite:/// or a postgresql:// URL")
        self._sqlite = backend == "sqlite"
        if self._sqlite:
            if parsed.database in (None, "", ":memory:"):
                raise BadInput(f"{url!r} is forgotten at once: give a file, for example sqlite:///var/ledger.db")
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
            self._engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_SECONDS}, **_pool(keeps_connection))
            sa.event.listen(self._engine, "connect", _leave_transactions_to_us)
            sa.event.listen(self._engine, "connect", _check_references)
            sa.event.listen(self._engine, "begin", _begin)
            _write_ahead(self._engine)
        else:
            self._engine = sa.create_engine(parsed, **_pool(keeps_connection))

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


def _pool(keeps_connection: bool) -> dict[str, Any]:
    if not keeps_connection:
        return {"poolclass": NullPool}
    # A server that was restarted has closed the connection, so it is tried before it is used.
    return {"poolclass": QueuePool, "pool_size": 1, "pool_pre_ping": True}


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    # The driver would open transactions late and as readers, and two readers that turn writers fail at once.
    connection.isolation_level = None


def _check_references(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")


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
