"""The step `write_card`: write the model card of a registered version from its records alone."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ml import artifacts
from ml.config import Config
from ml.errors import BadInput, NotThere
from ml.explanation import attributions, exploration, render, sections
from ml.explanation.attributions import Attributions
from ml.ledger.decisions import Decision
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Promotion
from ml.records import to_record
from ml.training import dataset, fit

KIND, ARTIFACTS = "cards", "card"


@dataclass(frozen=True)
class Evidence:
    """The records of a version, as known at `as_of`.

    Attributes:
        deployment: its configuration at the time of the training.
        tuning: record of the search for its settings, None if there is none.
        decision: the last decision of the gate on it, None if it was never judged.
        moves: all promotions and rollbacks from or to it, oldest first.
        champion: the champion version at `as_of`.
        attributions: of its scores, None if the step `explain` has not run.
        exploration: page on its training set, None if the step `explore` has not run.
    """

    model: str
    version: str
    as_of: dt.datetime
    deployment: Config
    training_set: dataset.TrainingSet
    fitted: fit.Fit
    tags: Mapping[str, str]
    tuning: Mapping[str, Any] | None
    decision: Decision | None
    moves: tuple[Promotion, ...]
    champion: str | None
    attributions: Attributions | None
    exploration: Path | None

    @property
    def verdict(self) -> Mapping[str, Any]:
        """The verdict of the gate; empty if there is none."""
        return {} if self.decision is None else self.decision.evidence


@dataclass(frozen=True)
class Card:
    """Result of the step: paths of the card, its MLflow run, and the titles of the sections with missing information."""

    version: str
    html: str
    markdown: str
    missing: tuple[str, ...]
    mlflow_run: str
    mlflow_experiment: str


def write_card(config: Config, as_of: dt.datetime, version: str) -> Card:
    """Write a version's card as HTML, Markdown and JSON, and log it and the page on its training set to its MLflow run.

    Information without a record is marked as missing.

    Raises:
        ValueError: the version is not a number.
        BrokenModel: the version's files are not the ones that were registered.
        NoOrigin: it was registered by an earlier release, without a record of its origin.
    """
    evidence = gather(config, as_of, version)
    pictures = _pictures(config, evidence)
    document = sections.document(evidence, pictures)
    written = {
        "html": render.html(document),
        "md": render.markdown(document),
        "json": json.dumps(_plain(evidence), indent=1, default=str),
    }
    store = artifacts.of(config)
    files = [store.put_text(KIND, f"{version}.{suffix}", text, replace=True) for suffix, text in written.items()]
    fitted = evidence.fitted
    _log(config, fitted.mlflow_run, [*files, *pictures.values()], ARTIFACTS)
    if evidence.exploration is not None:
        _log(config, fitted.mlflow_run, [evidence.exploration], exploration.ARTIFACTS)
    return Card(version, str(files[0]), str(files[1]), sections.missing(document), fitted.mlflow_run, fitted.mlflow_experiment)


def gather(config: Config, as_of: dt.datetime, version: str) -> Evidence:
    """Collect the records of a version; errors as for `write_card`."""
    if not (version.isascii() and version.isdigit()):
        raise BadInput(f"version is {version!r}, expected a number, see `python -m ml history`")
    versions, ledger = fit.registry(config), Ledger(config.ledger)
    folder = versions.fetch(version)
    frozen, deployment = fit.origin_of(folder)
    fitted = fit.record_of(folder)
    known = [move for move in ledger.moves.history(config.name) if move.as_of <= as_of]
    judged = [d for d in ledger.decisions.all(config.name) if d.challenger_version == version and d.as_of <= as_of]
    decision = judged[-1] if judged else None
    against = None if decision is None else decision.champion_version
    explained = artifacts.find(config, attributions.KIND, attributions.address(fitted.model, against))
    tuning = folder / fit.TUNING
    return Evidence(
        model=config.name,
        version=version,
        as_of=as_of,
        deployment=deployment,
        training_set=frozen,
        fitted=fitted,
        tags=versions.tags(version),
        tuning=json.loads(tuning.read_text()) if tuning.is_file() else None,
        decision=decision,
        moves=tuple(move for move in known if version in (move.from_version, move.to_version)),
        champion=known[-1].to_version if known else None,
        attributions=None if explained is None else attributions.record_of(explained),
        exploration=artifacts.find(config, exploration.KIND, f"{frozen.training_set}.html"),
    )


def page_of(config: Config, version: str) -> Path | None:
    """The card of a version as HTML, None if it was not written."""
    return artifacts.find(config, KIND, f"{version}.html")


def exploration_of(config: Config, version: str) -> Path | None:
    """The page on the training set of a version that has a card, None if one of the two was not written."""
    record = artifacts.find(config, KIND, f"{version}.json")
    if record is None:
        return None
    frozen = json.loads(record.read_text())["training_set"]["training_set"]
    return artifacts.find(config, exploration.KIND, f"{frozen}.html")


def newest(config: Config, version: str) -> dt.datetime:
    """The newest `as_of` of a promotion or a decision in the ledger.

    Raises:
        LookupError: there is none.
    """
    ledger = Ledger(config.ledger)
    instants = [m.as_of for m in ledger.moves.history(config.name)] + [d.as_of for d in ledger.decisions.all(config.name)]
    if not instants:
        raise NotThere(f"the ledger of {config.name} is empty; there is no version {version} yet")
    return max(instants)


def _pictures(config: Config, evidence: Evidence) -> dict[str, Path]:
    """Copy the pictures of the attributions to the folder of the card; paths by name."""
    if evidence.attributions is None:
        return {}
    source = attributions.folder_of(config, evidence.attributions.explanation)
    return {
        name: artifacts.of(config).put(KIND, f"{evidence.version}-{name}", partial(shutil.copy, source / name), replace=True)
        for name in (attributions.SUMMARY, attributions.SLICES)
    }


def _plain(evidence: Evidence) -> dict[str, Any]:
    """The evidence as values for JSON."""
    record = {name: getattr(evidence, name) for name in evidence.__dataclass_fields__}
    nested = ("training_set", "fitted", "decision")
    record |= {name: asdict(record[name]) for name in nested if record[name] is not None}
    record["attributions"] = to_record(evidence.attributions)
    record |= {"deployment": json.loads(evidence.deployment.portable_json), "moves": [asdict(move) for move in evidence.moves]}
    return record


def _log(config: Config, run: str, files: list[Path], folder: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=config.tracking)
    for file in files:
        client.log_artifact(run, str(file), folder)
