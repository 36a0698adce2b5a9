"""The verdict: an outcome with the figures from which it follows; a record whose outcome contradicts them is refused.

- PROMOTE: the lower bound of the gain is above 0, every guardrail passed, no slice is vetoed.
- KEEP: the upper bound of the gain is below the worthwhile gain, or there is evidence of harm.
- INCONCLUSIVE: neither; the record says which gain these rows could have detected, and how many more days would decide.

Example: the bounds of the gain decide; the worthwhile gain is 0.02.
    >>> from types import SimpleNamespace as Bounds
    >>> intervals = [Bounds(lower_bound=low, upper_bound=high) for low, high in ((0.01, 0.06), (-0.03, 0.01), (-0.01, 0.05))]
    >>> [decide(primary, 0.02, guardrails=[], slices=[]).value for primary in intervals]
    ['PROMOTE', 'KEEP', 'INCONCLUSIVE']
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from ml.evaluation.bootstrap import Difference
from ml.evaluation.fairness import GroupRates, Rate
from ml.evaluation.guardrails import GuardrailCheck, Status
from ml.evaluation.holdout import Contender, GateError, Holdout, check_models
from ml.evaluation.slices import SliceCheck, SliceStatus
from ml.evaluation.statistics import AVERAGE_PRECISION, EXPECTED_COST
from ml.records import attributes_of, to_record

METRICS = (AVERAGE_PRECISION.name, EXPECTED_COST.name)

MAXIMUM_ALPHA = 0.2
"""A higher alpha would promote more than one equal challenger in five by chance."""


class Outcome(StrEnum):
    """The decision on the challenger."""

    PROMOTE = "PROMOTE"
    KEEP = "KEEP"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Rules:
    """The rules of the comparison, declared before it.

    Attributes:
        metric: the primary metric, `average precision` or `expected cost`.
        alpha: probability of promoting an equal challenger, at most 0.2.
        worthwhile_gain: smallest useful gain in the metric's unit; a challenger that cannot reach it is KEEP, not INCONCLUSIVE.
        margins: by measure, how much worse the challenger may be: `ROC AUC`, `card precision`, `expected cost`, `calibration
            error`, and `golden set` and `ancestor` in average precision.
        limits: by name, the largest value allowed: `latency` in milliseconds, `size` in megabytes.
        cards_a_day: alerts that analysts can check in a day.
        alert_cost, false_alert_cost: cost of every alert, and additional cost of a false one, in money.
        slice_harm: tolerated loss of average precision in a slice.
        slice_clusters: clusters with a positive that a slice or a group needs to be judged.
        fairness_gap: how much worse off a group may be, as a share; None where fairness is only reported.
    """

    metric: str
    alpha: float
    worthwhile_gain: float
    margins: Mapping[str, float]
    limits: Mapping[str, float]
    cards_a_day: int
    alert_cost: float = 0.0
    false_alert_cost: float = 0.0
    slice_harm: float = 0.0
    slice_clusters: int = 50
    fairness_gap: float | None = None

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise GateError(f"metric is {self.metric!r}, expected one of {list(METRICS)}")
        if not 0 < self.alpha <= MAXIMUM_ALPHA:
            raise GateError(f"alpha is {self.alpha}, expected more than 0 and at most {MAXIMUM_ALPHA}")
        thresholds = {"worthwhile_gain": self.worthwhile_gain, "slice_harm": self.slice_harm, **self.margins, **self.limits}
        wrong = {name: value for name, value in thresholds.items() if not 0 <= value < math.inf}
        if wrong:
            raise GateError(f"thresholds {wrong} are negative or not finite, expected 0 or more")


@dataclass(frozen=True)
class Verdict:
    """The result of the gate with its evidence.

    Attributes:
        outcome, reason: the decision, and a sentence with the figures for the person on call.
        trigger: what started the run; it determined alpha.
        minimum_detectable_effect: true gain that rows like these detect with probability 0.8.
        more_days: days by which a longer holdout would decide; None if the outcome is decided, or no length would decide it.
        rules: declared beforehand.
        primary: the difference in the primary metric; `others` are the differences in the other measures.
        guardrails, slices, fairness: results of the checks, and rates by group.
        champion, challenger, holdout: the two models and the window.
        rows, positives, clusters, replicates: counts.
        notes: remarks on the computation, for example that two standard errors disagree.
    """

    outcome: Outcome
    reason: str
    trigger: str
    minimum_detectable_effect: float
    more_days: int | None
    rules: Rules
    primary: Difference
    others: tuple[Difference, ...]
    guardrails: tuple[GuardrailCheck, ...]
    slices: tuple[SliceCheck, ...]
    fairness: tuple[GroupRates, ...]
    champion: Contender
    challenger: Contender
    holdout: Holdout
    rows: int
    positives: int
    clusters: int
    replicates: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_models(self.champion, self.challenger, self.holdout)
        if self.rules.alpha != self.primary.alpha:
            raise GateError(f"alpha is {self.rules.alpha}, but the bounds were computed for {self.primary.alpha}")
        if self.rules.metric != self.primary.name:
            raise GateError(f"the primary metric is {self.rules.metric!r}, but {self.primary.name!r} was compared")
        expected = decide(self.primary, self.rules.worthwhile_gain, self.guardrails, self.slices)
        if self.outcome != expected:
            raise GateError(
                f"outcome {self.outcome} contradicts the figures, which say {expected}: lower bound "
                f"{self.primary.lower_bound:+.4f}, upper bound {self.primary.upper_bound:+.4f}, worthwhile gain "
                f"{self.rules.worthwhile_gain:g}, guardrails {[str(check.status) for check in self.guardrails]}, slices "
                f"{[str(check.status) for check in self.slices]}; a verdict comes from judge() and is not edited"
            )

    @property
    def metric(self) -> str:
        """Name of the primary metric."""
        return self.rules.metric

    @property
    def alpha(self) -> float:
        """Probability of promoting an equal challenger."""
        return self.rules.alpha

    @property
    def harms(self) -> bool:
        """Whether the challenger was shown to be worse: in the primary metric, by a guardrail, or in a slice."""
        return self.primary.upper_bound < 0 or _harmed(self.guardrails, self.slices)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that `json.dumps` takes; instants as ISO 8601."""
        record: dict[str, Any] = to_record(self)
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The verdict from its record, as `to_dict` returned it.

        Raises:
            GateError: a key is missing or unknown, or the record contradicts itself.
        """
        try:
            nested = {
                "outcome": Outcome(record["outcome"]),
                "rules": Rules(**record["rules"]),
                "primary": _difference(record["primary"]),
                "others": tuple(_difference(other) for other in record["others"]),
                "guardrails": tuple(_guardrail(check) for check in record["guardrails"]),
                "slices": tuple(_slice(check) for check in record["slices"]),
                "fairness": tuple(_group(rates) for rates in record["fairness"]),
                "champion": Contender(**_instants(Contender, record["champion"])),
                "challenger": Contender(**_instants(Contender, record["challenger"])),
                "holdout": Holdout(**_instants(Holdout, record["holdout"])),
                "notes": tuple(record["notes"]),
            }
            return cls(**{**record, **nested})
        except GateError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise GateError(f"not the record of a verdict: {type(error).__name__}: {error}") from error


def decide(
    primary: Difference, worthwhile_gain: float, guardrails: Iterable[GuardrailCheck], slices: Iterable[SliceCheck]
) -> Outcome:
    """The outcome that follows from the figures; a check with an unknown result prevents promotion."""
    checks, parts = list(guardrails), list(slices)
    if _harmed(checks, parts) or (primary.lower_bound <= 0 and primary.upper_bound < worthwhile_gain):
        return Outcome.KEEP
    shown = all(c.status is Status.PASSED for c in checks) and not any(p.status is SliceStatus.EMPTY for p in parts)
    return Outcome.PROMOTE if primary.lower_bound > 0 and shown else Outcome.INCONCLUSIVE


def _harmed(checks: Iterable[GuardrailCheck], parts: Iterable[SliceCheck]) -> bool:
    return any(c.status is Status.FAILED for c in checks) or any(p.status is SliceStatus.VETOED for p in parts)


def more_days(
    outcome: Outcome, primary: Difference, worthwhile_gain: float, guardrails: Iterable[GuardrailCheck], days: float
) -> int | None:
    """Days by which a longer holdout would decide: its interval could no longer hold both 0 and the worthwhile gain.

    Interval widths are assumed to shrink with the root of the days, at the same gains. The degrees of freedom would grow too,
    so the result is an upper estimate where they are few. None if the outcome is not INCONCLUSIVE, the worthwhile gain is 0, or
    more rows with the same gains would not decide.
    """
    if outcome is not Outcome.INCONCLUSIVE:
        return None
    times = []
    if primary.lower_bound <= 0:
        if worthwhile_gain <= 0:
            return None
        times.append(((primary.upper_bound - primary.lower_bound) / worthwhile_gain) ** 2)
    for check in guardrails:
        if check.status is Status.UNKNOWN:
            needed = check.times_the_rows
            if needed is None:
                return None
            times.append(needed)
    return max(math.ceil(days * max(times) - days), 1) if times else None


def reason(
    outcome: Outcome,
    primary: Difference,
    rules: Rules,
    guardrails: Iterable[GuardrailCheck],
    slices: Iterable[SliceCheck],
    counts: str,
    days: int | None,
) -> str:
    """A sentence with the figures, for the person on call."""
    old, new = _figure(primary, primary.champion), _figure(primary, primary.challenger)
    change = f"{primary.name} {old} → {new} ({_signed(primary, primary.gain)})"
    sure = f"{1 - primary.alpha:.0%}"
    low, high = _signed(primary, primary.lower_bound), _signed(primary, primary.upper_bound)
    checks, parts = list(guardrails), list(slices)
    failed = [c.sentence for c in checks if c.status is Status.FAILED]
    vetoed = [f"{p.slice} {p.group}: {p.sentence}" for p in parts if p.status is SliceStatus.VETOED]
    unknown = [c.sentence for c in checks if c.status is Status.UNKNOWN]
    unknown += [f"{p.slice} {p.group}: {p.sentence}" for p in parts if p.status is SliceStatus.EMPTY]
    longer = f" A holdout {days} days longer would decide." if days else ""
    if outcome is Outcome.PROMOTE:
        return f"The challenger is better: {change}, a gain of at least {low} with {sure} confidence, on {counts}."
    if failed or vetoed:
        harms = "; ".join([*failed, *vetoed])
        return f"The challenger does harm: {harms}. On the whole {change}, on {counts}."
    if primary.upper_bound < 0:
        least = f"a loss of at least {_signed(primary, -primary.upper_bound)[1:]} with {sure} confidence"
        return f"The challenger is significantly worse: {change}, {least}, on {counts}."
    if outcome is Outcome.KEEP:
        most = f"a gain of at most {high} with {sure} confidence, below {rules.worthwhile_gain:g}"
        return f"The challenger is not better by what is worthwhile: {change}, {most}, on {counts}."
    if primary.lower_bound > 0:
        unproven = "; ".join(unknown)
        return f"The challenger is better, but a guardrail is not shown to hold: {unproven}. {change}, on {counts}.{longer}"
    shown = f"these rows show a gain of {_figure(primary, primary.minimum_detectable_effect)} in 80 of 100 gates"
    if primary.share_of_days >= 0.01:
        shown += f"; {primary.share_of_days:.0%} of the gain's variance comes from differences between days"
    return (
        f"The holdout cannot tell: {change}, a gain between {low} and {high}, each bound with {sure} confidence, on {counts}; "
        f"{shown}.{longer}"
    )


def vacancy(outcome: Outcome, champion: Contender) -> str:
    """A sentence that says why there is still no champion; empty if there is one."""
    if champion.ranks or outcome is Outcome.PROMOTE:
        return ""
    needed = "was not" if outcome is Outcome.KEEP else "was not shown to be"
    return f" There is no champion yet: a first one has to beat {champion.name}, which {needed} beaten within all guardrails."


def _figure(difference: Difference, value: float) -> str:
    return f"{value:,.0f}" if difference.name == EXPECTED_COST.name else f"{value:.4f}"


def _signed(difference: Difference, value: float) -> str:
    return f"{value:+,.0f}" if difference.name == EXPECTED_COST.name else f"{value:+.4f}"


def _difference(record: Mapping[str, Any]) -> Difference:
    pairs = {name: tuple(record[name]) for name in ("champion_interval", "challenger_interval", "interval")}
    # Records of earlier versions of the gate have no share_of_days.
    return Difference(**{"share_of_days": 0.0, **record, **pairs})


def _guardrail(record: Mapping[str, Any]) -> GuardrailCheck:
    return GuardrailCheck(**{**attributes_of(record), "status": Status(record["status"])})


def _slice(record: Mapping[str, Any]) -> SliceCheck:
    interval = record["interval"]
    return SliceCheck(
        **{**attributes_of(record), "interval": interval and tuple(interval), "status": SliceStatus(record["status"])}
    )


def _group(record: Mapping[str, Any]) -> GroupRates:
    rates = {name: Rate(**record[name]) for name in ("selection_rate", "false_positive_rate", "recall")}
    return GroupRates(**{**record, **rates})


def _instants(kind: type[Contender] | type[Holdout], record: Mapping[str, Any]) -> dict[str, Any]:
    instants = {field.name for field in fields(kind) if field.type == "datetime"}
    return {key: datetime.fromisoformat(value) if key in instants else value for key, value in record.items()}
