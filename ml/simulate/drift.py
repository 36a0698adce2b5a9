"""Drift that can be planted in a simulated stream, by name and day.

The world may drift (`new_scenario`, `amount_shift`, `fraud_rate_shock`), which is a reason to retrain; or a feed may break, of
the payments (`feed_fault`) or of the labels (`label_fault`), which is a data incident and no reason to retrain.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from ml.config import ConfigError, Section
from ml.errors import BadInput

SLOWER = 10.0


class PlantedDrift(Section):
    """Base of every drift: it begins on `day` and lasts `days` days, or without end if `days` is None."""

    day: dt.date
    days: Annotated[int, Field(ge=1)] | None = None

    def acts_on(self, day: dt.date) -> bool:
        """Whether the drift acts on `day`."""
        return self.day <= day and (self.days is None or day < self.day + dt.timedelta(days=self.days))


class NewScenario(PlantedDrift):
    """Fraud that an earlier model cannot know: at night, bursts of small online payments abroad.

    Every night a share `customers` of all customers is hit, each by one burst of four to eight payments between midnight
    and five o'clock, of 1 to 20 currency units each. They come on top of the usual payments (`scenario` is 4).
    """

    name: Literal["new_scenario"] = "new_scenario"
    customers: Annotated[float, Field(gt=0, le=1)] = 0.0012


class AmountShift(PlantedDrift):
    """All amounts, honest or not, are multiplied by `factor`; which payments are fraud does not change."""

    name: Literal["amount_shift"] = "amount_shift"
    factor: Annotated[float, Field(gt=0, le=1000)]


class FraudRateShock(PlantedDrift):
    """The numbers of terminals and customers that become compromised on a day are multiplied by `factor`.

    What was compromised stays so for 28 and 14 days, hence the fraud rate climbs for four weeks, and outlasts `days`.
    """

    name: Literal["fraud_rate_shock"] = "fraud_rate_shock"
    factor: Annotated[float, Field(ge=0, le=1000)]


class FeedFault(PlantedDrift):
    """The feed breaks while the world goes on as before.

    Parameters
    ----------
    kind : {"nulls", "cents", "half_volume", "doubled"}
        `nulls` empties a column in a share of the rows, `cents` gives amounts times 100, `half_volume` loses every
        second payment on average, `doubled` delivers every payment twice.
    column : str, optional
        The column that `nulls` empties; no other kind has one.
    share : float, optional
        The share of rows that `nulls` empties, 0.5 if not given; no other kind has one.
    """

    name: Literal["feed_fault"] = "feed_fault"
    kind: Literal["nulls", "cents", "half_volume", "doubled"]
    column: (
        Literal[
            "payment_id",
            "paid_at",
            "customer_id",
            "terminal_id",
            "amount",
            "merchant_category",
            "channel",
            "country",
        ]
        | None
    ) = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _column_of_nulls(self) -> FeedFault:
        if self.kind == "nulls" and self.column is None:
            raise BadInput("'column' is missing: name the column that kind 'nulls' empties")
        if self.kind != "nulls" and (self.column is not None or self.share is not None):
            raise BadInput(f"'column' and 'share' belong to kind 'nulls', not to {self.kind!r}")
        return self

    def apply(self, payments: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Return the payments of one day as the broken feed delivers them; `payments` itself is left as it is."""
        if self.kind == "doubled":
            return payments.loc[payments.index.repeat(2)].reset_index(drop=True)
        if self.kind == "half_volume":
            return payments[rng.random(len(payments)) < 0.5].reset_index(drop=True)
        if self.kind == "cents":
            return payments.assign(amount=(payments["amount"] * 100).round())
        emptied = rng.random(len(payments)) < (0.5 if self.share is None else self.share)
        return payments.assign(**{str(self.column): payments[self.column].mask(emptied)})


class LabelFault(PlantedDrift):
    """The reports of fraud come late, while payments go on as before.

    Parameters
    ----------
    kind : {"stopped", "slow"}
        `stopped` holds back all reports that are due while it lasts; they come together at its end. `slow` multiplies the
        delay of the reports on payments of its days.
    factor : float, optional
        Of the delays, for `slow`; 10 if not given.
    """

    name: Literal["label_fault"] = "label_fault"
    kind: Literal["stopped", "slow"]
    factor: Annotated[float, Field(ge=1, le=20)] | None = None

    @model_validator(mode="after")
    def _end_and_factor(self) -> LabelFault:
        if self.kind == "stopped" and self.days is None:
            raise BadInput("'days' is missing: a feed of labels that is stopped has to go on some day")
        if self.kind == "stopped" and self.factor is not None:
            raise BadInput("'factor' belongs to kind 'slow', not to 'stopped'")
        return self

    @property
    def longest(self) -> tuple[float, int]:
        """By how much a report's delay is multiplied at most, and how many days are added to it."""
        return (self.factor or SLOWER, 0) if self.kind == "slow" else (1.0, self.days or 0)

    def apply(self, paid_at: pd.Series, reported_at: pd.Series) -> pd.Series:
        """When the reports on payments arrive; both times are UTC without zone, shape (n_reports,)."""
        begin = pd.Timestamp(self.day)
        end = pd.Timestamp.max if self.days is None else begin + pd.Timedelta(days=self.days)
        if self.kind == "stopped":
            return reported_at.mask((reported_at >= begin) & (reported_at < end), end.as_unit("us"))
        late = paid_at + ((reported_at - paid_at) * (self.factor or SLOWER)).dt.floor("s")
        return reported_at.mask((paid_at >= begin) & (paid_at < end), late.astype(reported_at.dtype))


_ENTRIES: TypeAdapter[tuple[PlantedDrift, ...]] = TypeAdapter(
    tuple[Annotated[NewScenario | AmountShift | FraudRateShock | FeedFault | LabelFault, Field(discriminator="name")], ...]
)


def drift_from_config(entries: Sequence[dict[str, Any]]) -> tuple[PlantedDrift, ...]:
    """Read the drift of a deployment file, for example `[{"name": "amount_shift", "day": "2025-03-01", "factor": 1.5}]`.

    Raises
    ------
    ConfigError
        An entry has an unknown name, a key is missing, unknown or out of range; the message has a line for each, which
        gives the entry's position (from 0) and the key.
    """
    try:
        return _ENTRIES.validate_python(tuple(entries))
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            # The location is (entry, name, key ...), or only (entry,) when the name itself is wrong.
            entry, *rest = problem["loc"]
            where = ".".join(str(part) for part in ("drift", entry, *(rest[1:] or ([] if rest else ["name"]))))
            lines.append(f"  {where}: {problem['msg']}")
        raise ConfigError(f"drift: {len(lines)} problem(s)\n" + "\n".join(lines)) from error
