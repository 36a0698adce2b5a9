"""Pictures by day: what moved, how well the model does, and what came in."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence

from ml.explanation.document import Drawing, brief, number
from ml.overview.data import LandedBatch
from ml.overview.drift import Cell, Metric, PerformanceDay, Subject
from ml.pages.render import tone
from ml.pages.shapes import WIDTH, box, dot, drawing, line, marked, path, shortened, text, ticks

LONGEST = 40
"""Characters of a subject's name in the heat map."""
WIDEST = 36
"""Pixels of a bar, where there are few of them."""
DAYS = 60
"""Days of batches on a wide picture, the newest."""
WEEK = 7
"""Days of the heat map on a narrow picture."""
SHORT = 20
"""Characters of a subject's name there."""
MARKS = {"WARN": "!", "CONFIRMED": "✕"}


def heat_map(subjects: Sequence[Subject], days: Sequence[dt.date], width: int = WIDTH) -> Drawing:
    """Subjects down, days across: how far each subject's worst signal was along to its threshold, and where it passed it."""
    longest, first = (LONGEST, 0) if width == WIDTH else (SHORT, max(len(days) - WEEK, 0))
    days = days[first:]
    cell = min(30.0, max(9.0, (720 if width == WIDTH else 190) / max(len(days), 1)))
    row, top = 20, 30
    left = 64 + 7.1 * min(max((len(subject.name) for subject in subjects), default=10), longest)
    every = max(1, math.ceil(54 / cell))
    shapes = [
        text(left + place * cell + cell / 2, 16, _short(day), "label", "middle")
        for place, day in enumerate(days)
        if place % every == 0
    ]
    for number_, subject in enumerate(subjects):
        y = top + number_ * row
        shapes.append(text(left - 50, y + 14, shortened(subject.name, longest), "name", "end"))
        shapes.append(text(left - 8, y + 14, f"{100 * subject.importance:.1f} %", "label", "end"))
        shapes += [_cell(subject.name, seen, left + place * cell, y, cell) for place, seen in enumerate(subject.cells[first:])]
    said = f"{len(subjects)} subjects by importance on {len(days)} days; the darker, the nearer to the threshold"
    return drawing(left + cell * len(days) + 8, top + row * len(subjects) + 8, shapes, said)


def _cell(name: str, seen: Cell, x: float, y: float, size: float) -> str:
    if seen.ratio is None:
        return marked("quiet", f"{seen.day}: {name} was not judged", box("unseen", x, y, size - 2, 17, corner=2))
    title = f"{seen.day}: {seen.signal} at {seen.ratio:.2f} of its threshold, {seen.state}"
    if seen.state == "OK":
        opacity = 0.06 + 0.6 * min(seen.ratio, 1.0)
        return marked("good", title, box("cell", x, y, size - 2, 17, corner=2, opacity=opacity))
    mark = text(x + size / 2 - 1, y + 13, MARKS[seen.state], "mark", "middle")
    return marked(tone(seen.state), title, box("cell", x, y, size - 2, 17, corner=2), mark)


def performance(metric: Metric, width: int = WIDTH) -> Drawing:
    """A metric by day, realized and estimated, beside what is usual; below it what gathers against the model.

    The lower part is the control chart: losses alone gather in it, so an improvement never counts as one.
    """
    days = metric.days
    values = [value for each in days for value in (each.measured, each.estimated, metric.usual) if value is not None]
    if not values:
        return drawing(width, 60, [text(12, 36, "nothing was measured yet", "label")], f"{metric.name}: not measured yet")
    left, right, top, bottom = 62, width - (92 if width == WIDTH else 16), 14, 158
    scale, first = ticks(min(values), max(values)), days[0].day
    span = (days[-1].day - first).days + 1
    step = (right - left) / span

    def x(day: dt.date) -> float:
        return left + ((day - first).days + 0.5) * step

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - scale[0]) / (scale[-1] - scale[0])

    shapes = [line("grid", left, y(tick), right, y(tick)) for tick in scale]
    shapes += [text(left - 8, y(tick) + 4, brief(tick), "label", "end") for tick in scale]
    if metric.usual is not None:
        shapes.append(line("usual", left, y(metric.usual), right, y(metric.usual)))
        beside = (right + 8, y(metric.usual) + 4, "start") if width == WIDTH else (right, y(metric.usual) - 5, "end")
        shapes.append(text(beside[0], beside[1], f"usual {brief(metric.usual)}", "label", beside[2]))
    guessed = [(x(each.day), y(each.estimated)) for each in days if each.estimated is not None]
    real = [(x(each.day), y(each.measured)) for each in days if each.measured is not None]
    shapes += [path(kind, points) for kind, points in (("estimated", guessed), ("measured", real)) if points]
    shapes += [
        marked(tone(each.state), f"{each.day}: {number(each.measured)}, {each.state}", dot(x(each.day), y(each.measured), 4.5))
        for each in days
        if each.measured is not None
    ]
    shapes += _losses(days, [x(each.day) for each in days], step, left, right)
    for n in range(0, span, max(1, round(span / (9 if width == WIDTH else 3)))):
        day = first + dt.timedelta(days=n)
        shapes.append(text(x(day), 250, _short(day), "label", "middle"))
    said = f"{metric.name} by day: realized, estimated, usual, and the control chart of its losses"
    return drawing(width, 260, shapes, said)


