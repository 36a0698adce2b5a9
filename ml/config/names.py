"""Names that a deployment makes up, and names that its columns cannot have.

Columns, entities and deployments have any name they like, SQL's own words too: what stands beside them in one table begins
with an underscore or has a blank, which a column's name does not. `label` alone is a word of the deployment file itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ml.config.data import RequestFeatures, Window

RESERVED = {"label": "the label, which windows and suites mean by it"}
CLOCK = ("clock_hour", "clock_weekday", "clock_night", "clock_weekend")


def in_feast(name: str) -> str:
    """A column's name in Feast, whose joins have two names for themselves."""
    return f"_{name}" if name in ("event_timestamp", "created_timestamp") else name


def ratio(measure: str, average: str) -> str:
    """Name of the feature that compares a measure with an average of it."""
    return f"{measure}_over_{average}"


def wrong_names(columns: Mapping[str, str], windows: Sequence[Window], request: RequestFeatures, age: str) -> list[str]:
    """What is wrong with the names of columns, views and features: each is the name of one thing.

    Args:
        columns: our name of each column of an event, and the feed's.
        age: the column of a training set that tells the age of a cluster.
    """
    averaged = {feature: window.column for window in windows for feature in window.features}
    made = [(feature, f"a feature of {window.view}") for window in windows for feature in window.features]
    made += [(name, "a feature of the clock") for name in (CLOCK if request.clock else ())]
    made += [(ratio(averaged[name], name), f"the ratio over {name}") for name in request.ratios if name in averaged]
    made += [(age, "the age of the cluster that the gate judges by")]
    taken = RESERVED | dict(made)
    wrong = [
        f"events.columns.{name}: the name is reserved for {taken[name]}; write another one on the left, which is ours: "
        f"'{name}_: {theirs}'"
        for name, theirs in sorted(columns.items())
        if name in taken
    ]
    same = _same_views(windows)
    return wrong + (same or _same_features(made))


def _same_views(windows: Sequence[Window]) -> list[str]:
    views: dict[str, list[Window]] = {}
    for window in windows:
        views.setdefault(window.view, []).append(window)
    wrong = []
    for view, named in views.items():
        of = dict.fromkeys(f"{window.column!r} of {window.entity!r}" for window in named)
        if len(of) > 1:
            told = " and of ".join(of)
            wrong.append(f"windows: those of {told} are both named {view!r}; write another name in entities or events.columns")
        elif len(named) > 1:
            wrong.append(f"windows: {view!r} is declared twice; list all its days in one line")
    return wrong


def _same_features(made: Sequence[tuple[str, str]]) -> list[str]:
    wrong = []
    for name, times in Counter(name for name, _ in made).items():
        kinds = dict.fromkeys(kind for other, kind in made if other == name)
        if len(kinds) > 1:
            told = " and ".join(kinds)
            wrong.append(f"windows, request: {name!r} is the name of {told}; write another name in entities or events.columns")
        elif times > 1:
            wrong.append(f"windows, request: {name!r} is listed {times} times")
    return wrong
