"""Brings a database to the ledger's present schema: makes the tables of a new one, migrates those of an old one.

A migration is a file of `ml/ledger/migrations/versions`; Alembic runs those that a database lacks. A new database is made from
the records as they are now, which gives the same schema (a test compares the two).
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from ml.errors import Refused
from ml.ledger.database import Database
from ml.ledger.table import metadata

HEAD = "0004"
"""The newest migration."""
VERSION = sa.table("alembic_version", sa.column("version_num"))
MIGRATIONS = Path(__file__).parent / "migrations"
BEFORE = "promotions"
"""A table of every ledger from before there were migrations."""


class LedgerIsNewer(Refused, RuntimeError):
    """The ledger was upgraded by a newer version of this code."""


def upgrade(database: Database) -> None:
    """Make or migrate the tables if they are not the present ones; of several processes one does it, the others wait."""
    with database.reading() as connection:
        if _revision(connection) == HEAD:
            return
    with database.writing() as connection:
        revision = _revision(connection)
        if revision == HEAD:
            return
        if revision is None and not sa.inspect(connection).has_table(BEFORE):
            metadata.create_all(connection)
            _run(connection, "stamp")
        elif revision is None or (MIGRATIONS / "versions" / f"{revision}.py").exists():
            _run(connection, "upgrade")
        else:
            raise LedgerIsNewer(
                f"the ledger {connection.engine.url} is at migration {revision}, and this code knows them up to {HEAD}: "
                "run the version of the code that upgraded it, or a newer one"
            )


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION.name):
        return None
    revision: str | None = connection.scalar(sa.select(VERSION.c.version_num))
    return revision


def _run(connection: sa.Connection, what: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS))
    getattr(command, what)(config, "head")
