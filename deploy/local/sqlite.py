"""How Airflow's processes connect to their SQLite file; named in its configuration.

A process that finds the file locked waits for five seconds by default, and a busy machine takes longer.
"""

PATIENCE = 60
"""Seconds to wait for another process to finish writing."""

CONNECT = {"timeout": PATIENCE}
CONNECT_ASYNC = {"timeout": PATIENCE}
