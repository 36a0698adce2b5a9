"""The champion may be refreshed: a word for that move, and one for its message."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

WORD = "refresh"


def upgrade() -> None:
    """Add the word to both lists."""
    for table in ("action_words", "event_words"):
        words = sa.table(table, sa.column("word", sa.Text))
        op.get_bind().execute(sa.insert(words).values(word=WORD))
