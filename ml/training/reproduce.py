"""Rebuilds a registered version from its record and compares it with what was registered.

A version carries its record with it: the deployment, the instant, the lake's versions, the features that were published, the
code and the lock. From the lake alone features, training set and model are made again in an empty folder. CatBoost writes
the time and a random guid into its file; up to these two, bytes are compared with bytes.
"""

from __future__ import annotations

import datetime as dt
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.config import Config
from ml.errors import Refused
from ml.features import history
from ml.training import dataset
from ml.training.code import CHANGED, code_version
from ml.training.export import to_onnx
from ml.training.fit import Fit, origin_of, record_of, registry
from ml.training.learn import select
from ml.training.model import INPUTS, ONNX, Model, save


class CodeMovedOn(Refused, RuntimeError):
    """The version was made by other code or other packages than these; the message says which commit to check out."""


@dataclass(frozen=True)
class Check:
    """One thing that was made again: whether it is equal, and what was compared."""

    name: str
    equal: bool
    told: str


@dataclass(frozen=True)
class Reproduction:
    """A version made again; `checks` are in the order of the pipeline, so the first unequal one is where it went apart."""

    version: str
    as_of: str
    commit: str
    checks: tuple[Check, ...]

    @property
    def equal(self) -> bool:
        """Whether all of it is equal."""
        return all(check.equal for check in self.checks)


def reproduce(config: Config, version: str) -> Reproduction:
    """Make a registered version again, beside what is there; nothing is changed.

    Raises:
        CodeMovedOn: code or packages are not those of the version.
        BrokenModel: the registered files are not the ones that were registered.
        NoOrigin: the version was registered before versions said what they were made from.
        FileNotFoundError: the lake no longer holds the version's rows.
    """
    registered = registry(config).fetch(version)
    fitted = record_of(registered)
    frozen, deployment = origin_of(registered)
    _same_code(config, version, fitted)
    with tempfile.TemporaryDirectory(prefix="reproduce-") as temporary:
        again = deployment.model_copy(update={"home": Path(temporary), "lake_folder": config.lake})
        checks = _again(again, registered, frozen, Path(temporary))
    return Reproduction(version, frozen.as_of, fitted.code["commit"], tuple(checks))


def _same_code(config: Config, version: str, fitted: Fit) -> None:
    here = code_version()
    other = [name for name in ("sources", "lock") if here[name] != fitted.code[name]]
    if not other:
        return
    commit = fitted.code["commit"]
    words = (
        f"git worktree add ../reproduce {commit.removesuffix(CHANGED)} && cd ../reproduce && make env && .venv/bin/python "
        f"-m ml reproduce --version {version} --home {shlex.quote(str(config.home))} --config YOUR_DEPLOYMENT_FILE"
    )
    if commit.endswith(CHANGED):
        words += "; it was trained with changes that were not committed, so only who has them can make it again"
    raise CodeMovedOn(
        f"version {version} was made at commit {commit}, this is {here['commit']}, and they differ in {' and '.join(other)}. "
        f"Check that commit out and make it again there: {words}"
    )


def _again(config: Config, registered: Path, frozen: dataset.TrainingSet, folder: Path) -> list[Check]:
    checks = []
    for window in config.windows:
        published = frozen.features[window.view]
        dues = [history.due_of(window, told) for told in published]
        files = history.rebuild(config, window, dues, history.folder(config, window), frozen.lake)
        same_files = [file.name for file in files] == [told["file"] for told in published]
        checks.append(Check(f"features {window.view}", same_files, f"{len(files)} files, named by their content"))
    built = dataset.build_at(config, dt.datetime.fromisoformat(frozen.as_of), frozen.lake)
    same_rows = built.training_set == frozen.training_set
    checks.append(Check("training set", same_rows, f"{built.rows:,} rows, SHA-256 {built.training_set[:16]}"))
    rows = dataset.read(config, built.training_set)
    selected = select(config, rows)
    save(folder, selected.learned, selected.inputs)
    ours, theirs = Model(folder), Model(registered)
    same_inputs = (folder / INPUTS).read_bytes() == (registered / INPUTS).read_bytes()
    checks.append(Check(INPUTS, same_inputs, "bytes"))
    ours_is, theirs_is = ours.learned, theirs.learned
    same_model = (ours_is.FILE, ours_is.timeless()) == (theirs_is.FILE, theirs_is.timeless())
    checks.append(Check(theirs_is.FILE, same_model, "bytes, without what tells the time"))
    same_graph = to_onnx(ours_is, ours.inputs).SerializeToString() == (registered / ONNX).read_bytes()
    checks.append(Check(ONNX, same_graph, "bytes"))
    difference = float(np.abs(ours.score(rows) - theirs.score(rows)).max())
    checks.append(Check("predictions", difference == 0.0, f"{len(rows):,} rows, largest difference {difference:g}"))
    return checks
