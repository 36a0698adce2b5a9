"""Cuts history by time: training, validation, a gap of the label's delay, and the newest matured window as holdout."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ml.config import Config


@dataclass(frozen=True)
class Split:
    """Midnights that bound the windows, each [start, end).

    Labels of training and validation rows are taken as they were known at `holdout_start`; those of the holdout as they are
    known at `as_of`. Between the two lies the label's delay, so that no answer of a fitted row came in after the holdout began
    and every fitted row had matured by then. A delay that is no whole number of days leaves out the day in which it ends.
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
