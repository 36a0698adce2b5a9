"""Airflow reads its settings when it is imported, so they are set here, before any test of this folder is."""

from __future__ import annotations

import os
import sys
import tempfile

from ml.config import PROJECT

HOME = tempfile.mkdtemp(prefix="airflow-")

os.environ.update(
    {
        "AIRFLOW_HOME": HOME,
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
        "PERENNIAL_CONFIG": str(PROJECT / "config" / "demo.yaml"),
    }
)
# As Airflow does when it starts.
sys.path.append(str(PROJECT / "plugins"))
