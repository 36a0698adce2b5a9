"""Words move from check constraints into tables of their own, so that lists can grow, and an alarm names its request.

It upgrades every ledger from before there were migrations, also one that lacks the younger tables. Each table is copied, made
anew and filled again: SQLite cannot change a constraint.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from ml.ledger.table import Instant, Json, append_only

revision = "0001"
down_revision = None

WORDS = {
    "trigger_words": ("on_demand", "schedule", "new_data", "performance", "drift"),
    "outcome_words": ("PROMOTE", "KEEP", "INCONCLUSIVE"),
    "action_words": ("promote", "rollback"),
    "answer_words": ("started", "joined", "waits", "refused"),
    "signal_kind_words": ("drift", "performance", "estimate", "feed"),
    "signal_state_words": ("OK", "WARN", "CONFIRMED"),
    "event_words": (
        "stopped batch",
        "data incident",
        "drift",
        "performance",
        "refused training",
        "verdict",
        "promotion",
        "rollback",
        "missed deadline",
    ),
}
ID, TEXT, WHOLE, REAL, INSTANT, JSON, DAY, FLAG = (
    sa.Integer,
    sa.Text,
    sa.BigInteger,
    sa.Float,
    Instant,
    Json,
    sa.Date,
    sa.Boolean,
)
COLUMNS: dict[str, dict[str, Any]] = {
    "trainings": {
        "id": ID,
        "model": TEXT,
        "idempotency_key": TEXT,
        "as_of": INSTANT,
        "trigger": "trigger_words.word",
        "requested_by": TEXT,
        "reason": TEXT,
        "run_id": TEXT,
        "watermark": TEXT,
        "admitted": FLAG,
        "outcome_reason": TEXT,
    },
    "decisions": {
        "id": ID,
        "model": TEXT,
        "as_of": INSTANT,
        "trigger": "trigger_words.word",
        "run_id": TEXT,
        "champion_version": TEXT,
        "challenger_version": TEXT,
        "outcome": "outcome_words.word",
        "metric": TEXT,
        "difference": REAL,
        "lower_bound": REAL,
        "interval_low": REAL,
        "interval_high": REAL,
        "minimum_detectable_effect": REAL,
        "rows": WHOLE,
        "training_rows": WHOLE,
        "reason": TEXT,
        "evidence": JSON,
    },
    "promotions": {
        "model": TEXT,
        "sequence": WHOLE,
        "action": "action_words.word",
        "from_version": TEXT,
        "to_version": TEXT,
        "as_of": INSTANT,
        "actor": TEXT,
        "reason": TEXT,
        "verdict": JSON,
        "run_id": TEXT,
        "hashes": JSON,
    },
    "holdout_uses": {
        "id": ID,
        "model": TEXT,
        "challenger_hash": TEXT,
        "champion_hash": TEXT,
        "start": INSTANT,
        "end": INSTANT,
        "alpha": REAL,
        "as_of": INSTANT,
        "run_id": TEXT,
    },
    "requests": {
        "id": ID,
        "model": TEXT,
        "key": TEXT,
        "trigger": "trigger_words.word",
        "as_of": INSTANT,
        "requested_by": TEXT,
        "reason": TEXT,
        "evidence": JSON,
    },
    "answers": {
        "id": ID,
        "request": "requests.id",
        "answer": "answer_words.word",
        "reason": TEXT,
        "run_id": TEXT,
        "as_of": INSTANT,
    },
    "readings": {
        "id": ID,
        "signal": TEXT,
        "kind": "signal_kind_words.word",
        "value": REAL,
        "threshold": REAL,
        "state": "signal_state_words.word",
        "details": JSON,
        "version": TEXT,
        "day": DAY,
        "as_of": INSTANT,
        "model": TEXT,
    },
    "confirmations": {
        "id": ID,
        "trigger": "trigger_words.word",
        "reason": TEXT,
        "evidence": JSON,
        "request": "requests.id",
        "version": TEXT,
        "day": DAY,
        "as_of": INSTANT,
        "model": TEXT,
    },
    "incidents": {
        "id": ID,
        "day": DAY,
        "fault": TEXT,
        "subject": TEXT,
        "reason": TEXT,
        "evidence": JSON,
        "model": TEXT,
        "as_of": INSTANT,
    },
    "messages": {
        "id": ID,
        "model": TEXT,
        "key": TEXT,
        "event": "event_words.word",
        "text": TEXT,
        "figure": TEXT,
        "as_of": INSTANT,
        "process": TEXT,
        "run_id": TEXT,
        "version": TEXT,
    },
    "deliveries": {"message": "messages.id", "channel": TEXT},
    "subscriptions": {"model": TEXT, "channel": TEXT, "event": "event_words.word"},
    "refusals": {"id": ID, "model": TEXT, "as_of": INSTANT, "step": TEXT, "reason": TEXT, "run_id": TEXT},
}
NULLABLE = {
    "decisions": (
        "champion_version",
        "difference",
        "lower_bound",
        "interval_low",
        "interval_high",
        "minimum_detectable_effect",
    ),
    "promotions": ("from_version",),
    "readings": ("value", "threshold"),
}
KEYS: dict[str, tuple[str, ...]] = {
    "trainings": ("model", "idempotency_key"),
    "decisions": ("model", "challenger_version", "champion_version"),
    "promotions": ("model", "sequence"),
    "holdout_uses": ("model", "challenger_hash", "champion_hash", "start", "end", "alpha"),
    "requests": ("model", "key"),
    "answers": ("request", "run_id", "answer"),
    "readings": ("model", "version", "day", "signal"),
    "confirmations": ("model", "version", "day", "trigger"),
    "incidents": ("model", "day", "fault", "subject"),
    "messages": ("model", "key"),
    "deliveries": ("message", "channel"),
    "subscriptions": ("model", "channel", "event"),
    "refusals": ("model", "as_of", "step"),
}
RULES = {"promotions": ("sequence_from_one", "sequence >= 1"), "holdout_uses": ("window_is_not_empty", 'start < "end"')}
RENAMED = {"readings": "details", "messages": "process"}
"""The column of a table whose name changed; it stands for the one column of before that has no name here."""
CHILDREN = ("answers", "deliveries")


def upgrade() -> None:
    """Copy, make anew, fill."""
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    before = set(inspector.get_table_names())
    names = {name: {column["name"] for column in inspector.get_columns(name)} for name in set(RENAMED) & before}
    for name in sorted(set(COLUMNS) & before, key=lambda name: name not in CHILDREN):
        connection.exec_driver_sql(f"CREATE TABLE before_{name} AS SELECT * FROM {name}")
        connection.exec_driver_sql(f"DROP TABLE {name}")
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS {name}_append_only()")
    metadata = sa.MetaData(naming_convention={"fk": "%(table_name)s_%(column_0_name)s_is_known", "ck": "%(constraint_name)s"})
    for name, words in WORDS.items():
        sa.Table(name, metadata, sa.Column("word", sa.Text, primary_key=True)).create(connection)
        for word in words:
            connection.execute(sa.insert(metadata.tables[name]).values(word=word))
    for name in COLUMNS:
        made = _table(name, metadata)
        made.create(connection)
        if name == "confirmations" and name in before:
            _ask_for_what_was_confirmed(connection)
        if name in before:
            _fill(connection, name, names.get(name, set()))
            connection.exec_driver_sql(f"DROP TABLE before_{name}")
        for statement in append_only(name, _same(name), connection.dialect.name):
            connection.exec_driver_sql(statement.replace("%", "%%"))


def _table(name: str, metadata: sa.MetaData) -> sa.Table:
    key = KEYS[name]
    columns = [_column(name, column, kind) for column, kind in COLUMNS[name].items()]
    rules = [sa.CheckConstraint(RULES[name][1], name=RULES[name][0])] if name in RULES else []
    recorded = sa.Column("recorded_at", Instant, nullable=False, server_default=sa.func.current_timestamp())
    made = sa.Table(name, metadata, *columns, recorded, *rules)
    if "id" in COLUMNS[name]:
        nullable = NULLABLE.get(name, ())
        parts = [sa.func.coalesce(made.c[part], "") if part in nullable else made.c[part] for part in key]
        where = sa.text("admitted") if name == "trainings" else None
        sa.Index(f"{name}_once", *parts, unique=True, sqlite_where=where, postgresql_where=where)
    return made


def _column(name: str, column: str, kind: Any) -> sa.Column:
    if column == "id":
        return sa.Column("id", sa.Integer, primary_key=True)
    is_primary = "id" not in COLUMNS[name] and column in KEYS[name]
    reference = [sa.ForeignKey(kind)] if isinstance(kind, str) else []
    if isinstance(kind, str):
        kind = sa.BigInteger if kind.endswith(".id") else sa.Text
    return sa.Column(
        column, kind, *reference, primary_key=is_primary, nullable=column in NULLABLE.get(name, ()), autoincrement=False
    )


def _same(name: str) -> str:
    nullable = NULLABLE.get(name, ())
    same = " AND ".join(f'"{part}" {"IS" if part in nullable else "="} NEW."{part}"' for part in KEYS[name])
    if name == "trainings":
        same += " AND admitted AND NEW.admitted"
    return f'("id" = NEW."id") OR ({same})' if "id" in COLUMNS[name] else f"({same})"


def _ask_for_what_was_confirmed(connection: sa.Connection) -> None:
    """Alarms that nobody has asked a training for yet get their request."""
    asked = {key for (key,) in connection.exec_driver_sql("SELECT key FROM requests")}
    rows = connection.exec_driver_sql(
        "SELECT id, model, version, day, trigger, reason, evidence, as_of, recorded_at FROM before_confirmations"
    ).mappings()
    for row in list(rows):
        if f"confirmation {row['id']}" not in asked:
            evidence = json.loads(row["evidence"]) | {"version": row["version"], "day": str(row["day"])}
            values = {name: row[name] for name in ("model", "trigger", "reason", "as_of", "recorded_at")} | {
                "key": f"confirmation {row['id']}",
                "requested_by": "monitor",
                "evidence": json.dumps(evidence, sort_keys=True),
            }
            connection.execute(
                sa.text(
                    "INSERT INTO requests (model, key, trigger, as_of, requested_by, reason, evidence, recorded_at) VALUES "
                    "(:model, :key, :trigger, :as_of, :requested_by, :reason, :evidence, :recorded_at)"
                ),
                values,
            )


def _fill(connection: sa.Connection, name: str, names: set[str]) -> None:
    (older,) = names - {*COLUMNS[name], "recorded_at"} if name in RENAMED else ("",)
    renamed = {RENAMED.get(name): older}
    columns = [*COLUMNS[name], "recorded_at"]
    taken = [f'"{renamed.get(column, column)}"' for column in columns]
    if name == "confirmations":
        request = "(SELECT r.id FROM requests r WHERE r.model = b.model AND r.key = 'confirmation ' || b.id)"
        taken[columns.index("request")] = request
    into = ", ".join(f'"{column}"' for column in columns)
    order = " ORDER BY b.id" if "id" in COLUMNS[name] else ""
    connection.exec_driver_sql(f"INSERT INTO {name} ({into}) SELECT {', '.join(taken)} FROM before_{name} b{order}")
    if "id" in COLUMNS[name] and connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), coalesce((SELECT max(id) FROM {name}), 0) + 1, false)"
        )
