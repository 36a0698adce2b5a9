"""The step `explain`: which inputs move a model's scores, over all rows and per slice, and what moved since the champion.

Attributions are SHAP values, of trees by CatBoost itself (Lundberg et al. 2020, From local explanations to global understanding
with explainable AI for trees), of a logistic regression by its terms, in log-odds: with the base value they add up to the score
of each row exactly.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ml.config import Config
from ml.errors import Refused
from ml.explanation import pictures
from ml.explanation.document import share
from ml.ledger.ledger import Ledger
from ml.registry.turn import turn
from ml.registry.versions import folder_hash
from ml.training import dataset, export, fit
from ml.training.cuts import slices_of
from ml.training.model import Model

RECORD, SUMMARY, SLICES = "attributions.json", "attributions.png", "slices.png"
ARTIFACTS = "explanation"
POSITIVES, NEGATIVES = 500, 1500
SMALLEST_SLICE = 30
TOLERANCE = 1e-6


class AttributionError(Refused, RuntimeError):
    """Attributions do not add up to the scores that they explain."""


@dataclass(frozen=True)
class Sample:
    """Rows that stand for a population: a weight tells how many rows of it each one stands for, shape (n_rows,)."""

    rows: pd.DataFrame
    weights: np.ndarray


@dataclass(frozen=True)
class Contributions:
    """SHAP values in log-odds, shape (n_rows, n_inputs), and the base value that they start from."""

    names: tuple[str, ...]
    values: np.ndarray
    base: float


@dataclass(frozen=True)
class FeatureAttribution:
    """One input: mean |SHAP| in log-odds, its share in the sum over all inputs, and the mean with its sign."""

    feature: str
    mean_absolute: float
    share: float
    mean: float


@dataclass(frozen=True)
class SliceAttribution:
    """The inputs' shares within a slice, by name; `rows` are those of the sample, `weight` those that they stand for."""

    slice: str
    rows: int
    weight: float
    shares: dict[str, float]


@dataclass(frozen=True)
class Mover:
    """The share of an input in two models; None where a model does not have it."""

    feature: str
    champion: float | None
    challenger: float | None
    difference: float


@dataclass(frozen=True)
class AttributionDrift:
    """How two models' attributions differ on the same rows.

    Attributes:
        rows: rows of the sample.
        moved: share of all attribution that went from some inputs to others, half the sum of |differences|, in [0, 1].
        rank_correlation: Spearman's, over the inputs of both; None where one of the models ranks nothing.
        movers: every input of either model, the largest difference first.
        told: the sentence for a verdict.
    """

    rows: int
    moved: float
    rank_correlation: float | None
    movers: tuple[Mover, ...]
    told: str


@dataclass(frozen=True)
class Attributions:
    """What the step found, and where its pictures lie."""

    explanation: str
    model: str
    champion_version: str | None
    rows: int
    positives: int
    sample_rows: int
    sample_positives: int
    base: float
    features: tuple[FeatureAttribution, ...]
    slices: tuple[SliceAttribution, ...]
    drift: AttributionDrift | None


@dataclass(frozen=True)
class Explained:
    """The step's record: where attributions lie, and what a person wants to know of them first."""

    explanation: str
    model: str
    champion_version: str | None
    leading: str
    told: str


def folder_of(config: Config, explanation: str) -> Path:
    """Folder of a model's attributions: the record and its pictures."""
    return config.home / "explanations" / explanation


def address(model: str, champion_version: str | None) -> str:
    """Name of the attributions of a model beside those of a champion."""
    return hashlib.sha256(json.dumps([model, champion_version]).encode()).hexdigest()


def record_of(folder: Path) -> Attributions:
    """The record in a folder of attributions."""
    told = json.loads((folder / RECORD).read_text())
    drift = told["drift"]
    if drift is not None:
        drift = AttributionDrift(**drift | {"movers": tuple(Mover(**mover) for mover in drift["movers"])})
    features = tuple(FeatureAttribution(**feature) for feature in told["features"])
    slices = tuple(SliceAttribution(**each) for each in told["slices"])
    return Attributions(**told | {"features": features, "slices": slices, "drift": drift})


