"""Dataclasses as plain records for JSON, and back.

Example:
    >>> from ml.evaluation.guardrails import size_within
    >>> record = to_record(size_within(megabytes=3.5, limit=20.0))
    >>> record["name"], record["unit"], record["margin"]
    ('size', 'megabytes', 20.0)
    >>> attributes_of(record)["sentence"]
    'size: the serving graph has 3.50 MB, at most 20 MB are allowed'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from typing import Any

EARLIER_SENTENCE_KEY = "told"
"""Key of the attribute `sentence` in records that earlier releases stored."""


def to_record(value: Any) -> Any:
    """A dataclass, or a value inside one, as what `json.dumps` takes: times and days become ISO 8601, tuples lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_record(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_record(inner) for key, inner in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    return [to_record(inner) for inner in value] if isinstance(value, (tuple, list)) else value


def attributes_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of one dataclass from its stored record; nested records stay as they are."""
    return {"sentence" if key == EARLIER_SENTENCE_KEY else key: value for key, value in record.items()}
