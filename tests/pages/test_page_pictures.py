"""Pictures of the pages are well-formed, say what they show, and take names for text."""

from __future__ import annotations

import datetime as dt
from xml.etree import ElementTree

import pytest

from ml.explanation.document import Drawing
from ml.overview.data import LandedBatch
from ml.overview.decisions import judged
from ml.overview.drift import Cell, Metric, PerformanceDay, Subject
from ml.overview.model import Reign
from ml.pages import charts, verdicts
from tests.decisions import decision

DAY = dt.date(2025, 5, 4)
NOON = dt.datetime(2025, 5, 4, 12, tzinfo=dt.UTC)
HOSTILE = "</title><script>alert(1)</script>"


def _shapes(drawing: Drawing, kind: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(drawing.svg)  # noqa: S314  what the project itself has drawn
    assert root.get("aria-label") == drawing.description
    return [each for each in root.iter() if each.get("class") == kind]


def _judged(count: int, champion: float | None = 0.5):
    primary = {"champion": champion, "challenger": 0.51}
    return judged(
        [
            decision(
                challenger_version=str(n), as_of=NOON + n * dt.timedelta(days=1), reason=HOSTILE, evidence={"primary": primary}
            )
            for n in range(count)
        ],
        [],
    )


@pytest.mark.parametrize("count", [0, 1, 5, 1000])
def test_the_timeline_takes_any_number_of_verdicts_and_shows_the_newest(count: int) -> None:
    reign = Reign("1", NOON, None, "promote", "ann", HOSTILE, "r1")
    shapes = _shapes(verdicts.timeline(_judged(count), [reign]), "dot")
    assert len(shapes) == min(count, verdicts.VERDICTS)


def test_verdicts_of_one_instant_and_without_figures_are_drawn() -> None:
    same = [*_judged(1), *_judged(1)]
    assert len(_shapes(verdicts.timeline(same, []), "dot")) == 2
    assert _shapes(verdicts.timeline(_judged(3, champion=None), []), "beside") == []


def test_a_gain_without_an_interval_is_an_empty_picture() -> None:
    assert _shapes(verdicts.gain(0.1, None, None, (0.0, 1.0), "good", HOSTILE), "dot") == []


def test_only_days_over_the_threshold_are_marked_in_the_heat_map() -> None:
    states = (("OK", 0.5), ("WARN", 1.2), ("CONFIRMED", 1.4))
    cells = [Cell(DAY + n * dt.timedelta(days=1), ratio, state, HOSTILE) for n, (state, ratio) in enumerate(states)]
    cells.append(Cell(DAY + dt.timedelta(days=3), None, "", ""))
    subject = Subject(HOSTILE, 0.3, "CONFIRMED", 2.0, 1.0, tuple(cells))
    drawn = charts.heat_map([subject], [cell.day for cell in cells])
    assert [each.text for each in _shapes(drawn, "mark")] == ["!", "✕"]
    assert len(_shapes(drawn, "unseen")) == 1


def test_an_improvement_gathers_nothing_in_the_control_chart() -> None:
    days = [PerformanceDay(DAY + dt.timedelta(days=n), 0.5 + n / 10, 0.5, 0.0, "OK") for n in range(4)]
    drawn = charts.performance(Metric("average precision", 0.5, tuple(days)))
    assert {bar.get("height") for bar in _shapes(drawn, "bar")} == {"1.0"}
    assert _shapes(drawn, "bad") == _shapes(drawn, "warn") == []


def test_rows_are_stacked_by_day() -> None:
    batch = LandedBatch("b", HOSTILE, "events", 10, 6, 3, 1, NOON, NOON, NOON)
    bars = _shapes(charts.batches([batch]), "bar")
    heights = [float(bar.get("height", "")) for bar in bars]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2) == pytest.approx(6 * heights[2], abs=0.6)
    assert _shapes(charts.batches([]), "bar") == []
