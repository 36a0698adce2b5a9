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
    Expected,
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
    """Costs of decisions.

    Attributes:
        amount: measure that a missed positive costs.
        missed: what a missed positive costs besides its amount.
        alert: what any alert costs, the work of people.
        false_alert: what an alert on a negative costs besides.
    """

    amount: Identifier
    missed: Money
    alert: Money
    false_alert: Money


class Guardrails(Section):
    """How much worse than the champion the challenger may be, and limits of its latency and size.

    Attributes:
        roc_auc: loss of ROC AUC.
        card_precision: loss of card precision at `training.alerts`.
        calibration: increase of the calibration error.
        expected_cost: increase of the expected cost; null for no limit.
        latency: time of scoring one row.
        size: size of the ONNX graph.
    """

    roc_auc: Area
    card_precision: Share
    calibration: ShareOfPositives
    expected_cost: MoneyPerDay | None = None
    latency: Milliseconds
    size: Megabytes


class SliceBy(Section):
    """A column that the holdout is sliced by: a category or attribute, or a number in bands between `edges`.

    Attributes:
        column: a category, an attribute or a measure; or `<cluster>_age`, such as `customer_age`, the days since the
            first event of a row's cluster.
        edges: of the bands, rising; only for numbers.
        name: name in reports; the column's by default.
        required: nothing is promoted if a band is empty.
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
    """Slices of the holdout in which evidence of harm vetoes a promotion.

    Attributes:
        harm: loss in a slice that is tolerated.
        clusters: clusters with a positive that a slice needs to be judged.
        by: columns that the holdout is sliced by.
    """

    harm: AveragePrecision
    clusters: Clusters
    by: list[SliceBy]


class Fairness(Section):
    """Protected attributes: rates of their groups are reported.

    Attributes:
        attributes: categories or attributes.
        gap: how much worse off a group may be before nothing is promoted; null for reports alone.
    """

    attributes: list[Identifier]
    gap: Share | None = None


class Golden(Section):
    """A frozen share of all events that no model is ever fitted on; every challenger is evaluated on it.

    Attributes:
        share: share of all events, more than 0 and at most 0.2.
        drop: loss against the champion that is tolerated.
    """

    share: Share
    drop: AveragePrecision

    @model_validator(mode="after")
    def _share_in_bounds(self) -> Golden:
        if not 0 < self.share.value <= 0.2:
            raise ValueError(f"share is {self.share.value:g}, expected more than 0 and at most 0.2: the rest is learned from")
        return self


class Ancestor(Section):
    """Comparison with the champion of some promotions ago, because small losses add up unnoticed.

    Attributes:
        promotions: how many promotions ago.
        drop: loss against it that is tolerated.
    """

    promotions: Promotions
    drop: AveragePrecision


class Aged(Section):
    """Another alpha for an old champion, which is likely outdated.

    Attributes:
        after: age of the champion's last promotion or refresh from which it applies.
        alpha: probability of promoting an equal challenger, at most 0.2.
    """

    after: Days
    alpha: Probability


class Gate(Section):
    """The champion/challenger decision; there is no key that turns it off.

    Attributes:
        cluster: entity whose rows depend on each other; the bootstrap resamples its keys.
        metric: the metric that decides; `expected cost` needs `costs`.
        alpha: probability of promoting an equal challenger, at most 0.2.
        relaxed: another alpha for trainings by `performance` or `drift`.
        aged: another alpha for an old champion. The largest alpha that applies is used.
        worthwhile_gain: smallest gain that is worth a new model, in the unit of `metric`.
        fresh: days of the holdout that no earlier decision may have used, whole days.
        guardrails: how much worse than the champion the challenger may be.
        slices: parts of the holdout in which harm vetoes a promotion.
        fairness: protected attributes; null for none.
        golden: a share of events that no model is fitted on; null for none.
        ancestor: comparison with an earlier champion; null for none.
        replicates: number of bootstrap samples.
        seed: seed of the bootstrap.
    """

    cluster: Identifier
    metric: Literal["average precision", "expected cost"] = "average precision"
    alpha: Probability
    relaxed: dict[str, Probability] = {}
    aged: Aged | None = None
    worthwhile_gain: Annotated[Threshold, Expected("average precision, or money per day")]
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
