"""Simulated payments on which the truth about two models is known, and the gate's verdict on them.

Frauds come several to a card, and the errors of a model are shared by a card's rows, as a stolen card's are.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from ml.evaluation.gate import Contender, Holdout, Rows, Rules, Verdict, judge
from ml.evaluation.metrics import Floats, Integers

START = datetime(2025, 6, 2, tzinfo=UTC)
HOLDOUT = Holdout(START, datetime(2025, 6, 9, tzinfo=UTC), datetime(2025, 6, 16, tzinfo=UTC), "rows")
CHAMPION = Contender("champion", "a", datetime(2025, 5, 25, tzinfo=UTC), START, 0.9)
CHALLENGER = Contender("challenger", "b", datetime(2025, 5, 25, tzinfo=UTC), START, 0.9)


def payments(
    rng: np.random.Generator, fraud_cards: int, gain: float = 0.0, shared: float = 0.9
) -> tuple[Integers, Floats, Floats, Integers]:
    """Labels, scores of champion and challenger, and cards: arrays of shape (n_rows,).

    Args:
        fraud_cards: cards with a fraud; of all cards they are one in eight.
        gain: how much higher the challenger scores frauds, on the scale of log odds; with 0 both are draws of one recipe.
        shared: part of the errors' variance that a card's rows share.
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
    return labels, 1 / (1 + np.exp(-champion)), 1 / (1 + np.exp(-challenger)), card


def gate(
    rng: np.random.Generator,
    seed: int,
    fraud_cards: int,
    gain: float = 0.0,
    alpha: float = 0.05,
    worthwhile_gain: float = 0.0,
    replicates: int = 200,
) -> Verdict:
    """The gate's verdict on such payments, by average precision and without guardrails."""
    labels, champion, challenger, card = payments(rng, fraud_cards, gain)
    return judge(
        champion=CHAMPION,
        challenger=CHALLENGER,
        holdout=HOLDOUT,
        rows=Rows(labels, champion, challenger, card, np.full(len(labels), np.datetime64("2025-06-05T12:00"))),
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
