"""What a training can learn of a change: the positives since then among its rows, and the night on which there are enough.

Drift is confirmed within days of a change, and the labels on it mature a week later. A training that starts at once has nothing
to learn the change from, and its cooldown would hold back the one that has.

Example: two positives a day, and a row is learned from once its day lies a week back. On 18 May there are those of 4 to 10 May,
and the fortieth, of 23 May, is there on the 31st.
    >>> days = {dt.date(2025, 4, 20) + number * DAY: 2 for number in range(21)}
    >>> known = Learnable(dt.date(2025, 5, 18), positives=days, shares=(0.0,) * 7)
    >>> known.since(dt.date(2025, 5, 4)), str(known.expected(dt.date(2025, 5, 4), needed=40))
    (14, '2025-05-31')
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ml.config import Config
from ml.lake import schema
from ml.lake.labels import label_order
from ml.lake.tables import Lake, instant
from ml.training import early
from ml.training.split import Split, split

DAY = dt.timedelta(days=1)
RECENT = 14
"""Days from which the number of positives a day is estimated."""
LONGEST = 365


@dataclass(frozen=True)
class Learnable:
    """The positives that the model which a training ships is fitted on.

    Attributes:
        night: day of the training.
        positives: number by day of the event; days without any may be left out.
        shares: for a day that lies 1, 2, … days back, the share of its positives that are learned from by then; 1 for any day
            before.
    """

    night: dt.date
    positives: Mapping[dt.date, int]
    shares: tuple[float, ...]

    def since(self, day: dt.date, night: dt.date | None = None) -> int:
        """Number of positives since a day that a training of this night learns from, or one of an earlier night."""
        newest = (night or self.night) - self._youngest * DAY
        return sum(count for of, count in self.positives.items() if day <= of <= newest)

    def expected(self, day: dt.date, needed: float) -> dt.date | None:
        """The night on which a training learns from so many positives since a day; None if that is not known."""
        end = self.night - len(self.shares) * DAY
        rate = sum(count for of, count in self.positives.items() if end - RECENT * DAY <= of < end) / RECENT
        there, now = self.since(day), self._share_since(day, self.night)
        nights = [self.night + number * DAY for number in range(LONGEST)] if rate else []
        return next((night for night in nights if there + rate * (self._share_since(day, night) - now) >= needed), None)

    @property
    def _youngest(self) -> int:
        return next((back for back, share in enumerate(self.shares, start=1) if share), len(self.shares) + 1)

    def _share_since(self, day: dt.date, night: dt.date) -> float:
        """Sum of the shares over the days since a day, as of a night."""
        back = (night - day).days
        return sum(self.shares[:back]) + max(0, back - len(self.shares))


def learnable(config: Config, as_of: dt.datetime) -> Learnable:
    """The positives that what a training at an instant ships is fitted on; a refit has newer ones than the judged model."""
    windows = split(config, as_of)
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    with Lake(config.lake).connect(tables, as_of) as connection:
        rows = connection.execute(
            f"""
            WITH answered AS (
                SELECT event_id, first(labels.label ORDER BY {label_order(config)}) AS label,
                    any_value(events.event_time) AS event_time
                FROM events JOIN labels USING (event_id)
                WHERE events.event_time >= {instant(windows.train_start)} AND events.event_time < {instant(as_of)}
                GROUP BY event_id
            )
            SELECT event_time::DATE AS day, count(*) FROM answered WHERE label = 1 GROUP BY day ORDER BY day
            """
        ).fetchall()
    return Learnable(as_of.date(), dict(rows), _shares(config, as_of, windows))


def _shares(config: Config, as_of: dt.datetime, windows: Split) -> tuple[float, ...]:
    refit = config.training.refit
    if refit is None or refit.early is None:
        until = windows.holdout_end if refit else windows.fitted_until
        return (0.0,) * (as_of.date() - until.date()).days
    back = np.arange(1, (as_of.date() - windows.holdout_end.date()).days + 1)
    try:
        found = early.reporting(config, as_of, windows)
    except early.TooFewAnswers:  # nothing can be trained yet, and the training says so
        return (0.0,) * len(back)
    shares = found.share((back - 0.5).astype(np.float64))
    return tuple(float(share) for share in np.where(shares >= refit.early.value, shares, 0.0))