def _losses(days: Sequence[PerformanceDay], places: Sequence[float], step: float, left: float, right: float) -> list[str]:
    """The control chart: what has gathered against the model by day, and the limit from which it is an alarm."""
    floor, wide = 226, min(0.72 * step, WIDEST)
    scale = 42 / max([1.2, *(each.loss for each in days if each.loss is not None)])
    shapes = [
        marked(
            tone(each.state),
            f"{each.day}: {each.loss:.2f} of the limit",
            box("bar", x - wide / 2, floor - max(each.loss * scale, 1.0), wide, max(each.loss * scale, 1.0)),
        )
        for each, x in zip(days, places, strict=True)
        if each.loss is not None
    ]
    return [
        *shapes,
        line("axis", left, floor, right, floor),
        line("limit", left, floor - scale, right, floor - scale),
        text(left - 8, floor - scale + 4, "alarm", "label", "end"),
        text(left - 8, floor + 4, "no loss", "label", "end"),
    ]


def batches(landed: Sequence[LandedBatch], width: int = WIDTH) -> Drawing:
    """Rows by the day of their newest event, or on which they came in: accepted, quarantined, rejected."""
    by_day: dict[dt.date, list[int]] = {}
    for batch in landed:
        counts = by_day.setdefault((batch.last_event or batch.known_at).date(), [0, 0, 0])
        for place, rows in enumerate((batch.accepted, batch.quarantined, batch.rejected)):
            counts[place] += rows
    days = sorted(by_day)[-(DAYS * width // WIDTH) :]
    if not days:
        return drawing(width, 60, [text(12, 36, "nothing came in yet", "label")], "no batch yet")
    left, right, top, bottom = 62, width - 16, 12, 184
    scale = ticks(0.0, float(max(sum(by_day[day]) for day in days)))
    step = min((right - left) / len(days), 80.0)

    def y(value: float) -> float:
        return bottom - (bottom - top) * value / scale[-1]

    shapes = [line("grid", left, y(tick), right, y(tick)) for tick in scale]
    shapes += [text(left - 8, y(tick) + 4, f"{tick:,.0f}", "label", "end") for tick in scale]
    for place, day in enumerate(days):
        x, base, parts = left + place * step + 0.12 * step, 0, []
        for rows, kind in zip(by_day[day], ("good", "warn", "bad"), strict=True):
            if rows:
                tall = max(y(base) - y(base + rows), 1.0)
                parts.append(f'<g class="{kind}">{box("bar", x, y(base) - tall, 0.76 * step, tall)}</g>')
            base += rows
        accepted, quarantined, rejected = by_day[day]
        title = f"{day}: {accepted:,} accepted, {quarantined:,} quarantined, {rejected:,} rejected"
        shapes.append(marked("quiet", title, *parts))
        if place % max(1, math.ceil(len(days) / (12 if width == WIDTH else 5))) == 0:
            shapes.append(text(x + 0.38 * step, 206, _short(day), "label", "middle"))
    return drawing(width, 220, shapes, f"rows by the day of their events, {len(days)} days")


def _short(day: dt.date) -> str:
    return f"{day.day} {day:%b}"
