"""Simulated days as profiles: features, a score and alerts that wander from day to day without any drift, or with one.

A feature is normal with a mean that has an effect of the day, an AR(1) process of a few hundredths of its standard deviation
(promotions, weather, pay days), and is higher by a tenth at weekends. Rows are never made: the counts by bin of a day's
independent rows are one multinomial draw, which is exactly their distribution.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ml.monitoring.observed import DailyProfiles
from ml.monitoring.profile import Counts, Profile

Floats = NDArray[np.float64]

NUMBERS = [f"number_{index}" for index in range(28)]
TEXTS = ["text_0", "text_1"]
MOVED = NUMBERS[:3]
"""Features that a planted drift hits."""
EDGES = ndtri(np.arange(1, 256) / 256)
REFERENCE_DAYS, SCORED_DAYS = 77, 21
FIRST = dt.date(2025, 1, 6)


@dataclass(frozen=True)
class World:
    """What days are like.

    Attributes:
        rows: of a day.
        effect: standard deviation of a day's effect, in standard deviations of a feature; features have from two thirds to four
            thirds of it.
        autocorrelation: of the effects from one day to the next.
        weekend: how much higher features are at weekends.
        freedom: degrees of freedom of the effects' Student distribution; None for normal ones.
    """

    rows: int = 50_000
    effect: float = 0.03
    autocorrelation: float = 0.3
    weekend: float = 0.1
    freedom: float | None = None


@dataclass(frozen=True)
class Stream:
    """Days in their order, the first `REFERENCE_DAYS` of them the reference, with the means of the numbers on each.

    Attributes:
        means: shape (n_days, n_numbers + 1), the last of the score.
    """

    world: World
    means: Floats
    days: DailyProfiles

    def date(self, number: int) -> dt.date:
        """The calendar day, counted from the first reference day."""
        return FIRST + dt.timedelta(number)

    @property
    def reference(self) -> DailyProfiles:
        """The days that a detector is fitted on: the score and the alerts have only the last of them."""
        features, scored = ({self.date(n) for n in range(first, REFERENCE_DAYS)} for first in (0, REFERENCE_DAYS - SCORED_DAYS))
        return DailyProfiles(
            {day: profile for day, profile in self.days.features.items() if day in features},
            {day: profile for day, profile in self.days.outputs.items() if day in scored},
            {name: {day: told for day, told in days.items() if day in scored} for name, days in self.days.series.items()},
        )

    def moved(self, rng: np.random.Generator, number: int, shift: float) -> Profile:
        """The features of a day on which some of them are shifted, in standard deviations."""
        day = self.days.features[self.date(number)]
        means = self.means[number, : len(MOVED)] + shift
        return Profile(day.rows, {**day.counts, **dict(zip(MOVED, counts_of(rng, means, day.rows), strict=True))})


def stream(rng: np.random.Generator, days: int, world: World) -> Stream:
    """So many days in which nothing but the day's effects changes."""
    sizes = world.effect * np.append(rng.uniform(2 / 3, 4 / 3, len(NUMBERS)), 1)
    weekend = np.array([(FIRST + dt.timedelta(number)).weekday() >= 5 for number in range(days)])[:, None]
    means = effects(rng, days, len(sizes), world) * sizes + world.weekend * weekend
    volume = 0.05 * effects(rng, days, 1, world)[:, 0] - 0.3 * weekend[:, 0]
    alerts = 0.1 * effects(rng, days, 1, world)[:, 0]
    mixes = 0.03 * effects(rng, days, 6 * len(TEXTS), world).reshape(days, len(TEXTS), 6)
    features, outputs, series = {}, {}, {}
    for number in range(days):
        day, rows = FIRST + dt.timedelta(number), int(world.rows * np.exp(volume[number]))
        *numbers, score = counts_of(rng, means[number], rows)
        texts = (np.exp(mix - 0.5 * np.arange(6)) for mix in mixes[number])
        of_texts = [Counts(rng.multinomial(rows, told / told.sum()), 0, 0) for told in texts]
        features[day] = Profile(rows, dict(zip([*NUMBERS, *TEXTS], [*numbers, *of_texts], strict=True)))
        outputs[day] = Profile(rows, {"score": score})
        series[day] = float(np.log(0.002) + alerts[number])
    return Stream(world, means, DailyProfiles(features, outputs, {"alerts": series}))


def effects(rng: np.random.Generator, days: int, series: int, world: World) -> Floats:
    """AR(1) of variance 1, shape (n_days, n_series)."""
    rho = world.autocorrelation
    if world.freedom is None:
        told = rng.standard_normal((days, series))
    else:
        told = rng.standard_t(world.freedom, (days, series)) * np.sqrt(1 - 2 / world.freedom)
    told[1:] *= np.sqrt(1 - rho**2)
    for day in range(1, days):
        told[day] += rho * told[day - 1]
    return told


def counts_of(rng: np.random.Generator, means: Floats, rows: int) -> list[Counts]:
    """Counts of normal numbers of standard deviation 1, one percent of them missing."""
    below = np.concatenate([np.zeros((len(means), 1)), ndtr(EDGES[None, :] - means[:, None]), np.ones((len(means), 1))], axis=1)
    missing = rng.binomial(rows, 0.01, len(means))
    return [
        Counts(rng.multinomial(rows - absent, share), int(absent))
        for absent, share in zip(missing, np.diff(below, axis=1), strict=True)
    ]
