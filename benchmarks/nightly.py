"""Simulated years of nightly runs in which the true quality of every model is known.

Payments arrive by day; frauds come several to a card. A model's score is its quality times the label, plus what every model
finds hard, plus errors of its own that a card's rows share. Its true quality is its average precision on endless rows of a
day: it falls with the age of its training data, for adversaries adapt, and differs by luck from training to training. Each
night a challenger is trained and meets the champion on the newest matured window, which moves on by a day a night.

Differences have the standard error of influence functions, not of replicates: on such rows the two agree within some percent
(`benchmarks.gate_errors` tells their ratio), and a year holds hundreds of meetings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from ml.evaluation.bootstrap import Difference, closed_form, student_quantile
from ml.evaluation.clusters import Clusters
from ml.evaluation.metrics import Floats, Integers, average_precision
from ml.evaluation.reuse import DAY, freshness
from ml.evaluation.statistics import AVERAGE_PRECISION, Ranking

NIGHTS = 365
WINDOW = 14
LABEL_DELAY = 7
LAG = WINDOW + LABEL_DELAY
FRAUD_CARDS_A_DAY, HONEST_CARDS, HONEST_ROWS_A_DAY = 20, 1200, 400
FRESH_QUALITY = 0.55
SHARED = 0.9
FIRST_NIGHT = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class World:
    """How fast models age and how much trainings differ.

    Attributes:
        decay: average precision that a model loses in 45 days.
        luck: standard deviation of true average precision from training to training.
        own: standard deviation of a model's own errors, where those that all models share have 0.9.
        by_day: standard deviation, from day to day, of how much higher a model scores frauds than its quality says; every model
            has good days and bad days of its own.
    """

    decay: float = 0.02
    luck: float = 0.005
    own: float = 0.2
    by_day: float = 0.0


@dataclass(frozen=True)
class Policy:
    """When a challenger is promoted.

    Attributes:
        alpha: the lower bound of the gain must be above 0 at this alpha; None where the figure need only be higher.
        fresh: days of the window that no earlier decision has used, without which nothing is decided; 0 decides every night.
        relaxed: alpha once nothing was promoted for `old` nights.
    """

    alpha: float | None
    fresh: int = 0
    relaxed: float | None = None
    old: int = NIGHTS

    def alpha_after(self, nights: int) -> float | None:
        """Alpha when the champion was promoted so many nights ago."""
        return self.alpha if self.relaxed is None or nights < self.old else self.relaxed


@dataclass(frozen=True)
class Year:
    """What a policy did in a year: how many it promoted, how many of these were truly worse, and mean true quality."""

    promotions: int
    worse: int
    quality: float


def frauds(rng: np.random.Generator, cards: int) -> Integers:
    """Frauds of each stolen card."""
    return rng.geometric(0.6, cards)


def errors(rng: np.random.Generator, card: Integers, of_cards: Floats) -> Floats:
    """Errors of standard deviation 1 that a card's rows share for the most part."""
    return np.sqrt(SHARED) * of_cards[card] + np.sqrt(1 - SHARED) * rng.normal(size=len(card))


@cache
def signals(own: float) -> tuple[Floats, Floats]:
    """True average precision (rising) of scores with a signal, on a large sample: two arrays of one length."""
    rng = np.random.default_rng(20250701)
    days = 600
    of_card = frauds(rng, FRAUD_CARDS_A_DAY * days)
    honest = HONEST_CARDS * days // 100
    card = np.r_[np.repeat(np.arange(len(of_card)), of_card), len(of_card) + rng.integers(0, honest, HONEST_ROWS_A_DAY * days)]
    labels = (np.arange(len(card)) < of_card.sum()).astype(np.int64)
    noise = [errors(rng, card, rng.normal(size=len(of_card) + honest)) for _ in range(2)]
    signal = np.linspace(1.0, 2.6, 17)
    return np.array([average_precision(labels, s * labels + 0.9 * noise[0] + own * noise[1]) for s in signal]), signal


