"""The step `write_card`: the model card of a registered version, all of it read back from its record."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml.config import Config
from ml.explanation import attributions, exploration, render, sections
from ml.explanation.attributions import Attributions
from ml.ledger.decisions import Decision
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Promotion
from ml.training import dataset, fit

ARTIFACTS = "card"


@dataclass(frozen=True)
class Evidence:
    """What the record says of a version, as far as it was known at `as_of`.

    Attributes:
        deployment: the deployment that it was made for, as it was then.
        tuning: how its settings were found, None where nothing says so.
        decision: the gate's last answer on it, None if it was never judged.
        moves: every move of the champion from or to it, oldest first.
        champion: the version that was champion.
        attributions: what moves its scores, None if the step `explain` has not told.
        exploration: the page on its training set, None if the step `explore` has not written it.
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
        """The gate's whole verdict; empty if there is none."""
        return {} if self.decision is None else self.decision.evidence


@dataclass(frozen=True)
class Card:
    """Where a version's card lies, the MLflow run that it was logged to, and the sections in which something is missing."""

    version: str
    html: str
    markdown: str
    missing: tuple[str, ...]
    mlflow_run: str
    mlflow_experiment: str


def folder_of(config: Config) -> Path:
    """Folder of all cards of a deployment."""
    return config.home / "cards"


def write_card(config: Config, as_of: dt.datetime, version: str) -> Card:
    """Write a version's card as HTML, Markdown and JSON, and log it and the page on its training set to its MLflow run.

    What is not in the record is said to be missing; nothing on the card comes from anywhere else.

    Raises:
        ValueError: the version is not a number.
        BrokenModel: the version's files are not the ones that were registered.
        NoOrigin: it was registered before versions said what they were made from.
    """
    evidence = gather(config, as_of, version)
    folder = folder_of(config)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _pictures(config, evidence, folder)
    document = sections.document(evidence, pictures)
    written = {
        "html": render.html(document),
        "md": render.markdown(document),
        "json": json.dumps(_plain(evidence), indent=1, default=str),
    }
    files = [_write(folder / f"{version}.{kind}", text) for kind, text in written.items()]
    fitted = evidence.fitted
    _log(config, fitted.mlflow_run, [*files, *pictures.values()], ARTIFACTS)
    if evidence.exploration is not None:
        _log(config, fitted.mlflow_run, [evidence.exploration], exploration.ARTIFACTS)
    return Card(version, str(files[0]), str(files[1]), sections.missing(document), fitted.mlflow_run, fitted.mlflow_experiment)


def gather(config: Config, as_of: dt.datetime, version: str) -> Evidence:
    """What the record says of a version; errors as for `write_card`."""
    if not (version.isascii() and version.isdigit()):
        raise ValueError(f"version is {version!r}, expected a number, see `python -m ml history`")
    versions, ledger = fit.registry(config), Ledger(config.ledger)
    folder = versions.fetch(version)
    frozen, deployment = fit.origin_of(folder)
    fitted = fit.record_of(folder)
    known = [move for move in ledger.moves.history(config.name) if move.as_of <= as_of]
    judged = [d for d in ledger.decisions.all(config.name) if d.challenger_version == version and d.as_of <= as_of]
    decision = judged[-1] if judged else None
    against = None if decision is None else decision.champion_version
    explained = attributions.folder_of(config, attributions.address(fitted.model, against))
    tuning = fit.folder_of(config, fitted.model) / fit.TUNING
    page = exploration.path_of(config, frozen.training_set)
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
        attributions=attributions.record_of(explained) if explained.is_dir() else None,
        exploration=page if page.is_file() else None,
    )


def newest(config: Config, version: str) -> dt.datetime:
    """The newest instant at which the ledger says anything of a model.

    Raises:
        LookupError: it says nothing.
    """
    ledger = Ledger(config.ledger)
    told = [m.as_of for m in ledger.moves.history(config.name)] + [d.as_of for d in ledger.decisions.all(config.name)]
    if not told:
        raise LookupError(f"the ledger of {config.name} is empty; there is no version {version} yet")
    return max(told)


def _pictures(config: Config, evidence: Evidence, folder: Path) -> dict[str, Path]:
    """The pictures of the attributions, beside the card; by their names."""
    if evidence.attributions is None:
        return {}
    source = attributions.folder_of(config, evidence.attributions.explanation)
    found = {}
    for name in (attributions.SUMMARY, attributions.SLICES):
        target = folder / f"{evidence.version}-{name}"
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copy(source / name, partial)
        found[name] = partial.replace(target)
    return found


def _plain(evidence: Evidence) -> dict[str, Any]:
    """The evidence as JSON's values."""
    told = {name: getattr(evidence, name) for name in evidence.__dataclass_fields__}
    nested = ("training_set", "fitted", "decision", "attributions")
    told |= {name: asdict(told[name]) for name in nested if told[name] is not None}
    told |= {"deployment": json.loads(evidence.deployment.portable_json), "moves": [asdict(move) for move in evidence.moves]}
    return told


def _log(config: Config, run: str, files: list[Path], folder: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=config.tracking)
    for file in files:
        client.log_artifact(run, str(file), folder)


def _write(path: Path, text: str) -> Path:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    return partial.replace(path)
