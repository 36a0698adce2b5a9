"""Row weights of the fit: by class, by age, and with a cap on the total weight of any one entity.

A model overfits to an entity that has much of the weight of a class; an attacker can use that by flooding one terminal with
payments whose labels he controls. A cap prevents this: no entity, such as a customer or a terminal, has more than a given
share of the total weight of the positives, nor of the negatives.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ml.config import Config
from ml.errors import Refused
from ml.training import dataset
from ml.training.entities import entity_codes

Floats = NDArray[np.float64]


class CapUnreachable(Refused, ValueError):
    """A class has too few entities: with any weights, one of them exceeds its cap."""


def row_weights(config: Config, train: pd.DataFrame) -> Floats:
    """Weights of training rows, shape (n_rows,), all above 0: class times recency, then capped within each class.

    In a refit with `training.refit.early` young rows are also weighed by what their answers say, see `ml.training.early`.

    Raises:
        CapUnreachable: names the class, its entities and the caps that can be met.
    """
    model, caps = config.training.model, {name: cap.value for name, cap in config.training.caps.items()}
    labels = train["label"].to_numpy()
    weights = class_weights(labels, model.positive_weight) * recency_weights(train["event_time"], model.half_life)
    if dataset.EARLY in train:
        weights *= train[dataset.EARLY].to_numpy(np.float64)
    entities = {name: entity_codes(config, name, train) for name in caps}
    for label, class_name in ((1, "positives"), (0, "negatives")):
        rows = labels == label
        if rows.any():
            try:
                weights[rows] = capped(weights[rows], {name: keys[rows] for name, keys in entities.items()}, caps)
            except CapUnreachable as error:
                raise CapUnreachable(
                    f"training.caps cannot be met by the {class_name}: {error}; widen training.train or raise the caps"
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
    """Scale rows down until no entity has more than its cap of the remaining total.

    Scaling an entity down lowers the total and so the limits of all others, and a row has an entity of each kind. So all scales
    are computed together. For a total T, a row of weight w is scaled by the least of min(1, cap·T / W) over its entities, W is
    an entity's weight; then entities have at most cap·T. The remaining total S(T) is concave and piecewise linear in T with
    S(0) = 0 and S(Σ w) <= Σ w, so Newton's method from Σ w reaches its largest fixed point T* in finitely many steps.

    At T* each entity has at most its cap of the remaining total. No weight grows; rows without a capped entity keep theirs.
    An entity whose rows were scaled down because of another kind may end below its cap.

    Args:
        weights: shape (n_rows,), above 0.
        entities: by kind, the key of each row's entity, shape (n_rows,).
        caps: by kind, the largest share of the total, in (0, 1].

    Raises:
        CapUnreachable: S(T) < T for every T. With one kind: there are fewer than 1 / cap entities.
    """
    weight = np.asarray(weights, dtype=np.float64)
    if not caps:
        return weight
    row_limit = np.full(len(weight), np.inf)
    counts = []
    for kind, cap in caps.items():
        keys, code = np.unique(np.asarray(entities[kind]), return_inverse=True)
        row_limit = np.minimum(row_limit, cap / np.bincount(code, weights=weight)[code])
        counts.append(f"{kind}: {len(keys)} with a cap of {cap:g}")
    # The slope of S at 0; at exactly 1 the caps can just be met, so the test allows for rounding.
    slope = float(weight @ row_limit)
    if slope < 1 - 1e-9:
        raise CapUnreachable(f"they come from too few ({', '.join(counts)}), caps {1 / slope:.2f} times as high could be met")
    # S(T) >= T up to its first kink, so T* is not below it; with caps that can just be met it is the kink.
    total, kink = float(weight.sum()), float(1 / row_limit.max())
    scaled = row_limit * total < 1
    while scaled.any():
        next_total = (
            max(float(weight[~scaled].sum()) / (1 - float(weight[scaled] @ row_limit[scaled])), kink)
            if not scaled.all()
            else kink
        )
        if next_total >= total:
            break
        total, scaled = next_total, row_limit * next_total < 1
    return weight * np.minimum(1.0, row_limit * total)
