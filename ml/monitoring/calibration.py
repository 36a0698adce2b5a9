"""Thresholds that keep the false alarms of a whole family of daily signals at a stated number a year.

What a signal does when nothing has changed is simulated from the beginning: days of an AR(1) process, the weekday's mean and
the spread estimated from as many reference days as there are, the mean over the last days, and the states with their
cooldown. A spread that few days have told is often too small, and the threshold knows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import ArrayLike

from ml.monitoring.shift import Floats
from ml.monitoring.state import NEEDED, REARM, WINDOWS

WEEK = 7
YEAR = 365
SIGNALS = 20_000
"""Simulated signals, each a year long: a rate of .005 alarms a year is told with an error of a tenth."""
STEP = 0.05
LARGEST = 0.9
"""Autocorrelation that is never exceeded: above it days are no replicates."""


@dataclass(frozen=True)
class Null:
    """What a signal is like when nothing has changed.

    Attributes:
        window: days over which it is averaged.
        reference_days: from which its weekday means and its spread were estimated.
        autocorrelation: from one day to the next.
        signed: whether the day itself must go the same way, see `evidence`; False for a distance.
    """

    window: int
    reference_days: int
    autocorrelation: float
    signed: bool


def spread_of_mean(window: int, autocorrelation: float) -> float:
    """Standard deviation of the mean of so many days of an AR(1) process of variance 1."""
    lags = np.arange(1, window)
    return float(np.sqrt((window + 2 * np.sum((window - lags) * autocorrelation**lags)) / window**2))


def evidence(mean: ArrayLike, last: ArrayLike) -> Floats:
    """Size of a mean over days as far as its last day bears it out: at most twice the last day's, 0 if it went the other way.

    Without it one wild day would be counted in three windows and confirm itself.
    """
    over, today = np.asarray(mean), np.asarray(last)
    return np.maximum(np.minimum(np.abs(over), 2 * today * np.sign(over)), 0)


@cache
def threshold(null: Null, alarms: float, *, cooldown: int, seed: int) -> float:
    """The threshold at which one such signal is confirmed so many times a year, in units of its scale.

    Args:
        alarms: confirmations a year and signal, below 1.
        cooldown: days from one confirmation to the earliest next one.
    """
    if not 0 < alarms < 1:
        raise ValueError(f"asked for {alarms} alarms a year and signal, expected a number between 0 and 1")
    sizes = _null_sizes(null, seed)
    highest = _second_of_windows(sizes).max(axis=0)
    # A signal above the threshold is confirmed at least once, so that the threshold cannot lie lower.
    low, high = float(np.quantile(highest, 1 - alarms)), float(highest.max())
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        rate = confirmations(sizes[:, highest > middle] / middle, cooldown) / SIGNALS * YEAR / len(sizes)
        low, high = (middle, high) if rate > alarms else (low, middle)
    return high


def confirmations(ratios: Floats, cooldown: int) -> int:
    """How often signals are confirmed in all, as `ml.monitoring.state.advance` does it, for many signals at once.

    Args:
        ratios: array of shape (n_days, n_signals), size over threshold.
    """
    days, signals = ratios.shape
    confirmed = np.zeros(signals, dtype=bool)
    since = np.full(signals, cooldown)
    total = 0
    for day in range(days):
        since += 1
        confirmed &= ratios[day] >= REARM
        over = ratios[day] > 1
        often = (ratios[max(0, day - WINDOWS + 1) : day + 1] > 1).sum(axis=0) >= NEEDED
        alarm = over & often & ~confirmed & (since >= cooldown)
        confirmed |= alarm
        since[alarm] = 0
        total += int(alarm.sum())
    return total


def autocorrelation(residuals: list[Floats], *, seed: int) -> float:
    """Autocorrelation from one day to the next, pooled over series, corrected for the weekday means that were removed.

    The estimate is compared with that of simulated series of the same lengths. It is kept within 0 and `LARGEST` and rounded up
    to a multiple of `STEP`, more than its own error, so that like references share their thresholds.

    Args:
        residuals: by series, array of shape (n_days,) of successive calendar days, without the weekday's mean, NaN where there
            was no day.
    """
    found = pooled_correlation(residuals)
    tried = np.array([0.0, 0.2, 0.4, 0.6, 0.8, LARGEST])
    lengths = tuple(sorted({len(series) for series in residuals}))
    weights = [sum(len(series) == length for series in residuals) * length for length in lengths]
    told = [np.average([_expected(float(rho), length, seed) for length in lengths], weights=weights) for rho in tried]
    return round(float(np.ceil(np.interp(found, told, tried) / STEP - 1e-9) * STEP), 2)


def pooled_correlation(residuals: list[Floats]) -> float:
    """Lag-1 autocorrelation over series whose variances are made equal."""
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

    It is the larger of two estimates: the day-to-day spread with the pooled autocorrelation, which is steady, and the spread of
    the windows themselves, which sees a series that wanders more than the others.

    Args:
        daily: array of shape (n_days, n_signals), reference days without their weekday's mean, or their distances from it; NaN
            where there was no day.
        means: array of shape (n_windows, n_signals), the same of windows; NaN where a day of the window is missing.
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


def _root_mean_square(told: Floats) -> Floats:
    present = ~np.isnan(told)
    return np.sqrt(np.sum(np.where(present, told, 0) ** 2, axis=0) / np.maximum(present.sum(axis=0), 1))


def _process(rng: np.random.Generator, rho: float, days: int, signals: int) -> Floats:
    """AR(1) of variance 1, shape (n_days, n_signals)."""
    told = rng.standard_normal((days, signals), dtype=np.float32)
    told[1:] *= np.sqrt(1 - rho**2)
    for day in range(1, days):
        told[day] += rho * told[day - 1]
    return told


def _weekday_means(days: Floats, reference: int) -> Floats:
    """Of each day its weekday's mean over the reference days, shape (n_days, n_signals)."""
    means = np.stack([days[weekday:reference:WEEK].mean(axis=0) for weekday in range(WEEK)])
    return means[np.arange(len(days)) % WEEK]


def _second_of_windows(sizes: Floats) -> Floats:
    """Second largest of the sizes of the last three days: a threshold below it is exceeded in two of three windows."""
    padded = np.concatenate([np.zeros((WINDOWS - 1, sizes.shape[1]), dtype=sizes.dtype), sizes])
    one, two, three = (padded[start : start + len(sizes)] for start in range(WINDOWS))
    return np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), three))
