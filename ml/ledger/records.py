"""What the ledger's records have in common: how a row is read, and what is refused before it is written."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_args

import sqlalchemy as sa

from ml.errors import BadInput

Record = TypeVar("Record")


def read(record: type[Record], row: sa.RowMapping, **more: Any) -> Record:
    """The record of a row; `more` are fields that have no column."""
    return record(**{field.name: row[field.name] for field in fields(record) if field.name not in more}, **more)  # type: ignore[arg-type]


def one_of(name: str, value: str, literal: Any) -> None:
    """Refuse a word that is not one of the literal's."""
    if value not in get_args(literal):
        raise BadInput(f"{name} is {value!r}, expected one of {list(get_args(literal))}")


def aware(as_of: dt.datetime) -> None:
    """Refuse an instant without a time zone."""
    if as_of.tzinfo is None:
        raise BadInput(f"as_of {as_of.isoformat()} has no time zone: give an aware instant, for example in UTC")


def is_json(name: str, value: Mapping[str, Any]) -> None:
    """Refuse what cannot be written as JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{name} is not JSON: {error}; give plain numbers, strings, lists and None for NaN") from error
