"""The Open Inference Protocol on complete feature tensors: a second door for clients and load generators that speak it.

Nothing is looked up and nothing is logged behind it: whoever sends complete features has no event that an answer could join.

Source: https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ml.config import Config
from ml.model.version import Version
from ml.quality.values import SUMMABLE
from ml.serving.body import TooLarge, read_body
from ml.serving.scorer import FEW
from ml.serving.service import Service

NUMBERS = ("FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32")
HEALTH = {"/v2/health/live", "/v2/health/ready"}
"""Answered without a key."""


class Tensor(TypedDict):
    """A column: its name, its type, its shape (n_rows,) or (n_rows, 1), and its values."""

    __pydantic_config__ = ConfigDict(extra="ignore")  # type: ignore[misc]

    name: str
    datatype: Literal["FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "BYTES"]
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=2)]
    data: list[Any]


class Inference(TypedDict):
    """The body of a request."""

    __pydantic_config__ = ConfigDict(extra="ignore")  # type: ignore[misc]

    id: NotRequired[str]
    inputs: list[Tensor]


INFERENCE = TypeAdapter(Inference)


class Unusable(ValueError):
    """A request's tensors are not the inputs of the model; the message says which and why."""


def router(config: Config, service: Service) -> APIRouter:
    """The addresses of the protocol, for the one model of the deployment."""
    routes = APIRouter(prefix="/v2", include_in_schema=False)

    @routes.get("")
    async def server() -> JSONResponse:
        return JSONResponse({"name": "perennial", "version": "2", "extensions": []})

    @routes.get("/health/live")
    async def live() -> JSONResponse:
        return JSONResponse({"live": True})

    @routes.get("/health/ready")
    async def ready() -> JSONResponse:
        is_ready = await asyncio.to_thread(service.is_ready)
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    @routes.get("/models/{model}")
    @routes.get("/models/{model}/versions/{number}")
    async def metadata(model: str, number: str | None = None) -> JSONResponse:
        version = _version(config, service, model, number)
        return _unknown(model, number) if version is None else JSONResponse(_described(config, version))

    @routes.get("/models/{model}/ready")
    @routes.get("/models/{model}/versions/{number}/ready")
    async def model_ready(model: str, number: str | None = None) -> JSONResponse:
        is_ready = _version(config, service, model, number) is not None
        return JSONResponse({"name": model, "ready": is_ready}, 200 if is_ready else 404)

    @routes.post("/models/{model}/infer")
    @routes.post("/models/{model}/versions/{number}/infer")
    async def infer(request: Request, model: str, number: str | None = None) -> JSONResponse:
        version = _version(config, service, model, number)
        if version is None:
            return _unknown(model, number)
        try:
            asked = INFERENCE.validate_json(await read_body(request, config))
            columns, rows = _columns(asked["inputs"], version, int(config.serving.batch.value))
        except TooLarge as error:
            return JSONResponse({"error": str(error)}, 413)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            return JSONResponse({"error": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, 400)
        except Unusable as error:
            return JSONResponse({"error": str(error)}, 400)
        if rows <= FEW:
            scores = version.score_few(columns)
        else:
            scores = await asyncio.to_thread(version.score_many, columns)
        answer = {"name": version.model.inputs.answer, "datatype": "FP32", "shape": [rows], "data": scores.tolist()}
        return JSONResponse({"model_name": model, "model_version": version.number, "outputs": [answer]} | _id(asked))

    return routes


def _version(config: Config, service: Service, model: str, number: str | None) -> Version | None:
    """The version that scores, if it is the one that is asked for."""
    live = service.champion.live
    return live if live is not None and model == config.name and number in (None, live.number) else None


def _unknown(model: str, number: str | None) -> JSONResponse:
    which = model if number is None else f"{model}, version {number},"
    return JSONResponse({"error": f"{which} does not score here; GET /v1/models says what does"}, 404)


def _described(config: Config, version: Version) -> dict[str, Any]:
    inputs = version.model.inputs
    columns = [{"name": name, "datatype": "FP64", "shape": [-1]} for name in inputs.fill]
    columns += [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in inputs.categories]
    outputs = [{"name": inputs.answer, "datatype": "FP32", "shape": [-1]}]
    return {
        "name": config.name,
        "versions": [version.number],
        "platform": "onnx_onnxruntime",
        "inputs": columns,
        "outputs": outputs,
    }


def _columns(tensors: list[Tensor], version: Version, most: int) -> tuple[dict[str, np.ndarray], int]:
    """The model's columns and their number of rows.

    Raises:
        Unusable: they are not those of the model.
    """
    names = [tensor["name"] for tensor in tensors]
    if sorted(names) != sorted(version.names):
        missing, others = set(version.names) - set(names), set(names) - set(version.names)
        raise Unusable(f"inputs: missing {sorted(missing)}, unknown {sorted(others)}, expected each of {version.names} once")
    rows = tensors[0]["shape"][0]
    if not 1 <= rows <= most:
        raise Unusable(f"inputs: {rows} rows, expected 1 to {most}")
    texts = version.model.inputs.categories
    return {tensor["name"]: _column(tensor, tensor["name"] in texts, rows) for tensor in tensors}, rows


def _column(tensor: Tensor, is_text: bool, rows: int) -> np.ndarray:
    name, data = tensor["name"], tensor["data"]
    if tensor["shape"] not in ([rows], [rows, 1]) or len(data) != rows:
        raise Unusable(f"{name}: shape {tensor['shape']} with {len(data)} values, expected [{rows}] like the first input")
    if is_text != (tensor["datatype"] == "BYTES"):
        expected = "BYTES" if is_text else f"one of {', '.join(NUMBERS)}"
        raise Unusable(f"{name}: datatype {tensor['datatype']}, expected {expected}")
    if is_text:
        if not all(value is None or isinstance(value, str) for value in data):
            raise Unusable(f"{name}: expected texts, or null where one is missing")
        return np.array([value or "" for value in data], dtype=object)
    if not all(value is None or _is_number(value) for value in data):
        raise Unusable(f"{name}: expected numbers below {SUMMABLE:g}, or null where one is missing")
    return np.array([np.nan if value is None else float(value) for value in data], dtype=np.float64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -SUMMABLE < value < SUMMABLE


def _id(asked: Inference) -> dict[str, str]:
    return {"id": asked["id"]} if "id" in asked else {}
