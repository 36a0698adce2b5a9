"""The promotion gate: is the challenger better than the champion, on rows that neither has seen, beyond chance?

Before any statistic the gate refuses what makes a comparison worthless: a model compared with itself, a holdout that
reaches into a model's training data by event time or by the time labels became known, scores that are missing or constant,
too few clusters for an interval. A refusal is an error, never a promotion. Then one metric declared beforehand, average
precision, is compared on the same rows with a clustered interval:

- PROMOTE: the lower bound of the gain is above 0.
- KEEP: it is not, and the upper bound of the gain is below what is worthwhile.
- INCONCLUSIVE: neither; the minimum detectable effect tells whether these rows could have shown a gain at all.

Nothing turns the gate off, and a verdict whose outcome contradicts its own figures cannot be made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ml.evaluation.bootstrap import Paired, PairedDifference, cluster_codes, paired_bootstrap, student_quantile
from ml.evaluation.metrics import checked

METRIC = "average precision"

MAXIMUM_ALPHA = 0.2
"""A gate that promotes more than one equal challenger in five by chance is no gate."""

MINIMUM_REPLICATES = 200
"""With 200 replicates the standard error is known to 5 %; with fewer, the seed decides."""

MINIMUM_CLUSTERS = 30
"""Clusters that must hold a positive, and clusters that must hold a negative.

