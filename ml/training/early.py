"""Young rows in a refit: answers that have come early count more, silence counts for less than a negative.

A row that is younger than the label's delay may still be answered. F(a) is the share of the positives answered within the delay
whose answer was there at age a; it is estimated from events whose delay has passed, because among younger ones only the fast
answers are seen. A positive that was answered by age a stands for 1/F(a) positives. A row without an answer is negative with
the probability (1 - p) / (1 - p F(a)), where p is the share of positives (Elkan and Noto 2008, Learning Classifiers from Only
Positive and Unlabeled Data).

Example: half of the answers come by the third day, so a positive of that age counts twice.
    >>> reporting = Reporting(np.array([1.0, 2.0, 3.0, 5.0, 6.0, 6.5]), matured=600)
    >>> reporting.share(np.array([0.5, 3.0, 7.0])).tolist()
    [0.0, 0.5, 1.0]
    >>> weights(reporting, ages=np.array([3.0, 3.0]), labels=np.array([1, 0])).round(4).tolist()
    [2.0, 0.995]
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.config import Config
from ml.errors import Refused
from ml.lake import schema
from ml.lake.labels import label_order
from ml.lake.tables import Lake, instant
from ml.training.split import Split

Floats = NDArray[np.float64]
FEWEST = 100


class TooFewAnswers(Refused, ValueError):
    """Too few positives have matured to say how soon answers come."""


@dataclass(frozen=True, eq=False)
class Reporting:
    """How soon positives are answered.

    Attributes:
        delays: days from the event until its answer was known, ascending, shape (n_positives,); of those within the label's
            delay.
        matured: number of events whose delay has passed, with those of the positives.
    """

    delays: Floats
    matured: int

    def share(self, ages: Floats) -> Floats:
        """F, the share of the positives whose answer was there at each age in days, shape (n_rows,)."""
        known: Floats = np.searchsorted(self.delays, ages, side="right") / len(self.delays)
        return known

    def error(self, age: float) -> float:
        """Standard error of F at an age in days."""
        share = float(self.share(np.array([age]))[0])
        return float(np.sqrt(share * (1 - share) / len(self.delays)))

    @property
    def rate(self) -> float:
        """Share of the events that are positive."""
        return len(self.delays) / self.matured


def reporting(config: Config, as_of: dt.datetime, windows: Split, versions: Mapping[str, int] | None = None) -> Reporting:
    """How soon positives were answered whose delay has passed at an instant, from the lake at the versions of its tables.

    Raises:
        TooFewAnswers: there are fewer than 100 of them.
    """
    delay = config.label_delay.total_seconds() / 86_400
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    cohort = f"event_time >= {instant(windows.train_start)} AND event_time < {instant(as_of - config.label_delay)}"
    with Lake(config.lake).connect(tables, as_of, dict(versions) if versions else None) as connection:
        (matured,) = connection.execute(f"SELECT count(*) FROM events WHERE {cohort}").fetchone() or (0,)
        delays = connection.execute(
            f"""
            WITH chosen AS (SELECT event_id, event_time FROM events WHERE {cohort}),
            answer AS (
                SELECT event_id, any_value(event_time) AS event_time, min(labels.known_at) AS known_at,
                    first(labels.label ORDER BY {label_order(config)}) AS label
                FROM chosen JOIN labels USING (event_id) GROUP BY event_id
            )
            SELECT epoch(known_at - event_time) / 86400 AS age FROM answer WHERE label = 1 AND age <= {delay} ORDER BY age
            """
        ).fetchnumpy()["age"]
    if len(delays) < FEWEST:
        raise TooFewAnswers(
            f"{len(delays)} positives have matured as of {as_of:%Y-%m-%d %H:%M}, and training.refit.early needs {FEWEST} "
            "to say how soon answers come: wait, or leave it out"
        )
    return Reporting(np.asarray(delays, dtype=np.float64), int(matured))


def weights(reporting: Reporting, ages: Floats, labels: NDArray[np.int8]) -> Floats:
    """Weights of young rows, shape (n_rows,).

    Args:
        ages: days from each event to the training, shape (n_rows,); F must be above 0 there.
        labels: 1 where a positive answer has come, else 0, shape (n_rows,).
    """
    known, rate = reporting.share(ages), reporting.rate
    found: Floats = np.where(labels == 1, 1 / known, (1 - rate) / (1 - rate * known))
    return found
