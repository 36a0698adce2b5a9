"""What a request may hold: the deployment's own columns, each checked by its kind."""

from __future__ import annotations

import datetime as dt
from types import GenericAlias
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AwareDatetime, ConfigDict, Field, StrictStr, TypeAdapter
from typing_extensions import TypedDict

from ml.config import Config
from ml.quality.values import SUMMABLE

STRICT = ConfigDict(extra="forbid")
PLAIN = r"[^\x00-\x1f\x7f]*"
Text = Annotated[StrictStr, Field(min_length=1, max_length=1000, pattern=f"^{PLAIN}$")]
Id = Annotated[StrictStr, Field(min_length=1, max_length=256, pattern=rf"^{PLAIN}[^\s\x00-\x1f\x7f]{PLAIN}$")]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=-SUMMABLE, lt=SUMMABLE)]
Reasons = Annotated[int, Field(ge=0, le=20)]


def event_type(config: Config) -> Any:
    """The type of an event: every column of the deployment; attributes may be left out, since no model takes them."""
    columns: dict[str, Any] = {"event_id": Id, "event_time": AwareDatetime}
    columns |= dict.fromkeys(config.entities.values(), Id | None)
    columns |= dict.fromkeys(config.measures, Number | None)
    columns |= dict.fromkeys(config.categories, Text | None)
    columns |= dict.fromkeys(config.attributes, NotRequired[Text | None])
    return _record("Event", columns)


def one_event(config: Config) -> TypeAdapter[dict[str, Any]]:
    """The body of a request for one event."""
    return TypeAdapter(_record("ScoreRequest", {"event": event_type(config), "reasons": NotRequired[Reasons]}))


def many_events(config: Config) -> TypeAdapter[dict[str, Any]]:
    """The body of a request for several events."""
    size = Field(min_length=1, max_length=int(config.serving.batch.value))
    events: Any = Annotated[GenericAlias(list, (event_type(config),)), size]
    return TypeAdapter(_record("BatchRequest", {"events": events}))


def _record(name: str, columns: dict[str, Any]) -> Any:
    """A type of dictionaries with these keys and no others, made from names that are known at the start only."""
    make: Any = TypedDict
    record = make(name, columns)
    record.__pydantic_config__ = STRICT
    return record


class Feedback(TypedDict):
    """The answer of a person about one event."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    event_id: Id
    label: Literal[0, 1]
    source: NotRequired[Text]
    reported_at: NotRequired[AwareDatetime]


FEEDBACK: TypeAdapter[Feedback] = TypeAdapter(Feedback)


def example(config: Config) -> dict[str, Any]:
    """An event as a request may hold it."""
    event: dict[str, Any] = {"event_id": "1", "event_time": dt.datetime(2025, 5, 2, 10, 5, tzinfo=dt.UTC).isoformat()}
    event |= dict.fromkeys(config.entities.values(), "1001")
    event |= dict.fromkeys(config.measures, 12.5)
    return event | dict.fromkeys(config.categories, "any")  # FastAPI leaves out what is null
