"""Under a real scheduler: landing files go in, a champion comes out, and the next day is judged against it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import httpx
import pytest

from deploy.local.api import RunFailed
from deploy.local.demo import feed, instants, live, live_table, run_once, table
from deploy.local.stack import DAG_IDS, Stack
from ml import steps
from ml.config import PROJECT, Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.training.fit import registry
from tests.dags.triggering import NEVER, until
from tests.deployments import FIRST_AS_OF, land_text, small_told, write
from tests.monitoring import living


@pytest.fixture(scope="module")
def stack(start_stack: Callable[..., Stack], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Airflow with the project's own DAGs for a small deployment; only new data and people start a training."""
    told = small_told()
    told["schedule"]["train"] = NEVER
    path = write(tmp_path_factory.mktemp("scheduler"), told)
    return start_stack(PROJECT / "dags", path, dag_ids=DAG_IDS, home=load(path).home, serves=True)


@pytest.fixture(scope="module")
def config(stack: Stack) -> Config:
    """The deployment that the stack runs."""
    return load(stack.config_path)


@pytest.fixture(scope="module")
def first(stack: Stack, config: Config) -> None:
    """The archive lands, is ingested, and starts a training by itself."""
    feed(config, FIRST_AS_OF, None)
    with stack.api() as api:
        for dag in DAG_IDS:
            api.unpause(dag)
        run_once(config, api, FIRST_AS_OF)


@pytest.mark.usefixtures("first")
def test_new_data_train_a_model_that_becomes_champion(stack: Stack, config: Config) -> None:
    (move,) = Ledger(config.ledger).moves.history(config.name)
    assert registry(config).aliases()["champion"] == move.to_version == "1"
    with stack.api() as api:
        (run,) = [run for run in api.runs("train") if run.state == "success"]
        assert run.run_type == "asset_triggered"
        assert run.note.startswith("**PROMOTE** version 1 against base rate")
        tasks = {task.task_id: task for task in api.task_instances("train", run.run_id)}
        assert {task.state for task in tasks.values()} == {"success"}
        assert api.xcom("train", run.run_id, "admit", "trigger") == "new_data"
        link = api.xcom("train", run.run_id, "model.fit", "_link_MlflowRunLink")
        (ingest,) = api.runs("ingest")
        assert "rows = " in ingest.note
    mlflow_run = link.rpartition("/")[2]
    address = f"{link.partition('/#/')[0]}/api/2.0/mlflow/runs/get"
    assert _mlflow_answers(address, mlflow_run)["run"]["info"]["status"] == "FINISHED"


def _mlflow_answers(address: str, run_id: str) -> dict:
    """MLflow's pages come up after Airflow's, so they are given a minute."""
    for _ in range(60):
        try:
            return httpx.get(address, params={"run_id": run_id}, timeout=20).raise_for_status().json()
        except httpx.TransportError:
            time.sleep(1)
    raise AssertionError(f"{address} does not answer")


@pytest.mark.usefixtures("first")
def test_one_day_later_the_challenger_meets_the_champion(stack: Stack, config: Config) -> None:
    (as_of,) = instants(config, Ledger(config.ledger).decisions.all(config.name))
    assert as_of == FIRST_AS_OF + dt.timedelta(days=1)
    feed(config, as_of, None)
    played = live(config, stack, FIRST_AS_OF.date())
    assert (played.versions, played.refused) == (("1",), 0)
    assert played.answered > 500
    with stack.api() as api:
        run_once(config, api, as_of)
        assert len(table(config, api).rows) == 2
    assert live_table(config, [played]).row_count == 1
    assert until(lambda: _predictions(config) or None, "the predictions are in the lake") == (played.answered, "1", "1")
    decision = Ledger(config.ledger).decisions.all(config.name)[-1]
    assert (decision.champion_version, decision.challenger_version) == ("1", "2")
    assert decision.outcome in ("KEEP", "INCONCLUSIVE")
    assert registry(config).aliases()["champion"] == "1"


def _predictions(config: Config) -> tuple[int, str, str] | None:
    """How many events have a prediction in the lake, and their first and last version; the log is taken once it is sealed."""
    steps.run("load_predictions", config, FIRST_AS_OF)
    with Lake(config.lake).connect({schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA}) as connection:
        query = "SELECT count(DISTINCT event_id), min(version), max(version) FROM predictions HAVING count(*) > 0"
        return connection.execute(query).fetchone()


