"""Reports deployment files that cannot be loaded, as an import error of this file.

Airflow reads a file only where it speaks of Airflow and of a DAG, so this sentence has to stay.
"""

from __future__ import annotations

from perennial_deployments import broken

if faults := broken():
    raise ValueError("\n".join(["deployments without DAGs:", *faults.values()]))
