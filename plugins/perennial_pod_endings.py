"""How a pod ended, in words: what the person on call reads instead of an operator's stack trace.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ and .../scheduling-eviction/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubernetes.client import V1ContainerState, V1Pod, V1PodStatus


@dataclass(frozen=True)
class Ending:
    """The end of a pod.

    Attributes:
        exit_code: of the container that ran the step; None if it did not get that far.
        sentence: what happened; continues "STEP: ".
    """

    exit_code: int | None
    sentence: str


GONE = Ending(None, "its pod is gone: its node went, or somebody deleted it")


def ending_of(pod: V1Pod, container: str, warnings: Sequence[str] = ()) -> Ending:
    """The end of a pod that has not succeeded.

    Args:
        container: name of the container that ran the step.
        warnings: messages of the pod's events that warn, the newest last.
    """
    status = pod.status
    state = _state(status, container)
    exit_code = state.terminated.exit_code if state and state.terminated else None
    taken = [each.message or each.reason for each in status.conditions or () if _is_disruption(each.type, each.status)]
    if status.reason == "Evicted" or taken:
        return Ending(None, f"its pod was evicted: {status.message or (taken or ['its node says no more'])[0]}")
    if state and state.terminated and state.terminated.reason == "OOMKilled":
        return Ending(exit_code, "out of memory: it took more than the limit of its pod; raise `memory_limit` of the step")
    if exit_code is not None:
        message = f": {state.terminated.message}" if state and state.terminated.message else ""
        return Ending(exit_code, f"ended with exit code {exit_code}{message}; the task's log has its log")
    if status.phase == "Pending":
        return Ending(None, f"its pod did not start: {_why_not_started(state, warnings)}")
    return Ending(None, f"its pod failed: {status.message or status.reason or 'Kubernetes does not say why'}")


def _state(status: V1PodStatus, container: str) -> V1ContainerState | None:
    return next((each.state for each in status.container_statuses or () if each.name == container), None)


def _is_disruption(kind: str, value: str) -> bool:
    return kind == "DisruptionTarget" and value == "True"


def _why_not_started(state: V1ContainerState | None, warnings: Sequence[str]) -> str:
    """What its container waits for, else the newest warning."""
    if state and state.waiting and state.waiting.message:
        return f"{state.waiting.reason}: {state.waiting.message}"
    return warnings[-1] if warnings else "no node took it in time"