@pytest.mark.usefixtures("first")
def test_a_training_on_demand_with_nothing_new_is_held_back_with_its_reason(stack: Stack, config: Config) -> None:
    newest = max(d.as_of for d in Ledger(config.ledger).decisions.all(config.name))
    with stack.api() as api:
        run = api.wait("train", api.trigger("train", {"as_of": newest.isoformat(), "reason": "I wonder"}), 120)
        states = {task.task_id: task.state for task in api.task_instances("train", run.run_id)}
    assert set(states.values()) == {"skipped"}
    assert "nothing new" in run.note
    asked = Ledger(config.ledger).requests.all(config.name)[-1]
    assert (asked.requested_by, asked.reason, asked.answers[-1].answer) == ("admin", "I wonder", "refused")


@pytest.mark.usefixtures("first")
def test_a_stopped_file_turns_the_run_red_with_its_message(stack: Stack, config: Config) -> None:
    file = land_text(config, "payments_broken.csv", "payment_id,amount\nP1,2\n")
    as_of = max(d.as_of for d in Ledger(config.ledger).decisions.all(config.name))
    with stack.api() as api:
        run_id = api.trigger("ingest", {"as_of": as_of.isoformat()})
        with pytest.raises(RunFailed, match="expect_column_to_exist") as caught:
            api.wait("ingest", run_id, 120)
        note = api.run("ingest", run_id).note
    assert "python -m ml discard --file 'payments_broken.csv'" in str(caught.value)
    assert note is not None
    assert "STOPPED payments_broken.csv" in note
    file.unlink()
    told = Ledger(config.ledger).messages.all(config.name)
    assert [(m.process, m.run_id) for m in told if m.event == "stopped batch"] == [("ingest", run_id)]
    assert [(m.process, m.version) for m in told if m.event == "promotion"] == [("train", "1")]


@pytest.fixture
def browser(stack: Stack) -> Iterator[httpx.Client]:
    """A client that carries the cookie of a login, as a browser does."""
    with httpx.Client(base_url=stack.url, timeout=120, trust_env=False, headers={"accept": "text/html"}) as client:
        login = {"username": "admin", "password": stack.password}
        client.cookies.set("_token", client.post("/auth/token", json=login).raise_for_status().json()["access_token"])
        yield client


@pytest.mark.usefixtures("first")
def test_the_pages_tell_what_happened(stack: Stack, config: Config, browser: httpx.Client) -> None:
    home = f"/perennial/deployments/{config.name}"
    told = {page: browser.get(f"{home}/{page}").raise_for_status().text for page in ("model", "drift", "data", "requests")}
    assert "<h1>Version 1 is champion</h1>" in told["model"]
    assert "The challenger is better" in told["model"]
    assert "monitored up to" in told["drift"]
    assert "payments_" in told["data"]
    assert "for request 1 (new_data, by ingest)" in told["requests"]
    assert "model card" in browser.get(f"{home}/card/1").raise_for_status().text
    assert browser.get(f"{home}/model.json").json()["reigns"][0]["version"] == "1"
    answers = {place: httpx.get(f"{stack.url}{home}/{place}", trust_env=False).status_code for place in (*told, "card/1")}
    assert set(answers.values()) == {401}
    with stack.api() as api:
        run = next(run for run in api.runs("train") if run.note)
        link = run.note.rpartition("](")[2].rstrip(")")
        assert link == f"/dags/train/runs/{quote(run.run_id, safe='')}/plugin/perennial-run"
        views = [view for plugin in api._ask("GET", "/plugins")["plugins"] for view in plugin["external_views"]]
    assert {view["name"] for view in views} >= {"Model", "Drift", "Data", "Requests"}


@pytest.mark.usefixtures("first")
def test_one_step_back_is_recorded_under_the_name_of_who_pressed(config: Config, browser: httpx.Client) -> None:
    living.move(config, "1", "2")
    home = f"/perennial/deployments/{config.name}"
    form = browser.get(f"{home}/model").text.partition('action="act/rollback"')[2].partition("</form>")[0]
    fields = {name: form.partition(f'name="{name}" value="')[2].partition('"')[0] for name in ("token", "after")}
    answer = browser.post(f"{home}/act/rollback", data=fields | {"reason": "it alerts too much"}, follow_redirects=True)
    assert "<h1>Version 1 is champion</h1>" in answer.raise_for_status().text
    move = Ledger(config.ledger).moves.history(config.name)[-1]
    assert (move.action, move.to_version, move.actor, move.reason) == ("rollback", "1", "admin", "it alerts too much")
    assert registry(config).aliases()["champion"] == "1"
