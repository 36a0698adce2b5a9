"""A version is released in steps: the releases, what became of them, and a word for their messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ml.ledger.table import Instant, Json, append_only

revision = "0003"
down_revision = "0002"

WORDS = ("held", "advanced", "waits", "approved", "finished", "stepped back", "stopped", "expired", "superseded")


def upgrade() -> None:
    """Make the tables and add the word."""
    connection = op.get_bind()
    metadata = sa.MetaData(naming_convention={"fk": "%(table_name)s_%(column_0_name)s_is_known", "ck": "%(constraint_name)s"})
    words = sa.Table("release_words", metadata, sa.Column("word", sa.Text, primary_key=True))
    releases = sa.Table(
        "releases",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        *[sa.Column(name, sa.Text, nullable=False) for name in ("model", "version", "champion", "judgement")],
        *[sa.Column(name, Json, nullable=False) for name in ("hashes", "plan", "expected")],
        sa.Column("as_of", Instant, nullable=False),
        *[sa.Column(name, sa.Text, nullable=False) for name in ("actor", "reason", "run_id")],
        _recorded(),
    )
    sa.Index("releases_once", *(releases.c[name] for name in ("model", "version", "judgement")), unique=True)
    moves = sa.Table(
        "release_moves",
        metadata,
        sa.Column("release", sa.BigInteger, sa.ForeignKey("releases.id"), primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("word", sa.Text, sa.ForeignKey("release_words.word"), nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("as_of", Instant, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", Json, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        _recorded(),
        sa.CheckConstraint("sequence >= 1", name="move_from_one"),
    )
    metadata.create_all(connection)
    connection.execute(sa.insert(words), [{"word": word} for word in WORDS])
    of_releases = '("id" = NEW."id") OR ("model" = NEW."model" AND "version" = NEW."version" AND "judgement" = NEW."judgement")'
    same = {releases.name: of_releases, moves.name: '("release" = NEW."release" AND "sequence" = NEW."sequence")'}
    for name, condition in same.items():
        for statement in append_only(name, condition, connection.dialect.name):
            connection.exec_driver_sql(statement.replace("%", "%%"))
    connection.execute(sa.insert(sa.table("event_words", sa.column("word", sa.Text))).values(word="release"))


def _recorded() -> sa.Column:
    return sa.Column("recorded_at", Instant, nullable=False, server_default=sa.func.current_timestamp())
