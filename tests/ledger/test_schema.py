"""What the ledger's database keeps by itself, whoever writes to it."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from ml.ledger.database import Database
from ml.ledger.decisions import decisions
from ml.ledger.ledger import Ledger
from ml.ledger.moves import promotions
from ml.ledger.trainings import trainings

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
def filled(url: str) -> str:
    """The URL of a ledger with a promotion and a decision."""
    Ledger(url)
    with Database(url).writing() as connection:
        connection.execute(sa.insert(promotions).values(PROMOTION))
        connection.execute(sa.insert(decisions).values(DECISION))
    return url


CHANGES = [
    "UPDATE promotions SET to_version = '2'",
    "UPDATE promotions SET recorded_at = '2020-01-01' WHERE sequence = 1",
    "DELETE FROM promotions",
    "DELETE FROM promotions WHERE model = 'fraud'",
    "UPDATE decisions SET outcome = 'PROMOTE'",
    "DELETE FROM decisions",
]
BY_BACKEND = {
    "sqlite": [
        "INSERT OR REPLACE INTO promotions SELECT model, sequence, action, from_version, '2', as_of, actor, reason, "
        "verdict, run_id, hashes, recorded_at FROM promotions",
        "REPLACE INTO decisions SELECT * FROM decisions",
        "INSERT INTO promotions SELECT * FROM promotions WHERE true ON CONFLICT DO UPDATE SET to_version = '2'",
    ],
    "postgresql": [
        "TRUNCATE promotions",
        "TRUNCATE requests CASCADE",
        "INSERT INTO promotions SELECT * FROM promotions ON CONFLICT (model, sequence) DO UPDATE SET to_version = '2'",
    ],
}


def test_a_stranger_cannot_change_or_delete_a_row(filled: str) -> None:
    engine = sa.create_engine(filled)

    def rows() -> list[list[sa.Row]]:
        with engine.connect() as connection:
            return [list(connection.execute(sa.select(table))) for table in (promotions, decisions)]

    before = rows()
    assert [len(of_table) for of_table in before] == [1, 1]
    for statement in [*CHANGES, *BY_BACKEND[engine.dialect.name]]:
        with pytest.raises(sa.exc.IntegrityError, match="is append-only"), engine.begin() as connection:
            connection.exec_driver_sql(statement)
        assert rows() == before, statement


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (promotions, {**PROMOTION, "sequence": 0}),
        (promotions, {**PROMOTION, "sequence": 2, "action": "demote"}),
        (promotions, {**PROMOTION, "sequence": 2, "to_version": None}),
        (decisions, {**DECISION, "challenger_version": "2", "outcome": "MAYBE"}),
        (decisions, {**DECISION, "challenger_version": "2", "trigger": "whim"}),
    ],
)
def test_the_database_refuses_a_row_that_means_nothing(filled: str, table: sa.Table, row: dict[str, object]) -> None:
    database = Database(filled)
    with pytest.raises(sa.exc.IntegrityError), database.writing() as connection:
        connection.execute(sa.insert(table).values(row))


def test_a_key_is_admitted_once_even_if_somebody_writes_past_the_ledger(filled: str) -> None:
    database = Database(filled)
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
        connection.execute(sa.insert(trainings).values(**row, admitted=True))
        connection.execute(sa.insert(trainings).values(**row, admitted=False))
        connection.execute(sa.insert(trainings).values(**row, admitted=False))
        with pytest.raises(sa.exc.IntegrityError, match=r"duplicate key|append-only"):
            connection.execute(sa.insert(trainings).values(**row, admitted=True))


def test_a_reader_does_not_wait_for_the_writer_and_sees_what_was_committed(filled: str) -> None:
    database = Database(filled)
    with database.writing() as writer:
        writer.execute(sa.insert(promotions).values({**PROMOTION, "sequence": 2, "to_version": "2"}))
        with database.reading() as reader:
            assert reader.scalar(sa.select(sa.func.count()).select_from(promotions)) == 1
    with database.reading() as reader:
        assert reader.scalar(sa.select(sa.func.count()).select_from(promotions)) == 2


@pytest.mark.parametrize(
    ("url", "why"), [("mysql://host/db", "mysql"), ("sqlite://", "forgotten"), ("sqlite:///:memory:", "forgotten")]
)
def test_a_database_that_cannot_keep_a_ledger_is_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Database(url)
