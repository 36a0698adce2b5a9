"""Reason codes: why one event was scored as it was, input by input, in log-odds and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.config import Config
from ml.explanation.attributions import contributions
from ml.features.catalogue import catalogue
from ml.lake import schema
from ml.lake.sql import columns
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.store.feast import retrieve
from ml.training import dataset
from ml.training.fit import origin_of, record_of, registry
from ml.training.model import Model

CHAMPION = "champion"


@dataclass(frozen=True)
class Reason:
    """One input's part in a score: its value (None if missing), its contribution in log-odds, and a sentence."""

    feature: str
    value: float | str | None
    contribution: float
    told: str


@dataclass(frozen=True)
class Reasons:
    """Why a row has its score: log-odds = base + the reasons' contributions + rest, which all other inputs brought together."""

    probability: float
    log_odds: float
    base: float
    reasons: tuple[Reason, ...]
    rest: float


def reason_codes(model: Model, row: pd.DataFrame, top: int = 4) -> Reasons:
    """The inputs that moved the score of one row most, the largest contribution first.

    Args:
        row: one row with the model's raw columns.
        top: how many reasons are told.

    Raises:
        ValueError: there is not exactly one row, or `top` is below 1.
        NoOrigin: the model does not say which deployment it was made for.
    """
    if len(row) != 1 or top < 1:
        raise ValueError(f"{len(row)} rows and top {top} were given, expected one row and at least one reason")
    found = contributions(model, row)
    values = found.values[0]
    order = np.argsort(-np.abs(values), kind="stable")[:top]
    meanings = _meanings(model)
    reasons = []
    for i in order:
        name = found.names[i]
        value = _plain(row[name].iloc[0])
        reasons.append(Reason(name, value, float(values[i]), sentence(name, meanings.get(name), value, float(values[i]))))
    log_odds = float(values.sum() + found.base)
    rest = log_odds - found.base - sum(reason.contribution for reason in reasons)
    return Reasons(1 / (1 + math.exp(-log_odds)), log_odds, found.base, tuple(reasons), rest)


def sentence(feature: str, meaning: str | None, value: float | str | None, contribution: float) -> str:
    """A reason in words; the factor is that of the odds of a positive label."""
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
            raise LookupError(f"{config.name} has no champion yet; name a version, see `python -m ml history`")
        return champion
    if not (version.isascii() and version.isdigit()):
        raise ValueError(f"version is {version!r}, expected a number or {CHAMPION!r}")
    return version


def _row(config: Config, model: Model, event: str) -> pd.DataFrame:
    training_set = record_of(model.folder).training_set
    if dataset.path_of(config, training_set).exists():
        rows = dataset.read(config, training_set)
        found = rows[rows["event_id"].astype(str) == event]
        if len(found):
            return found.head(1)
    deployment = origin_of(model.folder)[1].model_copy(update={"home": config.home, "lake_folder": config.lake_folder})
    named = ["event_id", "event_time", *config.entities.values(), *config.measures, *config.categories]
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        found = connection.execute(
            f"SELECT {columns(named)} FROM {schema.EVENTS} WHERE event_id::VARCHAR = ? LIMIT 1", [event]
        ).df()
    if found.empty:
        raise LookupError(f"no event {event!r} in the version's training set or in the lake {config.lake}")
    return pd.concat([found, retrieve(deployment, found)], axis=1)


def _meanings(model: Model) -> dict[str, str]:
    return {feature.name: feature.description for feature in catalogue(origin_of(model.folder)[1])}


def _plain(value: object) -> float | str | None:
    if isinstance(value, str):
        return value
    return None if pd.isna(value) else float(value)  # type: ignore[arg-type, call-overload]
