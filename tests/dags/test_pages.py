"""The pages in Airflow's own API server: who sees what, what the buttons record, and what is not served."""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml import artifacts, steps
from ml.config import PROJECT, Config, load
from ml.config.release import Release as Plan
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move
from ml.ledger.releases import Release
from ml.ledger.signals import Alarm, Incident, Reading
from ml.monitoring.words import SEVERITY
from ml.pages import render
from tests import deployments
from tests.decisions import decision

AS_OF = deployments.FIRST_AS_OF
ONE = dt.timedelta(days=1)
PAGES = ("model", "drift", "data", "requests", "replay")
HOSTILE = "<script>alert(1)</script>"
BROWSER = {"accept": "text/html"}


def _move(config: Config, version: str, **told: Any) -> None:
    ledger = Ledger(config.ledger)
    common = {"reason": "better", "actor": "scheduler", "run_id": f"asset_triggered__{version}"}
    ledger.moves.make(
        Move(
            model=config.name,
            action="promote",
            expected_from=ledger.moves.champion(config.name),
            to_version=version,
            as_of=AS_OF + int(version) * ONE,
            verdict={},
            hashes={},
            **(common | told),
        )
    )


def _release(config: Config) -> None:
    Ledger(config.ledger).releases.begin(
        Release(
            model=config.name,
            version="3",
            champion="2",
            judgement="j",
            hashes={},
            plan=Plan().model_dump(mode="json"),
            expected={"log_odds": {}},
            as_of=AS_OF + 3 * ONE,
            actor="scheduler",
            reason="better",
            run_id="r3",
        )
    )


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A deployment of which version 2 is champion, with a day that was monitored, rows in quarantine, and hostile names."""
    path = deployments.small_file(tmp_path)
    monkeypatch.setenv("PERENNIAL_CONFIG", str(path))
    config = load(path)
    _move(config, "1", reason=HOSTILE)
    _move(config, "2")
    ledger = Ledger(config.ledger)
    ledger.decisions.record(decision(model=config.name, as_of=AS_OF, reason=HOSTILE, run_id="manual__1"))
    seen = [
        Reading(
            signal=f"{name}: location",
            kind="drift",
            value=9.0,
            threshold=4.2,
            state="CONFIRMED",
            details={"importance": 0.4, "measured": 2.0, "usual": 1.0},
        )
        for name in ("amount", HOSTILE)
    ]
    seen.append(Reading(signal=SEVERITY, kind="drift", value=0.4, threshold=0.05, state="CONFIRMED", details={}))
    alarm = Alarm(trigger="drift", reason=HOSTILE, evidence={})
    fault = Incident(day=AS_OF.date(), fault="unit", subject=HOSTILE, reason="cents", evidence={})
    ledger.signals.record_day(config.name, "2", AS_OF.date(), AS_OF, seen, [alarm], [fault])
    _set_aside(config)
    return config


def _set_aside(config: Config) -> None:
    """Rows of a file with a hostile name and a hostile category."""
    rows = deployments.payments(4)
    rows["channel"] = [HOSTILE, *rows["channel"][1:]]
    deployments.land(config, f"payments_{HOSTILE.replace('/', '')}.parquet", rows)
    steps.run("load_batch", config, AS_OF, {"staged": steps.run("validate_batch", config, AS_OF)["staged"]})


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """Airflow's API server with the project's plugins, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        users = "eve:viewer,ann:user"
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", users)
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "x" * 64)
        patch.setenv("AIRFLOW__API__SECRET_KEY", "y" * 64)
        patch.setenv("AIRFLOW__CORE__UNIT_TEST_MODE", "false")
        from airflow.api_fastapi.app import create_app, purge_cached_app
        from airflow.utils.db import initdb

        initdb()
        purge_cached_app()
        yield create_app(apps="core")
        purge_cached_app()


