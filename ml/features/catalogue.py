"""Descriptions of features, one sentence each, generated from the deployment file."""

from __future__ import annotations

from typing import NamedTuple

from ml.config import AnyWindow, Config, EventWindow
from ml.features import request, ticks, windows

REQUEST = "request"


class Feature(NamedTuple):
    """A feature of the model: its name, the view that serves it, its Arrow type and what it means."""

    name: str
    view: str
    type: str
    description: str


def catalogue(config: Config) -> list[Feature]:
    """All features of a deployment, in the order of the training set's columns."""
    windowed = [
        Feature(
            window.feature(aggregate, length),
            window.view,
            str(windows.TYPES[aggregate]),
            describe(config, window, aggregate, length),
        )
        for window in config.windows
        for length in window.lengths
        for aggregate in window.aggregates
    ]
    return [
        *windowed,
        *[Feature(name, REQUEST, "double", description) for name, description in request.descriptions(config).items()],
    ]


def describe(config: Config, window: AnyWindow, aggregate: str, length: int) -> str:
    """Describe an aggregate of a window; an event with a missing measure is counted, but it is in no sum and no mean."""
    events, column = f"a {window.entity}'s events", window.column
    of_which, which = (" that have it", f", with or without {column},")
    if column == "label":
        of_which, which = (" that are answered", ", answered or not,") if config.labels.complete else ("", "")
    meanings = {"count": f"number of {events}{which}"}
    meanings |= {name: f"{name} of {column} over {events}{of_which}" for name in ("sum", "mean")}
    return f"{meanings[aggregate]} in {_span(window, length)}"


def _span(window: AnyWindow, length: int) -> str:
    if isinstance(window, EventWindow):
        return "the minute before the event" if length == 1 else f"the {length} minutes before the event"
    span = "the day" if length == 1 else f"the {length} days"
    snapshot = (
        "midnight UTC" if window.interval == ticks.DAY else f"the newest {window.publish.value:g}-hour mark from midnight UTC"
    )
    return f"{span} that ended {window.delay_text} before {snapshot}" if window.delay else f"{span} before {snapshot}"
