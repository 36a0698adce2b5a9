"""What the ledger's database keeps by itself, whoever writes to it."""

from __future__ import annotations

import datetime as dt
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ml.registry import schema
from ml.registry.database import Database, metadata

PROMOTION = {
    "model": "fraud",
    "sequence": 1,
    "action": "promote",
    "from_version": None,
    "to_version": "1",
    "as_of": dt.datetime(2025, 5, 2, tzinfo=dt.UTC),
    "actor": "gate",
    "reason": "better",
    "verdict": {"outcome": "PROMOTE"},
    "run_id": "run_1",
    "hashes": {"model.onnx": "ab"},
}
DECISION = {
    "model": "fraud",
    "as_of": dt.datetime(2025, 5, 2, tzinfo=dt.UTC),
    "trigger": "schedule",
    "run_id": "run_1",
    "champion_version": None,
    "challenger_version": "1",
    "outcome": "KEEP",
    "metric": "average_precision",
    "rows": 1000,
    "training_rows": 5000,
    "reason": "no better",
    "evidence": {},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    database = Database(f"sqlite:///{tmp_path}/ledger.db")
    with database.writing() as connection:
        connection.execute(sa.insert(schema.promotions).values(PROMOTION))
        connection.execute(sa.insert(schema.decisions).values(DECISION))
    return tmp_path / "ledger.db"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE promotions SET to_version = '2'",
        "UPDATE promotions SET recorded_at = '2020-01-01' WHERE sequence = 1",
        "DELETE FROM promotions",
        "DELETE FROM promotions WHERE model = 'fraud'",
        "INSERT OR REPLACE INTO promotions SELECT model, sequence, action, from_version, '2', as_of, actor, reason, "
        "verdict, run_id, hashes, recorded_at FROM promotions",
        "REPLACE INTO decisions SELECT * FROM decisions",
        "INSERT INTO promotions SELECT * FROM promotions WHERE true ON CONFLICT DO UPDATE SET to_version = '2'",
        "UPDATE decisions SET outcome = 'PROMOTE'",
        "DELETE FROM decisions",
    ],
)
def test_a_stranger_with_the_file_cannot_change_or_delete_a_row(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    before = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("promotions", "decisions")]
    with pytest.raises(sqlite3.IntegrityError, match="is append-only"):
        connection.execute(statement)
    connection.close()
    connection = sqlite3.connect(file)
    after = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("promotions", "decisions")]
    connection.close()
    assert after == before
    assert [len(rows) for rows in after] == [1, 1]


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (schema.promotions, {**PROMOTION, "sequence": 0}),
        (schema.promotions, {**PROMOTION, "sequence": 2, "action": "demote"}),
        (schema.promotions, {**PROMOTION, "sequence": 2, "to_version": None}),
        (schema.decisions, {**DECISION, "challenger_version": "2", "outcome": "MAYBE"}),
        (schema.decisions, {**DECISION, "challenger_version": "2", "trigger": "whim"}),
    ],
)
def test_the_database_refuses_a_row_that_means_nothing(file: Path, table: sa.Table, row: dict[str, object]) -> None:
    database = Database(f"sqlite:///{file}")
    with pytest.raises(sa.exc.IntegrityError), database.writing() as connection:
        connection.execute(sa.insert(table).values(row))


def test_a_key_is_admitted_once_even_if_somebody_writes_past_the_ledger(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    row = {
        "model": "fraud",
        "idempotency_key": "key",
        "as_of": dt.datetime(2025, 5, 2, tzinfo=dt.UTC),
        "trigger": "schedule",
        "requested_by": "scheduler",
        "reason": "nightly",
        "run_id": "run_1",
        "watermark": "w",
        "outcome_reason": "",
    }
    with database.writing() as connection:
        connection.execute(sa.insert(schema.trainings).values(**row, admitted=True))
        connection.execute(sa.insert(schema.trainings).values(**row, admitted=False))
        connection.execute(sa.insert(schema.trainings).values(**row, admitted=False))
        with pytest.raises(sa.exc.IntegrityError, match="UNIQUE"):
            connection.execute(sa.insert(schema.trainings).values(**row, admitted=True))


def test_postgresql_refuses_update_delete_and_truncate_too() -> None:
    told: list[str] = []

    def tell(statement: sa.schema.ExecutableDDLElement, *_: object, **__: object) -> None:
        told.append(str(statement.compile(dialect=postgresql.dialect())))

    engine = sa.create_mock_engine("postgresql+psycopg://", tell)
    metadata.create_all(engine, checkfirst=False)
    ddl = "\n".join(told)
    for table in ("decisions", "promotions"):
        assert f"BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT" in ddl
    assert "RAISE(ABORT" not in ddl


def test_a_reader_does_not_wait_for_the_writer_and_sees_what_was_committed(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    with database.writing() as writer:
        writer.execute(sa.insert(schema.promotions).values({**PROMOTION, "sequence": 2, "to_version": "2"}))
        with database.reading() as reader:
            assert reader.scalar(sa.select(sa.func.count()).select_from(schema.promotions)) == 1
    with database.reading() as reader:
        assert reader.scalar(sa.select(sa.func.count()).select_from(schema.promotions)) == 2


@pytest.mark.parametrize(
    ("url", "why"), [("mysql://host/db", "mysql"), ("sqlite://", "forgotten"), ("sqlite:///:memory:", "forgotten")]
)
def test_a_database_that_cannot_keep_a_ledger_is_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Database(url)
