"""Whether a released version behaves as it should on live traffic: six checks that may be looked at every night.

During a release both versions score every event, and one of them answers. Errors, latency and alerts are compared between
events that the new version answers and as many that the champion answers (at share 0: between both scores of each event).
So are the positives that each of them let pass, as far as they are reported. Scores and matured labels are compared event by
event. Each check has its own part of `ALPHA`, for all looks together (`ml.evaluation.anytime`); standard errors respect
entities and days (`ml.evaluation.clusters`).

Example: the new version alerts six times as often as the champion, on 2,000 events of 500 customers.
    >>> generator = np.random.default_rng(5)
    >>> customers, day = np.arange(2000) % 500, np.zeros(2000, dtype=np.int64)
    >>> never = np.zeros(2000, dtype=bool)
    >>> old = Arm(customers, day, alert=generator.random(2000) < 0.01, slow=never, missed=never)
    >>> new = Arm(customers, day, alert=generator.random(2000) < 0.06, slow=never, missed=never)
    >>> limits = Limits(errors=0.002, alerts=1.5, early=1.25, scores=0.2)
    >>> [check.name for check in arm_checks(new, old, limits, progress=0.5) if check.is_breached]
    ['alerts']
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.anytime import excess_of_rate, radius
from ml.evaluation.bootstrap import closed_form
from ml.evaluation.clusters import Clusters, spread
from ml.evaluation.metrics import Floats, Integers
from ml.evaluation.statistics import AVERAGE_PRECISION, Ranking

ALPHA = 0.05
"""Chance that a version as good as the champion is ever stepped back from, over all checks and looks."""
CHECKS = 6
SLOW = 0.05
"""Share of slow scores that the new version may have more than the champion."""
POSITIVES = 20
"""Fewer matured positives say nothing about average precision."""
MISSED = 100
"""Missed positives of both arms, reported so far, at which the bound of `early_check` is tightest: weeks of a small bank."""
GRID = np.linspace(0, 1, 101)
DECIMALS = 4
"""To which log odds are compared: the graph and the estimator round differently."""


@dataclass(frozen=True)
class Limits:
    """Limits of the checks; see `ml.config.release.ReleaseGuardrails`."""

    errors: float
    alerts: float
    early: float
    scores: float


@dataclass(frozen=True, eq=False)
class Arm:
    """Scored events of one side; arrays of shape (n_events,), entities of both sides numbered alike.

    Attributes:
        missed: events that the side let pass and that are positive by what was reported so far.
    """

    entity: Integers
    day: Integers
    alert: NDArray[np.bool_]
    slow: NDArray[np.bool_]
    missed: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Events that both versions have scored; arrays of shape (n_events,)."""

    entity: Integers
    day: Integers
    new: Floats
    old: Floats


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        value: how far beyond its limit the new version is, 0 at the limit, negative within it.
        error: standard error of the value; 0 for errors.
        bound: how far beyond it is for certain; for errors, the evidence less what is needed.
        is_breached: the new version is beyond the limit for certain.
        sentence: the result for people.
    """

    name: str
    value: float
    error: float
    bound: float
    is_breached: bool
    sentence: str

    @property
    def is_clear(self) -> bool:
        """Whether little hints that the new version is beyond the limit: less than two standard errors."""
        return self.value <= 2 * self.error


def errors_check(failed: int, events: int, limits: Limits) -> Check:
    """Whether the new version fails to score more events than it may; exact, for independent events."""
    evidence, needed = excess_of_rate(failed, events, limits.errors) if events else 0.0, CHECKS / ALPHA
    value = failed / events - limits.errors if events else 0.0
    text = f"errors: {failed:,} of {events:,} events could not be scored, {limits.errors:.2%} are allowed"
    return Check("errors", value, 0.0, min(evidence, 1e300) - needed, evidence >= needed, text)


def arm_checks(new: Arm, old: Arm, limits: Limits, progress: float, steps: int = 1) -> list[Check]:
    """Latency and alerts of the events that the new version answered against those of as many that the champion answered.

    Args:
        new, old: the events of one step, lest many good days hide a bad one.
        progress: events of the step so far by those that it has to see.
        steps: of the plan, each of which has its part of alpha.
    """
    if not (len(new.entity) and len(old.entity)):
        return []
    alpha = ALPHA / CHECKS / steps
    slow = _excess(new.slow, old.slow, new, old, 1.0)
    latency = _check(
        "latency",
        [(slow[0] - SLOW, slow[1], slow[2])],
        progress,
        alpha,
        f"latency: {new.slow.mean():.1%} of the scores of the new version are slow, {old.slow.mean():.1%} of the champion's; "
        f"{SLOW:.0%} more are allowed",
    )
    more = _excess(new.alert, old.alert, new, old, limits.alerts)
    fewer = _excess(old.alert, new.alert, old, new, limits.alerts)
    alerts = _check(
        "alerts",
        [more, fewer],
        progress,
        alpha,
        f"alerts: {new.alert.mean():.2%} of the events of the new version, {old.alert.mean():.2%} of the champion's; a ratio "
        f"of 1/{limits.alerts:g} to {limits.alerts:g} is allowed",
    )
    return [latency, alerts]


def early_check(new: Arm, old: Arm, limits: Limits) -> Check | None:
    """Whether the new version lets more positives pass than the champion, by the labels so far; None without two arms.

    A label that has not matured depends on the answer that the event got: analysts look at alerts first, so among events of
    one age more alerts are known to be positive than events that were let pass. Early labels are fair in this form only: of
    the events that a version answers, the share that it let pass and that was reported as positive all the same. Nobody was
    sent to look at these, whichever version answered. At every share of the traffic both arms have as many entities in the
    same days, so at any instant their events are equally old, and of equally many missed positives equally many are reported.
    That holds at any instant, so the check may be looked at as often as the others.

    It reads a difference, too, where both versions miss equally many of two kinds, one of which is reported sooner.

    Args:
        new, old: the events of all steps that the new version, and the champion in the control arm, answered.
    """
    if not (len(new.entity) and len(old.entity)):
        return None
    missed, others = int(new.missed.sum()), int(old.missed.sum())
    side = _excess(new.missed, old.missed, new, old, limits.early)
    text = (
        f"early: {missed:,} positives among {len(new.entity):,} events are reported so far that the new version let pass, "
        f"{others:,} among {len(old.entity):,} that the champion did; a ratio of {limits.early:g} is allowed"
    )
    return _check("early", [side], max(missed + others, 1) / MISSED, ALPHA / CHECKS, text)


def expected_scores(new: Floats, old: Floats) -> list[float]:
    """What the scores of two versions on the gate's rows let expect: percentiles of the difference of their log odds.

    Args:
        new, old: probabilities by both versions of the same rows, shape (n_rows,).
    """
    return [float(value) for value in np.quantile(_difference(new, old), GRID)]


def scores_check(pairs: Pairs, expected: Sequence[float], limits: Limits, progress: float, steps: int = 1) -> Check | None:
    """Whether the scores relative to the champion's are where the gate's rows let expect them, in the middle and outside.

    Args:
        pairs: of one step.
        progress, steps: as for `arm_checks`.
    """
    if not len(pairs.new):
        return None
    known, difference = np.asarray(expected), _difference(pairs.new, pairs.old)
    place = (np.searchsorted(known, difference, "left") + np.searchsorted(known, difference, "right")) / (2 * len(known))
    below, above = known[5], known[-6]
    outside = ((difference < below) | (difference > above)).astype(np.float64)
    usual = 0.1 if above > below else 0.0
    clusters = Clusters.of(pairs.entity, pairs.day, np.ones(len(place), dtype=np.int64))

    def one(values: Floats, sign: float, beyond: float) -> tuple[float, float, float]:
        found = spread((values - values.mean()) / len(values), clusters)
        return sign * float(values.mean()) - beyond, max(found.total, 1 / len(values)), found.degrees_of_freedom

    sides = [
        one(place, 1.0, 0.5 + limits.scores),
        one(place, -1.0, limits.scores - 0.5),
        one(outside, 1.0, usual + limits.scores),
    ]
    text = (
        f"scores: relative to the champion's they lie at {place.mean():.0%} of what the gate's rows let expect (50 %), and "
        f"{outside.mean():.0%} of them outside nine tenths of it; {limits.scores:.0%} off are allowed"
    )
    return _check("scores", sides, progress, ALPHA / CHECKS / steps, text)


def labels_check(pairs: Pairs, labels: Integers, progress: float) -> Check | None:
    """Whether the new version is worse on matured labels, by the gate's statistics; None where too few positives matured.

    Args:
        labels: of the pairs, shape (n_events,), 0 or 1.
    """
    positives = int(labels.sum())
    if positives < POSITIVES or positives == len(labels):
        return None
    clusters = Clusters.of(pairs.entity, pairs.day, labels)
    old, new = (Ranking(labels, scores, clusters) for scores in (pairs.old, pairs.new))
    found = closed_form(old, new, clusters, alpha=ALPHA / CHECKS)[AVERAGE_PRECISION.name]
    side = (-found.gain, found.standard_error, found.degrees_of_freedom)
    text = (
        f"labels: average precision {found.champion:.4f} → {found.challenger:.4f} ({found.gain:+.4f}) on {len(labels):,} "
        f"matured events with {positives:,} positives"
    )
    return _check("labels", [side], progress, ALPHA / CHECKS, text)


def _excess(
    values: NDArray[np.bool_], others: NDArray[np.bool_], of: Arm, beside: Arm, factor: float
) -> tuple[float, float, float]:
    """How much larger the mean of `values` is than `factor` times that of `others`: difference, standard error, freedom."""
    mean, other = float(values.mean()), float(others.mean())
    influence = np.concatenate([(values - mean) / len(values), -factor * (others - other) / len(others)])
    entity, day = np.concatenate([of.entity, beside.entity]), np.concatenate([of.day, beside.day])
    found = spread(influence, Clusters.of(entity, day, np.ones(len(influence), dtype=np.int64)))
    return mean - factor * other, max(found.total, 1 / min(len(values), len(others))), found.degrees_of_freedom


def _check(name: str, sides: Sequence[tuple[float, float, float]], progress: float, alpha: float, text: str) -> Check:
    """A check of one or more one-sided limits, each (distance beyond it, standard error, degrees of freedom)."""
    bounds = [distance - radius(progress, alpha / len(sides), max(freedom, 1.0)) * error for distance, error, freedom in sides]
    value, error = max((distance, error) for distance, error, _ in sides)
    return Check(name, value, error, max(bounds), max(bounds) > 0, text)


def _difference(new: Floats, old: Floats) -> Floats:
    return np.round(_log_odds(new) - _log_odds(old), DECIMALS)


def _log_odds(probabilities: Floats) -> Floats:
    inside = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-6, 1 - 1e-6)
    return np.log(inside) - np.log1p(-inside)
