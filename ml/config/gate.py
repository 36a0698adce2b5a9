"""Sections on the gate: the rules of the comparison of champion and challenger, declared in advance."""

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
    """Costs of decisions: a missed positive costs its `amount` plus `missed`; an alert costs the work of people."""

    amount: Identifier
    missed: Money
    alert: Money
    false_alert: Money


class Guardrails(Section):
    """How much worse than the champion the challenger may be, and limits of its latency and size."""

    roc_auc: Area
    card_precision: Share
    calibration: ShareOfPositives
    expected_cost: MoneyPerDay | None = None
    latency: Milliseconds
    size: Megabytes


class SliceBy(Section):
    """A column that the holdout is sliced by: a category or attribute, or a number in bands between `edges`.

    Besides the events' columns there is `<cluster>_age`, the days since the cluster's first event, for example `customer_age`.
    If a band is empty nothing is promoted, unless `required` is false.
    """

    column: Identifier
    edges: list[float] = []
    name: str = ""
    required: bool = True

    @property
    def title(self) -> str:
        """Name of the slicing in reports."""
        return self.name or self.column

    @model_validator(mode="after")
    def _edges_ascend(self) -> SliceBy:
        if self.edges != sorted(set(self.edges)):
            raise ValueError(f"edges {self.edges} must rise")
        return self


class Slices(Section):
    """Slices of the holdout in which evidence of harm vetoes a promotion; each needs `clusters` clusters with a positive."""

    harm: AveragePrecision
    clusters: Clusters
    by: list[SliceBy]


class Fairness(Section):
    """Protected attributes: always reported; a guardrail if `gap` is given."""

    attributes: list[Identifier]
    gap: Share | None = None


class Golden(Section):
    """A frozen share of all events that no model is ever fitted on; every challenger is evaluated on it."""

    share: Share
    drop: AveragePrecision

    @model_validator(mode="after")
    def _share_in_bounds(self) -> Golden:
        if not 0 < self.share.value <= 0.2:
            raise ValueError(f"share is {self.share.value:g}, expected more than 0 and at most 0.2: the rest is learned from")
        return self


class Ancestor(Section):
    """Comparison with the champion of some promotions ago, because small losses add up unnoticed."""

    promotions: Promotions
    drop: AveragePrecision


class Aged(Section):
    """Another alpha for a champion in use for more than `after` days, which is likely outdated."""

    after: Days
    alpha: Probability


class Gate(Section):
    """The champion/challenger decision; there is no key that turns it off.

    `alpha` applies to every trigger; `relaxed` may give another one for a confirmed loss of performance or drift, and `aged`
    one for an old champion. At least `fresh` days of the holdout must not have been used in any earlier decision.
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
    def _bounds_hold(self) -> Gate:
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
        """The alpha of a decision (probability of promoting an equal challenger), by trigger and age of the champion."""
        alphas = [self.relaxed.get(trigger, self.alpha).value]
        if self.aged and champion_age >= dt.timedelta(days=self.aged.after.value):
            alphas.append(self.aged.alpha.value)
        return max(alphas)
