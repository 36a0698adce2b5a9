"""Inputs of a comparison (models, holdout window, rows), and the checks that they pass before any statistic.

Each of these is an error: a model is compared with itself, the holdout overlaps a model's training data (by event time, or by
the time at which labels became known), scores are missing or constant, there are too few clusters for an interval.

Example: a holdout that starts before the challenger's training data end is refused.
    >>> day = lambda number: datetime(2025, 6, number, tzinfo=UTC)
    >>> champion, challenger = Contender("fraud 1", "aa", day(1), day(2), 0.5), Contender("fraud 2", "bb", day(8), day(9), 0.5)
    >>> check_models(champion, challenger, Holdout(day(5), day(12), day(20), digest="cc"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ml.evaluation.holdout.GateError: fraud 2 was trained on events up to 2025-06-08T..., the holdout starts at 2025-06-05T...
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.errors import Refused
from ml.evaluation.clusters import Clusters
from ml.evaluation.metrics import Floats, Integers, checked

MINIMUM_CLUSTERS = 30
"""Clusters that must hold a positive, and clusters that must hold a negative.

With 20 cards that have a fraud the estimated standard error is 12 % too small, and only a gain of .39 of average precision
would be detected (with 30: 9 % and .31, with 100: 6 % and .17). A comparison with fewer clusters would waste the holdout."""


class GateError(Refused, ValueError):
    """The comparison is invalid; the champion stays, and the message says why."""


@dataclass(frozen=True)
class Contender:
    """A model, and the time range of its training data.

    Attributes:
        name: name and version, for people.
        model_hash: content hash of the model; models with equal hashes are the same model under any name.
        trained_until: latest event time among its training and validation rows, with a time zone.
        labels_known_until: latest instant at which one of their labels became known, with a time zone.
        threshold: score from which it alerts.
        ranks: False for the base rate, which gives every row the same score; a first champion has to beat it.
    """

    name: str
    model_hash: str
    trained_until: datetime
    labels_known_until: datetime
    threshold: float
    ranks: bool = True

    def __post_init__(self) -> None:
        _require_text(self, "name", "model_hash")
        _require_instants(self, "trained_until", "labels_known_until")
        if not np.isfinite(self.threshold):
            raise GateError(f"{self.name}: the threshold is {self.threshold}, expected a score")


@dataclass(frozen=True)
class Holdout:
    """The window on which two models are compared.

    Attributes:
        start, end: event times lie in [start, end), with a time zone.
        labels_known_until: labels that became known up to this instant were used.
        digest: content hash of the rows.
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

    @property
    def days(self) -> float:
        """Length of the window in days."""
        return (self.end - self.start) / timedelta(days=1)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a holdout with the scores of both models.

    Attributes:
        labels: array of shape (n_rows,), 0 or 1.
        champion, challenger: arrays of shape (n_rows,), probabilities by each model.
        clusters: array of shape (n_rows,), the entity (card) of each row; rows of one cluster are not independent.
        event_times: array of shape (n_rows,), instants; without a time zone they are UTC.
        missed: array of shape (n_rows,), cost in money of not alerting a positive row; None where costs are not compared.
    """

    labels: ArrayLike
    champion: ArrayLike
    challenger: ArrayLike
    clusters: ArrayLike
    event_times: ArrayLike
    missed: ArrayLike | None = None


@dataclass(frozen=True, eq=False)
class CheckedRows:
    """`Rows` that passed all checks; arrays of shape (n_rows,), days in UTC."""

    labels: Integers
    champion: Floats
    challenger: Floats
    clusters: Clusters
    days: NDArray[np.datetime64]
    missed: Floats | None


def check_models(champion: Contender, challenger: Contender, holdout: Holdout) -> None:
    """Refuse a model that is compared with itself, and one whose training data overlap the holdout.

    Raises:
        GateError: the comparison is invalid.
    """
    if champion.model_hash == challenger.model_hash:
        raise GateError(
            f"champion {champion.name} and challenger {challenger.name} are the same model (hash {champion.model_hash}); "
            "a model is not compared with itself"
        )
    for contender in (champion, challenger):
        _refuse_seen(contender, holdout)


def check_rows(champion: Contender, challenger: Contender, holdout: Holdout, rows: Rows) -> CheckedRows:
    """Refuse rows from which nothing can be concluded.

    Raises:
        GateError: the message says which rows are wrong, why, and what to do.
    """
    scored = {}
    for contender, scores in ((champion, rows.champion), (challenger, rows.challenger)):
        try:
            labels, values = checked(rows.labels, scores)
        except (TypeError, ValueError) as error:
            raise GateError(f"holdout scored by {contender.name}: {error}") from error
        if contender.ranks and values.min() == values.max():
            raise GateError(
                f"{contender.name} gives all {len(values):,} rows the score {values[0]:g}; it ranks nothing, so look at how it "
                "was loaded and which features it was given"
            )
        if values.min() < 0 or values.max() > 1:
            raise GateError(
                f"{contender.name} scores from {values.min():g} to {values.max():g}; expected probabilities in [0, 1]"
            )
        scored[contender.name] = values
    if np.array_equal(scored[champion.name], scored[challenger.name]):
        raise GateError(
            f"{champion.name} and {challenger.name} give every one of {len(labels):,} rows the same score: one model was "
            "scored twice, or the challenger is a copy; look at where the scores come from"
        )
    days = _times_within(rows.event_times, holdout, len(labels)).astype("datetime64[D]")
    try:
        clusters = Clusters.of(rows.clusters, days, labels)
    except ValueError as error:
        raise GateError(str(error)) from error
    for label, name in ((1, "positive"), (0, "negative")):
        holding = len(np.unique(clusters.entity[labels == label]))
        if holding < MINIMUM_CLUSTERS:
            raise GateError(
                f"only {holding} clusters have a {name} in the holdout, an interval needs {MINIMUM_CLUSTERS}; "
                "wait for more rows or widen the holdout"
            )
    missed = None if rows.missed is None else np.asarray(rows.missed, dtype=np.float64)
    if missed is not None and missed.shape != labels.shape:
        raise GateError(f"costs of a miss have shape {missed.shape}, expected ({len(labels)},) like labels")
    return CheckedRows(labels, scored[champion.name], scored[challenger.name], clusters, days, missed)


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


def _times_within(event_times: ArrayLike, holdout: Holdout, rows: int) -> NDArray[np.datetime64]:
    try:
        times: NDArray[np.datetime64] = np.asarray(event_times, dtype="datetime64[us]")
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
    return times


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
