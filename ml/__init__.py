"""Perennial: a continuous-training pipeline. Airflow decides when; this package knows how, and never imports Airflow."""

import os

# ONNX Runtime reports model names and graph hashes unless its variable is there before its first session; MLflow reads its
# own and DO_NOT_TRACK, which must be the word `true`. Airflow, Feast, CatBoost, DuckDB and Delta Lake report nothing.
TELEMETRY_OFF = {
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "false",
}

os.environ.update(TELEMETRY_OFF)
