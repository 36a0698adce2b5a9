"""What policies of retraining came to over history: the record that `python -m ml replay --json` printed, kept in the home."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.config import Config
from ml.errors import BadInput

WEEK = 7
FILE = "replay.json"


@dataclass(frozen=True)
class Line:
    """Average precision by day, as the mean of the seven days that end on it; None before there are seven with figures."""

    name: str
    days: tuple[dt.date, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Played:
    """What one policy came to; see `ml.replay.replay.Course`."""

    policy: str
    mean: float | None
    regret: float | None
    days_to_90: int | None
    trainings: int
    promotions: int
    refreshes: int
    worse: int
    refused: int
    seconds: float
    line: Line


@dataclass(frozen=True)
class Replayed:
    """Policies over the same days, the best mean first; `oracle` is what could be had, None where nobody knows.

    Parameters:
        first, last: nights.
        days: matured days of which all policies have figures.
        drift: first day of the first change of a simulated world.
    """

    first: dt.date
    last: dt.date
    days: int
    drift: dt.date | None
    oracle: Line | None
    oracle_mean: float | None
    policies: tuple[Played, ...]


def place(config: Config) -> Path:
    """The file of the record."""
    return config.home / "replay" / FILE


def replays(config: Config) -> Replayed | None:
    """The last replay of a deployment's policies; None without a record.

    Raises:
        BadInput: the file is not what `python -m ml replay --json` prints.
    """
    file = place(config)
    if not file.is_file():
        return None
    try:
        return _replayed(json.loads(file.read_text()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{file} is not what `python -m ml replay --json` prints ({type(error).__name__}: {error}); "
            f"write it again: python -m ml replay … --json > {file}"
        ) from None


def _replayed(record: Mapping[str, Any]) -> Replayed:
    played = [_played(course) for course in record["courses"]]
    return Replayed(
        first=dt.date.fromisoformat(record["first"]),
        last=dt.date.fromisoformat(record["last"]),
        days=len(record["days"]),
        drift=dt.date.fromisoformat(record["drift"]) if record["drift"] else None,
        oracle=_line("oracle", record["oracle"]) if record["oracle"] else None,
        oracle_mean=record["oracle_mean"],
        policies=tuple(sorted(played, key=lambda each: (each.mean is None, -(each.mean or 0.0)))),
    )


def _played(course: Mapping[str, Any]) -> Played:
    figures = {name: course[name] for name in Played.__dataclass_fields__ if name != "line"}
    return Played(**figures, line=_line(course["policy"], course["average_precision"]))


def _line(name: str, by_day: Mapping[str, float | None]) -> Line:
    known = sorted((dt.date.fromisoformat(day), float(value)) for day, value in by_day.items() if value is not None)
    means: list[float | None] = [
        sum(value for _, value in known[end - WEEK : end]) / WEEK if end >= WEEK else None for end in range(1, len(known) + 1)
    ]
    return Line(name, tuple(day for day, _ in known), tuple(means))
