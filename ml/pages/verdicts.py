"""Pictures of verdicts: a gain with its interval, and all versions in time.

Example: a gain with its interval, left and right of 0.
    >>> 'class="good"' in gain(0.01, 0.005, 0.02, (-0.01, 0.02), "good", "gain in ROC AUC").svg
    True
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Sequence

from ml.explanation.document import Drawing, brief, signed
from ml.overview.decisions import Judged
from ml.overview.model import Reign
from ml.pages.render import tone
from ml.pages.shapes import WIDTH, box, dot, drawing, line, marked, text, ticks

VERDICTS = 60
"""Verdicts that the timeline shows, the newest."""
NAMED = 24
"""Verdicts up to which each carries its version."""
SECOND = dt.timedelta(seconds=1)


def gain(
    value: float | None, low: float | None, high: float | None, reach: tuple[float, float], kind: str, label: str
) -> Drawing:
    """A difference with its interval and a line at 0, on the common scale `reach` of a table; empty without figures."""
    width, height = 180, 20
    if value is None or low is None or high is None:
        return drawing(width, height, [], f"{label}: not known", fluid=False)
    left, right = min(reach[0], 0.0), max(reach[1], 0.0)
    scale = (width - 12) / ((right - left) or 1.0)

    def x(at: float) -> float:
        return 6 + (min(max(at, left), right) - left) * scale

    said = f"{label}: {signed(value)}, {signed(low)} to {signed(high)}"
    interval = marked(kind, said, line("whisker", x(low), 10, x(high), 10), dot(x(value), 10, 4))
    return drawing(width, height, [line("axis", x(0), 1, x(0), height - 1), interval], said, fluid=False)


def timeline(verdicts: Sequence[Judged], reigns: Sequence[Reign], width: int = WIDTH) -> Drawing:
    """Each challenger's figure with the interval of its difference, beside the champion's; below it who was champion when."""
    shown = [each for each in verdicts if each.challenger_value is not None][-(VERDICTS * width // WIDTH) :]
    if not shown:
        return drawing(width, 60, [text(12, 36, "no verdict with figures yet", "label")], "no verdict yet")
    left, right, top, bottom = 72, width - 16, 16, 218
    values = [
        value for each in shown for value in (*_interval(each), each.challenger_value, _beside(each)) if value is not None
    ]
    scale = ticks(min(values), max(values))
    first, last = min(each.as_of for each in shown), max([*(each.as_of for each in shown), *(reign.since for reign in reigns)])
    span, step = max((last - first) / SECOND, 1.0), (right - left) / (len(shown) + 1)

    def x(at: dt.datetime) -> float:
        return left + step / 2 + (right - left - step) * max((at - first) / SECOND, 0.0) / span

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - scale[0]) / (scale[-1] - scale[0])

    shapes = [line("grid", left, y(tick), right, y(tick)) for tick in scale]
    shapes += [text(left - 8, y(tick) + 4, brief(tick), "label", "end") for tick in scale]
    shapes += [_verdict(each, x(each.as_of), y, len(shown) <= NAMED * width / WIDTH) for each in shown]
    shapes.append(text(left - 8, 250, "champion", "label", "end"))
    for place, reign in enumerate(reigns):
        start, end = max(x(reign.since), left) if place else left, x(reign.until) if reign.until else right
        if end - start >= 1:
            shapes.append(_reign(reign, start, end - 2))
    shapes += [text(at, 284, day, "label", "middle") for day, at in _days(first, last, x, 9 if width == WIDTH else 3)]
    said = f"{len(shown)} verdicts by day with their intervals, and which version was champion when"
    return drawing(width, 300, shapes, said)


def _interval(each: Judged) -> tuple[float, float] | tuple[None, None]:
    """Bounds of the challenger's figure, were the champion's exact."""
    if each.interval_low is None or each.interval_high is None or each.champion_value is None:
        return None, None
    return each.champion_value + each.interval_low, each.champion_value + each.interval_high


def _beside(each: Judged) -> float | None:
    """The champion's figure on the same rows; the base rate is none."""
    return each.champion_value if each.champion_version else None


def _verdict(each: Judged, x: float, y: Callable[[float], float], named: bool) -> str:
    shapes, value = [], y(each.challenger_value or 0.0)
    low, high = _interval(each)
    if low is not None and high is not None:
        shapes.append(line("whisker", x, y(low), x, y(high)))
    if (beside := _beside(each)) is not None:
        shapes.append(line("beside", x - 11, y(beside), x + 11, y(beside)))
    shapes.append(dot(x, value, 6))
    if named:
        under = beside is not None and y(beside) < value
        shapes.append(text(x + 12, value + 18 if under else value - 8, f"v{each.challenger_version}", "name"))
    title = f"{each.as_of:%Y-%m-%d %H:%M}: {each.outcome} on version {each.challenger_version}. {each.reason}"
    return marked(tone(each.outcome), title, *shapes)


def _reign(reign: Reign, start: float, end: float) -> str:
    shapes = [box("reign now" if reign.until is None else "reign", start, 234, end - start, 24, corner=4)]
    if end - start > 26:
        shapes.append(text((start + end) / 2, 250, f"v{reign.version}", "on", "middle"))
    title = f"version {reign.version}, {reign.since:%Y-%m-%d %H:%M} on: {reign.reason} ({reign.actor})"
    return marked("quiet", title, *shapes)


def _days(first: dt.datetime, last: dt.datetime, x: Callable[[dt.datetime], float], most: int) -> Iterable[tuple[str, float]]:
    """At most one day more than `most` of an interval, each with its place."""
    span = (last.date() - first.date()).days
    for n in range(0, span + 1, max(1, math.ceil(span / most))):
        instant = first + dt.timedelta(days=n)
        yield f"{instant.day} {instant:%b %Y}" if n == 0 else f"{instant.day} {instant:%b}", x(instant)
