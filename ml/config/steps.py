"""The section on where steps run: in a pod of a Kubernetes cluster, instead of beside the scheduler."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ml.config.thresholds import Expected, Section

Quantity = Annotated[
    str, Expected("quantity of Kubernetes, such as `500m` or `4Gi`"), Field(pattern=r"^\d+(\.\d+)?(m|[kMGT]i?)?$")
]
"""As Kubernetes writes it: `2`, `500m` of a processor; `4Gi` of memory."""
StepName = Annotated[
    Literal[
        "validate_batch",
        "load_batch",
        "publish_features",
        "materialize",
        "request_for_new_data",
        "admit",
        "build_training_set",
        "validate_training_set",
        "plan_tuning",
        "search",
        "choose_settings",
        "explore",
        "fit",
        "export_graph",
        "explain",
        "judge",
        "refit",
        "register",
        "promote",
        "write_card",
        "profile_champion",
        "load_predictions",
        "monitor",
        "release",
        "maintain",
        "score",
    ],
    Expected("name of a step"),
]
"""The steps of `ml.steps`, which a test compares with these."""
ObjectName = Annotated[
    str, Expected("name of an object of Kubernetes"), Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")
]


class Toleration(Section):
    """A taint of nodes that a pod accepts, as in Kubernetes.

    Attributes:
        key: of the taint; null for every taint.
        operator: whether the values have to be equal, or the taint has to be there.
        value: of the taint.
        effect: of the taint; null for every effect.
    """

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Pod(Section):
    """A pod that runs one step.

    Attributes:
        image: the image `airflow` of deploy/images, or one made from it.
        cpu: processors that are requested.
        memory: memory that is requested, and the limit unless `memory_limit` is larger.
        cpu_limit: processors that it may use; null for no limit.
        memory_limit: memory that it may use; null for `memory`.
        gpu: number of graphics processors (`nvidia.com/gpu`).
        namespace: where the pod runs; null for that of the connection.
        connection: Airflow's connection to the cluster.
        secrets: Secrets whose keys become environment variables, such as those that the deployment file names.
        volume_claim: claim of a volume that all steps share, mounted as `home`; null where `artifacts` and the lake are in an
            object store.
        service_account: the service account of the pod; null for that of the namespace.
        node_selector: labels that a node must have.
        tolerations: taints that a node may have.
        sidecar: image of the container that hands over the record; null for the provider's, which has to be pulled.
        start: how long the pod may take to be started, in seconds.
        deferrable: whether Airflow's triggerer waits for the pod instead of a worker; its log is then read when it has ended.
    """

    image: str
    cpu: Quantity
    memory: Quantity
    cpu_limit: Quantity | None = None
    memory_limit: Quantity | None = None
    gpu: Annotated[int, Field(ge=0)] = 0
    namespace: ObjectName | None = None
    connection: str = "kubernetes_default"
    service_account: ObjectName | None = None
    secrets: list[ObjectName] = []
    volume_claim: ObjectName | None = None
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    sidecar: str | None = None
    start: Annotated[int, Field(ge=1, le=24 * 3600)] = 600
    deferrable: bool = False


class StepSettings(Section):
    """Where a step runs.

    Attributes:
        pod: the pod that it runs in.
    """

    pod: Pod
