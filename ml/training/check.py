"""The step `validate_training_set`: a suite over the figures of a frozen training set, before anything is fitted on it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.config import Config
from ml.config.suites import training_suite
from ml.evaluation.metrics import roc_auc
from ml.quality import suites
from ml.store.feast import feature_names
from ml.training import dataset


class TrainingSetRefused(ValueError):
    """A critical expectation on the training set does not hold; nothing is fitted on it."""


@dataclass(frozen=True)
class TrainingSetReport:
    """The figures of a training set that passed, and what was only worth a warning."""

    training_set: str
    figures: dict[str, float]
    suspects: dict[str, float]
    warnings: tuple[str, ...]


def validate_training_set(config: Config, as_of: dt.datetime, training_set: str) -> TrainingSetReport:
    """Check label rates, positives, duplicates, nulls, and features that tell the label by themselves.

    Raises:
        TrainingSetRefused: names each figure, the expectation and what was observed.
    """
    rows = dataset.read(config, training_set)
    alone = single_feature_auc(config, rows[rows["split"] == dataset.TRAIN])
    figures = _figures(config, as_of, rows, alone)
    failures = suites.run(training_suite(config).file, pd.DataFrame([figures]), {})
    critical = [f.told for f in failures if f.critical]
    if critical:
        leak = max(alone, key=lambda name: alone[name])
        raise TrainingSetRefused(
            f"training set {training_set[:12]} is refused:\n" + "\n".join(f"- {told}" for told in critical) + f"\n"
            f"the strongest single feature is {leak!r} with ROC AUC {alone[leak]:.4f}; look at the labels and at the "
            f"published features, then clear this task"
        )
    suspects = dict(sorted(alone.items(), key=lambda item: -item[1])[:5])
    return TrainingSetReport(training_set, figures, suspects, tuple(f.told for f in failures if not f.critical))


def single_feature_auc(config: Config, train: pd.DataFrame) -> dict[str, float]:
    """How well each number alone ranks the label, by column: ROC AUC or its mirror image, in [0.5, 1]."""
    labels = train["label"].to_numpy()
    found = {}
    for name in [*config.measures, *feature_names(config)]:
        values = train[name].to_numpy(np.float64)
        auc = roc_auc(labels, np.where(np.isnan(values), np.nanmin(values, initial=0.0) - 1, values))
        found[name] = max(auc, 1 - auc)
    return found


def _figures(config: Config, as_of: dt.datetime, rows: pd.DataFrame, alone: dict[str, float]) -> dict[str, float]:
    rate = rows.groupby("split")["label"].mean()
    late = (rows["label_known_at"] > pd.Timestamp(as_of)).sum()
    return {
        "label_rate_train": float(rate[dataset.TRAIN]),
        "label_rate_holdout_over_train": float(rate[dataset.HOLDOUT] / rate[dataset.TRAIN]) if rate[dataset.TRAIN] else 0.0,
        "positives_holdout": float(rows.loc[rows["split"] == dataset.HOLDOUT, "label"].sum()),
        "duplicate_events": float(rows["event_id"].duplicated().sum()),
        "largest_single_feature_auc": max(alone.values(), default=0.5),
        "rows_known_too_late": float(late),
        "largest_null_share": float(rows[feature_names(config)].isna().mean().max()) if feature_names(config) else 0.0,
    }
