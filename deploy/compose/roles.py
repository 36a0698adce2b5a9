"""Roles and first users of Airflow with the FAB manager; run again it adds what is missing.

    python -m deploy.compose.roles

| role | may |
| --- | --- |
| Viewer | see everything but connections, variables and settings; FAB's own role |
| Operator | also start, clear and stop runs, and pause DAGs |
| Approver | also answer for or against the next step of a release |
| Admin | everything; FAB's own role |

Nobody is Operator and Approver unless he is given both. The user `admin` is made with AIRFLOW_ADMIN_PASSWORD, which he may
change. The user `perennial`, an operator, is the one by whom steps write notes on their runs: its password is
AIRFLOW_NOTES_PASSWORD, each time again.
"""

from __future__ import annotations

import os
from typing import Any

ADMIN, NOTES = "admin", "perennial"
READ, EDIT, CREATE, DELETE, MENU = "can_read", "can_edit", "can_create", "can_delete", "menu_access"
ALSO_MAY = {
    "Operator": [
        (EDIT, "DAGs"),
        *((action, "DAG Runs") for action in (CREATE, EDIT, DELETE)),
        *((action, "Task Instances") for action in (CREATE, EDIT, DELETE)),
    ],
    "Approver": [(EDIT, "HITL Detail"), (MENU, "HITL Detail")],
}
"""What a role may besides what a viewer may."""


def make(manager: Any, environ: dict[str, str]) -> list[str]:
    """Add roles and users to FAB's security manager; the names of the users that were made."""
    viewer = list(manager.VIEWER_PERMISSIONS)
    manager.bulk_sync_roles([{"role": role, "perms": viewer + more} for role, more in ALSO_MAY.items()])
    made = []
    for name, role, password in (
        (ADMIN, "Admin", environ["AIRFLOW_ADMIN_PASSWORD"]),
        (NOTES, "Operator", environ["AIRFLOW_NOTES_PASSWORD"]),
    ):
        user = manager.find_user(name)
        if user is None:
            if not manager.add_user(name, "Perennial", role, f"{name}@localhost", manager.find_role(role), password):
                raise RuntimeError(f"user {name} could not be made; the log has the database's error")
            made.append(name)
        elif name == NOTES:
            manager.reset_password(user.id, password)
    return made


def main() -> None:
    """`python -m deploy.compose.roles`."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        made = make(builder.sm, dict(os.environ))
    print(f"roles are there; users made: {', '.join(made) or 'none'}")


if __name__ == "__main__":
    main()
