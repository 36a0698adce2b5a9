"""Thresholds with which a family of daily signals has a stated number of false alarms a year.

A signal without any change is simulated completely: days of an AR(1) process, weekday means and spread estimated from the given
number of reference days, the mean over the last days, and the state machine with its cooldown. So the threshold accounts for
the error of a spread that was estimated from few days.

Example: evidence is limited by the last day; more reference days allow a lower threshold.
    >>> evidence([3.0, 3.0, 3.0], [5.0, 1.0, -1.0]).tolist()
    [3.0, 2.0, 0.0]
    >>> round(spread_of_mean(3, 0.0), 3), round(spread_of_mean(3, 0.5), 3)
    (0.577, 0.782)
    >>> means_of(np.array([[1.0], [2.0], [6.0]]), 2).ravel().tolist()
    [1.5, 4.0]
    >>> confirmations(np.array([[0.5], [1.2], [1.3], [1.2]]), cooldown=14)
    1
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import ArrayLike

from ml.errors import BadInput
from ml.monitoring.shift import Floats
from ml.monitoring.state import CONFIRM_DAYS, CONFIRM_WITHIN_DAYS, REARM

WEEK = 7
YEAR = 365
SIGNALS = 20_000
"""Simulated signals, each a year long: the relative error of a rate of .005 alarms a year is a tenth."""
STEP = 0.05
LARGEST = 0.9
"""Upper limit of the autocorrelation: above it days are no replicates."""


@dataclass(frozen=True)
class Null:
    """Null hypothesis: properties of a signal without any change.

    Attributes:
        window: number of days over which the signal is averaged.
        reference_days: number of days from which weekday means and spread were estimated.
        autocorrelation: correlation of a day's value with that of the day before.
        signed: whether the last day must deviate in the same direction, see `evidence`; False for a distance.
    """

    window: int
    reference_days: int
    autocorrelation: float
    signed: bool


def spread_of_mean(window: int, autocorrelation: float) -> float:
    """Standard deviation of the mean over `window` days of an AR(1) process of variance 1."""
    lags = np.arange(1, window)
    return float(np.sqrt((window + 2 * np.sum((window - lags) * autocorrelation**lags)) / window**2))


def evidence(mean: ArrayLike, last: ArrayLike) -> Floats:
    """Size of a mean over days, limited to twice the value of the last day, and 0 if the last day has the other sign.

    Without the limit a single outlier would be in three windows and confirm itself.
    """
    over, today = np.asarray(mean), np.asarray(last)
    return np.maximum(np.minimum(np.abs(over), 2 * today * np.sign(over)), 0)


@cache
def drift_threshold(null: Null, alarms_per_year: float, *, cooldown: int, seed: int) -> float:
    """The alarm threshold of a drift signal, in units of its scale: under the null it is confirmed `alarms_per_year` times.

    Args:
        null: properties of the signal.
        alarms_per_year: confirmations per year and signal, above 0 and below 1.
        cooldown: days from one confirmation to the earliest next one.
        seed: seed of the simulation; the same arguments give the same threshold.

    Raises:
        ValueError: `alarms_per_year` is out of range.
    """
    if not 0 < alarms_per_year < 1:
        raise BadInput(f"asked for {alarms_per_year} alarms a year and signal, expected a number between 0 and 1")
    sizes = _null_sizes(null, seed)
    highest = _second_of_windows(sizes).max(axis=0)
    # A signal above the threshold is confirmed at least once, so this quantile is a lower limit of the threshold.
    low, high = float(np.quantile(highest, 1 - alarms_per_year)), float(highest.max())
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        rate = confirmations(sizes[:, highest > middle] / middle, cooldown) / SIGNALS * YEAR / len(sizes)
        low, high = (middle, high) if rate > alarms_per_year else (low, middle)
    return high


def confirmations(ratios: Floats, cooldown: int) -> int:
    """Total number of confirmations of many signals; vectorized equivalent of `ml.monitoring.state.advance`.

    Args:
        ratios: array of shape (n_days, n_signals), size of a signal divided by its threshold.
        cooldown: days from one confirmation to the earliest next one.
    """
    days, signals = ratios.shape
    confirmed = np.zeros(signals, dtype=bool)
    since = np.full(signals, cooldown)
    total = 0
    for day in range(days):
        since += 1
        confirmed &= ratios[day] >= REARM
        over = ratios[day] > 1
        often = (ratios[max(0, day - CONFIRM_WITHIN_DAYS + 1) : day + 1] > 1).sum(axis=0) >= CONFIRM_DAYS
        alarm = over & often & ~confirmed & (since >= cooldown)
        confirmed |= alarm
        since[alarm] = 0
        total += int(alarm.sum())
    return total


def autocorrelation(residuals: list[Floats], *, seed: int) -> float:
    """Autocorrelation from one day to the next, pooled over series, corrected for the weekday means that were removed.

    The estimate is compared with that of simulated series of the same lengths. It is limited to 0 to `LARGEST` and rounded up
    to a multiple of `STEP`, which is larger than its error, so that similar references share their thresholds.

    Args:
        residuals: one array of shape (n_days,) per series: values on successive calendar days minus the mean of their weekday,
            NaN on days without data.
        seed: seed of the simulation.
    """
    estimate = pooled_correlation(residuals)
    tried = np.array([0.0, 0.2, 0.4, 0.6, 0.8, LARGEST])
    lengths = tuple(sorted({len(series) for series in residuals}))
    weights = [sum(len(series) == length for series in residuals) * length for length in lengths]
    expected = [np.average([_expected(float(rho), length, seed) for length in lengths], weights=weights) for rho in tried]
    return round(float(np.ceil(np.interp(estimate, expected, tried) / STEP - 1e-9) * STEP), 2)


def pooled_correlation(residuals: list[Floats]) -> float:
    """Lag-1 autocorrelation, pooled over series that are scaled to equal variance."""
    together, alone = 0.0, 0.0
    for series in residuals:
        here = series / np.sqrt(np.nanmean(series**2)) if np.nanmax(np.abs(series)) > 0 else series
        pairs = here[1:] * here[:-1]
        together += float(np.nansum(pairs))
        alone += float(np.nanmean(here**2)) * np.count_nonzero(~np.isnan(pairs))
    return together / alone if alone else 0.0


@cache
def _expected(rho: float, length: int, seed: int) -> float:
    days = _process(np.random.default_rng([seed, length]), rho, length, 400)
    return pooled_correlation(list((days - _weekday_means(days, length)).T))


@lru_cache(maxsize=2)
def _null_sizes(null: Null, seed: int) -> Floats:
    """Evidence in units of the estimated scale, shape (n_days, n_signals), in a year after the reference days."""
    length, window = null.reference_days, null.window
    days = _process(np.random.default_rng([seed, length, window]), null.autocorrelation, length + YEAR, SIGNALS)
    days -= _weekday_means(days, length)
    reference, live = days[:length], days[length:]
    scale = scale_of(reference, means_of(reference, window), window, null.autocorrelation)
    means = means_of(np.concatenate([np.zeros((window - 1, SIGNALS), dtype=live.dtype), live]), window)
    return (evidence(means, live) if null.signed else np.abs(means)) / scale.astype(live.dtype)


def scale_of(daily: Floats, means: Floats, window: int, rho: float) -> Floats:
    """Scale of the mean over `window` days, estimated from reference days; shape (n_signals,).

    It is the larger of two estimates: the spread of days with the pooled autocorrelation, which has a small variance, and the
    spread of the windows, which is larger for a series with more autocorrelation than the others.

    Args:
        daily: array of shape (n_days, n_signals), values of the reference days minus the mean of their weekday, or their
            distances from it; NaN on days without data.
        means: array of shape (n_windows, n_signals), means of `daily` over windows; NaN if a day of the window is missing.
        window: number of days of a window.
        rho: autocorrelation from one day to the next.
    """
    days = np.count_nonzero(~np.isnan(daily), axis=0)
    unbiased = np.sqrt(days / np.maximum(days - min(WEEK, len(daily)), 1))
    return np.maximum(_root_mean_square(daily) * spread_of_mean(window, rho), _root_mean_square(means)) * unbiased


def means_of(days: Floats, window: int) -> Floats:
    """Means over windows of successive days, shape (n_days - window + 1, n_signals)."""
    windows = len(days) - window + 1
    total = days[:windows].copy()
    for start in range(1, window):
        total += days[start : start + windows]
    return total / window


def _root_mean_square(values: Floats) -> Floats:
    present = ~np.isnan(values)
    return np.sqrt(np.sum(np.where(present, values, 0) ** 2, axis=0) / np.maximum(present.sum(axis=0), 1))


def _process(rng: np.random.Generator, rho: float, days: int, signals: int) -> Floats:
    """AR(1) of variance 1, shape (n_days, n_signals)."""
    values = rng.standard_normal((days, signals), dtype=np.float32)
    values[1:] *= np.sqrt(1 - rho**2)
    for day in range(1, days):
        values[day] += rho * values[day - 1]
    return values


def _weekday_means(days: Floats, reference: int) -> Floats:
    """For each day the mean of its weekday over the reference days, shape (n_days, n_signals)."""
    means = np.stack([days[weekday:reference:WEEK].mean(axis=0) for weekday in range(WEEK)])
    return means[np.arange(len(days)) % WEEK]


def _second_of_windows(sizes: Floats) -> Floats:
    """Second largest of the sizes of the last three days: a threshold below it is exceeded in two of three windows."""
    padded = np.concatenate([np.zeros((CONFIRM_WITHIN_DAYS - 1, sizes.shape[1]), dtype=sizes.dtype), sizes])
    one, two, three = (padded[start : start + len(sizes)] for start in range(CONFIRM_WITHIN_DAYS))
    return np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), three))
