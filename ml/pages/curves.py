"""Pictures of two models side by side: precision and recall, calibration, and what their scores rest on.

Example: one model alone has no line beside its own.
    >>> one = Sketch((0.5, 1.0), (1.0, 0.5), (0.2,), (0.25,), (0.1,), (0.4,), (10,))
    >>> precision_recall({"challenger": one}, 0.1).svg.count('class="of-')
    1
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ml.evaluation.sketch import Sketch
from ml.explanation.document import Drawing, brief, share
from ml.overview.model import Moved
from ml.pages.shapes import NARROW, dot, drawing, line, marked, path, shortened, text
from ml.pages.shapes import WIDTH as DESK

WIDTH, HEIGHT = NARROW, 310
LEFT, RIGHT, TOP, BOTTOM = 58, WIDTH - 14, 14, HEIGHT - 52
MODELS = ("champion", "challenger")
SHOWN = 8
"""Inputs whose attribution is drawn, those that changed most."""
LONGEST = 32
"""Characters of an input's name."""
Place = Callable[[float], float]


def precision_recall(curves: Mapping[str, Sketch], rate: float | None) -> Drawing:
    """Precision at each recall, a line a model, and the share of positives, which a model that knows nothing has."""

    def x(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * value

    def y(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * value

    steps = (0.0, 0.25, 0.5, 0.75, 1.0)
    shapes = _frame(x, y, steps, steps, ("share of all positives that is found (recall)", "precision"))
    if rate is not None:
        shapes.append(marked("quiet", f"share of positives: {share(rate)}", line("usual", LEFT, y(rate), RIGHT, y(rate))))
    for name in _known(curves):
        points = list(zip(curves[name].recall, curves[name].precision, strict=True))
        shapes.append(marked(name, f"precision of the {name}", path(f"of-{name}", [(x(r), y(p)) for r, p in points])))
    return drawing(WIDTH, HEIGHT, shapes, f"precision at each recall of {' and '.join(_known(curves))}")


def calibration(curves: Mapping[str, Sketch]) -> Drawing:
    """Share of positives at each score with its interval; on the diagonal a score means what it says. Scales are of powers."""
    filled = {name: _filled(curves[name]) for name in _known(curves)}
    values = [value for points in filled.values() for point in points for value in point if value > 0]
    lowest = math.floor(math.log10(min(values, default=0.1)))
    powers = [10.0**n for n in range(lowest, 1)]

    def part(value: float) -> float:
        return max(math.log10(max(value, powers[0])) - lowest, 0.0) / max(-lowest, 1)

    def x(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * part(value)

    def y(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * part(value)

    shapes = _frame(x, y, powers, powers, ("mean score", "share of positives"))
    shapes.append(line("usual", x(powers[0]), y(powers[0]), x(1.0), y(1.0)))
    for name, points in filled.items():
        shapes.append(path(f"of-{name}", [(x(score), y(rate)) for score, rate, _, _ in points]) if points else "")
        for score, rate, low, high in points:
            label = f"{name}: score {brief(score)}, {share(rate)} positive, {share(low)} to {share(high)}"
            bar = line(f"of-{name}", x(score), y(low), x(score), y(high))
            shapes.append(marked(name, label, bar, dot(x(score), y(rate), 3.5)))
    return drawing(WIDTH, HEIGHT, shapes, f"share of positives at each score of {' and '.join(filled)}")


def attributions(moved: Sequence[Moved], width: int = DESK) -> Drawing:
    """The share of each input in what moves the scores, of both models; those whose share has changed most.

    On a narrow picture the name of an input stands above its shares.
    """
    shown, narrow = moved[:SHOWN], width <= NARROW
    row, top, left, right = (40, 8, 8, width - 92) if narrow else (26, 8, 250, width - 130)
    highest = max([each.champion or 0.0 for each in shown] + [each.challenger or 0.0 for each in shown], default=0.0) or 1.0
    bottom = top + row * len(shown)

    def x(value: float) -> float:
        return left + (right - left) * value / highest

    shapes = [line("axis", left, top, left, bottom)]
    for place, each in enumerate(shown):
        y = top + row * (place + (0.7 if narrow else 0.5))
        name = shortened(each.feature, LONGEST)
        before, after = x(each.champion or 0.0), x(each.challenger or 0.0)
        label = f"{each.feature}: {share(each.champion)} of the champion, {share(each.challenger)} of the challenger"
        shapes.append(text(left + 6, y - 14, name, "name") if narrow else text(left - 10, y + 4, name, "name", "end"))
        mark = line("beside", before, y - 8, before, y + 8)
        shapes.append(marked("challenger", label, line("whisker", before, y, after, y), mark, dot(after, y, 5)))
        shapes.append(text(max(before, after) + 12, y + 4, f"{100 * each.difference:+.1f} points", "label"))
    said = f"share of {len(shown)} inputs in the attribution of both models, the largest change on top"
    return drawing(width, bottom + 8, shapes, said)


def _known(curves: Mapping[str, Sketch]) -> list[str]:
    return [name for name in MODELS if name in curves]


def _filled(curve: Sketch) -> list[tuple[float, float, float, float]]:
    """Score, share of positives, and its bounds, of the bins that a scale of powers can show."""
    points = zip(curve.bin_score, curve.bin_rate, curve.bin_low, curve.bin_high, strict=True)
    return [point for point in points if point[0] > 0 and point[1] > 0]


def _frame(x: Place, y: Place, across: Sequence[float], up: Sequence[float], names: tuple[str, str]) -> list[str]:
    """Grid, figures and names of two scales."""
    shapes = [line("grid", LEFT, y(value), RIGHT, y(value)) for value in up]
    shapes += [text(LEFT - 8, y(value) + 4, brief(value), "label", "end") for value in up]
    shapes += [text(x(value), BOTTOM + 18, brief(value), "label", "middle") for value in across]
    shapes.append(text((LEFT + RIGHT) / 2, HEIGHT - 12, names[0], "label", "middle"))
    turned = f'<g transform="rotate(-90 12 {(TOP + BOTTOM) / 2:.1f})">'
    return [*shapes, turned, text(12, (TOP + BOTTOM) / 2 + 4, names[1], "label", "middle"), "</g>"]
