"""Pictures of attributions as PNG files, in the style of `ml.evaluation.pictures`; the same input gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ml.evaluation.pictures import COLOURS, INK, LINE, MUTED, bare, blank, save
from ml.quality.report import printable

BLUE, ORANGE = COLOURS[1], COLOURS[2]
FEATURES = 15
BINS = 120


def draw_attributions(names: Sequence[str], shares: ArrayLike, values: np.ndarray, inputs: np.ndarray, path: Path) -> Path:
    """Draw each row of a sample as a dot per input: its contribution to the right, its input's rank as the colour.

    Args:
        names: inputs, the most important first.
        shares: their shares in all attribution, shape (n_inputs,).
        values: contributions in log-odds, shape (n_rows, n_inputs).
        inputs: what the model saw, shape (n_rows, n_inputs); only the order within a column matters.
        path: PNG file to write.

    Returns the path written.
    """
    from matplotlib.colors import LinearSegmentedColormap

    shown = min(FEATURES, len(names))
    height = 1.75 + 0.4 * shown
    figure = blank(10.4, height)
    axes = figure.add_axes((0.30, 0.95 / height, 0.60, 1 - 1.75 / height))
    bare(axes)
    axes.spines["left"].set_visible(False)
    colours = LinearSegmentedColormap.from_list("ranks", [BLUE, "#b9bfc6", ORANGE])
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for place in range(shown):
        axes.axhline(place, color=LINE, linewidth=0.6, zorder=0)
        ranks = _ranks(inputs[:, place])
        axes.scatter(
            values[:, place],
            place + _spread(values[:, place]),
            c=ranks,
            cmap=colours,
            vmin=0,
            vmax=1,
            s=7,
            linewidths=0,
            alpha=0.8,
            zorder=2,
        )
        axes.annotate(
            f"{100 * float(np.asarray(shares)[place]):.1f} %",
            (1.0, place),
            (10, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=MUTED,
        )
    axes.set_yticks(range(shown), [_short(name) for name in names[:shown]], fontsize=9, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(shown - 0.4, -0.6)
    axes.set_xlabel("contribution to the score, in log-odds", color=INK)
    figure.text(0.02, 1 - 0.32 / height, "What moves the score", color=INK, fontsize=13, fontweight="bold", va="center")
    figure.text(0.945, 1 - 0.62 / height, "share", color=MUTED, fontsize=9, va="center", ha="center")
    _colour_key(figure, colours, height)
    return save(figure, path)


def draw_shares(rows: Sequence[str], names: Sequence[str], shares: np.ndarray, path: Path) -> Path:
    """Draw the share of each input in each slice as a heat map with its figures.

    Args:
        rows: names of the slices; the first is that of all rows.
        names: inputs, the most important first.
        shares: shape (n_slices, n_inputs), each row sums to 1.
        path: PNG file to write.

    Returns the path written.
    """
    shown = min(10, len(names))
    height = 2.55 + 0.29 * len(rows)
    figure = blank(10.4, height)
    axes = figure.add_axes((0.24, 0.2 / height, 0.655, 1 - 2.45 / height))
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("shares", ["#ffffff", BLUE])
    highest = float(shares[:, :shown].max()) or 1.0
    axes.imshow(shares[:, :shown], cmap=colours, vmin=0, vmax=highest, aspect="auto", interpolation="nearest")
    for i in range(len(rows)):
        for j in range(shown):
            ink = "white" if shares[i, j] > 0.7 * highest else INK
            axes.text(j, i, f"{100 * shares[i, j]:.0f}", ha="center", va="center", fontsize=8.5, color=ink)
    axes.set_yticks(range(len(rows)), [_short(row) for row in rows], fontsize=9, color=INK)
    axes.set_xticks(range(shown), [_short(name, 28) for name in names[:shown]], fontsize=8.5, color=INK, rotation=38, ha="left")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.axhline(0.5, color=INK, linewidth=1)
    for side in axes.spines.values():
        side.set_visible(False)
    figure.text(
        0.02,
        1 - 0.32 / height,
        "Share of each input in the attribution of a slice, %",
        color=INK,
        fontsize=13,
        fontweight="bold",
        va="center",
    )
    return save(figure, path)


def _colour_key(figure, colours, height: float) -> None:  # type: ignore[no-untyped-def]
    key = figure.add_axes((0.62, 1 - 0.40 / height, 0.16, 0.10 / height))
    key.imshow(np.linspace(0, 1, 64)[None, :], cmap=colours, aspect="auto")
    key.set_axis_off()
    for at, label, side in ((0.612, "low value", "right"), (0.788, "high value", "left")):
        figure.text(at, 1 - 0.35 / height, label, color=MUTED, fontsize=9, va="center", ha=side)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks in [0, 1], equal values alike."""
    distinct, places = np.unique(values, return_inverse=True)
    counts = np.bincount(places, minlength=len(distinct))
    middle = np.cumsum(counts) - counts / 2
    ranks: np.ndarray = (middle / len(values))[places]
    return ranks


def _spread(values: np.ndarray) -> np.ndarray:
    """Offsets within ±0.4 that lay dots of one place beside each other, alternately above and below."""
    bins = np.floor(BINS * (values - values.min()) / (np.ptp(values) or 1.0)).astype(int)
    offsets = np.zeros(len(values))
    order = np.argsort(bins, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(bins[order]) != 0])
    within = np.arange(len(values)) - np.repeat(starts, np.diff(np.r_[starts, len(values)]))
    offsets[order] = np.ceil(within / 2) * np.where(within % 2, 1, -1)
    spread: np.ndarray = offsets * min(0.025, 0.4 / max(np.abs(offsets).max(initial=0.0), 1.0))
    return spread


def _short(name: str, most: int = 36) -> str:
    """A name in one line of at most `most` characters, its middle left out; a dollar sign starts no formula."""
    shown = printable(name)
    half = (most - 1) // 2
    return (shown if len(shown) <= most else f"{shown[:half]}…{shown[-half:]}").replace("$", r"\$")
