"""Sections on the decision: what is declared before champion and challenger meet."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ml.config.thresholds import (
    Area,
    AveragePrecision,
    Clusters,
    Days,
    Identifier,
    Megabytes,
    Milliseconds,
    Money,
    MoneyPerDay,
    Probability,
    Promotions,
    Section,
    Share,
    ShareOfPositives,
    Threshold,
)


class Costs(Section):
    """What decisions cost: a positive that is not alerted its `amount` and `missed` on top, an alert what people cost."""

    amount: Identifier
    missed: Money
    alert: Money
    false_alert: Money


class Guardrails(Section):
    """How much worse than the champion the challenger may be, and what serving it may take."""

    roc_auc: Area
    card_precision: Share
    calibration: ShareOfPositives
    expected_cost: MoneyPerDay | None = None
    latency: Milliseconds
    size: Megabytes


class SliceBy(Section):
    """What the holdout is cut by: a category or attribute, or bands of a number between `edges`.

    Besides the events' columns there is `<cluster>_age`, the days since the cluster's first event, for example `customer_age`.
    Where a band is empty nothing is promoted, unless the cut is not `required`.
    """

    column: Identifier
    edges: list[float] = []
    name: str = ""
    required: bool = True

    @property
    def named(self) -> str:
        """Name of the cut."""
        return self.name or self.column

    @model_validator(mode="after")
    def _rising(self) -> SliceBy:
        if self.edges != sorted(set(self.edges)):
            raise ValueError(f"edges {self.edges} must rise")
        return self


class Slices(Section):
    """Parts of the holdout in which evidence of harm vetoes, each with at least so many clusters that hold a positive."""

    harm: AveragePrecision
    clusters: Clusters
    by: list[SliceBy]


class Fairness(Section):
    """Protected attributes: reported always, a guardrail where a gap is given."""

    attributes: list[Identifier]
    gap: Share | None = None


class Golden(Section):
    """A share of all events that no model is ever fitted on; frozen, it is judged every time."""

    share: Share
    drop: AveragePrecision

    @model_validator(mode="after")
    def _some(self) -> Golden:
        if not 0 < self.share.value <= 0.2:
            raise ValueError(f"share is {self.share.value:g}, expected more than 0 and at most 0.2: the rest is learned from")
        return self


class Ancestor(Section):
    """The champion of some promotions ago: many small losses, each below notice, add up."""

    promotions: Promotions
    drop: AveragePrecision


class Aged(Section):
    """Alpha against a champion that has not been replaced for so many days: the world has moved on, it likely lags behind."""

    after: Days
    alpha: Probability


class Gate(Section):
    """The champion/challenger decision; there is no key that turns it off.

    `alpha` holds for every trigger; `relaxed` may name another one for a confirmed loss of performance or drift, and `aged` one
    for an old champion. So many days of the holdout as `fresh` says must be new to every decision.
    """

    cluster: Identifier
    metric: Literal["average precision", "expected cost"] = "average precision"
    alpha: Probability
    relaxed: dict[str, Probability] = {}
    aged: Aged | None = None
    worthwhile_gain: Threshold
    fresh: Days
    guardrails: Guardrails
    slices: Slices
    fairness: Fairness | None = None
    golden: Golden | None = None
    ancestor: Ancestor | None = None
    replicates: Annotated[int, Field(ge=200, le=100_000)] = 1000
    seed: int = 0

    @model_validator(mode="after")
    def _strict(self) -> Gate:
        unknown = set(self.relaxed) - {"performance", "drift"}
        if unknown:
            raise ValueError(f"relaxed names {sorted(unknown)}, only a confirmed 'performance' or 'drift' may relax alpha")
        aged = {"aged": self.aged.alpha} if self.aged else {}
        for name, alpha in {"alpha": self.alpha, **self.relaxed, **aged}.items():
            if alpha.value > 0.2:
                raise ValueError(f"{name} is {alpha.value:g}, more than 0.2 would promote worse models by chance")
        unit = "average precision" if self.metric == "average precision" else "money per day"
        if self.worthwhile_gain.unit != unit:
            raise ValueError(f"worthwhile_gain has the unit {self.worthwhile_gain.unit!r}, expected {unit!r} of the metric")
        if self.worthwhile_gain.value < 0 or (unit == "average precision" and self.worthwhile_gain.value > 1):
            raise ValueError(f"worthwhile_gain is {self.worthwhile_gain.value:g} {unit}, expected a gain")
        if self.fresh.value < 1 or self.fresh.value != int(self.fresh.value):
            raise ValueError(f"fresh is {self.fresh.value:g} days, expected whole days, at least 1")
        return self

    def alpha_of(self, trigger: str, champion_age: dt.timedelta) -> float:
        """Probability of promoting an equal challenger: by what started the run, and by how long the champion has been one."""
        told = [self.relaxed.get(trigger, self.alpha).value]
        if self.aged and champion_age >= dt.timedelta(days=self.aged.after.value):
            told.append(self.aged.alpha.value)
        return max(told)
