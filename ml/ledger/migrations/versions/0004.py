"""Versions compete for fixed shares of the traffic: the competitions, and what stopped them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ml.ledger.table import Instant, Json, append_only

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    connection = op.get_bind()
    metadata = sa.MetaData(naming_convention={"fk": "%(table_name)s_%(column_0_name)s_is_known", "ck": "%(constraint_name)s"})
    competitions = sa.Table(
        "competitions",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        *[sa.Column(name, sa.Text, nullable=False) for name in ("model", "champion")],
        sa.Column("contenders", Json, nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        *[sa.Column(name, Instant, nullable=False) for name in ("until", "as_of")],
        *[sa.Column(name, sa.Text, nullable=False) for name in ("actor", "reason", "run_id")],
        _recorded(),
    )
    stops = sa.Table(
        "competition_stops",
        metadata,
        sa.Column("competition", sa.BigInteger, sa.ForeignKey("competitions.id"), primary_key=True, autoincrement=False),
        sa.Column("as_of", Instant, nullable=False),
        *[sa.Column(name, sa.Text, nullable=False) for name in ("actor", "reason", "run_id")],
        _recorded(),
    )
    metadata.create_all(connection)
    same = {competitions.name: '("id" = NEW."id")', stops.name: '("competition" = NEW."competition")'}
    for name, condition in same.items():
        for statement in append_only(name, condition, connection.dialect.name):
            connection.exec_driver_sql(statement.replace("%", "%%"))


def _recorded() -> sa.Column:
    return sa.Column("recorded_at", Instant, nullable=False, server_default=sa.func.current_timestamp())
