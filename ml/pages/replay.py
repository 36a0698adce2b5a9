"""The page Replay: what other policies of retraining would have done, and what could have been had."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

from ml.config import Config
from ml.explanation.document import Drawing, brief
from ml.overview.replays import Line, Replayed, place, replays
from ml.pages.reader import Reader
from ml.pages.render import page
from ml.pages.shapes import WIDTH, both, drawing, line, marked, path, text, ticks

COLOURS = 6
"""Lines that differ in colour; the best policies have them."""


def replay_page(config: Config, reader: Reader) -> str:
    """The page as HTML."""
    seen = replays(config)
    picture = both(lambda width: courses(seen, width)) if seen else None
    return page("replay", config, reader, seen=seen, picture=picture, colours=COLOURS, file=place(config))


def courses(seen: Replayed, width: int = WIDTH) -> Drawing:
    """Average precision of each policy by day, as the mean of seven days, with the oracle and the day of the drift."""
    lines = [each.line for each in seen.policies[:COLOURS]]
    shown = [*lines, seen.oracle] if seen.oracle else lines
    known = [value for each in shown for value in each.values if value is not None]
    if not known:
        return drawing(width, 60, [text(12, 36, "no week has figures yet", "label")], "no week has figures yet")
    left, right, top, bottom = 62, width - 16, 14, 258
    days = [day for each in shown for day, value in zip(each.days, each.values, strict=True) if value is not None]
    first, span, scale = min(days), max((max(days) - min(days)).days, 1), ticks(min(known), max(known))

    def x(day: dt.date) -> float:
        return left + (right - left) * (day - first).days / span

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - scale[0]) / (scale[-1] - scale[0])

    shapes = [line("grid", left, y(tick), right, y(tick)) for tick in scale]
    shapes += [text(left - 8, y(tick) + 4, brief(tick), "label", "end") for tick in scale]
    for n in range(0, span + 1, max(1, round(span / (9 if width == WIDTH else 3)))):
        day = first + dt.timedelta(days=n)
        shapes.append(text(x(day), bottom + 20, f"{day.day} {day:%b}", "label", "middle"))
    if seen.drift and first <= seen.drift <= max(days):
        shapes.append(
            marked("quiet", f"the world changed on {seen.drift}", line("limit", x(seen.drift), top, x(seen.drift), bottom))
        )
        shapes.append(text(x(seen.drift) + 6, top + 10, "the world changes", "label"))
    shapes += [_course(each, f"line series-{place}", x, y) for place, each in enumerate(lines)]
    if seen.oracle:
        shapes.append(_course(seen.oracle, "line oracle", x, y))
    return drawing(width, bottom + 32, shapes, _said(lines))


def _said(lines: Sequence[Line]) -> str:
    return f"average precision by day of {', '.join(each.name for each in lines)}, each the mean of seven days"


def _course(each: Line, kind: str, x: Callable[[dt.date], float], y: Callable[[float], float]) -> str:
    points = [(x(day), y(value)) for day, value in zip(each.days, each.values, strict=True) if value is not None]
    return marked("quiet", each.name, path(kind, points)) if points else ""
