"""The building blocks of a deployment file: sections, which are frozen and reject unknown keys, and thresholds.

A threshold is a number with a unit, which must be the one that the code expects, and a reason, which the person on call reads
before changing it.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ml.config.errors import UNWRITTEN


def _identifier(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise ValueError(f"{name!r} must be lower-case letters, digits and underscores, starting with a letter")
    return name


def _utc(instant: dt.datetime) -> dt.datetime:
    return instant.replace(tzinfo=dt.UTC) if instant.tzinfo is None else instant.astimezone(dt.UTC)


LONGEST = dt.timedelta(days=3650)


def _written(text: str) -> str:
    if text.startswith("TODO"):
        raise PydanticCustomError(UNWRITTEN, "a person has yet to write it")
    return text


@dataclass(frozen=True)
class Expected:
    """What a value may be, in words; see `ml.config.keys`."""

    text: str


Written = Annotated[str, Expected("text of 8 characters or more"), Field(min_length=8), AfterValidator(_written)]
"""A text that a person must write; one that begins with TODO is an error."""
Identifier = Annotated[str, Expected("name"), AfterValidator(_identifier)]
Instant = Annotated[dt.datetime, Expected("instant"), AfterValidator(_utc)]


class Section(BaseModel):
    """Base of every section: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Threshold(Section):
    """A number with its unit and the reason for its value, as `{value: 7, unit: days, reason: …}`.

    Attributes:
        value: the number.
        unit: the unit that the key expects; another one is an error.
        reason: why the value is what it is, 8 characters or more.
    """

    value: float
    unit: str
    reason: Written

    @property
    def span(self) -> dt.timedelta:
        """The value as a duration; for units of time."""
        return dt.timedelta(**{self.unit: self.value})


def _days_or_hours(threshold: Threshold) -> Threshold:
    if threshold.unit not in ("days", "hours"):
        raise ValueError(f"unit is {threshold.unit!r}, expected 'days' or 'hours'")
    if not dt.timedelta() <= threshold.span <= LONGEST:
        raise ValueError(f"value is {threshold.value:g} {threshold.unit}, expected 0 to {LONGEST.days} days")
    return threshold


@dataclass(frozen=True)
class Limits:
    """The unit that a threshold must have, and the least and largest value."""

    unit: str
    minimum: float
    maximum: float

    def __call__(self, threshold: Threshold) -> Threshold:
        """The threshold, if it is within the limits."""
        if threshold.unit != self.unit:
            raise ValueError(f"unit is {threshold.unit!r}, expected {self.unit!r}")
        if not self.minimum <= threshold.value <= self.maximum:
            raise ValueError(f"value is {threshold.value:g} {self.unit}, expected {self.minimum:g} to {self.maximum:g}")
        return threshold


def _in(unit: str, minimum: float = 0.0, maximum: float = math.inf) -> Any:
    return AfterValidator(Limits(unit, minimum, maximum))


def _divides_a_day(threshold: Threshold) -> Threshold:
    if threshold.value % 1 or 24 % threshold.value:
        raise ValueError(
            f"value is {threshold.value:g} hours, expected 1, 2, 3, 4, 6, 8, 12 or 24: a day is a whole number of them"
        )
    return threshold


Delay = Annotated[Threshold, Expected(f"days or hours, 0 to {LONGEST.days} days"), AfterValidator(_days_or_hours)]
Days = Annotated[Threshold, _in("days", 0, 3650)]
Minutes = Annotated[Threshold, _in("minutes", 0.01, 24 * 60)]
Trials = Annotated[Threshold, _in("trials", 1, 100_000)]
Folds = Annotated[Threshold, _in("folds", 2, 50)]
Hours = Annotated[Threshold, _in("hours", 0, 24 * 365)]
Cadence = Annotated[
    Threshold, Expected("hours: 1, 2, 3, 4, 6, 8, 12 or 24"), _in("hours", 1, 24), AfterValidator(_divides_a_day)
]
Share = Annotated[Threshold, _in("share", 0, 1)]
ShareOfAlerts = Annotated[Threshold, _in("share of alerts", 0, 0.05)]
Cap = Annotated[Threshold, _in("share", 1e-6, 1)]
ShareAnswered = Annotated[Threshold, _in("share", 0.05, 1)]
Sample = Annotated[Threshold, _in("share", 0.001, 1)]
Correlation = Annotated[Threshold, _in("correlation", 0, 1)]
Ratio = Annotated[Threshold, _in("ratio", 0, 1000)]
Rows = Annotated[Threshold, _in("rows", 1)]
PerSecond = Annotated[Threshold, _in("per second", 1)]
PerDay = Annotated[Threshold, _in("per day", 1)]
PerMonth = Annotated[Threshold, _in("per month", 0, 31)]
PerYear = Annotated[Threshold, _in("per year", 0.01, 52)]
AveragePrecision = Annotated[Threshold, _in("average precision", 0, 1)]
Area = Annotated[Threshold, _in("area", 0, 0.5)]
ShareOfPositives = Annotated[Threshold, _in("share of the positives", 0, 10)]
Milliseconds = Annotated[Threshold, _in("milliseconds", 0, 60_000)]
Megabytes = Annotated[Threshold, _in("megabytes", 0, 10_000)]
Positives = Annotated[Threshold, _in("positives", 1)]
PositivesSince = Annotated[Threshold, _in("positives", 0, 100_000)]
Nights = Annotated[Threshold, _in("nights", 1, 365)]
Clusters = Annotated[Threshold, _in("clusters", 30)]
Promotions = Annotated[Threshold, _in("promotions", 1, 1000)]
Money = Annotated[Threshold, _in("money")]
MoneyPerDay = Annotated[Threshold, _in("money per day")]
Probability = Annotated[Threshold, _in("probability", 1e-9, 1)]
