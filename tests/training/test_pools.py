"""Trees that are fitted on rows on the disk are those that are fitted on the same rows in memory, in a part of the memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from ml.config import PROJECT, Config, load
from ml.config.deployment import ConfigError
from ml.config.training import LOGISTIC, OWN, SHALLOW
from ml.model.estimator import Estimator
from ml.model.graph import to_onnx
from ml.model.trees import Trees
from ml.training import dataset, fit
from ml.training.candidates import FitWindows, Selected, select_of
from ml.training.split import split
from tests.training import rows as made_up

LIMITED = """
import re, resource, sys
from pathlib import Path
import catboost
from ml.config import load
from ml.training import fit
fit.select_from(load(sys.argv[1]), sys.argv[2])  # what is imported and kept counts for none
used = int(re.search(r"VmData:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
limit = used + int(sys.argv[4]) * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
print(fit.select_from(load(sys.argv[1]), sys.argv[3])[0].estimator.trees)
"""
MEGABYTES = 150


def deployment(folder: Path, pool: str | None, **model: Any) -> Path:
    """A deployment of trees alone; its file."""
    told = made_up.deployments.small_told()
    told["training"] |= {"candidates": [OWN, SHALLOW], "pool": pool}
    told["training"]["model"] |= {"iterations": 30, "depth": 4, "learning_rate": 0.1, **model}
    folder.mkdir()
    return made_up.deployments.write(folder, told)


def frozen(config: Config, a_day: int) -> str:
    """A training set with missing keys, categories and numbers; its address."""
    whole = split(config, made_up.AS_OF)
    rows = made_up.made(config, whole, a_day)
    for place, name in enumerate([*config.entities.values(), *config.categories, *config.measures]):
        rows.loc[rows.index % (11 + place) == 0, name] = np.nan if name in config.measures else None
    holdout = rows.tail(200).assign(**{dataset.SPLIT: dataset.HOLDOUT})
    every = pd.concat([rows, holdout], ignore_index=True)
    return dataset._freeze(config, made_up.AS_OF, every, whole, {}, {}).training_set


def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> tuple[Selected, Selected]:
    """What is selected of the same rows in memory, and on the disk in parts of so many rows."""
    monkeypatch.setattr(dataset.parts, "__defaults__", (part,))
    found = []
    for pool in (None, "disk"):
        config = load(deployment(tmp_path / f"{pool}", pool))
        found.append(fit.select_from(config, frozen(config, 60))[0])
        assert not list((config.home / "pools").glob("*")), "the pool is left behind"
    return found[0], found[1]


def trees_of(estimator: Estimator) -> Any:
    """Borders, splits and leaves, as CatBoost writes them to JSON."""
    assert isinstance(estimator, Trees)
    return {name: estimator.as_json[name] for name in ("features_info", "oblivious_trees", "scale_and_bias")}


@pytest.mark.parametrize("part", [64, 10_000])
def test_trees_and_graphs_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    memory, disk = both(tmp_path, monkeypatch, part)
    assert memory.estimator.trees > 1
    assert (memory.inputs, memory.candidate, memory.figures) == (disk.inputs, disk.candidate, disk.figures)
    for name, other in [("best", memory.estimator), *memory.others.items()]:
        from_disk = disk.estimator if name == "best" else disk.others[name]
        assert trees_of(other) == trees_of(from_disk), name
        assert to_onnx(other, memory.inputs) == to_onnx(from_disk, disk.inputs), name


def test_the_weights_in_the_pool_count(tmp_path: Path) -> None:
    config = load(deployment(tmp_path / "disk", "disk"))
    training_set = frozen(config, 60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml.training.candidates.row_weights", lambda config, rows: np.linspace(0.1, 3, len(rows)))
        other = fit.select_from(config, training_set)[0]
    honest = fit.select_from(config, training_set)[0]
    assert trees_of(honest.estimator) != trees_of(other.estimator)


def test_rows_that_memory_does_not_hold_are_fitted_from_the_disk(tmp_path: Path) -> None:
    path = deployment(tmp_path / "disk", "disk", iterations=3)
    sets = [frozen(load(path), a_day) for a_day in (60, 10_000)]
    in_memory = tmp_path / "memory.yaml"
    in_memory.write_text(path.read_text().replace("pool: disk", "pool: null"))
    ended = {}
    for pool, file in (("disk", path), (None, in_memory)):
        command = [sys.executable, "-c", LIMITED, str(file), *sets, str(MEGABYTES)]
        ended[pool] = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    assert ended["disk"].returncode == 0, ended["disk"].stderr[-2000:]
    assert ended["disk"].stdout.splitlines()[-1] == "3"
    assert ended[None].returncode != 0, f"{MEGABYTES} MB are enough for all rows in memory; the limit shows nothing"
    assert "alloc" in ended[None].stderr or "MemoryError" in ended[None].stderr, ended[None].stderr[-2000:]


def test_what_needs_all_rows_in_memory_is_refused(tmp_path: Path) -> None:
    path = deployment(tmp_path / "disk", "disk")
    told = yaml.safe_load(path.read_text())
    told["training"]["candidates"] = [OWN, LOGISTIC]
    path.write_text(yaml.safe_dump(told))
    with pytest.raises(ConfigError, match=r"pool is 'disk'.*leave 'logistic regression' out of candidates"):
        load(path)


def test_a_pool_is_another_recipe_and_none_is_none(tmp_path: Path) -> None:
    memory, disk = (load(deployment(tmp_path / f"{pool}", pool)) for pool in (None, "disk"))
    assert fit.recipe_of(memory, OWN, []) != fit.recipe_of(disk, OWN, [])
    assert "pool" not in memory.training.model_dump()


def test_windows_on_the_disk_hold_no_numbers_of_the_training_rows(tmp_path: Path) -> None:
    config = load(deployment(tmp_path / "disk", "disk"))
    folder = tmp_path / "pool"
    folder.mkdir()
    windows = FitWindows.on_disk(config, frozen(config, 60), folder)
    assert not {*windows.inputs.fill} & {*windows.train}
    assert select_of(config, windows).estimator.trees > 1
