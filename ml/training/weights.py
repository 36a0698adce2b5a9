"""How much each row counts in the fit: its class, its age, and a bound on what any one entity can carry.

An entity that carries much of a class teaches the model its own habits, and a fraudster who floods one terminal with payments
that will be labelled as he likes teaches it his. A cap bounds that: no customer and no terminal carries more than a given
share of the positives' weight, nor of the negatives'.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ml.config import Config
from ml.errors import Refused
from ml.training.entities import entity_codes

Floats = NDArray[np.float64]


class CapUnreachable(Refused, ValueError):
    """Too few entities carry a class: whatever the weights, one of them carries more than its cap."""


def row_weights(config: Config, train: pd.DataFrame) -> Floats:
    """Weights of training rows, shape (n_rows,), all above 0: class times recency, then capped within each class.

    Raises:
        CapUnreachable: names the class, its entities and the caps that could be met.
    """
    model, caps = config.training.model, {name: cap.value for name, cap in config.training.caps.items()}
    labels = train["label"].to_numpy()
    weights = class_weights(labels, model.positive_weight) * recency_weights(train["event_time"], model.half_life)
    entities = {name: entity_codes(config, name, train) for name in caps}
    for label, word in ((1, "positives"), (0, "negatives")):
        rows = labels == label
        if rows.any():
            try:
                weights[rows] = capped(weights[rows], {name: keys[rows] for name, keys in entities.items()}, caps)
            except CapUnreachable as error:
                raise CapUnreachable(
                    f"training.caps cannot be met by the {word}: {error}; widen training.train or raise the caps"
                ) from error
    return weights


def class_weights(labels: ArrayLike, positive_weight: float) -> Floats:
    """`positive_weight` for a positive and 1 for a negative, shape (n_rows,)."""
    return np.where(np.asarray(labels) == 1, float(positive_weight), 1.0)


def recency_weights(times: pd.Series, half_life: float | None) -> Floats:
    """Weights that halve every `half_life` days before the newest row, whose weight is 1; without one all are 1."""
    if half_life is None:
        return np.ones(len(times))
    age = (times.max() - times) / pd.Timedelta(days=1)
    return 0.5 ** (age.to_numpy(np.float64) / half_life)


def capped(weights: ArrayLike, entities: Mapping[str, ArrayLike], caps: Mapping[str, float]) -> Floats:
    """Scale rows down until no entity carries more than its cap of the total that remains.

    Scaling an entity down lowers the total and so what every other may carry, and a row has an entity of each kind. All of it
    is settled at once. For a total T, a row of weight w is scaled by the least of min(1, cap·T / W) over its entities, W being
    an entity's weight; then entities carry at most cap·T. What remains, S(T), is concave and piecewise linear in T with
    S(0) = 0 and S(Σ w) <= Σ w, so Newton's steps from Σ w come down to its largest fixed point T* in finitely many.

    At T* each entity carries at most its cap of the total that remains; no weight has grown; rows none of whose entities is
    scaled down are as they were. An entity whose rows were scaled down for the sake of another kind may end below its cap.

    Args:
        weights: shape (n_rows,), above 0.
        entities: by kind, the key of each row's entity, shape (n_rows,).
        caps: by kind, the largest share of the total, in (0, 1].

    Raises:
        CapUnreachable: S(T) < T for every T. With one kind, that is where there are fewer than 1 / cap entities.
    """
    w = np.asarray(weights, dtype=np.float64)
    if not caps:
        return w
    reach = np.full(len(w), np.inf)
    told = []
    for kind, cap in caps.items():
        keys, code = np.unique(np.asarray(entities[kind]), return_inverse=True)
        reach = np.minimum(reach, cap / np.bincount(code, weights=w)[code])
        told.append(f"{kind}: {len(keys)} with a cap of {cap:g}")
    # The slope of S at 0; at exactly 1 the caps can just be met, which rounding must not deny.
    slope = float(w @ reach)
    if slope < 1 - 1e-9:
        raise CapUnreachable(f"they come from too few ({', '.join(told)}), caps {1 / slope:.2f} times as high could be met")
    # S(T) >= T up to its first kink, so T* is not below it; with caps that can just be met it is the kink.
    total, kink = float(w.sum()), float(1 / reach.max())
    over = reach * total < 1
    while over.any():
        settled = max(float(w[~over].sum()) / (1 - float(w[over] @ reach[over])), kink) if not over.all() else kink
        if settled >= total:
            break
        total, over = settled, reach * settled < 1
    return w * np.minimum(1.0, reach * total)
