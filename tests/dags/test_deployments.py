"""One Airflow runs the DAGs of several deployments; one whose file is broken is reported and harms none of the others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ml.config import PROJECT
from tests import deployments

PROCESSES = ("ingest", "train", "monitor", "watch", "messages", "maintain", "score")


def _bag() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(PROJECT / "dags", bundle_name="dags-folder")


def _file(folder: Path, name: str, **more: Any) -> Path:
    written = deployments.write(folder, deployments.small_told() | {"name": name} | more)
    return written.rename(folder / f"{name}.yaml")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two deployments, of which the second trains at another hour, and a file that is none."""
    _file(tmp_path, "cards")
    told = deployments.small_told()
    _file(tmp_path, "loans", schedule=told["schedule"] | {"train": "15 5 * * *"})
    (tmp_path / "broken.yaml").write_text("name: [unclosed")
    (tmp_path / "notes.txt").write_text("not a deployment")
    monkeypatch.setenv("PERENNIAL_CONFIG", str(tmp_path))
    return tmp_path


def test_each_deployment_has_its_own_dags_and_a_broken_one_is_reported(folder: Path) -> None:
    bag = _bag()
    assert set(bag.dags) == {f"{name}_{process}" for name in ("cards", "loans") for process in PROCESSES}
    ((file, error),) = bag.import_errors.items()
    assert file.endswith("broken_deployments.py")
    assert str(folder / "broken.yaml") in error
    assert "not valid YAML" in error
    schedules = {name: bag.dags[f"{name}_train"].timetable.timetable.expression for name in ("cards", "loans")}
    assert schedules["loans"] == "15 5 * * *" != schedules["cards"]
    assets = {name: {a.uri for a in bag.dags[f"{name}_ingest"].get_task("announce").outlets} for name in ("cards", "loans")}
    assert assets == {name: {f"perennial://{name}/lake"} for name in ("cards", "loans")}


def test_a_task_finds_the_deployment_of_its_dag(folder: Path) -> None:
    from perennial_deployments import dag_id_of, of_dag

    assert of_dag("loans_train").config.name == "loans"
    assert of_dag("cards_watch").file == folder / "cards.yaml"
    assert dag_id_of("loans", "train") == "loans_train"
    with pytest.raises(LookupError, match=r"no deployment has a DAG 'train'.*broken\.yaml"):
        of_dag("train")


def test_several_files_may_be_named_and_a_name_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perennial_deployments import broken
    from perennial_deployments import deployments as loaded

    (tmp_path / "other").mkdir()
    files = [_file(tmp_path, "cards"), _file(tmp_path / "other", "cards"), _file(tmp_path, "loans")]
    monkeypatch.setenv("PERENNIAL_CONFIG", os.pathsep.join(map(str, files)))
    assert [each.config.name for each in loaded()] == ["cards", "loans"]
    assert list(broken()) == [files[1]]
    assert f"is that of {files[0]} already" in broken()[files[1]]


def test_a_single_deployment_has_the_dags_of_the_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_CONFIG", str(_file(tmp_path, "cards")))
    bag = _bag()
    assert (set(bag.dags), bag.import_errors) == (set(PROCESSES), {})
