"""A step runs in the pod that the deployment file describes, and ends as one that runs beside the scheduler does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from ml import steps
from ml.config import PROJECT, ConfigError, load
from ml.config.steps import StepName
from tests import deployments
from tests.dags.test_dags import _context

FIT = {
    "image": "registry.example/perennial-airflow:1",
    "cpu": "2",
    "memory": "8Gi",
    "memory_limit": "12Gi",
    "gpu": 1,
    "namespace": "models",
    "service_account": "trainer",
    "secrets": ["perennial"],
    "volume_claim": "perennial-home",
    "node_selector": {"pool": "large"},
    "tolerations": [{"key": "large", "operator": "Exists", "effect": "NoSchedule"}],
    "sidecar": "registry.example/alpine:3",
}
SEARCH = {"image": "registry.example/perennial-airflow:1", "cpu": "500m", "memory": "2Gi"}
REFERENCES = {"training_set": "t1", "settings": ""}


def _file(folder: Path, **more: Any) -> Path:
    told = deployments.raw()
    told["steps"] = {"fit": {"pod": FIT}, "search": {"pod": SEARCH}} | more
    return deployments.write(folder, told)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The deployment file."""
    return _file(tmp_path_factory.mktemp("pods"))


@pytest.fixture(scope="module")
def dag(file: Path) -> Iterator[Any]:
    """Its DAG train."""
    from airflow.dag_processing.dagbag import DagBag

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_CONFIG", str(file))
        patch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes"}))
        bag = DagBag(PROJECT / "dags", bundle_name="dags-folder")
        assert bag.import_errors == {}
        yield bag.dags["train"]


def _in_a_run() -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="train", task_id="model.fit", map_index=-1, try_number=1)
    return _context("2025-05-02T02:00:00+00:00") | {"ti": ti, "run_id": "r1", "dag": SimpleNamespace()}


def test_the_pod_is_what_the_configuration_says(dag: Any) -> None:
    context = _in_a_run()
    made = dag.get_task("model.fit").pod_operator(context, REFERENCES)
    pod = made.build_pod_request_obj(context, dry_run=True).to_dict()
    spec = pod["spec"]
    step, sidecar = spec["containers"]
    assert pod["metadata"]["namespace"] == FIT["namespace"]
    assert pod["metadata"]["name"].startswith("perennial-fit-")
    assert step["image"] == FIT["image"]
    assert step["resources"]["requests"] == {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert step["resources"]["limits"] == {"memory": "12Gi", "nvidia.com/gpu": "1"}
    assert [source["secret_ref"]["name"] for source in step["env_from"]] == FIT["secrets"]
    assert spec["service_account_name"] == FIT["service_account"]
    assert spec["node_selector"] == FIT["node_selector"]
    assert [{k: v for k, v in each.items() if v} for each in spec["tolerations"]] == FIT["tolerations"]
    assert spec["restart_policy"] == "Never"
    assert "perennial-home" in [(v["persistent_volume_claim"] or {}).get("claim_name") for v in spec["volumes"]]
    assert sidecar["image"] == FIT["sidecar"]
    assert "/airflow/xcom" in [mount["mount_path"] for mount in step["volume_mounts"]]


def test_the_pod_runs_the_step_as_the_command_line_does(dag: Any, file: Path) -> None:
    """The command line takes its words, and the record goes where the side-car looks for it."""
    from ml.__main__ import _parser

    made = dag.get_task("model.fit").pod_operator(_in_a_run(), REFERENCES)
    assert made.cmds == ["python"]
    assert made.arguments[:3] == ["-m", "ml", "fit"]
    parsed = _parser().parse_args(made.arguments[2:])
    assert (Path(parsed.config), parsed.training_set, parsed.settings) == (file, "t1", "")
    assert parsed.as_of.isoformat() == "2025-05-02T02:00:00+00:00"
    assert str(parsed.record) == "/airflow/xcom/return.json"


def test_a_flag_is_given_without_a_value_and_a_file_of_the_project_by_its_place_in_it() -> None:
    from perennial_pods import command_line

    words = command_line("admit", PROJECT / "config" / "demo.yaml", "2025-05-02T02:00:00Z", {"force": "True", "reason": "now"})
    assert words[3:5] == ["--config", "config/demo.yaml"]
    assert words[7:10] == ["--force", "--reason", "now"]
    assert "--force" not in command_line("admit", Path("/d.yaml"), "2025-05-02T02:00:00Z", {"force": "False"})


def test_a_step_without_the_section_runs_beside_the_scheduler(dag: Any) -> None:
    from perennial_pods import PodStepOperator

    classes = {name: getattr(task, "operator_class", type(task)) for name, task in dag.task_dict.items()}
    assert {name for name, class_ in classes.items() if issubclass(class_, PodStepOperator)} == {"model.fit", "tuning.search"}


def test_the_scheduler_can_store_the_dag(dag: Any) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    stored = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert set(stored.task_dict) == set(dag.task_dict)


@pytest.mark.parametrize(
    ("status", "exit_code", "sentence"),
    [
        ({"phase": "Failed"}, None, "its pod failed: Kubernetes does not say why"),
        ({"phase": "Failed", "reason": "DeadlineExceeded", "message": "too long"}, None, "its pod failed: too long"),
        ({"phase": "Pending"}, None, "its pod did not start: no node took it in time"),
        ({"phase": "Failed", "ended": 1}, 1, "ended with exit code 1; the task's log has its log"),
        (
            {"phase": "Failed", "ended": 143, "taken": "preempted by another pod"},
            None,
            "its pod was evicted: preempted by another",
        ),
    ],
)
def test_how_a_pod_ended_is_said_in_words(status: dict[str, Any], exit_code: int | None, sentence: str) -> None:
    from kubernetes.client import models as k8s
    from perennial_pod_endings import ending_of

    ended, taken = status.pop("ended", None), status.pop("taken", None)
    state = k8s.V1ContainerState(terminated=k8s.V1ContainerStateTerminated(exit_code=ended)) if ended else None
    container = k8s.V1ContainerStatus(name="base", state=state, image="i", image_id="i", ready=False, restart_count=0)
    condition = k8s.V1PodCondition(type="DisruptionTarget", status="True", message=taken)
    conditions = [condition] if taken else None
    pod = k8s.V1Pod(status=k8s.V1PodStatus(container_statuses=[container], conditions=conditions, **status))
    ending = ending_of(pod, "base")
    assert ending.exit_code == exit_code
    assert ending.sentence.startswith(sentence)


def test_every_step_may_run_in_a_pod_and_no_other_name_may(tmp_path: Path) -> None:
    assert set(get_args(get_args(StepName)[0])) == set(steps.STEPS)
    with pytest.raises(ConfigError, match="steps"):
        load(_file(tmp_path, fti={"pod": SEARCH}))


def test_where_a_step_runs_does_not_change_what_is_computed(file: Path) -> None:
    told = load(file)
    assert told.fingerprint == told.model_copy(update={"steps": {}}).fingerprint


def test_an_amount_that_kubernetes_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"steps\.fit\.pod\.memory"):
        load(_file(tmp_path, fit={"pod": SEARCH | {"memory": "8 GB"}}))
