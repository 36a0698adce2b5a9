"""Perennial: a continuous-training pipeline. Airflow decides when; this package knows how, and never imports Airflow."""

import os
from typing import Any

# ONNX Runtime reports model names and graph hashes unless its variable is there before its first session; MLflow reads its
# own and DO_NOT_TRACK, which must be the word `true`. Airflow, Feast, CatBoost, DuckDB and Delta Lake report nothing.
TELEMETRY_OFF = {
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "false",
}

os.environ.update(TELEMETRY_OFF)


def import_feast_unchecked() -> None:
    """Make the import of Feast a third as long; call it before.

    Feast has typeguard check each call of its classes. For that its sources are parsed in each process, once for each method: 6
    of the 9 seconds that `import feast` takes. Only Feast uses typeguard here.
    """
    import typeguard

    typeguard.typechecked = _unchecked


def _unchecked(target: Any = None, **options: Any) -> Any:
    return _unchecked if target is None else target
