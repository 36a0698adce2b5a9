"""The DAGs run the processes as they are declared."""

from __future__ import annotations

from typing import Any

import pytest

from ml import pipeline
from ml.config import PROJECT, Config, load
from tests import deployments


@pytest.fixture(scope="module", params=["config/demo.yaml", "small"])
def deployed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, dict[str, Any]]:
    """A deployment, with a search for settings or without one, and its DAGs."""
    from airflow.dag_processing.dagbag import DagBag

    path = PROJECT / request.param
    if request.param == "small":
        path = deployments.small_file(tmp_path_factory.mktemp("deployed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_CONFIG", str(path))
        bag = DagBag(PROJECT / "dags", bundle_name="dags-folder")
    assert bag.import_errors == {}
    return load(path), bag.dags


def test_a_dag_runs_the_steps_of_its_process_and_hands_on_the_same_references(deployed: tuple[Config, dict[str, Any]]) -> None:
    config, dags = deployed
    processes = {"ingest": pipeline.INGEST, "monitor": pipeline.MONITOR, "maintain": pipeline.MAINTAIN, "score": pipeline.SCORE}
    processes |= {"train": pipeline.training(config)}
    for dag_id, process in processes.items():
        tasks = {_step(task): task for task in dags[dag_id].tasks if _step(task)}
        assert set(tasks) == {stage.step for stage in process}
        for stage in process:
            task = tasks[stage.step]
            handed_on = {name: value for name, value in _references(task).items() if not isinstance(value, str)}
            assert {name: f"{_step(arg.operator)}.{arg.key}" for name, arg in handed_on.items()} == dict(stage.takes)
            assert (_option(task, "skip_unless") or "") == stage.skip_unless
            before = {_step(each) for each in task.get_flat_relatives(upstream=True)} - {None}
            assert stage.after <= before, stage.step


def test_what_explains_is_what_nothing_that_decides_waits_for(deployed: tuple[Config, dict[str, Any]]) -> None:
    config, dags = deployed
    explains = {stage.step for stage in pipeline.training(config) if stage.explains}
    for task in dags["train"].tasks:
        if _step(task) in explains:
            assert {_step(each) for each in task.get_flat_relatives(upstream=False)} <= explains


def _option(task: Any, name: str) -> Any:
    return task.partial_kwargs.get(name) if task.is_mapped else getattr(task, name, None)


def _step(task: Any) -> str | None:
    return _option(task, "step")


def _references(task: Any) -> dict[str, Any]:
    return _option(task, "references") or {}
