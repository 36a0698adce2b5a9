"""Generated names of features, and the names that columns of a deployment cannot have.

Columns, entities and deployments may have any other name, also keywords of SQL: our own columns in the same tables begin with
an underscore or contain a blank, which a column's name cannot. Only `label` is reserved by the deployment file itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ml.config.data import AnyWindow, RequestFeatures

RESERVED = {"label": "the label, which windows and suites mean by it"}
CLOCK = ("clock_hour", "clock_weekday", "clock_night", "clock_weekend")


def in_feast(name: str) -> str:
    """A column's name in Feast, which reserves two names for its joins."""
    return f"_{name}" if name in ("event_timestamp", "created_timestamp") else name


def ratio(measure: str, average: str) -> str:
    """Name of the feature that compares a measure with an average of it."""
    return f"{measure}_over_{average}"


def wrong_names(columns: Mapping[str, str], windows: Sequence[AnyWindow], request: RequestFeatures, age: str) -> list[str]:
    """Problems with the names of columns, views and features; each name must be unique.

    Args:
        columns: the deployment's name of each column of an event → the feed's name.
        age: the column of a training set with the age of a cluster.
    """
    averaged = {feature: window.column for window in windows for feature in window.features}
    features = [(feature, f"a feature of {window.view}") for window in windows for feature in window.features]
    features += [(name, "a feature of the clock") for name in (CLOCK if request.clock else ())]
    features += [(ratio(averaged[name], name), f"the ratio over {name}") for name in request.ratios if name in averaged]
    features += [(age, "the age of the cluster that the gate judges by")]
    reserved = RESERVED | dict(features)
    wrong = [
        f"events.columns.{name}: the name is reserved for {reserved[name]}; write another one on the left, which is ours: "
        f"'{name}_: {feed_name}'"
        for name, feed_name in sorted(columns.items())
        if name in reserved
    ]
    duplicate_views = _same_views(windows)
    return wrong + (duplicate_views or _same_features(features))


def _same_views(windows: Sequence[AnyWindow]) -> list[str]:
    views: dict[str, list[AnyWindow]] = {}
    for window in windows:
        views.setdefault(window.view, []).append(window)
    wrong = []
    for view, named in views.items():
        of = dict.fromkeys(f"{window.column!r} of {window.entity!r}" for window in named)
        if len(of) > 1:
            columns = " and of ".join(of)
            wrong.append(
                f"windows: those of {columns} are both named {view!r}; write another name in entities or events.columns"
            )
        elif len(named) > 1:
            wrong.append(f"windows: {view!r} is declared twice; list all its days in one line")
    return wrong


def _same_features(features: Sequence[tuple[str, str]]) -> list[str]:
    wrong = []
    for name, times in Counter(name for name, _ in features).items():
        kinds = dict.fromkeys(kind for other, kind in features if other == name)
        if len(kinds) > 1:
            sources = " and ".join(kinds)
            wrong.append(
                f"windows, request: {name!r} is the name of {sources}; write another name in entities or events.columns"
            )
        elif times > 1:
            wrong.append(f"windows, request: {name!r} is listed {times} times")
    return wrong
