"""The service's addresses: scores, feedback, health, metrics, and what scores."""

from __future__ import annotations

import asyncio
import datetime as dt
import hmac
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import TypeAdapter, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml.config import Config
from ml.serving import events, inference
from ml.serving.body import TooLarge, read_body
from ml.serving.feedback import FeedbackLog, NoFeedback
from ml.serving.log import LogUnavailable
from ml.serving.metrics import Metrics
from ml.serving.service import InternalError, Invalid, NoChampion, Service

KEY = "x-api-key"
OPEN = {"/livez", "/readyz", "/metrics"} | inference.HEALTH
"""Answered without a key."""


class Problem(Exception):
    """An answer that is an error: its status, its code, a sentence, and the field that it is about."""

    def __init__(self, status: int, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field


class Clients:
    """Who may ask, and how often: a bucket of tokens a client.

    Args:
        keys: name by key; empty if everyone may ask.
        rate: requests a second.
    """

    def __init__(self, keys: dict[str, str], rate: float) -> None:
        self._keys, self._rate = keys, rate
        self._buckets: dict[str, tuple[float, float]] = {}

    def admit(self, request: Request) -> str:
        """The client of a request.

        Raises:
            Problem: the key is unknown, or it asks too often.
        """
        name = self._named(request.headers.get(KEY, "")) if self._keys else (request.client.host if request.client else "")
        now = time.monotonic()
        tokens, seen = self._buckets.get(name, (self._rate, now))
        tokens = min(self._rate, tokens + (now - seen) * self._rate)
        if tokens < 1:
            raise Problem(429, "too many requests", f"{name} asks more than {self._rate:g} times a second")
        self._buckets[name] = (tokens - 1, now)
        return name

    def _named(self, key: str) -> str:
        found = ""
        for known, name in self._keys.items():  # all of them, so that the time does not say which one was nearly right
            if hmac.compare_digest(known.encode(), key.encode()):
                found = name
        if not found:
            raise Problem(401, "unknown key", f"give a key that is known in the header {KEY}")
        return found


class Guard:
    """Admits clients and counts requests; below the framework's own middleware, which costs more than a score.

    See https://github.com/Kludex/starlette/issues/1012 for what that costs.
    """

    def __init__(self, app: ASGIApp, clients: Clients, metrics: Metrics) -> None:
        self._app, self._clients, self._metrics = app, clients, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The pattern of a route, since a client may ask for any path, and each one would be kept.
                self._metrics.requests.labels(getattr(scope.get("route"), "path", "other"), message["status"]).inc()
            await send(message)

        try:
            if path not in OPEN:
                self._clients.admit(Request(scope))
        except Problem as problem:
            await _problem(problem)(scope, receive, counted)
            return
        await self._app(scope, receive, counted)


def create(
    config: Config,
    keys: dict[str, str] | None = None,
    service: Service | None = None,
    when_started: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The application of a deployment.

    Args:
        keys: name of the client by key; without keys everyone may ask.
        when_started: called when requests can be answered.
    """
    scoring = service or Service(config)
    answers = FeedbackLog(config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        scoring.start()
        answers.start()
        when_started()
        yield
        scoring.stop()
        answers.stop()

    app = FastAPI(
        title=f"{config.name}: scores",
        description=config.description,
        version="1",
        lifespan=lifespan,
        docs_url=None,  # its page would come from elsewhere
        redoc_url=None,
    )
    app.add_middleware(Guard, clients=Clients(keys or {}, config.serving.rate.value), metrics=scoring.metrics)

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return _problem(error)

    for routes in (_scores(config, scoring), _feedback(config, answers), _states(scoring), inference.router(config, scoring)):
        app.include_router(routes)
    return app


async def _body(request: Request, kind: TypeAdapter[Any], config: Config) -> Any:
    try:
        return kind.validate_json(await read_body(request, config))
    except TooLarge as error:
        raise Problem(413, "too large", str(error)) from None
    except ValidationError as error:
        raise _invalid(error) from None


def _scores(config: Config, scoring: Service) -> APIRouter:
    """The addresses that score."""
    router = APIRouter()
    single, several = events.one_event(config), events.many_events(config)

    async def score(asked: list[dict[str, Any]], reasons: int = 0) -> list[dict[str, Any]]:
        try:
            return await scoring.score(asked, reasons)
        except Invalid as error:
            raise Problem(422, "invalid", str(error), error.field) from None
        except InternalError as error:
            raise Problem(500, "internal", str(error)) from None
        except NoChampion as error:
            raise Problem(503, "no champion", str(error)) from None
        except LogUnavailable as error:
            raise Problem(503, "log unavailable", str(error)) from None

    @router.post("/v1/score", openapi_extra=_documented(single, {"event": events.example(config)}), responses=PROBLEMS)
    async def score_one(request: Request) -> JSONResponse:
        """Score one event; with `reasons`, also the inputs that moved its score most."""
        asked = await _body(request, single, config)
        (answer,) = await score([asked["event"]], asked.get("reasons", 0))
        return JSONResponse(answer)

    @router.post(
        "/v1/score/batch", openapi_extra=_documented(several, {"events": [events.example(config)]}), responses=PROBLEMS
    )
    async def score_batch(request: Request) -> JSONResponse:
        """Score several events by one version."""
        asked = await _body(request, several, config)
        return JSONResponse({"scores": await score(asked["events"])})

    return router


def _feedback(config: Config, answers: FeedbackLog) -> APIRouter:
    """The address that takes labels."""
    router = APIRouter()

    @router.post(
        "/v1/feedback",
        status_code=202,
        openapi_extra=_documented(events.FEEDBACK, {"event_id": "1", "label": 1, "source": "analyst"}),
        responses=PROBLEMS,
    )
    async def feedback(request: Request) -> JSONResponse:
        """Take a person's answer about one event; it reaches the lake as any other answer does."""
        given = await _body(request, events.FEEDBACK, config)
        try:
            taken = await answers.take(given, dt.datetime.now(dt.UTC))
        except NoFeedback as error:
            raise Problem(409, "no feedback", str(error)) from None
        except LogUnavailable as error:
            raise Problem(503, "log unavailable", str(error)) from None
        return JSONResponse({"id": taken}, status_code=202)

    return router


def _states(scoring: Service) -> APIRouter:
    """What scores, whether it does, and the metrics."""
    router = APIRouter()

    @router.get("/v1/models")
    async def models() -> JSONResponse:
        """The version that scores, and the one that is being released."""
        live, refused = scoring.champion.live, scoring.champion.refused
        found = [] if live is None else [_described(live.number, live.sha256, live.threshold, live.names)]
        if (now := scoring.challengers.now) is not None:
            found += [
                {"version": each.number, "role": "challenger", "share": now.share_of(each), "broken": each.broken}
                for each in now.contenders
            ]
        broken = {"version": refused[0], "reason": refused[1]} if refused else None
        return JSONResponse({"models": found, "refused": broken})

    @router.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        return Response("ok")

    @router.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        is_ready = await asyncio.to_thread(scoring.is_ready)
        return Response("ready" if is_ready else "no version that scores", status_code=200 if is_ready else 503)

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        scoring.update_metrics()
        return Response(generate_latest(scoring.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router


PROBLEM = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "field"],
            "properties": {name: {"type": "string"} for name in ("code", "message", "field")},
        }
    },
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": {"application/json": {"schema": PROBLEM}}}
    for code, text in {
        400: "the request is no JSON",
        401: "the key is unknown",
        409: "the deployment takes no such answer",
        413: "the request is too large",
        422: "a field is wrong; `field` names it",
        429: "too many requests",
        500: "an event could not be scored; the service's log says why",
        503: "there is no champion, or predictions cannot be logged",
    }.items()
}


def _documented(kind: TypeAdapter[Any], example: Any) -> dict[str, Any]:
    """The body of a request for the OpenAPI document, with the types within it in their places."""
    schema = kind.json_schema()
    schema = _resolved(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


def _resolved(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_resolved(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolved(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _resolved(value, definitions) for name, value in schema.items()}


def _described(version: str, sha256: str, threshold: float, inputs: list[str]) -> dict[str, Any]:
    return {"version": version, "role": "champion", "sha256": sha256, "threshold": threshold, "inputs": inputs}


def _invalid(error: ValidationError) -> Problem:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    more = f"; {error.error_count() - 1} more" if error.error_count() > 1 else ""
    if first["type"] == "json_invalid":
        return Problem(400, "no JSON", first["msg"])
    return Problem(422, "invalid", f"{field}: {first['msg']}{more}", field)


def _problem(problem: Problem) -> JSONResponse:
    return JSONResponse(
        {"error": {"code": problem.code, "message": problem.message, "field": problem.field}}, status_code=problem.status
    )
