"""Simulated payments on which the truth about two models is known, and the gate's verdict on them.

Frauds come several to a card, most on one day or two, and the errors of a model are shared by a card's rows, as a stolen
card's are. Where days have an effect, each model finds frauds more easily on some days than on others.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from ml.evaluation.gate import Contender, Holdout, Rows, Rules, Verdict, judge
from ml.evaluation.metrics import Floats, Integers

START = datetime(2025, 6, 2, tzinfo=UTC)
LABEL_DELAY = timedelta(days=7)
CHAMPION = Contender("champion", "a", datetime(2025, 5, 25, tzinfo=UTC), START, 0.9)
CHALLENGER = Contender("challenger", "b", datetime(2025, 5, 25, tzinfo=UTC), START, 0.9)


def payments(
    rng: np.random.Generator, fraud_cards: int, gain: float = 0.0, shared: float = 0.9, days: int = 7, by_day: float = 0.0
) -> tuple[Integers, Floats, Floats, Integers, Integers]:
    """Labels, scores of champion and challenger, cards and days: arrays of shape (n_rows,).

    Args:
        fraud_cards: cards with a fraud; of all cards they are one in eight.
        gain: how much higher the challenger scores frauds, on the scale of log odds; with 0 both are draws of one recipe.
        shared: part of the errors' variance that a card's rows share.
        days: length of the window.
        by_day: standard deviation, from day to day, of how much higher one model scores frauds than the other, on the scale of
            log odds; the mean is 0.
    """
    cards = 8 * fraud_cards
    honest = 1 + rng.negative_binomial(1.2, 0.12, cards)
    frauds = np.zeros(cards, dtype=int)
    frauds[:fraud_cards] = rng.geometric(0.3, fraud_cards)
    card = np.r_[np.repeat(np.arange(cards), honest), np.repeat(np.arange(cards), frauds)]
    labels = np.r_[np.zeros(honest.sum(), dtype=int), np.ones(frauds.sum(), dtype=int)]

    def errors() -> Floats:
        return np.sqrt(shared) * rng.normal(size=cards)[card] + np.sqrt(1 - shared) * rng.normal(size=len(card))

    common = 2.2 * labels + 0.7 * errors() - 3
    champion, challenger = common + 0.7 * errors(), common + 0.7 * errors() + gain * labels
    first, later = rng.integers(0, days, cards), rng.geometric(0.6, len(labels)) - 1
    day = np.where(labels == 1, first[card] + later, rng.integers(0, days, len(labels))) % days
    of_day = by_day / np.sqrt(2) * rng.normal(size=(2, days))[:, day] * labels
    champion, challenger = champion + of_day[0], challenger + of_day[1]
    return labels, 1 / (1 + np.exp(-champion)), 1 / (1 + np.exp(-challenger)), card, day


def gate(
    rng: np.random.Generator,
    seed: int,
    fraud_cards: int,
    gain: float = 0.0,
    alpha: float = 0.05,
    worthwhile_gain: float = 0.0,
    replicates: int = 200,
    days: int = 7,
    by_day: float = 0.0,
) -> Verdict:
    """The gate's verdict on such payments, by average precision and without guardrails."""
    labels, champion, challenger, card, day = payments(rng, fraud_cards, gain, days=days, by_day=by_day)
    end = START + timedelta(days=days)
    times = np.datetime64("2025-06-02T12:00") + day * np.timedelta64(1, "D")
    return judge(
        champion=CHAMPION,
        challenger=CHALLENGER,
        holdout=Holdout(START, end, end + LABEL_DELAY, "rows"),
        rows=Rows(labels, champion, challenger, card, times),
        rules=Rules("average precision", alpha, worthwhile_gain, margins={}, limits={}, cards_a_day=20),
        replicates=replicates,
        seed=seed,
        trigger="schedule",
        slices=(),
        attributes={},
        meetings=(),
        footprint=None,
        notes=(),
        spend=lambda: None,
    )