class Stream:
    """Rows of a year or of so many days, by day; days count from the first one that a window needs."""

    def __init__(self, seed: int, days: int | None = None) -> None:
        rng = np.random.default_rng(seed)
        days = NIGHTS + LAG if days is None else days
        stolen = FRAUD_CARDS_A_DAY * days
        self.cards = stolen + HONEST_CARDS
        of_card = frauds(rng, stolen)
        first = np.repeat(np.arange(stolen) // FRAUD_CARDS_A_DAY, of_card)
        day = np.r_[first + rng.geometric(0.6, len(first)) - 1, np.repeat(np.arange(days), HONEST_ROWS_A_DAY)]
        card = np.r_[np.repeat(np.arange(stolen), of_card), stolen + rng.integers(0, HONEST_CARDS, HONEST_ROWS_A_DAY * days)]
        labels = (np.arange(len(card)) < of_card.sum()).astype(np.int64)
        common = 0.9 * errors(rng, card, rng.normal(size=self.cards))
        order = np.argsort(day, kind="stable")
        ends = np.searchsorted(day[order], np.arange(days), side="right")
        parts = [np.split(values[order], ends)[:days] for values in (labels, card, common)]
        self.labels, self.card, self.common = parts


class Model:
    """A model: what it scores on each day, and its true quality."""

    def __init__(self, stream: Stream, world: World, seed: Sequence[int], trained_until: int) -> None:
        self._stream, self._world, self._seed, self._trained_until = stream, world, seed, trained_until
        rng = np.random.default_rng(seed)
        self._luck = world.luck * rng.normal()
        self._of_cards = rng.normal(size=stream.cards)
        self._scores: dict[int, Floats] = {}

    def quality(self, day: int) -> float:
        """True average precision on a day."""
        return FRESH_QUALITY + self._luck - self._world.decay / 45 * (day - self._trained_until)

    def scores(self, day: int) -> Floats:
        """Scores of the day's rows; the same whenever they are asked for."""
        if day not in self._scores:
            rng = np.random.default_rng([*self._seed, day + 1])
            own = errors(rng, self._stream.card[day], self._of_cards)
            signal = np.interp(self.quality(day), *signals(self._world.own)) + self._world.by_day * rng.normal()
            self._scores[day] = signal * self._stream.labels[day] + self._stream.common[day] + self._world.own * own
        return self._scores[day]


@dataclass
class _Course:
    """A policy on its way through a year."""

    policy: Policy
    champion: Model
    promoted_on: int = 0
    used: list[tuple[dt.datetime, dt.datetime]] = field(default_factory=list)
    promotions: int = 0
    worse: int = 0
    quality: list[float] = field(default_factory=list)

    def decides(self, start: dt.datetime, end: dt.datetime) -> bool:
        """Whether the window may decide; if so it is used."""
        if self.policy.fresh and not freshness(start, end, self.used, self.policy.fresh).enough:
            return False
        self.used = [*self.used[-WINDOW:], (start, end)]
        return True

    def meets(self, challenger: Model, night: int, found: Difference) -> None:
        """Promote the challenger if the policy says so."""
        alpha = self.policy.alpha_after(night - self.promoted_on)
        bound = 0.0 if alpha is None else student_quantile(1 - alpha, found.degrees_of_freedom) * found.standard_error
        if found.gain > bound:
            today = night + LAG
            self.promotions += 1
            self.worse += challenger.quality(today) < self.champion.quality(today)
            self.champion, self.promoted_on = challenger, night


def run(seed: int, world: World, policies: Mapping[str, Policy]) -> dict[str, Year]:
    """One year of the policies on the very same nights, by the policies' names."""
    stream = Stream(seed)
    # A champion in its first night: its training data ended where a challenger's of that night would.
    first = Model(stream, world, [seed, 0], trained_until=-LABEL_DELAY)
    courses = {name: _Course(policy, first) for name, policy in policies.items()}
    for night in range(NIGHTS):
        challenger = Model(stream, world, [seed, night + 1], trained_until=night - LABEL_DELAY)
        start = FIRST_NIGHT + night * DAY
        deciding = [course for course in courses.values() if course.decides(start, start + WINDOW * DAY)]
        found = meet(stream, range(night, night + WINDOW), {course.champion for course in deciding}, challenger)
        for course in deciding:
            course.meets(challenger, night, found[course.champion])
        for course in courses.values():
            course.quality.append(course.champion.quality(night + LAG))
    return {name: Year(c.promotions, c.worse, float(np.mean(c.quality))) for name, c in courses.items()}


def meet(stream: Stream, window: range, champions: set[Model], challenger: Model) -> dict[Model, Difference]:
    """How much better than each champion a challenger is on the rows of some days, by influence functions."""
    labels, card = (np.concatenate([of[day] for day in window]) for of in (stream.labels, stream.card))
    clusters = Clusters.of(card, np.repeat(window, [len(stream.labels[day]) for day in window]), labels)

    def ranking(model: Model) -> Ranking:
        return Ranking(labels, np.concatenate([model.scores(day) for day in window]), clusters)

    new = ranking(challenger)
    return {
        champion: closed_form(ranking(champion), new, clusters, alpha=0.05)[AVERAGE_PRECISION.name] for champion in champions
    }
