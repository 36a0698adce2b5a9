"""The ledger's tables on trainings, decisions and promotions, with the rules that the database itself keeps."""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa

from ml.registry.database import Instant, Json, append_only, metadata, recorded_at, words

Trigger = Literal["on_demand", "schedule", "new_data", "performance", "drift"]
Outcome = Literal["PROMOTE", "KEEP", "INCONCLUSIVE"]
Action = Literal["promote", "rollback"]

trainings = sa.Table(
    "trainings",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.Text, nullable=False),
    sa.Column("as_of", Instant, nullable=False),
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("requested_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("watermark", sa.Text, nullable=False),
    sa.Column("admitted", sa.Boolean, nullable=False),
    sa.Column("outcome_reason", sa.Text, nullable=False),
    recorded_at(),
    words("trigger", Trigger),
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
    sa.Column("as_of", Instant, nullable=False),
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
    sa.Column("evidence", Json, nullable=False),
    sa.Column("seconds", sa.Float),
    recorded_at(),
    words("trigger", Trigger),
    words("outcome", Outcome),
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
    sa.Column("as_of", Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("verdict", Json, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("hashes", Json, nullable=False),
    recorded_at(),
    words("action", Action),
    sa.CheckConstraint("sequence >= 1", name="sequence_from_one"),
)

holdout_uses = sa.Table(
    "holdout_uses",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("challenger_hash", sa.Text, nullable=False),
    sa.Column("champion_hash", sa.Text, nullable=False),
    sa.Column("start", Instant, nullable=False),
    sa.Column("end", Instant, nullable=False),
    sa.Column("alpha", sa.Float, nullable=False),
    sa.Column("as_of", Instant, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    recorded_at(),
    sa.UniqueConstraint("model", "challenger_hash", "champion_hash", "start", "end", "alpha", name="holdout_used_once"),
    sa.CheckConstraint('start < "end"', name="window_is_not_empty"),
)


append_only(
    decisions,
    "id = NEW.id OR (model = NEW.model AND challenger_version = NEW.challenger_version"
    " AND champion_version IS NEW.champion_version)",
)
append_only(promotions, "model = NEW.model AND sequence = NEW.sequence")
append_only(
    holdout_uses,
    "id = NEW.id OR (model = NEW.model AND challenger_hash = NEW.challenger_hash AND champion_hash = NEW.champion_hash"
    ' AND start = NEW.start AND "end" = NEW."end" AND alpha = NEW.alpha)',
)
