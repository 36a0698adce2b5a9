"""Who may do what in Airflow: the roles of docker-compose.yaml, and nobody without a login."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.compose.composition import Composition
from tests.compose.conftest import Nights

pytestmark = pytest.mark.compose

PASSWORD = "a password of the tests"
ROLES = ("Viewer", "Operator", "Approver")
ASKED = {
    "see": ("GET", "/dags", None),
    "start": ("POST", "/dags/maintain/dagRuns", {"logical_date": None}),
    "pause": ("PATCH", "/dags/maintain", {"is_paused": False}),
    "approve": (
        "PATCH",
        "/dags/approve/dagRuns/none/taskInstances/decide/-1/hitlDetails",
        {"chosen_options": ["Approve"], "params_input": {}},
    ),
    "see connections": ("GET", "/connections", None),
}
"""Requests; that of an approval is about a run that is not there."""
ALLOWED = {
    "Viewer": {"see"},
    "Operator": {"see", "start", "pause"},
    "Approver": {"see", "approve"},
    "Admin": set(ASKED),
}

Client = Callable[[str], httpx.Client]


@pytest.fixture(scope="module")
def client(composition: Composition, nights: Nights) -> Iterator[Client]:
    """Clients by role, each with a login of its own; without a role, one without a login."""
    for role in ROLES:
        words = ["airflow", "users", "create", "--role", role, "--username", role.lower(), "--password", PASSWORD]
        words += ["--firstname", "Test", "--lastname", role, "--email", f"{role}@localhost"]
        composition.within("airflow-api-server", *words)
    with ExitStack() as stack:

        def logged_in(role: str) -> httpx.Client:
            made = stack.enter_context(httpx.Client(base_url=composition.url("airflow"), timeout=60, trust_env=False))
            if role:
                password = composition.secrets["AIRFLOW_ADMIN_PASSWORD"] if role == "Admin" else PASSWORD
                token = made.post("/auth/token", json={"username": role.lower(), "password": password}).raise_for_status()
                made.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
            return made

        yield logged_in


@pytest.mark.parametrize("role", list(ALLOWED))
def test_a_role_may_do_what_it_is_for_and_nothing_else(client: Client, role: str) -> None:
    asking = client(role)
    answers = {
        what: asking.request(method, f"/api/v2{path}", json=body).status_code for what, (method, path, body) in ASKED.items()
    }
    assert {what for what, code in answers.items() if code != 403} == ALLOWED[role], answers
    assert all(code < 300 or what == "approve" for what, code in answers.items() if what in ALLOWED[role]), answers
    assert answers["approve"] in (403, 404)


def test_nobody_without_a_login_is_told_anything(client: Client) -> None:
    asking = client("")
    for method, path, body in ASKED.values():
        assert asking.request(method, f"/api/v2{path}", json=body).status_code == 401, path
    for page in ("model", "drift"):
        assert asking.get(f"/perennial/{page}").status_code == 401, page
    for body in ({"username": "admin", "password": "admin"}, {"username": "admin", "password": ""}):
        assert asking.post("/auth/token", json=body).status_code == 401


def test_the_user_of_notes_is_an_operator(composition: Composition) -> None:
    with httpx.Client(base_url=composition.url("airflow"), timeout=60, trust_env=False) as asking:
        login = {"username": "perennial", "password": composition.secrets["AIRFLOW_NOTES_PASSWORD"]}
        token = asking.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert asking.get("/api/v2/dags", headers=headers).status_code == 200
        assert asking.get("/api/v2/connections", headers=headers).status_code == 403