@pytest.fixture
def login(server: Any) -> Callable[[str | None], Any]:
    """A client that is logged in by the cookie of the web UI, or by nothing."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    def client(role: str | None) -> Any:
        made = TestClient(server, follow_redirects=False, raise_server_exceptions=False)
        if role:
            name = {"viewer": "eve", "user": "ann"}[role]
            made.cookies.set("_token", get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=role)))
        return made

    return client


Login = Callable[[str | None], Any]


def _at(config: Config, place: str) -> str:
    return f"/perennial/deployments/{config.name}/{place}"


def _field(page: str, action: str, name: str) -> str:
    """A hidden field of the form for an action."""
    form = page.partition(f'action="act/{action}"')[2].partition("</form>")[0]
    return form.partition(f'name="{name}" value="')[2].partition('"')[0]


def _press(client: Any, config: Config, action: str, page: str = "model", **fields: str) -> Any:
    """Send the form for an action as it is shown on a page, with a reason."""
    text = client.get(_at(config, page), headers=BROWSER).text
    shown = {name: _field(text, action, name) for name in ("token", "once", "after", "batch")}
    return client.post(_at(config, f"act/{action}"), data=shown | {"reason": "because"} | fields)


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_sees_anything_without_a_login(login: Login, config: Config, method: str) -> None:
    client = login(None)
    places = [_at(config, place) for page in PAGES for place in (page, f"{page}.json")]
    places += [_at(config, place) for place in ("card/1", "exploration/1", "act/rollback", "act/ask", "no/such/thing")]
    places += [f"/perennial/{place}" for place in ("", *PAGES, "dags/train", "nothing", "a/b/c")]
    assert {place: getattr(client, method)(place).status_code for place in places} == dict.fromkeys(places, 401)


@pytest.mark.usefixtures("config")
def test_no_route_answers_without_a_login(login: Login) -> None:
    from perennial_web.app import create_app

    client = login(None)
    asked = {(method, re.sub(r"{[^}]*}", "x", route.path)) for route in create_app().routes for method in route.methods}
    assert {("GET", "/dashboard.js"), ("GET", "/dashboard.json"), ("POST", "/deployments/x/act/x")} <= asked
    codes = {place: client.request(place[0], f"/perennial{place[1]}").status_code for place in asked}
    assert codes == dict.fromkeys(asked, 401)


@pytest.mark.parametrize("page", PAGES)
def test_a_viewer_reads_each_page_and_hostile_names_are_text(login: Login, config: Config, page: str) -> None:
    answer = login("viewer").get(_at(config, page), headers=BROWSER)
    assert answer.status_code == 200
    assert HOSTILE not in answer.text
    if page != "replay":
        assert "&lt;script&gt;alert(1)" in answer.text
    assert "<form" not in answer.text
    assert answer.headers["content-security-policy"] == render.policy()
    assert "default-src 'none'" in render.policy()
    assert not [word for word in ("http://", "https://", "//cdn") if word in answer.text]


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_tells_is_also_json(login: Login, config: Config, page: str) -> None:
    told = login("viewer").get(_at(config, f"{page}.json")).json()
    assert (told is None) == (page == "replay")
    if page == "model":
        assert [reign["version"] for reign in told["reigns"]] == ["1", "2"]
        assert told["status"]["champion"]["version"] == "2"


def test_policies_that_were_replayed_are_told_and_a_record_of_another_kind_is_refused(login: Login, config: Config) -> None:
    file = config.home / "replay" / "replay.json"
    file.parent.mkdir()
    days = [dt.date(2025, 5, 1) + n * ONE for n in range(20)]
    course = {"mean": 0.5, "regret": 0.1, "days_to_90": None, "trainings": 2, "promotions": 1, "refreshes": 0, "worse": 0}
    course |= {"refused": 0, "seconds": 12.0, "average_precision": {str(day): n / 40 for n, day in enumerate(days)}}
    told = {"first": "2025-05-01", "last": "2025-05-20", "days": list(map(str, days)), "drift": "2025-05-10"}
    told |= {"oracle": {str(day): 0.7 for day in days}, "oracle_mean": 0.7}
    file.write_text(json.dumps(told | {"courses": [course | {"policy": "never"}, course | {"policy": HOSTILE, "mean": 0.6}]}))
    answer = login("viewer").get(_at(config, "replay"), headers=BROWSER)
    assert answer.status_code == 200
    assert "&lt;script&gt;alert(1)&lt;/script&gt; came out best" in answer.text
    assert HOSTILE not in answer.text
    assert answer.text.count('class="line series-') == 4  # two policies, in a wide picture and in a narrow one
    file.write_text(json.dumps({"courses": [{"policy": "never"}]}))
    answer = login("viewer").get(_at(config, "replay"))
    assert answer.status_code == 409
    assert "is not what `python -m ml replay --json` prints" in answer.json()["detail"]


def test_the_dashboard_tells_of_each_model_that_a_person_may_see(login: Login, config: Config) -> None:
    client = login("viewer")
    (card,) = client.get("/perennial/dashboard.json").json()
    assert (card["name"], card["dag_id"]) == (config.name, "train")
    told = {figure["name"]: (figure["value"], figure["tone"]) for figure in card["figures"]}
    assert told["champion"] == ("version 2", "")
    assert told["drift"] == ("CONFIRMED", "bad")
    assert told["last verdict"] == ("KEEP", "quiet")
    assert told["waiting"] == ("1 open request", "warn")
    assert "next run of train" in told
    assert client.get("/perennial/dashboard.js").headers["content-type"].startswith("text/javascript")


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    ("place", "page"), [("", "model"), ("drift", "drift"), ("dags/ingest", "data"), ("dags/train", "model")]
)
def test_the_views_of_the_navigation_lead_to_the_only_deployment(login: Login, place: str, page: str, config: Config) -> None:
    client = login("viewer")
    client.follow_redirects = True
    answer = client.get(f"/perennial/{place}", headers=BROWSER)
    assert answer.status_code == 200
    assert answer.url.path == _at(config, page)


def test_of_several_deployments_one_is_chosen(login: Login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        deployments.write(tmp_path / name, deployments.small_told() | {"name": name}).rename(tmp_path / f"{name}.yaml")
    monkeypatch.setenv("PERENNIAL_CONFIG", str(tmp_path))
    client = login("viewer")
    assert 'href="deployments/two/drift"' in client.get("/perennial/drift", headers=BROWSER).text
    assert client.get("/perennial/deployments/two/drift").status_code == 200


@pytest.mark.parametrize("action", ["rollback", "approve", "stop", "readmit", "ask"])
def test_a_viewer_changes_nothing(login: Login, config: Config, action: str) -> None:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from perennial_web.access import token_of

    before = len(Ledger(config.ledger).moves.history(config.name)), len(Ledger(config.ledger).requests.all(config.name))
    token = token_of(SimpleAuthManagerUser(username="eve", role="viewer"))
    answer = login("viewer").post(_at(config, f"act/{action}"), data={"token": token, "reason": "I want to", "after": "2"})
    assert answer.status_code == 403
    assert "your role may not" in answer.json()["detail"]
    assert (
        len(Ledger(config.ledger).moves.history(config.name)),
        len(Ledger(config.ledger).requests.all(config.name)),
    ) == before


def test_a_training_is_asked_for_once_under_the_name_of_who_asked(login: Login, config: Config) -> None:
    client = login("user")
    text = client.get(_at(config, "requests"), headers=BROWSER).text
    fields = {name: _field(text, "ask", name) for name in ("token", "once")} | {"reason": "a new merchant"}
    for _ in range(2):
        answer = client.post(_at(config, "act/ask"), data=fields)
        assert (answer.status_code, answer.headers["location"]) == (303, "../requests")
    (asked,) = [each for each in Ledger(config.ledger).requests.all(config.name) if each.trigger == "on_demand"]
    assert (asked.requested_by, asked.reason, asked.is_open) == ("ann", "a new merchant", True)
    assert "a new merchant" in client.get(_at(config, "requests"), headers=BROWSER).text


@pytest.mark.parametrize(("action", "word"), [("approve", "approved"), ("stop", "stopped")])
def test_a_release_is_agreed_to_and_ended(login: Login, config: Config, action: str, word: str) -> None:
    _release(config)
    answer = _press(login("user"), config, action)
    assert (answer.status_code, answer.headers["location"]) == (303, "../model#release")
    (course,) = Ledger(config.ledger).releases.all(config.name)
    assert [(move.word, move.actor, move.reason) for move in course.moves] == [(word, "ann", "because")]


def test_a_roll_back_that_was_meant_for_another_champion_is_refused(login: Login, config: Config) -> None:
    client = login("user")
    text = client.get(_at(config, "model"), headers=BROWSER).text
    assert "One step back, to version 1" in text
    fields = {name: _field(text, "rollback", name) for name in ("token", "after")} | {"reason": "it alerts too much"}
    _move(config, "3")
    answer = client.post(_at(config, "act/rollback"), data=fields)
    assert answer.status_code == 409
    assert "the champion has moved" in answer.json()["detail"]
    assert Ledger(config.ledger).moves.champion(config.name) == "3"


@pytest.mark.parametrize(
    ("fields", "headers", "code"),
    [
        ({"token": ""}, {}, 403),
        ({"token": "forged"}, {}, 403),
        ({}, {"sec-fetch-site": "same-site"}, 403),
        ({}, {"sec-fetch-site": "cross-site"}, 403),
        ({"token": ""}, {"authorization": "Bearer "}, 403),
        ({"reason": "  "}, {}, 422),
        ({"reason": "x" * 20_000}, {}, 413),
    ],
)
def test_a_form_of_another_site_or_without_a_reason_is_refused(
    login: Login, config: Config, fields: dict[str, str], headers: dict[str, str], code: int
) -> None:
    client = login("user")
    shown = {"token": _field(client.get(_at(config, "requests"), headers=BROWSER).text, "ask", "token"), "reason": "why not"}
    assert client.post(_at(config, "act/ask"), data=shown | fields, headers=headers).status_code == code
    assert not [each for each in Ledger(config.ledger).requests.all(config.name) if each.trigger == "on_demand"]


def test_the_token_of_one_person_is_none_for_another(login: Login, config: Config) -> None:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from perennial_web.access import token_of

    theirs = token_of(SimpleAuthManagerUser(username="eve", role="viewer"))
    answer = login("user").post(_at(config, "act/ask"), data={"token": theirs, "reason": "why not"})
    assert answer.status_code == 403


def test_a_script_that_logs_in_by_a_header_needs_no_token(login: Login, config: Config) -> None:
    client = login("user")
    bearer = {"authorization": f"Bearer {client.cookies['_token']}"}
    client.cookies.clear()
    assert client.post(_at(config, "act/ask"), data={"reason": "nightly"}, headers=bearer).status_code == 303


def test_cards_are_served_and_no_other_file(login: Login, config: Config, tmp_path: Path) -> None:
    store, client = artifacts.of(config), login("viewer")
    card = store.put_text("cards", "1.html", "<p>a card</p>")
    answer = client.get(_at(config, "card/1"))
    assert (answer.status_code, answer.text) == (200, "<p>a card</p>")
    assert "sandbox" in answer.headers["content-security-policy"]
    secret = tmp_path / "secret.html"
    secret.write_text("a secret")
    (card.parent / "2.html").symlink_to(secret)
    for place in ("card/2", "card/3", "card/..%2F..%2Fsecret", "card/%2e%2e", "exploration/1", "ledger.db/1", "card/1%00"):
        answer = client.get(_at(config, place))
        assert answer.status_code == 404, place
        assert "a secret" not in answer.text


def test_loading_the_plugin_imports_nothing_heavy(tmp_path: Path) -> None:
    """What each process of Airflow pays for the pages is the file itself."""
    code = (
        "import airflow.plugins_manager, json, sys; before = set(sys.modules); import perennial_pages; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    environ = {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'plugins'}", "PATH": "", "AIRFLOW_HOME": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ, cwd=PROJECT)
    assert json.loads(ran.stdout.splitlines()[-1]) == ["perennial_pages"]


def test_airflow_loads_the_plugin_and_not_what_answers_its_requests() -> None:
    from airflow import plugins_manager

    loaded = {plugin.name: plugin for plugin in plugins_manager._get_plugins()[0]}
    views = {view["name"] for view in loaded["perennial_pages"].external_views}
    assert views >= {"Model", "Drift", "Data", "Requests"}
    assert not [error for error in plugins_manager._get_plugins()[1] if "perennial" in error]
    assert {"app", "access", "actions"}.isdisjoint(sys.modules)
