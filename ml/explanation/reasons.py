"""Reason codes: the contribution of each input to the score of one event, in log-odds and as a sentence.

Example: the factor is that of the odds of a positive label.
    >>> sentence("amount", None, 12.5, 0.693147)
    'amount is 12.5 and multiplies the odds by 2'
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.config import Config
from ml.errors import BadInput, NotThere
from ml.explanation.attributions import contributions
from ml.features.catalogue import catalogue
from ml.lake import schema
from ml.lake.sql import columns
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.model.model import Model
from ml.store.feast import retrieve
from ml.training import dataset
from ml.training.fit import origin_of, record_of, registry

CHAMPION = "champion"


@dataclass(frozen=True)
class Reason:
    """Contribution of one input to a score: its value (None if missing), the contribution in log-odds, and a sentence."""

    feature: str
    value: float | str | None
    contribution: float
    sentence: str


@dataclass(frozen=True)
class Reasons:
    """Decomposition of a score: log-odds = base + contributions of the reasons + rest (the sum over all other inputs)."""

    probability: float
    log_odds: float
    base: float
    reasons: tuple[Reason, ...]
    rest: float


def reason_codes(model: Model, row: pd.DataFrame, top: int = 4) -> Reasons:
    """The inputs that moved the score of one row most, the largest contribution first.

    Args:
        row: one row with the model's raw columns.
        top: number of reasons.

    Raises:
        ValueError: there is not exactly one row, or `top` is below 1.
        NoOrigin: the model lacks the record of its deployment.
    """
    if len(row) != 1 or top < 1:
        raise BadInput(f"{len(row)} rows and top {top} were given, expected one row and at least one reason")
    shap = contributions(model, row)
    values = shap.values[0]
    order = np.argsort(-np.abs(values), kind="stable")[:top]
    meanings = _meanings(model)
    reasons = []
    for i in order:
        name = shap.names[i]
        value = _plain(row[name].iloc[0])
        reasons.append(Reason(name, value, float(values[i]), sentence(name, meanings.get(name), value, float(values[i]))))
    log_odds = float(values.sum() + shap.base)
    rest = log_odds - shap.base - sum(reason.contribution for reason in reasons)
    return Reasons(1 / (1 + math.exp(-log_odds)), log_odds, shap.base, tuple(reasons), rest)


def sentence(feature: str, meaning: str | None, value: float | str | None, contribution: float) -> str:
    """A reason as a sentence; its factor multiplies or divides the odds of a positive label."""
    shown = "missing" if value is None else repr(value) if isinstance(value, str) else f"{value:,.6g}"
    explained = f" ({meaning})" if meaning else ""
    if contribution == 0:
        return f"{feature} is {shown}{explained} and leaves the odds as they are"
    verb = "multiplies" if contribution > 0 else "divides"
    return f"{feature} is {shown}{explained} and {verb} the odds by {math.exp(min(abs(contribution), 700)):,.3g}"


def of_event(config: Config, version: str, event: str, top: int) -> Reasons:
    """The reasons of a version's score of an event, by its frozen training set or else by the lake.

    Args:
        version: a registered version, or `champion`.

    Raises:
        LookupError: there is no champion, or no such event.
        BrokenModel: the version's files are not the ones that were registered.
    """
    folder = registry(config).fetch(resolve(config, version))
    return reason_codes(Model(folder), _row(config, Model(folder), event), top)


def resolve(config: Config, version: str) -> str:
    """The number of a version that may be named `champion`.

    Raises:
        LookupError: there is no champion.
        ValueError: it is neither a number nor `champion`.
    """
    if version == CHAMPION:
        champion = Ledger(config.ledger).moves.champion(config.name)
        if champion is None:
            raise NotThere(f"{config.name} has no champion yet; name a version, see `python -m ml history`")
        return champion
    if not (version.isascii() and version.isdigit()):
        raise BadInput(f"version is {version!r}, expected a number or {CHAMPION!r}")
    return version


def _row(config: Config, model: Model, event: str) -> pd.DataFrame:
    training_set = record_of(model.folder).training_set
    if dataset.is_frozen(config, training_set):
        rows = dataset.read(config, training_set)
        matches = rows[rows["event_id"].astype(str) == event]
        if len(matches):
            return matches.head(1)
    deployment = origin_of(model.folder)[1].model_copy(update={"home": config.home, "lake_folder": config.lake_folder})
    named = ["event_id", "event_time", *config.entities.values(), *config.measures, *config.categories]
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        matches = connection.execute(
            f"SELECT {columns(named)} FROM {schema.EVENTS} WHERE event_id::VARCHAR = ? LIMIT 1", [event]
        ).df()
    if matches.empty:
        raise NotThere(f"no event {event!r} in the version's training set or in the lake {config.lake}")
    return pd.concat([matches, retrieve(deployment, matches)], axis=1)


def _meanings(model: Model) -> dict[str, str]:
    return {feature.name: feature.description for feature in catalogue(origin_of(model.folder)[1])}


def _plain(value: object) -> float | str | None:
    if isinstance(value, str):
        return value
    return None if pd.isna(value) else float(value)  # type: ignore[arg-type, call-overload]