def explain(config: Config, as_of: dt.datetime, model: str) -> Explained:
    """Attribute an exported model's scores to its inputs, and compare with the champion where there is one.

    The figures and pictures go to the model's MLflow run; the same model beside the same champion is explained once.

    Raises:
        AttributionError: the attributions do not add up to the scores.
    """
    fitted = fit.describe(config, model)
    exported = fit.folder_of(config, model) / export.EXPORT
    champion_version = _judged_against(config, exported)
    key = address(model, champion_version)
    folder = folder_of(config, key)
    with turn(folder.with_name("explain.lock")):
        if not folder.exists():
            drawn = sample(dataset.read(config, fitted.training_set, (dataset.HOLDOUT,)))
            champion = None if champion_version is None else Model(fit.registry(config).fetch(champion_version))
            partial = folder.with_name(f"{key}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            _explain(config, Model(exported), champion, drawn, partial, Attributed(key, model, champion_version))
            partial.rename(folder)
    _log(config, fitted.mlflow_run, folder)
    record = record_of(folder)
    leading = record.features[0]
    told = f"{leading.feature} leads with {share(leading.share, 0)} of all attribution"
    return Explained(key, model, champion_version, leading.feature, f"{told}. {record.drift.told}" if record.drift else told)


@dataclass(frozen=True)
class Attributed:
    """Names what is explained."""

    explanation: str
    model: str
    champion_version: str | None


def _explain(config: Config, model: Model, champion: Model | None, drawn: Sample, folder: Path, what: Attributed) -> None:
    found = contributions(model, drawn.rows)
    features = summarize(found, drawn.weights)
    parts = {f"{part.slice}: {part.group}": part.mask for part in slices_of(config, drawn.rows)}
    slices = by_slice(found, drawn.weights, parts)
    labels = drawn.rows["label"].to_numpy()
    record = Attributions(
        **asdict(what),
        rows=round(float(drawn.weights.sum())),
        positives=round(float(drawn.weights[labels == 1].sum())),
        sample_rows=len(drawn.rows),
        sample_positives=int(labels.sum()),
        base=found.base,
        features=features,
        slices=slices,
        drift=None if champion is None else _compared(contributions(champion, drawn.rows), found, drawn.weights),
    )
    pictures.draw_attributions(
        [feature.feature for feature in features],
        [feature.share for feature in features],
        _in_order(found, features),
        model.inputs.matrix(drawn.rows)[:, [found.names.index(feature.feature) for feature in features]],
        folder / SUMMARY,
    )
    pictures.draw_shares(
        ["all rows", *[each.slice for each in slices]],
        [feature.feature for feature in features],
        np.array([[f.share for f in features], *[[each.shares[f.feature] for f in features] for each in slices]]),
        folder / SLICES,
    )
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=1))


def _in_order(found: Contributions, features: tuple[FeatureAttribution, ...]) -> np.ndarray:
    return found.values[:, [found.names.index(feature.feature) for feature in features]]


def _judged_against(config: Config, exported: Path) -> str | None:
    """The champion that the model was judged against, or will be: a step that is run again must not find itself."""
    ledger, challenger = Ledger(config.ledger), folder_hash(exported)
    judged = [d for d in ledger.decisions.all(config.name) if d.evidence.get("challenger_hash") == challenger]
    return judged[-1].champion_version if judged else ledger.moves.champion(config.name)


def _log(config: Config, run: str, folder: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=config.tracking).log_artifacts(run, str(folder), ARTIFACTS)


def sample(rows: pd.DataFrame) -> Sample:
    """At most 500 positives and 1500 negatives, chosen by the hash of their event ids, so that the same rows come again."""
    order = pd.util.hash_pandas_object(rows["event_id"].astype(str), index=False).to_numpy()
    labels = rows["label"].to_numpy()
    chosen, weights = [], []
    for label, most in ((1, POSITIVES), (0, NEGATIVES)):
        members = np.flatnonzero(labels == label)
        taken = members[np.argsort(order[members], kind="stable")[:most]]
        chosen.append(taken)
        weights.append(np.full(len(taken), len(members) / max(len(taken), 1)))
    places = np.concatenate(chosen)
    by_time = np.argsort(places)
    return Sample(rows.iloc[places[by_time]].reset_index(drop=True), np.concatenate(weights)[by_time])


