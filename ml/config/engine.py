"""The section on what computes windows: DuckDB in the step's own process, unless Spark is named."""

from __future__ import annotations

from typing import Literal

from ml.config.thresholds import Section


class Spark(Section):
    """Windows over the past are computed by Spark, for events that one machine does not hold.

    Attributes:
        kind: `spark`.
        master: Spark's master: `local[*]`, `spark://host:7077`, `k8s://…`, `yarn`.
        settings: Spark's own settings, such as `spark.executor.memory`, and those of the object store that the lake lies in.
    """

    kind: Literal["spark"]
    master: str = "local[*]"
    settings: dict[str, str] = {}
