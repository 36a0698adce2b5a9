"""Cuts the training and validation windows into time-ordered folds, each a small copy of the training's own split.

A fold has a training window, a validation window that stops the trees early, a gap of the label's delay, and evaluation
days. Evaluation windows follow each other up to the end of what is fitted; the rows before them grow from fold to fold.
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
    """Rows of a fold: those to fit on, with `dataset.SPLIT` and the labels of the day, and those to evaluate on."""

    window: Split
    fitted: pd.DataFrame
    evaluated: pd.DataFrame


def windows(config: Config, tuning: Tuning, whole: Split) -> list[Split]:
    """Windows of the folds within those of a training, oldest first; a fold's evaluation window is called its holdout.

    Raises:
        NoFold: the oldest fold has no training window.
    """
    evaluation = dt.timedelta(days=tuning.evaluation.value)
    found = []
    for back in reversed(range(int(tuning.folds.value))):
        end = whole.fitted_until - back * evaluation
        fitted_until = midnight(end - evaluation - config.label_delay)
        validation_start = fitted_until - dt.timedelta(days=config.training.validation.value)
        found.append(Split(whole.train_start, validation_start, fitted_until, end - evaluation, end))
    if not found[0].train_start < found[0].validation_start:
        raise NoFold(f"the oldest fold {found[0]} has no training window; lower training.tuning.folds or .evaluation")
    return found


def cut(window: Split, rows: pd.DataFrame, negatives: float, seed: int) -> Fold:
    """Rows of one fold.

    A positive that was reported after the evaluation began is a negative to who fits: that is what was known then.

    Args:
        rows: training and validation rows of a frozen training set.
        negatives: share of the negatives that are fitted on, drawn with `seed`; all rows are evaluated on.

    Raises:
        NoFold: one of the windows has no rows, or none of one of the labels.
    """
    time = rows["event_time"]
    fitted = rows[(time >= window.train_start) & (time < window.fitted_until)]
    evaluated = rows[(time >= window.holdout_start) & (time < window.holdout_end)]
    known = (fitted["label"] == 1) & (fitted[dataset.LABEL_KNOWN_AT] <= window.holdout_start)
    part = np.where(fitted["event_time"] < window.validation_start, dataset.TRAIN, dataset.VALIDATION)
    fitted = fitted.assign(**{"label": known.astype("int8"), dataset.SPLIT: part})
    fitted = fitted[known | (np.random.default_rng(seed).random(len(fitted)) < negatives)]
    parts = {name: fitted[fitted[dataset.SPLIT] == name] for name in (dataset.TRAIN, dataset.VALIDATION)}
    parts |= {"evaluation": evaluated}
    for name, found in parts.items():
        if set(found["label"]) != {0, 1}:
            raise NoFold(
                f"the {name} window of fold {window} has {len(found)} rows, {int(found['label'].sum())} of them positive; both "
                "labels are needed: lower training.tuning.folds, or raise .evaluation or .negatives"
            )
    return Fold(window, fitted, evaluated)
