"""Splits the training and validation windows into time-ordered folds, each with the structure of the training's own split.

A fold has a training window, a validation window for early stopping, a gap of the label delay, and evaluation days. Evaluation
windows are consecutive and end with the validation window; the training windows grow from fold to fold.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.config import Config, Tuning
from ml.errors import Refused
from ml.training import dataset
from ml.training.split import Split, midnight


class NoFold(Refused, ValueError):
    """A fold has no rows, or only rows of one label, in one of its windows."""


@dataclass(frozen=True)
class Fold:
    """Rows of a fold: those to fit on, with `dataset.SPLIT` and the labels known at that time, and those to evaluate on."""

    window: Split
    fitted: pd.DataFrame
    evaluated: pd.DataFrame


def windows(config: Config, tuning: Tuning, training: Split) -> list[Split]:
    """Splits of the folds within a training's windows, oldest first; the holdout of a split is the fold's evaluation window.

    Raises:
        NoFold: the oldest fold has no training window.
    """
    evaluation = dt.timedelta(days=tuning.evaluation.value)
    splits = []
    for index in reversed(range(int(tuning.folds.value))):
        end = training.fitted_until - index * evaluation
        fitted_until = midnight(end - evaluation - config.label_delay)
        validation_start = fitted_until - dt.timedelta(days=config.training.validation.value)
        splits.append(Split(training.train_start, validation_start, fitted_until, end - evaluation, end))
    if not splits[0].train_start < splits[0].validation_start:
        raise NoFold(f"the oldest fold {splits[0]} has no training window; lower training.tuning.folds or .evaluation")
    return splits


def cut(window: Split, rows: pd.DataFrame, negatives: float, seed: int) -> Fold:
    """Rows of one fold.

    A positive that was reported after the evaluation window began is fitted as a negative, as it would have been at that time.

    Args:
        rows: training and validation rows of a frozen training set.
        negatives: share of the negatives to fit on, drawn with `seed`; the evaluation uses all rows.

    Raises:
        NoFold: a window lacks rows of one of the labels.
    """
    time = rows["event_time"]
    fitted = rows[(time >= window.train_start) & (time < window.fitted_until)]
    evaluated = rows[(time >= window.holdout_start) & (time < window.holdout_end)]
    is_known_positive = (fitted["label"] == 1) & (fitted[dataset.LABEL_KNOWN_AT] <= window.holdout_start)
    part = np.where(fitted["event_time"] < window.validation_start, dataset.TRAIN, dataset.VALIDATION)
    fitted = fitted.assign(**{"label": is_known_positive.astype("int8"), dataset.SPLIT: part})
    fitted = fitted[is_known_positive | (np.random.default_rng(seed).random(len(fitted)) < negatives)]
    parts = {name: fitted[fitted[dataset.SPLIT] == name] for name in (dataset.TRAIN, dataset.VALIDATION)}
    parts |= {"evaluation": evaluated}
    for name, selected in parts.items():
        if set(selected["label"]) != {0, 1}:
            raise NoFold(
                f"the {name} window of fold {window} has {len(selected)} rows, {int(selected['label'].sum())} of them "
                "positive; both labels are needed: lower training.tuning.folds, or raise .evaluation or .negatives"
            )
    return Fold(window, fitted, evaluated)
