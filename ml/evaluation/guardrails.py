"""Guardrails: measures on which the challenger may not be worse than the champion by more than a margin.

Non-inferiority is shown, not assumed: a guardrail passes when the lower bound of the gain is above minus the margin, fails when
the upper bound is below it, and is unknown in between. All must pass, which needs no correction of alpha.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from ml.evaluation.bootstrap import Difference, student_quantile
from ml.evaluation.holdout import CheckedRows
from ml.evaluation.metrics import Floats, daily_card_precision

CARD_PRECISION = "card precision"
LATENCY, SIZE = "latency", "size"


class Status(StrEnum):
    """What is known of a guardrail."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    """One guardrail's answer.

    Attributes:
        name, unit: what is guarded.
        status: passed, failed, or not known from these rows.
        margin: how much worse the challenger may be, or for a limit the largest value allowed.
        champion, challenger: each model's figure; None where there is none.
        gain: how much better the challenger is; None for a limit.
        lower_bound, upper_bound: one-sided bounds of the gain, for a limit of the challenger's figure; None where none could be
            computed.
        told: a sentence.
    """

    name: str
    unit: str
    status: Status
    margin: float
    champion: float | None
    challenger: float | None
    gain: float | None
    lower_bound: float | None
    upper_bound: float | None
    told: str

    @property
    def times_the_rows(self) -> float | None:
        """How many times these rows an unknown guardrail would need, if its figures stay; None where that is not known."""
        if self.status is not Status.UNKNOWN or self.gain is None or self.lower_bound is None or self.gain <= -self.margin:
            return None
        return ((self.gain - self.lower_bound) / (self.gain + self.margin)) ** 2


def status_of(lower_bound: float, upper_bound: float, margin: float) -> Status:
    """Whether a gain is shown to be above minus the margin, shown to be below, or neither."""
    if lower_bound > -margin:
        return Status.PASSED
    return Status.FAILED if upper_bound < -margin else Status.UNKNOWN


def not_inferior(difference: Difference, margin: float) -> Check:
    """The guardrail on a measure that was compared."""
    return Check(
        name=difference.name,
        unit=difference.unit,
        status=status_of(difference.lower_bound, difference.upper_bound, margin),
        margin=margin,
        champion=difference.champion,
        challenger=difference.challenger,
        gain=difference.gain,
        lower_bound=difference.lower_bound,
        upper_bound=difference.upper_bound,
        told=_told(difference.name, difference.champion, difference.challenger, difference.lower_bound, margin),
    )


def card_precision_by_day(rows: CheckedRows, cards_a_day: int, margin: float, alpha: float) -> Check:
    """Card precision@k: both models see the same days, and the difference of a day is one observation.

    Two days at least are needed; with fewer nothing is known.
    """
    name, unit = f"{CARD_PRECISION}@{cards_a_day}", "share"
    old, new = (
        daily_card_precision(rows.days, rows.clusters.entity, rows.labels, scores, cards_a_day)
        for scores in (rows.champion, rows.challenger)
    )
    daily, champion, challenger = new - old, float(old.mean()), float(new.mean())
    if len(daily) < 2:
        told = f"{name}: {len(daily)} day of rows, an interval over days needs two"
        return Check(name, unit, Status.UNKNOWN, margin, champion, challenger, challenger - champion, None, None, told)
    half = student_quantile(1 - alpha, len(daily) - 1) * float(daily.std(ddof=1)) / np.sqrt(len(daily))
    gain = challenger - champion
    lower, upper = float(gain - half), float(gain + half)
    return Check(
        name=name,
        unit=unit,
        status=status_of(lower, upper, margin),
        margin=margin,
        champion=champion,
        challenger=challenger,
        gain=gain,
        lower_bound=lower,
        upper_bound=upper,
        told=_told(name, champion, challenger, lower, margin),
    )


def latency_within(milliseconds: ArrayLike, limit: float, alpha: float) -> Check:
    """The median time of scoring one row, with bounds by order statistics, against a limit.

    Nothing is known from so few calls that even the slowest may well lie below the median: under five at alpha .05.

    Args:
        milliseconds: array of shape (n_calls,), time of each call.
    """
    from scipy.stats import binom

    times: Floats = np.sort(np.asarray(milliseconds, dtype=np.float64))
    median = float(np.median(times))
    told = f"{LATENCY}: the median of {len(times)} single rows is {median:.3f} ms, at most {limit:g} ms are allowed"
    below = int(binom.ppf(alpha, len(times), 0.5))
    if not below:
        return Check(LATENCY, "milliseconds", Status.UNKNOWN, limit, None, median, None, None, None, told)
    lower, upper = float(times[below - 1]), float(times[-below])
    status = Status.PASSED if upper <= limit else Status.FAILED if lower > limit else Status.UNKNOWN
    return Check(LATENCY, "milliseconds", status, limit, None, median, None, lower, upper, told)


def size_within(megabytes: float, limit: float) -> Check:
    """The size of the serving graph against a limit."""
    status = Status.PASSED if megabytes <= limit else Status.FAILED
    told = f"{SIZE}: the serving graph has {megabytes:.2f} MB, at most {limit:g} MB are allowed"
    return Check(SIZE, "megabytes", status, limit, None, megabytes, None, megabytes, megabytes, told)


def unknown(name: str, unit: str, margin: float, why: str) -> Check:
    """A guardrail that could not be computed; it does not pass."""
    return Check(name, unit, Status.UNKNOWN, margin, None, None, None, None, None, why)


def _told(name: str, champion: float, challenger: float, lower: float, margin: float) -> str:
    return f"{name} {champion:.4g} → {challenger:.4g}: worse by at most {max(-lower, 0):.4g}, {margin:g} is allowed"
