"""Ledgers of before are upgraded, whole and once; a new ledger and an upgraded one have the same schema."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest
import sqlalchemy as sa

from ml.ledger.ledger import Ledger
from ml.ledger.table import metadata
from ml.ledger.upgrade import HEAD, MIGRATIONS, LedgerIsNewer
from ml.ledger.words import VOCABULARIES

HERE = Path(__file__).parent


def load_before(url: str, without: tuple[str, ...] = ()) -> None:
    """Fill a database with a ledger from before there were migrations; it may lack the younger tables."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path)
        connection.executescript((HERE / "before_sqlite.sql").read_text())
        for table in without:
            connection.execute(f"DROP TABLE {table}")
        connection.close()
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute((HERE / "before_postgresql.sql").read_text().encode())
        for table in without:
            connection.execute(f"DROP TABLE {table}; DROP FUNCTION {table}_append_only".encode())


def schema(url: str) -> dict[str, Any]:
    """Tables with their columns, keys, references and triggers, as the database tells them."""
    engine = sa.create_engine(url)
    triggers = (
        "SELECT tbl_name, name, sql FROM sqlite_master WHERE type IN ('trigger', 'index') AND sql IS NOT NULL"
        if url.startswith("sqlite")
        else "SELECT event_object_table, trigger_name, event_manipulation FROM information_schema.triggers UNION ALL "
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    )
    inspector = sa.inspect(engine)
    told = {
        name: {
            "columns": {c["name"]: (str(c["type"]), c["nullable"], str(c["default"])) for c in inspector.get_columns(name)},
            "primary": inspector.get_pk_constraint(name)["constrained_columns"],
            "references": sorted(
                (k["name"], k["constrained_columns"], k["referred_table"]) for k in inspector.get_foreign_keys(name)
            ),
            "rules": sorted(rule["sqltext"] for rule in inspector.get_check_constraints(name)),
        }
        for name in inspector.get_table_names()
    }
    with engine.connect() as connection:
        told["triggers"] = sorted(map(tuple, connection.exec_driver_sql(triggers)))
    engine.dispose()
    return told


@pytest.mark.parametrize("without", [(), ("refusals",), ("refusals", "holdout_uses", "subscriptions")])
def test_an_upgraded_ledger_has_the_schema_of_a_new_one(url: str, without: tuple[str, ...]) -> None:
    load_before(url, without)
    Ledger(url)
    upgraded = schema(url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        if url.startswith("postgresql"):
            connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    engine.dispose()
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).unlink()
    Ledger(url)
    assert upgraded == schema(url)


def test_an_upgraded_ledger_has_all_that_was_in_it(url: str) -> None:
    load_before(url)
    ledger = Ledger(url)
    assert [(t.run_id, t.admitted) for t in ledger.trainings.all("fraud")] == [("r1", True), ("r2", False)]
    first, second = ledger.decisions.all("fraud")
    assert (first.outcome, first.difference, first.evidence) == ("PROMOTE", 0.2, {"primary": {"challenger": 0.5}})
    assert (second.outcome, second.difference, second.reason) == ("KEEP", None, "no better, 100 %")
    assert [(m.action, m.from_version, m.to_version) for m in ledger.moves.history("fraud")] == [
        ("promote", None, "1"),
        ("promote", "1", "2"),
        ("rollback", "2", "1"),
    ]
    assert [use.alpha for use in ledger.holdouts.all("fraud")] == [0.05]
    assert [(r.signal, r.value, r.details) for r in ledger.signals.readings("fraud", "1")][:2] == [
        ("amount: location", 5.0, {"state": {"windows": [True]}}),
        ("performance: x", None, {}),
    ]
    assert [incident.subject for incident in ledger.signals.incidents("fraud")] == ["amount", "amount"]
    assert [(m.key, m.process, m.run_id) for m in ledger.messages.all("fraud")] == [
        ("verdict 1", "train", "r1"),
        ("rollback 1", "", ""),
    ]
    assert ledger.messages.unsent("fraud", "log", ["verdict"]) == []
    assert [refusal.step for refusal in ledger.refusals.streak("fraud")] == ["fit"]


def test_alarms_of_before_name_their_requests_and_those_that_nobody_had_asked_for_get_one(url: str) -> None:
    load_before(url)
    ledger = Ledger(url)
    by_id = {request.id: request for request in ledger.requests.all("fraud")}
    alarms = ledger.signals.confirmations("fraud")
    assert [by_id[alarm.request].key for alarm in alarms] == ["confirmation 1", "confirmation 2"]
    assert [by_id[alarm.request].evidence["day"] for alarm in alarms] == ["2025-05-01", "2025-05-02"]
    assert [request.key for request in ledger.requests.unanswered("fraud", "drift")] == ["confirmation 2"]


def test_an_upgraded_ledger_goes_on(url: str) -> None:
    load_before(url)
    ledger = Ledger(url)
    (first, *_, newest) = ledger.requests.all("fraud")
    again = ledger.requests.submit(first)
    assert again == first
    ledger.messages.post(ledger.messages.all("fraud")[0])
    assert len(ledger.messages.all("fraud")) == 2
    with pytest.raises(sa.exc.IntegrityError, match="append-only"):
        stranger(url, "DELETE FROM requests")
    assert newest.id == len(ledger.requests.all("fraud"))


def stranger(url: str, statement: str) -> None:
    """Somebody who writes past the ledger."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)


def test_of_processes_that_open_an_old_ledger_at_once_one_upgrades_it(url: str) -> None:
    load_before(url)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            assert Ledger(url).moves.champion("fraud") == "1"
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load_before(url)
    before = schema(url)
    monkeypatch.setattr("ml.ledger.table.append_only", lambda *_: ["SELECT nothing FROM nowhere"])
    with pytest.raises(sa.exc.DBAPIError):
        Ledger(url)
    assert schema(url) == before
    monkeypatch.undo()
    assert Ledger(url).moves.champion("fraud") == "1"


def test_a_ledger_that_newer_code_has_upgraded_is_refused(url: str) -> None:
    Ledger(url)
    stranger(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerIsNewer, match="at migration 9999"):
        Ledger(url)


def test_the_newest_migration_is_the_head() -> None:
    assert sorted(path.stem for path in (MIGRATIONS / "versions").glob("*.py"))[-1] == HEAD


def test_the_tables_of_words_hold_the_words_of_the_code(url: str) -> None:
    load_before(url)
    Ledger(url)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        for name, words in VOCABULARIES.items():
            assert set(connection.scalars(sa.select(metadata.tables[name].c.word))) == set(get_args(words))
