"""Steps run in pods from creation to deletion, through the provider and a double of the API server (`tests.dags.cluster`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ml.config import PROJECT
from tests import deployments
from tests.dags import cluster
from tests.dags.test_dags import _context

POD = {"image": "i", "cpu": "1", "memory": "1Gi", "namespace": "models", "secrets": ["perennial"], "start": 2}
DEFERRED = POD | {"deferrable": True}


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Cluster]:
    """The double, which Airflow's connection leads to."""
    with cluster.running(tmp_path_factory.mktemp("cluster")) as (double, kubeconfig), pytest.MonkeyPatch.context() as patch:
        connection = {"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(kubeconfig)}}
        patch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        yield double


@pytest.fixture(autouse=True)
def _as_it_was(double: cluster.Cluster) -> None:
    double.fate = "runs"
    double.created.clear()


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The DAG train of a deployment whose ledger's password comes from a Secret."""
    from airflow.dag_processing.dagbag import DagBag

    folder = tmp_path_factory.mktemp("deployment")
    told = deployments.raw()
    told["steps"] = {
        "admit": {"pod": POD},
        "export_graph": {"pod": POD},
        "judge": {"pod": DEFERRED},
    }
    file = deployments.write(folder, told)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_CONFIG", str(file))
        bag = DagBag(PROJECT / "dags", bundle_name="dags-folder")
        assert bag.import_errors == {}
        yield bag.dags["train"]


def _in_a_run(task_id: str) -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="train", task_id=task_id, map_index=-1, try_number=1, xcom_push=lambda *_, **__: None)
    run = {"ti": ti, "run_id": "r1", "dag": SimpleNamespace()}
    return _context("2025-05-02T02:00:00+00:00") | run


def _admit(dag: Any) -> Any:
    """The task that admits a training, with its references as Airflow renders them."""
    admit = dag.get_task("admit")
    admit.references = {"force": "False", "reason": ""}
    return admit


def _notes(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [message.partition("note on the run: ") for message in caplog.messages]
    return [note for _, is_note, note in found if is_note]


def test_a_step_hands_its_record_over_and_leaves_no_pod(
    double: cluster.Cluster, dag: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    double.secrets = {"perennial": {"LEDGER_DB_PASSWORD": "a-secret"}}
    with pytest.raises(AirflowSkipException, match="the lake holds no events"):  # the record says that nothing is admitted
        _admit(dag).execute(_in_a_run("admit"))
    [created] = double.created
    assert created["metadata"]["namespace"] == "models"
    assert double.pods == {}
    assert "a-secret" not in json.dumps(created) + caplog.text


def test_a_step_that_refuses_fails_for_good_and_says_why_on_the_run(
    double: cluster.Cluster, dag: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    export = dag.get_task("model.export_graph")
    export.references = {"model": "0" * 16}
    with pytest.raises(AirflowFailException):
        export.execute(_in_a_run("model.export_graph"))
    [note] = _notes(caplog)
    assert note.startswith("export_graph: ")
    assert "0" * 16 in note
    assert double.pods == {}


@pytest.mark.parametrize(
    ("fate", "sentence"),
    [
        ("no image", "admit: its pod did not start: ImagePullBackOff: Back-off pulling image"),
        ("no node", "admit: its pod did not start: 0/3 nodes are available: 3 Insufficient memory."),
        ("out of memory", "admit: out of memory: it took more than the limit of its pod"),
        ("evicted", "admit: its pod was evicted: The node was low on resource: memory."),
        ("lost", "admit: its pod is gone: its node went, or somebody deleted it"),
    ],
)
def test_a_pod_that_does_not_end_well_is_told_on_the_run_and_tried_again(
    double: cluster.Cluster, dag: Any, caplog: pytest.LogCaptureFixture, fate: cluster.Fate, sentence: str
) -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    double.fate = fate
    with pytest.raises(AirflowException) as raised:
        _admit(dag).execute(_in_a_run("admit"))
    assert not isinstance(raised.value, AirflowFailException)
    [note] = _notes(caplog)
    assert note.startswith(sentence)
    assert double.pods == {}


def _deferred(task: Any, context: dict[str, Any]) -> tuple[Any, str]:
    """Run a task until it is deferred: the trigger, and the method that goes on."""
    from airflow.sdk.exceptions import TaskDeferred

    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    return deferred.value.trigger, deferred.value.method_name


async def _event(trigger: Any) -> dict[str, Any]:
    async for event in trigger.run():
        return dict(event.payload)
    raise AssertionError("the trigger ended without an event")


@pytest.mark.parametrize(("fate", "sentence"), [("runs", ""), ("no image", "judge: its pod did not start: ImagePullBackOff")])
def test_the_triggerer_may_wait_for_the_pod(
    double: cluster.Cluster, dag: Any, caplog: pytest.LogCaptureFixture, fate: cluster.Fate, sentence: str
) -> None:
    """The step refuses, for there is no such model; the task learns of it after the triggerer has seen the pod end."""
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    double.fate = fate
    judge = dag.get_task("decision.judge")
    judge.references = {"model": "0" * 16}
    context = _in_a_run("decision.judge")
    trigger, method = _deferred(judge, context)
    event = asyncio.run(_event(trigger))
    with pytest.raises(AirflowException) as raised:
        getattr(judge, method)(context, event)
    assert isinstance(raised.value, AirflowFailException) == (fate == "runs")
    [note] = _notes(caplog)
    assert note.startswith(sentence or "judge: ")
    assert double.pods == {}


def test_a_task_that_is_stopped_takes_its_pod_along(double: cluster.Cluster, dag: Any) -> None:
    admit = _admit(dag)
    context = _in_a_run("admit")
    admit.in_cluster = made = admit.pod_operator(context, {})
    made.pod_request_obj = made.build_pod_request_obj(context)
    made.pod = made.get_or_create_pod(made.pod_request_obj, context)
    assert len(double.pods) == 1
    admit.on_kill()
    assert double.pods == {}
