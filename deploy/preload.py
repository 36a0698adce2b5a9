"""Importing this imports all that a task needs except the project's own code; tasks are then forked from the process that did.

It is meant for Airflow's scheduler with the LocalExecutor, 3.3 or newer, wherever that runs:

    AIRFLOW__SCHEDULER__MP_START_METHOD=forkserver
    AIRFLOW__SCHEDULER__MP_FORKSERVER_PRELOAD=deploy.preload

The fork server is a process of its own that imports and does nothing else: no engine has started, no thread of Python runs,
so a fork of it is safe. Airflow starts it for its first task, which waits for the imports once. The project's own code stays
out, or a task would run the code of the day on which Airflow was started.
"""

from __future__ import annotations

import gc
from importlib import import_module

import ml  # it tells the libraries not to report to their vendors, before they are imported
from deploy.libraries import LIBRARIES

# After the libraries, which write hundreds of lines about their import to a log that is open by then.
AIRFLOW = (
    "airflow.dag_processing.dagbag",
    "airflow.executors.local_executor",
    "airflow.providers.standard.decorators.python",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.serialization.serialized_objects",
)

gc.disable()
ml.import_feast_unchecked()
for name in (*LIBRARIES, *AIRFLOW):
    import_module(name)
# Objects that no collection touches stay in pages that all tasks share.
gc.freeze()
gc.enable()
