"""Records have the names of the attributes; what earlier releases stored under another name is still read."""

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


def test_a_sentence_of_an_earlier_record_is_read() -> None:
    check = size_within(3.5, 20.0)
    record = json.loads(json.dumps(to_record(check)))
    assert record["sentence"] == check.sentence
    earlier = {"told" if name == "sentence" else name: value for name, value in record.items()}
    for stored in (record, earlier):
        assert GuardrailCheck(**attributes_of(stored) | {"status": Status(stored["status"])}) == check


def test_names_of_columns_are_not_renamed() -> None:
    record = to_record(Shares("moved", {"sentence": 0.75, "told": 0.25}, datetime(2025, 6, 2, tzinfo=UTC)))
    assert record == {
        "sentence": "moved",
        "shares": {"sentence": 0.75, "told": 0.25},
        "at": "2025-06-02T00:00:00+00:00",
        "parts": [1, 2],
    }