def contributions(model: Model, rows: pd.DataFrame) -> Contributions:
    """SHAP values of rows.

    Raises:
        AttributionError: they do not add up to the model's scores.
    """
    matrix = model.inputs.matrix(rows)
    found, scores = model.estimator.contributions(matrix), model.estimator.margins(matrix)
    apart = float(np.abs(found.sum(axis=1) - scores).max(initial=0.0))
    if not apart <= TOLERANCE:
        raise AttributionError(
            f"{model.folder}: attributions add up to a score {apart:g} away in log-odds, at most {TOLERANCE:g} was expected; "
            "the model was changed after it was fitted in a way that cannot be attributed"
        )
    return Contributions(tuple(model.inputs.names), found[:, :-1], float(found[0, -1]) if len(found) else 0.0)


def summarize(found: Contributions, weights: np.ndarray) -> tuple[FeatureAttribution, ...]:
    """Mean |SHAP| of each input over the weighted rows, largest first."""
    absolute = np.average(np.abs(found.values), axis=0, weights=weights)
    mean = np.average(found.values, axis=0, weights=weights)
    whole = float(absolute.sum()) or 1.0
    order = np.argsort(-absolute, kind="stable")
    return tuple(
        FeatureAttribution(found.names[i], float(absolute[i]), float(absolute[i]) / whole, float(mean[i])) for i in order
    )


def by_slice(found: Contributions, weights: np.ndarray, slices: Mapping[str, np.ndarray]) -> tuple[SliceAttribution, ...]:
    """The inputs' shares within each slice that has at least 30 rows of the sample.

    Args:
        slices: name to a mask of the sample's rows, shape (n_rows,), in the order in which they are to be read.
    """
    told = []
    for name, mask in slices.items():
        if mask.sum() < SMALLEST_SLICE:
            continue
        within = Contributions(found.names, found.values[mask], found.base)
        shares = {feature.feature: feature.share for feature in summarize(within, weights[mask])}
        told.append(SliceAttribution(name, int(mask.sum()), float(weights[mask].sum()), shares))
    return tuple(told)


def attribution_drift(champion: Model, challenger: Model, rows: pd.DataFrame) -> AttributionDrift:
    """How the attributions of two models differ on the same sample of labelled rows; their inputs may differ.

    Args:
        rows: columns `event_id` and `label`, and the inputs of both models.
    """
    drawn = sample(rows)
    return _compared(contributions(champion, drawn.rows), contributions(challenger, drawn.rows), drawn.weights)


def _compared(champion: Contributions, challenger: Contributions, weights: np.ndarray) -> AttributionDrift:
    before = {feature.feature: feature.share for feature in summarize(champion, weights)}
    after = {feature.feature: feature.share for feature in summarize(challenger, weights)}
    names = sorted(set(before) | set(after))
    movers = [Mover(n, before.get(n), after.get(n), after.get(n, 0.0) - before.get(n, 0.0)) for n in names]
    movers.sort(key=lambda mover: -abs(mover.difference))
    moved = sum(abs(mover.difference) for mover in movers) / 2
    correlation = _rank_correlation([before.get(n, 0.0) for n in names], [after.get(n, 0.0) for n in names])
    largest = ", ".join(f"{m.feature} {_percent(m.champion)} → {_percent(m.challenger)}" for m in movers[:3])
    ranks = "ranks cannot be compared" if correlation is None else f"rank correlation {correlation:.3f}"
    told = f"{share(moved, 1)} of all attribution moved between inputs against the champion ({ranks}); most: {largest}"
    return AttributionDrift(len(weights), moved, correlation, tuple(movers), told)


def _percent(value: float | None) -> str:
    return "absent" if value is None else share(value, 1)


def _rank_correlation(first: list[float], second: list[float]) -> float | None:
    ranks = [pd.Series(values).rank().to_numpy() for values in (first, second)]
    if any(len(rank) < 2 or rank.std() == 0 for rank in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
