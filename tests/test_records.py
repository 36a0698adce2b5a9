"""Records keep the keys under which they are stored, and only attributes of dataclasses are renamed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from ml.evaluation.guardrails import GuardrailCheck, Status, size_within
from ml.records import attributes_of, to_record


@dataclass(frozen=True)
class Shares:
    sentence: str
    shares: dict[str, float]
    at: datetime
    parts: tuple[int, ...] = (1, 2)


def test_a_sentence_keeps_its_stored_key() -> None:
    check = size_within(3.5, 20.0)
    record = json.loads(json.dumps(to_record(check)))
    assert record["told"] == check.sentence
    assert "sentence" not in record
    assert GuardrailCheck(**attributes_of(record) | {"status": Status(record["status"])}) == check


def test_names_of_columns_are_not_renamed() -> None:
    record = to_record(Shares("moved", {"sentence": 0.75, "told": 0.25}, datetime(2025, 6, 2, tzinfo=UTC)))
    assert record == {
        "told": "moved",
        "shares": {"sentence": 0.75, "told": 0.25},
        "at": "2025-06-02T00:00:00+00:00",
        "parts": [1, 2],
    }
