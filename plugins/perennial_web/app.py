"""The routes of the pages. Every one of them is behind Airflow's login, and so is what is no route."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import get_user
from airflow.configuration import conf
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from perennial_deployments import PROCESSES, Deployment, broken, of_dag
from starlette.exceptions import HTTPException as StarletteHTTPException

from ml.config import Config
from ml.errors import Refused
from ml.explanation import card
from ml.overview import data, drift, model, replays, requests
from ml.overview.past import past
from ml.pages import render
from ml.pages.data import data_page
from ml.pages.drift import drift_page
from ml.pages.model import model_page
from ml.pages.reader import Reader
from ml.pages.replay import replay_page
from ml.pages.requests import requests_page
from ml.records import to_record
from perennial_web.access import Form, User, opened, token_of, visible
from perennial_web.actions import act, allowed
from perennial_web.dashboard import card_of

PAGES: dict[str, Callable[[Config, Reader], str]] = {
    "model": model_page,
    "drift": drift_page,
    "data": data_page,
    "requests": requests_page,
    "replay": replay_page,
}
STORIES: dict[str, Callable[[Config], Any]] = {
    "model": model.model,
    "drift": drift.drift,
    "data": data.data,
    "requests": requests.requests,
    "replay": replays.replays,
}
FILES: dict[str, Callable[[Config, str], Path | None]] = {"card": card.page_of, "exploration": card.exploration_of}
PAGE_OF_PROCESS = {"ingest": "data", "maintain": "data", "score": "data", "monitor": "drift", "watch": "requests"}
RUNS = ("manual__", "scheduled__", "asset_triggered__", "backfill__")
"""How the ids of Airflow's runs begin; the ledger also holds those of the command line."""
BUNDLE = Path(__file__).with_name("dashboard.js")
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


def create_app() -> FastAPI:
    """The pages as an application, to be mounted in Airflow's."""
    app = FastAPI(openapi_url=None, dependencies=[Depends(get_user)])
    app.add_exception_handler(StarletteHTTPException, _problem)
    app.add_exception_handler(Refused, _problem)
    app.get("/")(index)
    app.get("/dashboard.js")(bundle)
    app.get("/dashboard.json")(cards)
    app.get("/dags/{dag_id}")(page_of_dag)
    app.get("/deployments/{name}/{page}.json")(story)
    app.get("/deployments/{name}/{page}")(page)
    app.get("/deployments/{name}/{kind}/{version}")(file)
    app.post("/deployments/{name}/act/{what}")(action)
    app.get("/{wanted}")(choice)
    app.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])(nothing)
    return app


def index(user: User) -> Response:
    """The deployments that a person may see."""
    return _index(user, "model")


def bundle() -> Response:
    """The script of the card on Airflow's dashboard."""
    return Response(BUNDLE.read_bytes(), media_type="text/javascript", headers=HEADERS)


def cards(user: User) -> Response:
    """What the card on the dashboard tells of each deployment that a person may see."""
    return JSONResponse([card_of(deployment) for deployment in visible(user, "model")], headers=HEADERS)


def choice(wanted: str, user: User) -> Response:
    """One of the pages: of the only deployment, or a choice among several."""
    if wanted not in PAGES:
        raise HTTPException(404, f"there is no page {wanted!r}; there are {', '.join(PAGES)}")
    return _index(user, wanted)


def page_of_dag(dag_id: str, user: User) -> Response:
    """The page that tells of a DAG's work."""
    try:
        deployment = of_dag(dag_id)
    except LookupError:
        raise HTTPException(404, f"DAG {dag_id!r} belongs to no deployment") from None
    process = next(process for process in PROCESSES if deployment.dag_id(process) == dag_id)
    return _to(f"../deployments/{quote(deployment.config.name)}/{PAGE_OF_PROCESS.get(process, 'model')}")


def page(name: str, page: str, user: User) -> Response:
    """A page of a deployment."""
    deployment = opened(user, name, page)
    return _html(PAGES[page](deployment.config, _reader(deployment, user)))


def story(name: str, page: str, user: User) -> Response:
    """What a page tells, as JSON."""
    return JSONResponse(to_record(STORIES[page](opened(user, name, page).config)), headers=HEADERS)


def file(name: str, kind: str, version: str, user: User) -> Response:
    """The card of a version, or the exploration of its training set."""
    deployment = opened(user, name, "model")
    known = kind in FILES and version.isascii() and version.isdigit()
    found = FILES[kind](deployment.config, version) if known else None
    home = deployment.config.home.resolve()
    if found is None or not found.resolve().is_relative_to(home):
        raise HTTPException(404, f"there is no {kind!r} of a version {version!r}")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
    return Response(found.resolve().read_bytes(), media_type="text/html", headers=HEADERS | {"Content-Security-Policy": policy})


def action(name: str, what: str, fields: Form, user: User) -> Response:
    """Press a button of a page; then the page shows what was recorded."""
    return _to(f"../{act(opened(user, name, 'model'), user, what, fields)}")


def nothing(rest: str) -> Response:
    """Whatever is no page; for who is not logged in, not even that is said."""
    raise HTTPException(404, f"there is no page {rest!r}")


def _index(user: BaseUser, wanted: str) -> Response:
    seen = visible(user, wanted)
    wrong = {file.name: error for file, error in broken().items()}
    if len(seen) == 1 and not wrong:
        return _to(f"deployments/{quote(seen[0].config.name)}/{wanted}")
    deployments = [(each.config, *_newest(each.config)) for each in seen]
    return _html(render.bare("index", deployments=deployments, wanted=wanted, broken=wrong))


def _newest(config: Config) -> tuple[str | None, str]:
    """The champion and the last verdict of a deployment, read from the ledger alone."""
    known = past(config)
    moves, answers = known.moves(), known.verdicts()
    return moves[-1].to_version if moves else None, answers[-1].outcome if answers else ""


def _reader(deployment: Deployment, user: BaseUser) -> Reader:
    able = partial(allowed, deployment, user)
    return Reader(
        name=user.get_name(),
        may_decide=able("rollback"),
        may_readmit=able("readmit"),
        may_ask=able("ask"),
        token=token_of(user),
        once=secrets.token_urlsafe(8),
        run_link=partial(_run_link, deployment),
    )


def _run_link(deployment: Deployment, process: str, run_id: str) -> str:
    if not run_id.startswith(RUNS):
        return ""
    base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return f"{base}/dags/{quote(deployment.dag_id(process), safe='')}/runs/{quote(run_id, safe='')}"


def _problem(request: Request, error: Exception) -> Response:
    """What went wrong, as a page for people and as JSON for scripts."""
    code = error.status_code if isinstance(error, StarletteHTTPException) else 409
    text = str(error.detail) if isinstance(error, StarletteHTTPException) else str(error)
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": text}, code, headers=HEADERS)
    titles = {401: "Log in to Airflow first", 403: "Your role does not allow that", 404: "There is no such page"}
    back = "../model" if request.method == "POST" else ""
    return _html(render.bare("problem", title=titles.get(code, "Nothing was changed"), text=text, back=back), code)


def _html(text: str, code: int = 200) -> Response:
    return HTMLResponse(text, code, headers=HEADERS | {"Content-Security-Policy": render.policy()})


def _to(place: str) -> Response:
    return RedirectResponse(place, 303, headers=HEADERS)