With 20 cards that have a fraud the standard error falls 12 % short of the true one, and a gain would have to be .39 of
average precision to be found (with 30: 9 % and .31, with 100: 6 % and .17). Fewer can only waste a holdout."""

POWER = 0.8


class GateError(ValueError):
    """The comparison would be worthless; the champion stays and a person reads why."""


class Outcome(StrEnum):
    """What the gate says of a challenger."""

    PROMOTE = "PROMOTE"
    KEEP = "KEEP"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Contender:
    """A model and what it has seen.

    Attributes:
        name: name and version, for people.
        model_hash: content hash of the model itself; equal hashes are one model, whatever its names.
        trained_until: latest event time among its training and validation rows, with a time zone.
        labels_known_until: latest instant at which one of their labels became known, with a time zone.
    """

    name: str
    model_hash: str
    trained_until: datetime
    labels_known_until: datetime

    def __post_init__(self) -> None:
        _require_text(self, "name", "model_hash")
        _require_instants(self, "trained_until", "labels_known_until")


@dataclass(frozen=True)
class Holdout:
    """The rows on which two models meet.

    Attributes:
        start, end: event times lie in [start, end), with a time zone.
        labels_known_until: instant up to which reports of labels were taken in.
        digest: content hash of the rows, so that a ledger sees a window used twice.
    """

    start: datetime
    end: datetime
    labels_known_until: datetime
    digest: str

    def __post_init__(self) -> None:
        _require_text(self, "digest")
        _require_instants(self, "start", "end", "labels_known_until")
        if self.start >= self.end:
            raise GateError(f"Holdout: start {self.start.isoformat()} is not before end {self.end.isoformat()}")


@dataclass(frozen=True)
class Verdict:
    """The gate's answer with the evidence it rests on.

    Attributes:
        outcome: PROMOTE, KEEP or INCONCLUSIVE.
        reason: one sentence with the figures, for the person on call.
        metric: name of the primary metric.
        paired: both models' figures, the difference and its bounds, and ROC AUC for information.
        minimum_detectable_effect: true gain that rows like these show in 80 of 100 gates.
        alpha: probability of promoting an equal challenger.
        worthwhile_gain: gain in the metric that is worth waiting for; what cannot reach it is KEEP, not INCONCLUSIVE.
        champion, challenger, holdout: who met, and where.
    """

    outcome: Outcome
    reason: str
    metric: str
    paired: PairedDifference
    minimum_detectable_effect: float
    alpha: float
    worthwhile_gain: float
    champion: Contender
    challenger: Contender
    holdout: Holdout

    def __post_init__(self) -> None:
        _refuse_self_compare(self.champion, self.challenger)
        for contender in (self.champion, self.challenger):
            _refuse_seen(contender, self.holdout)
        if self.alpha != self.paired.alpha:
            raise GateError(f"alpha is {self.alpha}, but the bounds were computed for {self.paired.alpha}")
        expected = _decide(self.paired, self.worthwhile_gain)
        if self.outcome != expected:
            raise GateError(
                f"outcome {self.outcome} contradicts the figures, which say {expected}: lower bound "
                f"{self.paired.lower_bound:+.4f}, upper bound {self.paired.upper_bound:+.4f}, worthwhile gain "
                f"{self.worthwhile_gain:g}; a verdict comes from judge() and is not edited"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values that `json.dumps` takes; instants as ISO 8601."""
        return _plain(asdict(self))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Rebuild what `to_dict` wrote.

        Raises:
            GateError: a key is missing or unknown, or the record contradicts itself.
        """
        try:
            paired = dict(record["paired"])
            paired["interval"] = tuple(paired["interval"])
            paired["roc_auc"] = Paired(**paired["roc_auc"])
            nested = {
                "outcome": Outcome(record["outcome"]),
                "paired": PairedDifference(**paired),
                "champion": Contender(**_instants(Contender, record["champion"])),
                "challenger": Contender(**_instants(Contender, record["challenger"])),
                "holdout": Holdout(**_instants(Holdout, record["holdout"])),
            }
            return cls(**{**record, **nested})
        except GateError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise GateError(f"not the record of a verdict: {type(error).__name__}: {error}") from error


def judge(
    *,
    champion: Contender,
    challenger: Contender,
    holdout: Holdout,
    labels: ArrayLike,
    champion_scores: ArrayLike,
    challenger_scores: ArrayLike,
    clusters: ArrayLike,
    event_times: ArrayLike,
    alpha: float,
    worthwhile_gain: float,
    replicates: int,
    seed: int,
) -> Verdict:
    """Compare challenger and champion on one holdout.

    Args:
        champion, challenger: who is compared, and what each has seen.
        holdout: the window the rows come from.
        labels: array of shape (n_rows,), 0 or 1.
        champion_scores, challenger_scores: arrays of shape (n_rows,), the two models' scores of the same rows.
        clusters: array of shape (n_rows,), whose row it is (the card); rows of one cluster are not independent.
        event_times: array of shape (n_rows,), instants; without a time zone they are UTC.
        alpha: probability of promoting a challenger that is not better, at most 0.2.
        worthwhile_gain: gain in average precision that is worth waiting for.
        replicates: bootstrap replicates, at least 200.
        seed: of the bootstrap; the same rows and seed give the same verdict.

    Raises:
        GateError: the comparison would be worthless; the message says why and what to do.
    """
    _refuse_self_compare(champion, challenger)
    for contender in (champion, challenger):
        _refuse_seen(contender, holdout)
    if not 0 < alpha <= MAXIMUM_ALPHA:
        raise GateError(f"alpha is {alpha}, expected more than 0 and at most {MAXIMUM_ALPHA}")
    if not 0 <= worthwhile_gain <= 1:
        raise GateError(f"worthwhile_gain is {worthwhile_gain}, expected 0 to 1 of {METRIC}")
    if replicates < MINIMUM_REPLICATES:
        raise GateError(f"replicates is {replicates}, expected at least {MINIMUM_REPLICATES}")

    for contender, scores in ((champion, champion_scores), (challenger, challenger_scores)):
        try:
            y, values = checked(labels, scores)
        except (TypeError, ValueError) as error:
            raise GateError(f"holdout scored by {contender.name}: {error}") from error
        if values.min() == values.max():
            raise GateError(
                f"{contender.name} gives all {len(values):,} rows the score {values[0]:g}; it ranks nothing, so look at how it "
                "was loaded and which features it was given"
            )
    try:
        codes, _ = cluster_codes(clusters, len(y))
    except ValueError as error:
        raise GateError(str(error)) from error
    for label, name in ((1, "positive"), (0, "negative")):
        holding = len(np.unique(codes[y == label]))
        if holding < MINIMUM_CLUSTERS:
            raise GateError(
                f"only {holding} clusters have a {name} in the holdout, an interval needs {MINIMUM_CLUSTERS}; "
                "wait for more rows or widen the holdout"
            )
    _refuse_outside(event_times, holdout, len(y))

    paired = paired_bootstrap(y, champion_scores, challenger_scores, codes, replicates=replicates, seed=seed, alpha=alpha)
    outcome = _decide(paired, worthwhile_gain)
    detectable = minimum_detectable_effect(paired)
    return Verdict(
        outcome=outcome,
        reason=_reason(outcome, paired, detectable, worthwhile_gain),
        metric=METRIC,
        paired=paired,
        minimum_detectable_effect=detectable,
        alpha=alpha,
        worthwhile_gain=worthwhile_gain,
        champion=champion,
        challenger=challenger,
        holdout=holdout,
    )


def minimum_detectable_effect(paired: PairedDifference) -> float:
    """True gain that rows like these would show in 80 of 100 gates: (t_{1-alpha} + t_{0.8}) · standard error.

    About 2.49 standard errors at alpha .05 and many clusters. Source: Bloom 1995, Minimum Detectable Effects.
    """
    quantiles = (student_quantile(p, paired.degrees_of_freedom) for p in (1 - paired.alpha, POWER))
    return sum(quantiles) * paired.standard_error


def _decide(paired: PairedDifference, worthwhile_gain: float) -> Outcome:
    if paired.lower_bound > 0:
        return Outcome.PROMOTE
    return Outcome.KEEP if paired.upper_bound < worthwhile_gain else Outcome.INCONCLUSIVE


def _reason(outcome: Outcome, paired: PairedDifference, detectable: float, worthwhile_gain: float) -> str:
    change = f"{METRIC} {paired.champion:.4f} → {paired.challenger:.4f} ({paired.difference:+.4f})"
    sure = f"{1 - paired.alpha:.0%}"
    seen = f"{paired.rows:,} rows, {paired.positives:,} positives, {paired.clusters:,} clusters"
    if outcome is Outcome.PROMOTE:
        least = f"a gain of at least {paired.lower_bound:+.4f} with {sure} confidence"
        return f"The challenger is better: {change}, {least}, on {seen}."
    if outcome is Outcome.KEEP:
        most = f"a gain of at most {paired.upper_bound:+.4f} with {sure} confidence, below {worthwhile_gain:g}"
        return f"The challenger is not better by what is worthwhile: {change}, {most}, on {seen}."
    advice = ""
    if detectable > worthwhile_gain > 0:
        advice = f", and {(detectable / worthwhile_gain) ** 2:.1f} times the rows would show {worthwhile_gain:g}"
    return (
        f"The holdout cannot tell: {change}, a gain between {paired.lower_bound:+.4f} and {paired.upper_bound:+.4f}, each "
        f"bound with {sure} confidence, on {seen}; these rows show a gain of {detectable:.4f} in 80 of 100 gates{advice}."
    )


def _refuse_self_compare(champion: Contender, challenger: Contender) -> None:
    if champion.model_hash == challenger.model_hash:
        raise GateError(
            f"champion {champion.name} and challenger {challenger.name} are the same model (hash {champion.model_hash}); "
            "a model is not compared with itself"
        )


def _refuse_seen(contender: Contender, holdout: Holdout) -> None:
    start = holdout.start.isoformat()
    if holdout.start <= contender.trained_until:
        raise GateError(
            f"{contender.name} was trained on events up to {contender.trained_until.isoformat()}, the holdout starts at "
            f"{start}; it must start after both models' training rows"
        )
    if holdout.start < contender.labels_known_until:
        raise GateError(
            f"{contender.name} was trained on labels known up to {contender.labels_known_until.isoformat()}, the holdout "
            f"starts at {start}; it must not start before both models' labels were known"
        )


def _refuse_outside(event_times: ArrayLike, holdout: Holdout, rows: int) -> None:
    try:
        times = np.asarray(event_times, dtype="datetime64[us]")
    except (TypeError, ValueError) as error:
        raise GateError(f"event_times are not instants: {error}") from error
    if times.shape != (rows,):
        raise GateError(f"event_times have shape {times.shape}, expected ({rows},) like labels")
    start, end, known = (_utc(instant) for instant in (holdout.start, holdout.end, holdout.labels_known_until))
    outside = ~((times >= start) & (times < end))
    if outside.any():
        raise GateError(
            f"{int(outside.sum()):,} of {rows:,} event times lie outside the holdout [{start}, {end}) UTC, the first is "
            f"{times[outside][0]}; cut the rows by the window that the holdout declares"
        )
    if known < times.max():
        raise GateError(
            f"labels were taken in up to {known} UTC, the last event is of {times.max()}: its label cannot be known; "
            "end the holdout where labels have matured"
        )


def _utc(instant: datetime) -> np.datetime64:
    return np.datetime64(instant.astimezone(UTC).replace(tzinfo=None), "us")


def _require_text(record: Contender | Holdout, *names: str) -> None:
    for name in names:
        if not getattr(record, name):
            raise GateError(f"{type(record).__name__}: {name} is empty; without it two models or windows look the same")


def _require_instants(record: Contender | Holdout, *names: str) -> None:
    for name in names:
        instant = getattr(record, name)
        if not isinstance(instant, datetime) or instant.utcoffset() is None:
            raise GateError(f"{type(record).__name__}: {name} is {instant!r}, expected an instant with a time zone")


def _instants(kind: type[Contender] | type[Holdout], record: Mapping[str, Any]) -> dict[str, Any]:
    instants = {field.name for field in fields(kind) if field.type == "datetime"}
    return {key: datetime.fromisoformat(value) if key in instants else value for key, value in record.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value
