"""The page Drift: what moved and when, performance against its limits, alarms, and faults of the feed."""

from __future__ import annotations

from functools import partial

from ml.config import Config
from ml.overview.drift import Drift, Metric, Subject, drift
from ml.pages import charts
from ml.pages.reader import Reader
from ml.pages.render import page
from ml.pages.shapes import both

ROWS = 24
"""Subjects in the heat map: the most important, and whatever passed a threshold."""
NEAREST = 8


def drift_page(config: Config, reader: Reader) -> str:
    """The page as HTML."""
    seen = drift(config)
    if seen is None:
        return page("drift", config, reader, seen=None)
    shown = _shown(seen.subjects)
    judged = [subject for subject in seen.subjects if subject.cells and subject.cells[-1].ratio is not None]
    nearest = sorted(judged, key=lambda subject: (subject.state == "OK", -(subject.cells[-1].ratio or 0.0)))
    return page(
        "drift",
        config,
        reader,
        seen=seen,
        headline=_headline(seen),
        map=both(lambda width: charts.heat_map(shown, seen.days, width)),
        quiet=len(seen.subjects) - len(shown),
        moved=nearest[:NEAREST],
        metrics=[(metric, both(partial(charts.performance, metric))) for metric in seen.metrics],
        texts={metric.name: _told(metric) for metric in seen.metrics},
    )


def _shown(subjects: tuple[Subject, ...]) -> list[Subject]:
    return [each for place, each in enumerate(subjects) if place < ROWS or any(c.state not in ("", "OK") for c in each.cells)]


def _headline(seen: Drift) -> str:
    if seen.standing:
        return "The feed is broken"
    if seen.state == "CONFIRMED":
        return "The data have drifted"
    if seen.state == "WARN":
        return "Something moves"
    return "The world is as the model knows it" if seen.state == "OK" else "The newest day was not judged"


def _told(metric: Metric) -> str:
    measured = [day for day in metric.days if day.measured is not None]
    if not measured:
        return "No day has its labels yet; the estimate takes each score for a true probability."
    confirmed = [day for day in measured if day.state == "CONFIRMED"]
    over = [day for day in measured if day.loss is not None and day.loss > 1]
    if confirmed:
        return (
            f"A loss was confirmed on {confirmed[0].day:%d %b %Y}. Only losses gather in the lower chart, never improvements."
        )
    if over:
        return f"The limit was passed on {over[0].day:%d %b %Y}; a second day over it confirms the loss."
    return "Only losses gather in the lower chart, never improvements; so far they stay below the limit."
