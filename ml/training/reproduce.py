"""Rebuilds a registered version from its record and compares it with what was registered.

A version includes its record: the deployment, the instant, the versions of the lake, the published features, the code and the
lock. Features, training set and model are rebuilt from the lake alone in an empty folder and compared byte by byte, except for
the time and the random guid in CatBoost's file.
"""

from __future__ import annotations

import datetime as dt
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ml import artifacts
from ml.config import Config
from ml.errors import Refused
from ml.features import history
from ml.model.copies import judged_folder
from ml.model.estimator import Estimator
from ml.model.graph import to_onnx
from ml.model.inputs import Inputs
from ml.model.model import INPUTS, ONNX, Model, save
from ml.training import dataset, refit
from ml.training.candidates import select
from ml.training.code import CHANGED, code_version
from ml.training.fit import Fit, origin_of, record_of, registry, select_from


class CodeChanged(Refused, RuntimeError):
    """The version was made with other code or packages; the message names the commit to check out."""


@dataclass(frozen=True)
class Comparison:
    """The comparison of one rebuilt artifact: whether it is equal, and what was compared."""

    name: str
    equal: bool
    summary: str


@dataclass(frozen=True)
class Reproduction:
    """A rebuilt version; `checks` are in the order of the pipeline, so the first unequal one is the cause."""

    version: str
    as_of: str
    commit: str
    checks: tuple[Comparison, ...]

    @property
    def equal(self) -> bool:
        """Whether all artifacts are equal."""
        return all(check.equal for check in self.checks)


def reproduce(config: Config, version: str) -> Reproduction:
    """Rebuild a registered version in a temporary folder; nothing is changed.

    Raises:
        CodeChanged: code or packages differ from those of the version.
        BrokenModel: the registered files were changed.
        NoOrigin: the version has no record of its origin.
        FileNotFoundError: the lake no longer holds the version's rows.
    """
    registered = registry(config).fetch(version)
    fitted = record_of(registered)
    frozen, deployment = origin_of(registered)
    _require_same_code(config, version, fitted)
    with tempfile.TemporaryDirectory(prefix="reproduce-") as temporary:
        there = {
            "home": Path(temporary),
            "lake_folder": config.lake_folder or config.home / "lake",
            "lake_uri": config.lake_uri,
        }
        rebuilt_config = deployment.model_copy(update=there | {"artifacts": None})
        checks = _compare(rebuilt_config, registered, frozen, Path(temporary))
    return Reproduction(version, frozen.as_of, fitted.code["commit"], tuple(checks))


def _require_same_code(config: Config, version: str, fitted: Fit) -> None:
    current = code_version()
    changed = [name for name in ("sources", "lock") if current[name] != fitted.code[name]]
    if not changed:
        return
    commit = fitted.code["commit"]
    command = (
        f"git worktree add ../reproduce {commit.removesuffix(CHANGED)} && cd ../reproduce && make env && .venv/bin/python "
        f"-m ml reproduce --version {version} --home {shlex.quote(str(config.home))} --config YOUR_DEPLOYMENT_FILE"
    )
    if commit.endswith(CHANGED):
        command += "; it was trained with changes that were not committed, so only who has them can make it again"
    raise CodeChanged(
        f"version {version} was made at commit {commit}, this is {current['commit']}, and they differ in "
        f"{' and '.join(changed)}. "
        f"Check that commit out and make it again there: {command}"
    )


def _compare(config: Config, registered: Path, frozen: dataset.TrainingSet, folder: Path) -> list[Comparison]:
    checks = []
    for window in config.snapshot_windows:
        published = frozen.features[window.view]
        dues = [history.due_of(window, record) for record in published]
        files = history.rebuild(config, window, dues, artifacts.of(config), frozen.lake)
        same_files = [file.name for file in files] == [record["file"] for record in published]
        checks.append(Comparison(f"features {window.view}", same_files, f"{len(files)} files, named by their content"))
    training_set = dataset.build_at(config, dt.datetime.fromisoformat(frozen.as_of), frozen.lake)
    same_rows = training_set.training_set == frozen.training_set
    checks.append(
        Comparison("training set", same_rows, f"{training_set.rows:,} rows, SHA-256 {training_set.training_set[:16]}")
    )
    rows = dataset.read(config, training_set.training_set)
    pool = config.training.pool
    judged = judged_folder(registered)
    incumbent = record_of(judged).incumbent
    key = training_set.training_set
    selected = select(config, rows, incumbent) if pool is None else select_from(config, key, incumbent)[0]
    checks += _compare_model(selected.estimator, selected.inputs, judged, rows, folder / "rebuilt", "")
    if judged != registered:
        scaling = selected.estimator.platt
        estimator, inputs = refit.fitted(config, record_of(judged), refit.rows_of(config, training_set))
        checks += _compare_model(estimator.calibrated(scaling), inputs, registered, rows, folder / "refit", "refit: ")
    return checks


def _compare_model(
    fitted: Estimator, inputs: Inputs, registered: Path, rows: pd.DataFrame, folder: Path, prefix: str
) -> list[Comparison]:
    """Comparison of a model that was fitted again with the registered one, by inputs, file, graph and predictions."""
    folder.mkdir()
    save(folder, fitted, inputs)
    rebuilt, original = Model(folder), Model(registered)
    new, old = rebuilt.estimator, original.estimator
    same_inputs = (folder / INPUTS).read_bytes() == (registered / INPUTS).read_bytes()
    same_model = (new.FILE, new.canonical_bytes()) == (old.FILE, old.canonical_bytes())
    same_graph = to_onnx(new, rebuilt.inputs).SerializeToString() == (registered / ONNX).read_bytes()
    difference = float(np.abs(rebuilt.score(rows) - original.score(rows)).max())
    return [
        Comparison(f"{prefix}{INPUTS}", same_inputs, "bytes"),
        Comparison(f"{prefix}{old.FILE}", same_model, "bytes, without what tells the time"),
        Comparison(f"{prefix}{ONNX}", same_graph, "bytes"),
        Comparison(f"{prefix}predictions", difference == 0.0, f"{len(rows):,} rows, largest difference {difference:g}"),
    ]
