"""Pictures of a verdict, of two models' curves and of feature importance, as PNG files.

The same input gives the same bytes: no date is written, and no global state of matplotlib is read or changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ml.errors import BadInput
from ml.evaluation.metrics import average_precision, curves, roc_auc, wilson
from ml.evaluation.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, GREEN = "#1f2933", "#616e7c", "#d5dbe1", "#1a7f4b"
COLOURS = ("#616e7c", "#0b6e99", "#b5651d", "#5b4b8a")
OUTCOME_COLOURS = {Outcome.PROMOTE: GREEN, Outcome.KEEP: "#616e7c", Outcome.INCONCLUSIVE: "#b5651d"}
STATUS_COLOURS = {"passed": GREEN, "failed": "#a61b1b", "vetoed": "#a61b1b", "unknown": "#b5651d"}
DOTS_PER_INCH = 150


def draw_verdict(verdict: Verdict, path: str | Path) -> Path:
    """Draw the interval of the difference against 0, the worthwhile gain and the minimum detectable effect.

    The thick bar runs between the two one-sided bounds on which the gate decides, the thin line is the two-sided interval.
    Returns the path written.
    """
    primary = verdict.primary
    colour = OUTCOME_COLOURS[verdict.outcome]
    figure = blank(8.0, 3.7)
    axes = figure.add_axes((0.06, 0.24, 0.88, 0.32))
    bare(axes)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.set_ylim(0, 1)

    detectable = verdict.minimum_detectable_effect
    reach = [0.0, *primary.interval, primary.lower_bound, primary.upper_bound, verdict.rules.worthwhile_gain, detectable]
    margin = 0.06 * (max(reach) - min(reach)) or 0.01
    axes.set_xlim(min(reach) - margin, max(reach) + margin)

    axes.axvspan(verdict.rules.worthwhile_gain, axes.get_xlim()[1], color=GREEN, alpha=0.07, linewidth=0)
    axes.axvline(0, color=INK, linewidth=1.4)
    axes.axvline(verdict.rules.worthwhile_gain, color=GREEN, linewidth=1.4, linestyle=(0, (5, 3)))
    axes.axvline(detectable, color=MUTED, linewidth=1.4, linestyle=(0, (1, 2)))
    axes.plot(primary.interval, (0.5, 0.5), color=colour, linewidth=1.8, solid_capstyle="butt")
    axes.plot((primary.lower_bound, primary.upper_bound), (0.5, 0.5), color=colour, linewidth=9, solid_capstyle="butt")
    axes.plot(primary.gain, 0.5, marker="o", color="white", markeredgecolor=colour, markeredgewidth=2.2, markersize=11)
    axes.annotate(
        f"{primary.gain:+.4f}",
        (primary.gain, 0.5),
        (0, 13),
        textcoords="offset points",
        ha="center",
        color=colour,
        fontsize=11,
        fontweight="bold",
    )
    axes.set_xlabel(f"gain in {verdict.metric}, challenger − champion", color=INK)

    figure.text(0.06, 0.90, verdict.outcome.value, color=colour, fontsize=20, fontweight="bold", va="center")
    figure.text(
        0.06,
        0.785,
        f"{verdict.challenger.name} {primary.challenger:.4f}   against   {verdict.champion.name} {primary.champion:.4f}",
        color=INK,
        fontsize=11,
        va="center",
    )
    figure.text(
        0.94,
        0.90,
        f"{verdict.rows:,} rows · {verdict.positives:,} positives · {verdict.clusters:,} clusters\n"
        f"{verdict.holdout.start:%Y-%m-%d} to {verdict.holdout.end:%Y-%m-%d}",
        color=MUTED,
        fontsize=9,
        ha="right",
        va="center",
        linespacing=1.5,
    )
    _legend_of_verdict(figure, verdict, colour)
    return save(figure, path)


def _legend_of_verdict(figure: Figure, verdict: Verdict, colour: str) -> None:
    from matplotlib.lines import Line2D

    primary = verdict.primary
    entries = {
        f"between the {1 - verdict.alpha:.0%} bounds": Line2D([], [], color=colour, linewidth=7, solid_capstyle="butt"),
        f"{primary.confidence:.0%} interval": Line2D([], [], color=colour, linewidth=1.8),
        f"worthwhile {verdict.rules.worthwhile_gain:+.3g}": Line2D([], [], color=GREEN, linewidth=1.4, linestyle=(0, (5, 3))),
        f"detectable {verdict.minimum_detectable_effect:+.4f}": Line2D(
            [], [], color=MUTED, linewidth=1.4, linestyle=(0, (1, 2))
        ),
    }
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="center",
        bbox_to_anchor=(0.5, 0.665),
        ncols=4,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=2.2,
        columnspacing=2.0,
    )


def draw_checks(verdict: Verdict, path: str | Path) -> Path:
    """Draw every guardrail and slice in a row of its own: its interval against what is allowed, green where that holds.

    A guardrail's axis is in units of its margin, so that -1 is the line for all of them. Returns the path written.
    """
    rails = [c for c in verdict.guardrails if c.gain is not None and c.lower_bound is not None and c.upper_bound is not None]
    judged = [s for s in verdict.slices if s.gain is not None and s.interval is not None]
    height = 1.5 + 0.3 * (len(rails) + len(judged)) + (0.9 if judged else 0)
    figure = blank(9.5, height)
    top = 1 - 0.75 / height
    figure.text(0.02, 1 - 0.3 / height, "Guardrails", color=INK, fontsize=13, fontweight="bold", va="center")
    if rails:
        axes = figure.add_axes((0.34, top - 0.3 * len(rails) / height, 0.5, 0.3 * len(rails) / height))
        _forest(
            axes,
            [check.name for check in rails],
            [(check.gain or 0.0) / (check.margin or 1.0) for check in rails],
            [((c.lower_bound or 0.0) / (c.margin or 1.0), (c.upper_bound or 0.0) / (c.margin or 1.0)) for c in rails],
            [STATUS_COLOURS[check.status.value] for check in rails],
            [f"{check.champion:.4g} → {check.challenger:.4g}" for check in rails],
        )
        axes.axvline(-1, color=INK, linewidth=1.2, linestyle=(0, (5, 3)))
        axes.set_xlabel("gain, in units of the margin that is allowed", color=MUTED, fontsize=9)
        top -= (0.3 * len(rails) + 0.95) / height
    if judged:
        figure.text(0.02, top + 0.25 / height, "Slices", color=INK, fontsize=13, fontweight="bold", va="center")
        axes = figure.add_axes((0.34, top - 0.3 * len(judged) / height, 0.5, 0.3 * len(judged) / height))
        _forest(
            axes,
            [f"{part.slice}: {part.group}" for part in judged],
            [part.gain or 0.0 for part in judged],
            [part.interval or (0.0, 0.0) for part in judged],
            [STATUS_COLOURS[part.status.value] for part in judged],
            [f"{part.champion:.3f} → {part.challenger:.3f}" for part in judged],
        )
        axes.axvline(-verdict.rules.slice_harm, color=INK, linewidth=1.2, linestyle=(0, (5, 3)))
        axes.set_xlabel("gain in average precision", color=MUTED, fontsize=9)
    return save(figure, path)


def _forest(
    axes: Axes,
    names: Sequence[str],
    centres: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    colours: Sequence[str],
    texts: Sequence[str],
) -> None:
    """Intervals in rows, the first on top, with a name on the left and figures on the right."""
    bare(axes)
    axes.spines["left"].set_visible(False)
    places = np.arange(len(names))
    axes.axvline(0, color=LINE, linewidth=1.2, zorder=0)
    for place, centre, (low, high), colour, text in zip(places, centres, intervals, colours, texts, strict=True):
        axes.plot((low, high), (place, place), color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(centre, place, marker="o", color="white", markeredgecolor=colour, markeredgewidth=1.8, markersize=6)
        axes.text(1.02, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5, color=MUTED)
    axes.set_yticks(places, [name if len(name) <= 40 else f"{name[:39]}…" for name in names], fontsize=9, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.locator_params(axis="x", nbins=6)


def draw_curves(labels: ArrayLike, scores: Mapping[str, ArrayLike], path: str | Path) -> Path:
    """Draw precision-recall, ROC and reliability curves of up to four models side by side.

    Args:
        labels: array of shape (n_rows,), 0 or 1.
        scores: name of a model to its probabilities, arrays of shape (n_rows,).
        path: PNG file to write.

    Returns the path written.

    Raises:
        ValueError: as for `ml.evaluation.metrics.curves`, or there are no models or more than four.
    """
    if not 1 <= len(scores) <= len(COLOURS):
        raise BadInput(f"scores of {len(scores)} models were given, expected 1 to {len(COLOURS)}")
    figure = blank(13.0, 4.6)
    precision_recall, roc, reliability = (figure.add_axes((left, 0.13, 0.27, 0.72)) for left in (0.05, 0.385, 0.72))
    prevalence = float(np.mean(np.asarray(labels)))
    lowest = 1.0
    for (name, values), colour in zip(scores.items(), COLOURS, strict=False):
        points = curves(labels, values)
        style: dict[str, Any] = {"color": colour, "linewidth": 1.8}
        precision_recall.step(
            points.recall, points.precision, where="pre", label=f"{name}  {average_precision(labels, values):.4f}", **style
        )
        roc.plot(points.false_positive_rate, points.true_positive_rate, label=f"{name}  {roc_auc(labels, values):.4f}", **style)
        filled = (points.bin_positives > 0) & (points.bin_score > 0)
        rate, score, rows = points.bin_rate[filled], points.bin_score[filled], points.bin_rows[filled]
        low, high = wilson(rate, rows)
        reliability.errorbar(
            score,
            rate,
            yerr=np.maximum((rate - low, high - rate), 0),
            marker="o",
            markersize=5,
            elinewidth=1,
            label=name,
            **style,
        )
        lowest = min([lowest, *score, *low])

    _titled(precision_recall, "Precision and recall", "recall", "precision")
    precision_recall.axhline(prevalence, color=LINE, linewidth=1.4, zorder=0)
    precision_recall.annotate(
        f"positive rate {prevalence:.2%}", (0.01, prevalence), (0, 3), textcoords="offset points", color=MUTED, fontsize=8
    )
    _titled(roc, "ROC", "false positive rate", "true positive rate")
    roc.plot((0, 1), (0, 1), color=LINE, linewidth=1.4, zorder=0)
    _titled(reliability, "Reliability", "mean score", "share of positives (95 % interval)")
    lowest = 10 ** np.floor(np.log10(lowest))
    reliability.plot((lowest, 1), (lowest, 1), color=LINE, linewidth=1.4, zorder=0)
    for axes in (precision_recall, roc):
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.02)
    reliability.set_xscale("log")
    reliability.set_yscale("log")
    reliability.set_xlim(lowest, 1.15)
    reliability.set_ylim(lowest, 1.15)
    precision_recall.legend(title="average precision", loc="best", **_LEGEND)
    roc.legend(title="area", loc="lower right", **_LEGEND)
    reliability.legend(loc="upper left", **_LEGEND)
    return save(figure, path)


def draw_importance(names: Sequence[str], values: ArrayLike, path: str | Path, top: int = 20) -> Path:
    """Draw the most important features as bars, the largest on top.

    Args:
        names: names of the features.
        values: array of shape (n_features,), importance, not negative.
        path: PNG file to write.
        top: how many to draw; the rest are summed in one bar.

    Returns the path written.

    Raises:
        ValueError: lengths differ, there is no feature, `top` is below 1, or a value is negative or not finite.
    """
    importance = np.asarray(values, dtype=np.float64)
    if importance.shape != (len(names),) or not len(names):
        raise BadInput(f"{len(names)} names and importance of shape {importance.shape}, expected one value per name")
    if not np.isfinite(importance).all() or (importance < 0).any():
        raise BadInput("importance must be finite and not negative")
    if top < 1:
        raise BadInput(f"top is {top}, expected at least 1")
    order = np.argsort(-importance, kind="stable")
    shown = [(names[i], float(importance[i])) for i in order[:top]]
    colours = [COLOURS[1]] * len(shown)
    rest = order[top:]
    if len(rest):
        shown.append((f"{len(rest)} others together", float(importance[rest].sum())))
        colours.append(LINE)

    height = 1.2 + 0.28 * len(shown)
    figure = blank(8.5, height)
    axes = figure.add_axes((0.36, 0.35 / height, 0.54, 1 - 0.95 / height))
    bare(axes)
    axes.spines["bottom"].set_visible(False)
    places = np.arange(len(shown))
    axes.barh(places, [value for _, value in shown], color=colours, height=0.72)
    axes.set_yticks(places, [name for name, _ in shown], fontsize=9, color=INK)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    for place, (_, value) in zip(places, shown, strict=True):
        axes.annotate(
            f"{value:.3g}", (value, place), (4, 0), textcoords="offset points", va="center", fontsize=8.5, color=MUTED
        )
    figure.text(0.02, 1 - 0.3 / height, "Feature importance", color=INK, fontsize=13, fontweight="bold", va="center")
    return save(figure, path)


_LEGEND: dict[str, Any] = {
    "frameon": False,
    "fontsize": 9,
    "labelcolor": INK,
    "title_fontsize": 9,
    "alignment": "left",
}


def blank(width: float, height: float) -> Figure:
    """An empty figure of the given size in inches, independent of pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")


def bare(axes: Axes) -> None:
    """Remove the top and right lines of the frame and mute the others."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
    axes.tick_params(colors=MUTED, labelsize=9)


def _titled(axes: Axes, title: str, x: str, y: str) -> None:
    bare(axes)
    axes.set_title(title, loc="left", color=INK, fontsize=13, fontweight="bold", pad=12)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, the same bytes for the same figure, and return the path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})
    return path
