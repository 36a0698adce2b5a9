"""Splits history by time: training, validation, a gap of the label delay, and the newest matured window as holdout."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ml.config import Config


@dataclass(frozen=True)
class Split:
    """Midnights that bound the windows, each [start, end).

    Training and validation rows have the labels known at `holdout_start`, holdout rows the labels known at `as_of`. The gap
    between `fitted_until` and `holdout_start` is the label delay, so that every fitted row had matured when the holdout began.
    If the delay is not a whole number of days, the gap is rounded up to whole days.
    """

    train_start: dt.datetime
    validation_start: dt.datetime
    fitted_until: dt.datetime
    holdout_start: dt.datetime
    holdout_end: dt.datetime


def split(config: Config, as_of: dt.datetime) -> Split:
    """The windows of a training at `as_of`."""
    holdout_end = midnight(as_of - config.label_delay)
    holdout_start = holdout_end - dt.timedelta(days=config.training.holdout.value)
    fitted_until = midnight(holdout_start - config.label_delay)
    validation_start = fitted_until - dt.timedelta(days=config.training.validation.value)
    train_start = validation_start - dt.timedelta(days=config.training.train.value)
    return Split(train_start, validation_start, fitted_until, holdout_start, holdout_end)


def midnight(instant: dt.datetime) -> dt.datetime:
    """The newest midnight UTC that is not after an instant."""
    return dt.datetime.combine(instant.astimezone(dt.UTC).date(), dt.time(), dt.UTC)
