"""An entity may be missing where the suite allows it; where it does not, the note tells the positives lost with the rows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import yaml

from ml.config import PROJECT, Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality.load import load_batch
from ml.quality.validate import validate_batch
from tests.deployments import land, payments, small_told, write

AS_OF = dt.datetime(2025, 3, 11, 2, tzinfo=dt.UTC)


def _deployment(tmp_path: Path, *, allowed: bool, in_column: bool) -> Config:
    told = small_told()
    if in_column:
        told["labels"] = {"column": "is_fraud", "delay": told["labels"]["delay"]}
    if allowed:
        suite = yaml.safe_load((PROJECT / told["events"]["suite"]).read_text())
        suite["rows"] = [
            expectation
            for expectation in suite["rows"]
            if expectation["kwargs"]["column"] != "customer_id" or "null" not in expectation["type"]
        ]
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump(suite))
        told["events"]["suite"] = str(path)
    return load(write(tmp_path, told))


def _day() -> dict[str, list[Any]]:
    """Forty payments, ten of them by nobody, of which three are fraud, as is one other."""
    rows = payments(40)
    rows["customer_id"] = [None if i < 10 else customer for i, customer in enumerate(rows["customer_id"])]
    return rows | {"is_fraud": [int(i < 3 or i == 20) for i in range(40)]}


def test_rows_without_an_entity_come_into_the_lake_where_the_suite_allows_it(tmp_path: Path) -> None:
    config = _deployment(tmp_path, allowed=True, in_column=True)
    land(config, "payments_2025-03-10.parquet", _day())
    told = validate_batch(config, AS_OF)
    assert (told.accepted, told.quarantined) == (40, 0)
    load_batch(config, AS_OF, told.staged)
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        assert connection.execute("SELECT count(*) FROM events WHERE customer_id IS NULL").fetchone() == (10,)


def test_the_note_says_how_many_positives_are_set_aside(tmp_path: Path) -> None:
    config = _deployment(tmp_path, allowed=False, in_column=True)
    land(config, "payments_2025-03-10.parquet", _day())
    told = validate_batch(config, AS_OF)
    assert (told.accepted, told.quarantined) == (30, 10)
    [line] = [line for line in told.note.splitlines() if "customer_id" in line]
    assert line.startswith("- 10 × customer_id: expect_column_values_to_not_be_null")
    assert line.endswith(", 3 of them with the label 1")


def test_the_note_says_how_many_answers_are_positives_of_events_that_were_set_aside(tmp_path: Path) -> None:
    config = _deployment(tmp_path, allowed=False, in_column=False)
    rows = {name: values for name, values in _day().items() if name != "is_fraud"}
    land(config, "payments_2025-03-10.parquet", rows)
    labels = {
        "payment_id": rows["payment_id"][:12],
        "is_fraud": [1, 1, 1, *[0] * 8, 1],
        "reported_at": [dt.datetime(2025, 3, 10, 23, tzinfo=dt.UTC)] * 12,
        "source": ["analyst"] * 12,
    }
    land(config, "fraud_reports_2025-03-10.parquet", labels)
    told = validate_batch(config, AS_OF)
    lines = [line for line in told.note.splitlines() if "never seen" in line]
    assert lines == ["- 10 × event_id: a label for an event that was never seen, 3 of them with the label 1"]
