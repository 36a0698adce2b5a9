"""The step `explain`: attribute a model's scores to its inputs, over all rows and per slice, and compare with the champion.

Attributions are SHAP values in log-odds: for trees by CatBoost (Lundberg et al. 2020, From local explanations to global
understanding with explainable AI for trees), for a logistic regression its terms. Their sum with the base value is exactly the
score of the row.

Example: two inputs on two rows, the second of which stands for three rows of the population.
    >>> values = Contributions(("amount", "hour"), np.array([[1.0, -1.0], [2.0, 0.0]]), base=-3.0)
    >>> [(f.feature, f.mean_absolute, f.share) for f in summarize(values, weights=np.array([1.0, 3.0]))]
    [('amount', 1.75, 0.875), ('hour', 0.25, 0.125)]
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ml import artifacts
from ml.config import Config
from ml.errors import Refused
from ml.explanation import pictures
from ml.explanation.document import share
from ml.ledger.ledger import Ledger
from ml.model import copies
from ml.model.model import Model
from ml.records import attributes_of, to_record
from ml.registry.versions import folder_hash
from ml.training import dataset, export, fit
from ml.training.cuts import slices_of

RECORD, SUMMARY, SLICES = "attributions.json", "attributions.png", "slices.png"
KIND, ARTIFACTS = "explanations", "explanation"
POSITIVES, NEGATIVES = 500, 1500
SMALLEST_SLICE = 30
TOLERANCE = 1e-6


class AttributionError(Refused, RuntimeError):
    """The sum of the attributions differs from the score."""


@dataclass(frozen=True)
class Sample:
    """A weighted sample of rows; `weights` of shape (n_rows,): the number of rows of the population for each sampled row."""

    rows: pd.DataFrame
    weights: np.ndarray


@dataclass(frozen=True)
class Contributions:
    """SHAP values in log-odds, shape (n_rows, n_inputs), and the base value: the score without any input."""

    names: tuple[str, ...]
    values: np.ndarray
    base: float


@dataclass(frozen=True)
class FeatureAttribution:
    """Attribution of one input: mean |SHAP| in log-odds, its share of the sum over all inputs, and the signed mean."""

    feature: str
    mean_absolute: float
    share: float
    mean: float


@dataclass(frozen=True)
class SliceAttribution:
    """Shares of the inputs within a slice, by name; `rows` of the sample, and their `weight` in rows of the population."""

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
    """Difference of the attributions of two models on the same rows.

    Attributes:
        rows: rows of the sample.
        moved: share of the attribution that moved between inputs, half the sum of |differences|, in [0, 1].
        rank_correlation: Spearman's, over the inputs of both; None where the ranks of a model are all equal.
        movers: every input of either model, the largest difference first.
        sentence: for the verdict.
    """

    rows: int
    moved: float
    rank_correlation: float | None
    movers: tuple[Mover, ...]
    sentence: str


@dataclass(frozen=True)
class Attributions:
    """Attributions of a model; `explanation` is the name of the folder with the record and the pictures."""

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
    """Result of the step: the folder of the attributions, the input with the largest share, and a summary sentence."""

    explanation: str
    model: str
    champion_version: str | None
    leading: str
    sentence: str


def folder_of(config: Config, explanation: str) -> Path:
    """Folder of a model's attributions: the record and its pictures.

    Raises:
        Missing: there is none.
    """
    return artifacts.of(config).get(KIND, explanation)


def address(model: str, champion_version: str | None) -> str:
    """Name of the attributions of a model beside those of a champion."""
    return hashlib.sha256(json.dumps([model, champion_version]).encode()).hexdigest()


def record_of(folder: Path) -> Attributions:
    """The record in a folder of attributions."""
    record = json.loads((folder / RECORD).read_text())
    drift = record["drift"]
    if drift is not None:
        drift = AttributionDrift(**attributes_of(drift) | {"movers": tuple(Mover(**mover) for mover in drift["movers"])})
    features = tuple(FeatureAttribution(**feature) for feature in record["features"])
    slices = tuple(SliceAttribution(**each) for each in record["slices"])
    return Attributions(**record | {"features": features, "slices": slices, "drift": drift})


def explain(config: Config, as_of: dt.datetime, model: str) -> Explained:
    """Attribute an exported model's scores to its inputs, and compare with the champion where there is one.

    The figures and pictures go to the model's MLflow run; the same model beside the same champion is explained once.

    Raises:
        AttributionError: the attributions do not add up to the scores.
    """
    fitted = fit.describe(config, model)
    exported = export.folder_of(config, model)
    champion_version = _judged_against(config, exported)
    key = address(model, champion_version)

    def fill(folder: Path) -> None:
        folder.mkdir()
        drawn = sample(dataset.read(config, fitted.training_set, (dataset.HOLDOUT,)))
        champion = None if champion_version is None else Model(fit.registry(config).fetch(champion_version))
        _explain(config, Model(exported), champion, drawn, folder, Attributed(key, model, champion_version))

    store = artifacts.of(config)
    with store.lock(KIND, key):
        folder = store.put(KIND, key, fill)
    _log(config, fitted.mlflow_run, folder)
    record = record_of(folder)
    leading = record.features[0]
    sentence = f"{leading.feature} leads with {share(leading.share, 0)} of all attribution"
    if record.drift:
        sentence = f"{sentence}. {record.drift.sentence}"
    return Explained(key, model, champion_version, leading.feature, sentence)


@dataclass(frozen=True)
class Attributed:
    """Identity of the attributions: folder name, model, and champion."""

    explanation: str
    model: str
    champion_version: str | None


def _explain(config: Config, model: Model, champion: Model | None, drawn: Sample, folder: Path, what: Attributed) -> None:
    contributed = contributions(model, drawn.rows)
    features = summarize(contributed, drawn.weights)
    parts = {f"{part.slice}: {part.group}": part.mask for part in slices_of(config, drawn.rows)}
    slices = by_slice(contributed, drawn.weights, parts)
    labels = drawn.rows["label"].to_numpy()
    record = Attributions(
        **asdict(what),
        rows=round(float(drawn.weights.sum())),
        positives=round(float(drawn.weights[labels == 1].sum())),
        sample_rows=len(drawn.rows),
        sample_positives=int(labels.sum()),
        base=contributed.base,
        features=features,
        slices=slices,
        drift=None if champion is None else _compared(contributions(champion, drawn.rows), contributed, drawn.weights),
    )
    pictures.draw_attributions(
        [feature.feature for feature in features],
        [feature.share for feature in features],
        _in_order(contributed, features),
        model.inputs.matrix(drawn.rows)[:, [contributed.names.index(feature.feature) for feature in features]],
        folder / SUMMARY,
    )
    pictures.draw_shares(
        ["all rows", *[each.slice for each in slices]],
        [feature.feature for feature in features],
        np.array([[f.share for f in features], *[[each.shares[f.feature] for f in features] for each in slices]]),
        folder / SLICES,
    )
    (folder / RECORD).write_text(json.dumps(to_record(record), indent=1))


def _in_order(contributed: Contributions, features: tuple[FeatureAttribution, ...]) -> np.ndarray:
    return contributed.values[:, [contributed.names.index(feature.feature) for feature in features]]


def _judged_against(config: Config, exported: Path) -> str | None:
    """The champion that the model was judged against; before the judgement the current one. So a repeated run never compares a
    promoted model with itself."""
    ledger, challenger = Ledger(config.ledger), folder_hash(copies.judged_folder(exported))
    judged = [d for d in ledger.decisions.all(config.name) if d.evidence.get("challenger_hash") == challenger]
    return judged[-1].champion_version if judged else ledger.moves.champion(config.name)


def _log(config: Config, run: str, folder: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=config.tracking).log_artifacts(run, str(folder), ARTIFACTS)


def sample(rows: pd.DataFrame) -> Sample:
    """At most 500 positives and 1500 negatives, selected by the hash of their event ids, so that the sample is reproducible."""
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
    shap, scores = model.estimator.contributions(matrix), model.estimator.margins(matrix)
    apart = float(np.abs(shap.sum(axis=1) - scores).max(initial=0.0))
    if not apart <= TOLERANCE:
        raise AttributionError(
            f"{model.folder}: attributions add up to a score {apart:g} away in log-odds, at most {TOLERANCE:g} was expected; "
            "the model was changed after it was fitted in a way that cannot be attributed"
        )
    return Contributions(tuple(model.inputs.names), shap[:, :-1], float(shap[0, -1]) if len(shap) else 0.0)


def summarize(contributed: Contributions, weights: np.ndarray) -> tuple[FeatureAttribution, ...]:
    """Mean |SHAP| of each input over the weighted rows, largest first."""
    absolute = np.average(np.abs(contributed.values), axis=0, weights=weights)
    mean = np.average(contributed.values, axis=0, weights=weights)
    whole = float(absolute.sum()) or 1.0
    order = np.argsort(-absolute, kind="stable")
    return tuple(
        FeatureAttribution(contributed.names[i], float(absolute[i]), float(absolute[i]) / whole, float(mean[i])) for i in order
    )


def by_slice(contributed: Contributions, weights: np.ndarray, slices: Mapping[str, np.ndarray]) -> tuple[SliceAttribution, ...]:
    """The inputs' shares within each slice that has at least 30 rows of the sample.

    Args:
        slices: name to a mask of the sample's rows, shape (n_rows,), in the order of the output.
    """
    attributions = []
    for name, mask in slices.items():
        if mask.sum() < SMALLEST_SLICE:
            continue
        within = Contributions(contributed.names, contributed.values[mask], contributed.base)
        shares = {feature.feature: feature.share for feature in summarize(within, weights[mask])}
        attributions.append(SliceAttribution(name, int(mask.sum()), float(weights[mask].sum()), shares))
    return tuple(attributions)


def attribution_drift(champion: Model, challenger: Model, rows: pd.DataFrame) -> AttributionDrift:
    """Compare the attributions of two models on the same sample of labelled rows; their inputs may differ.

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
    sentence = f"{share(moved, 1)} of all attribution moved between inputs against the champion ({ranks}); most: {largest}"
    return AttributionDrift(len(weights), moved, correlation, tuple(movers), sentence)


def _percent(value: float | None) -> str:
    return "absent" if value is None else share(value, 1)


def _rank_correlation(first: list[float], second: list[float]) -> float | None:
    ranks = [pd.Series(values).rank().to_numpy() for values in (first, second)]
    if any(len(rank) < 2 or rank.std() == 0 for rank in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
