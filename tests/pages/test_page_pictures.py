"""Pictures of the pages are well-formed, say what they show, and take names for text."""

from __future__ import annotations

import datetime as dt
from xml.etree import ElementTree

import pytest

from ml.evaluation.sketch import Sketch, sketch
from ml.explanation.document import Drawing
from ml.overview.data import LandedBatch
from ml.overview.decisions import judged
from ml.overview.drift import Cell, Metric, PerformanceDay, Subject
from ml.overview.model import Moved, Reign
from ml.overview.replays import Line, Played, Replayed
from ml.pages import charts, curves, replay, verdicts
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


def _sketch(rate: float) -> Sketch:
    return sketch([0, 0, 0, 1, 1, 1], [0.1, 0.2, rate, 0.3, 0.6, 0.9])


def test_curves_of_both_models_are_drawn_and_of_one_alone_its_own() -> None:
    both = {"champion": _sketch(0.4), "challenger": _sketch(0.2)}
    drawn = curves.precision_recall(both, 0.5)
    assert len(_shapes(drawn, "of-champion")) == len(_shapes(drawn, "of-challenger")) == 1
    alone = curves.calibration({"challenger": _sketch(0.2)})
    assert _shapes(alone, "of-champion") == []
    assert len(_shapes(alone, "dot")) == len(_shapes(alone, "of-challenger")) - 1


def test_a_model_that_finds_nothing_has_an_empty_calibration() -> None:
    empty = Sketch((1.0,), (0.1,), (0.0,), (0.0,), (0.0,), (0.2,), (10,))
    assert _shapes(curves.calibration({"challenger": empty}), "dot") == []


def test_the_largest_changes_of_attribution_are_drawn() -> None:
    moved = [Moved(HOSTILE if n == 0 else f"input {n}", 0.2, None if n == 1 else 0.1, -0.1) for n in range(20)]
    assert len(_shapes(curves.attributions(moved), "dot")) == curves.SHOWN


def test_weeks_of_each_policy_are_drawn_beside_the_oracle() -> None:
    days = tuple(DAY + dt.timedelta(days=n) for n in range(9))
    line = Line("never", days, (None, None, 0.3, 0.4, 0.3, 0.2, 0.3, 0.4, 0.5))
    course = Played("never", 0.3, 0.1, None, 1, 0, 0, 0, 0, 1.0, line)
    seen = Replayed(DAY, days[-1], 9, days[4], Line("oracle", days, (0.6,) * 9), 0.6, (course,))
    drawn = replay.courses(seen)
    assert len(_shapes(drawn, "line series-0")) == len(_shapes(drawn, "line oracle")) == len(_shapes(drawn, "limit")) == 1
    nothing = Replayed(DAY, DAY, 0, None, None, None, (Played(HOSTILE, *([None] * 3), *([0] * 6), Line("x", (), ())),))
    assert _shapes(replay.courses(nothing), "line series-0") == []
