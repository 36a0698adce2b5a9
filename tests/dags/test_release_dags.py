"""A deployment that releases in steps has a DAG that looks, and one that asks a person; the others have neither."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from deploy.local.stack import DAG_IDS
from ml import pipeline
from ml.config import PROJECT
from tests import deployments


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The DAGs of a deployment with a release that a person has to agree to."""
    from airflow.dag_processing.dagbag import DagBag

    told = deployments.raw() | {"release": {"approval": 100}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_CONFIG", str(deployments.write(tmp_path_factory.mktemp("dags"), told)))
        bag = DagBag(PROJECT / "dags", bundle_name="dags-folder")
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_only_a_deployment_that_releases_in_steps_has_them(dags: dict[str, Any]) -> None:
    assert set(dags) - set(DAG_IDS) == {"release", "approve"}


def test_the_release_runs_the_steps_of_its_process_in_their_order(dags: dict[str, Any]) -> None:
    order = [task.task_id for task in dags["release"].topological_sort()]
    assert order == [*(stage.step for stage in pipeline.RELEASE), "waits", "ask"]
    assert dags["release"].get_task("ask").trigger_dag_id == "approve"


def test_a_person_has_a_week_and_does_not_keep_another_from_deciding(dags: dict[str, Any]) -> None:
    assert dags["approve"].get_task("decide").response_timeout == dt.timedelta(days=7)
    assert dags["approve"].get_task("record").upstream_task_ids == {"decide"}
    assert dags["approve"].max_active_runs > dags["release"].max_active_runs == 1


@pytest.mark.parametrize("dag_id", ["release", "approve"])
def test_each_says_what_it_is(dags: dict[str, Any], dag_id: str) -> None:
    dag = dags[dag_id]
    assert "At 3 a.m." in dag.doc_md
    assert all(task.task_id in dag.doc_md for task in dag.tasks)
