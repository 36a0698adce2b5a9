"""The step `explore`: write a page with the summary of a training set, and the changes since the previous one."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ml import artifacts
from ml.config import Config
from ml.evaluation.metrics import wilson
from ml.explanation import render, svg
from ml.explanation.document import (
    Block,
    Cell,
    Column,
    Document,
    Facts,
    Missing,
    Picture,
    Section,
    Table,
    Text,
    brief,
    count,
    share,
    signed,
)
from ml.explanation.summary import (
    CategorySummary,
    Day,
    NumberSummary,
    Shift,
    per_day,
    shift_of_category,
    shift_of_numbers,
    spearman,
    summarize_category,
    summarize_numbers,
)
from ml.records import attributes_of, to_record
from ml.store.feast import feature_names
from ml.training import dataset
from ml.training.arrivals import SHARES, Arrivals, arrivals

KIND, ARTIFACTS = "explorations", "exploration"
SHIFTS = 15
CORRELATED = 5_000
LEVELS = 20
CORRELATIONS = 40


@dataclass(frozen=True)
class Summary:
    """Summary of a training set."""

    training_set: str
    as_of: str
    rows: int
    positives: int
    numbers: tuple[NumberSummary, ...]
    categories: tuple[CategorySummary, ...]
    days: tuple[Day, ...]


@dataclass(frozen=True)
class Change:
    """Changes since another training set: its counts, new and removed columns (`new`, `gone`), and the shifts of all others."""

    previous: str
    previous_as_of: str
    previous_rows: int
    previous_positives: int
    new: tuple[str, ...]
    gone: tuple[str, ...]
    shifts: tuple[Shift, ...]


@dataclass(frozen=True)
class Exploration:
    """Result of the step: path of the page, the previous training set, and a sentence on the largest change."""

    training_set: str
    page: str
    previous: str | None
    sentence: str


def path_of(config: Config, training_set: str) -> Path:
    """Path of the page of a training set; the figures are in a JSON file with the same name.

    Raises:
        Missing: there is none.
    """
    return artifacts.of(config).get(KIND, f"{training_set}.html")


def explore(config: Config, as_of: dt.datetime, training_set: str) -> Exploration:
    """Write the page of a frozen training set, compared with the previous one; a second call returns the first result."""
    store = artifacts.of(config)
    page, record = f"{training_set}.html", f"{training_set}.json"
    if not (store.has(KIND, page) and store.has(KIND, record)):
        frozen = dataset.describe(config, training_set)
        rows = _read(config, training_set)
        summary = summarize(config, frozen, rows)
        before = previous_of(config, frozen)
        change = None if before is None else compare(config, before, summary, rows)
        sentence = _sentence(summary, change)
        answers = arrivals(config, dt.datetime.fromisoformat(frozen.as_of), frozen.lake)
        path = store.put_text(KIND, page, render.html(document(config, frozen, summary, change, rows, sentence, answers)))
        exploration = Exploration(training_set, str(path), None if change is None else change.previous, sentence)
        figures = {"exploration": exploration, "summary": summary, "change": change}
        store.put_text(KIND, record, json.dumps(to_record(figures), indent=1))
    return Exploration(**attributes_of(json.loads(store.get(KIND, record).read_text())["exploration"]))


def summarize(config: Config, frozen: dataset.TrainingSet, rows: pd.DataFrame) -> Summary:
    """Figures of the rows of a training set."""
    labels = rows["label"].to_numpy()
    return Summary(
        training_set=frozen.training_set,
        as_of=frozen.as_of,
        rows=len(rows),
        positives=int(labels.sum()),
        numbers=tuple(summarize_numbers(_numbers(rows, name), labels, name) for name in _numeric(config, rows)),
        categories=tuple(summarize_category(rows[name], labels, name) for name in config.categories if name in rows),
        days=per_day(rows["event_time"], labels),
    )


def previous_of(config: Config, frozen: dataset.TrainingSet) -> dataset.TrainingSet | None:
    """The training set of this deployment with the latest instant before this one's, None if it is the first."""
    now = dt.datetime.fromisoformat(frozen.as_of)
    earlier = [other for other in dataset.all_records(config) if dt.datetime.fromisoformat(other.as_of) < now]
    return max(earlier, key=lambda other: (dt.datetime.fromisoformat(other.as_of), other.training_set), default=None)


def compare(config: Config, before: dataset.TrainingSet, summary: Summary, rows: pd.DataFrame) -> Change:
    """Changes since the training set `before`, the largest shift first."""
    older = _read(config, before.training_set)
    labels = older["label"].to_numpy()
    was = {*_numeric(config, older), *(name for name in config.categories if name in older)}
    now = {number.name for number in summary.numbers} | {category.name for category in summary.categories}
    shifts = [
        shift_of_numbers(_numbers(older, number.name), _numbers(rows, number.name), number.name)
        for number in summary.numbers
        if number.name in was
    ]
    shifts += [
        shift_of_category(summarize_category(older[category.name], labels, category.name), category)
        for category in summary.categories
        if category.name in was
    ]
    columns = {*older.columns} - {*rows.columns}
    return Change(
        previous=before.training_set,
        previous_as_of=before.as_of,
        previous_rows=len(older),
        previous_positives=int(labels.sum()),
        new=tuple(sorted(now - was)),
        gone=tuple(sorted(columns)),
        shifts=tuple(sorted(shifts, key=lambda shift: (-shift.size, shift.name))),
    )


def document(
    config: Config,
    frozen: dataset.TrainingSet,
    summary: Summary,
    change: Change | None,
    rows: pd.DataFrame,
    sentence: str,
    answers: Arrivals,
) -> Document:
    """The page."""
    return Document(
        kind=f"{config.name}, training set",
        title=f"Training set {frozen.training_set[:12]}",
        badge="",
        lead=sentence,
        figures=(
            ("as of, UTC", _instant(frozen.as_of)),
            ("rows", count(summary.rows)),
            ("positives", count(summary.positives)),
            ("label rate", share(summary.positives / max(summary.rows, 1), 3)),
            ("days", count(len(summary.days))),
            ("columns", count(len(summary.numbers) + len(summary.categories))),
        ),
        sections=(
            Section("What changed since the last one", _changes(summary, change)),
            Section("Over time", _over_time(frozen, summary)),
            Section("When answers come", _answers(answers)),
            Section("Numbers", _number_table(summary)),
            Section("Categories", _category_tables(summary)),
            Section("Rank correlations", _correlations(rows, summary)),
            Section("Where it comes from", (_origin(frozen),)),
        ),
    )


def _sentence(summary: Summary, change: Change | None) -> str:
    rate = share(summary.positives / max(summary.rows, 1), 3)
    if change is None:
        return f"{count(summary.rows)} rows, {rate} of them positive. No training set of this deployment came before it."
    was = share(change.previous_positives / max(change.previous_rows, 1), 3)
    most = change.shifts[0] if change.shifts else None
    moved = f" The largest shift is that of {most.name}: {most.sentence}." if most and most.size > 0 else " No column moved."
    return f"The label rate went from {was} to {rate} since the training set as of {_instant(change.previous_as_of)}.{moved}"


def _changes(summary: Summary, change: Change | None) -> tuple[Block, ...]:
    if change is None:
        return (Missing("No training set of this deployment came before this one, so there is nothing to compare with."),)
    low, high = _rate(change.previous_positives, change.previous_rows)
    now_low, now_high = _rate(summary.positives, summary.rows)
    was, now = change.previous_positives / max(change.previous_rows, 1), summary.positives / max(summary.rows, 1)
    totals = Table(
        (Column(""), Column("before", True), Column("now", True), Column("difference", True)),
        (
            ("as of", _instant(change.previous_as_of), _instant(summary.as_of), ""),
            ("rows", count(change.previous_rows), count(summary.rows), signed(summary.rows - change.previous_rows, 0)),
            (
                "positives",
                count(change.previous_positives),
                count(summary.positives),
                signed(summary.positives - change.previous_positives, 0),
            ),
            (
                "label rate",
                f"{share(was, 3)} [{share(low, 3)}, {share(high, 3)}]",
                f"{share(now, 3)} [{share(now_low, 3)}, {share(now_high, 3)}]",
                f"{100 * (now - was):+.3f} points",
            ),
        ),
    )
    blocks: list[Block] = [totals]
    for what, names in (("New columns", change.new), ("Columns that are gone", change.gone)):
        if names:
            blocks.append(Text(f"{what}: {', '.join(names)}."))
    highest = max((shift.size for shift in change.shifts), default=0.0)
    blocks.append(
        Table(
            (Column("column"), Column("shift"), Column("of rows", True), Column("what moved")),
            tuple(
                (shift.name, svg.bar(shift.size, highest, f"shift of {shift.name}", 130), share(shift.size), shift.sentence)
                for shift in change.shifts[:SHIFTS]
            ),
        )
    )
    if len(change.shifts) > SHIFTS:
        rest = change.shifts[SHIFTS:]
        blocks.append(Text(f"{len(rest)} other columns moved by {share(rest[0].size)} of rows or less.", is_note=True))
    blocks.append(
        Text(
            "The shift is the share of rows that would have to take another value to make the two training sets alike: the "
            "Kolmogorov–Smirnov distance for numbers, the total variation distance for categories, and the difference of the "
            "missing shares where that is larger. The two sets share the days that both windows hold.",
            is_note=True,
        )
    )
    return tuple(blocks)


def _over_time(frozen: dataset.TrainingSet, summary: Summary) -> tuple[Block, ...]:
    days = [day.date for day in summary.days]
    cuts = frozen.windows
    windows = []
    for name, start, end in (
        (dataset.TRAIN, "train_start", "validation_start"),
        (dataset.VALIDATION, "validation_start", "fitted_until"),
        ("gap", "fitted_until", "holdout_start"),
        (dataset.HOLDOUT, "holdout_start", "holdout_end"),
    ):
        within = [i for i, day in enumerate(days) if cuts[start][:10] <= day < cuts[end][:10]]
        if within:
            windows.append((name, within[0], within[-1]))
    rates = [day.positives / day.rows if day.rows else float("nan") for day in summary.days]
    bounds = [_rate(day.positives, day.rows) if day.rows else (float("nan"),) * 2 for day in summary.days]
    low, high = ([pair[i] for pair in bounds] for i in (0, 1))
    return (
        Picture(
            svg.over_time(days, rates, windows, "label rate per day", percent=True, interval=(low, high)),
            "Share of positives per day with Wilson's 95 % interval. The gap is the delay of the labels and holds no rows.",
        ),
        Picture(
            svg.over_time(days, [day.rows for day in summary.days], windows, "rows per day", percent=False),
            "Rows per day.",
        ),
    )


def _answers(answers: Arrivals) -> tuple[Block, ...]:
    """The ages of the labels, compared with the declared delay."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, count(curve.answers), share(curve.late), *(brief(hours) for hours in curve.hours))
        for name, curve in (("all first answers", answers.all), ("positive ones", answers.positive))
    )
    columns = (Column("answers"), Column("count", True), Column("later than the delay", True))
    ages = tuple(Column(f"{part:.0%} within, hours", True) for part in SHARES)
    return Text(f"{answers.summary}." if answers.events else "No event is old enough."), Table(columns + ages, rows)


def _number_table(summary: Summary) -> tuple[Block, ...]:
    columns = (
        Column("column"),
        Column("by label"),
        Column("missing", True),
        *(Column(name, True) for name in ("1 %", "25 %", "median", "75 %", "99 %")),
        Column("mean of negatives", True),
        Column("of positives", True),
    )
    rows: list[tuple[Cell, ...]] = []
    for number in summary.numbers:
        description = f"{number.name} by label" + (", logarithmic scale" if number.is_log else "")
        quantiles = [brief(value) for value in number.quantiles] or ["–"] * 5
        rows.append(
            (
                number.name + (" (log)" if number.is_log else ""),
                svg.histogram(number.negatives, number.positives, description, width=150, height=34),
                share(number.missing, 1),
                *quantiles,
                *(brief(mean) for mean in number.means),
            )
        )
    return (
        Table(columns, tuple(rows)),
        Text(
            "Filled: rows with a negative label. Line: those with a positive one, each to its own height. The outermost bins "
            "hold what lies beyond the 0.5 and 99.5 percentiles; (log) means bins of equal width on a logarithmic scale.",
            is_note=True,
        ),
    )


def _category_tables(summary: Summary) -> tuple[Block, ...]:
    if not summary.categories:
        return (Text("This deployment has no category columns."),)
    blocks: list[Block] = []
    for category in summary.categories:
        shown = category.levels[:LEVELS]
        bounds = [_rate(level.positives, level.rows) for level in shown]
        highest = max((high for _, high in bounds), default=0.0)
        rows = [
            (
                level.name or "(empty)",
                count(level.rows),
                share(level.rows / max(summary.rows, 1)),
                count(level.positives),
                share(level.positives / max(level.rows, 1), 3),
                f"{share(low, 3)} to {share(high, 3)}",
                svg.share_bar(level.positives / max(level.rows, 1), low, high, highest, f"label rate of {level.name}"),
            )
            for level, (low, high) in zip(shown, bounds, strict=True)
        ]
        names = ("rows", "of rows", "positives", "label rate", "95 % interval")
        blocks.append(Table((Column(category.name), *(Column(n, True) for n in names), Column("")), tuple(rows)))
        if len(category.levels) > LEVELS:
            rest = category.levels[LEVELS:]
            blocks.append(
                Text(f"{len(rest)} rarer values hold {count(sum(level.rows for level in rest))} rows together.", is_note=True)
            )
    return tuple(blocks)


def _correlations(rows: pd.DataFrame, summary: Summary) -> tuple[Block, ...]:
    names = [number.name for number in summary.numbers if number.quantiles][:CORRELATIONS]
    if len(names) < 2:
        return (Text("Fewer than two columns hold numbers, so that there is nothing to correlate."),)
    step = max(1, len(rows) // CORRELATED)
    values = spearman(rows.iloc[::step], names)
    upper = [(abs(values[i, j]), i, j) for i in range(len(names)) for j in range(i)]
    strongest = ", ".join(f"{names[j]} and {names[i]} {values[i, j]:+.2f}" for _, i, j in sorted(upper, reverse=True)[:3])
    return (
        Picture(
            svg.heat_map(names, values, "rank correlations"),
            f"Spearman's rank correlation on {count(len(rows.iloc[::step]))} rows, one in {step}; orange is positive, blue "
            f"negative, the columns are in the order of the rows, and a missing value takes the middle rank. "
            f"The strongest: {strongest}.",
        ),
    )


def _origin(frozen: dataset.TrainingSet) -> Facts:
    return Facts(
        (
            ("SHA-256", frozen.training_set),
            ("configuration", frozen.config),
            ("labels known until", frozen.labels_known_until),
            *((name.replace("_", " "), value) for name, value in frozen.windows.items()),
            *((f"lake table {table}", f"version {version}") for table, version in frozen.lake.items()),
        )
    )


def _read(config: Config, training_set: str) -> pd.DataFrame:
    """The rows of a training set, without keys that identify one event or entity."""
    path = dataset.verified_path(config, training_set)
    keys = {"event_id", dataset.LABEL_KNOWN_AT, dataset.SPLIT, *config.entities.values()}
    there = pq.read_schema(path).names
    columns = [name for name, now in zip(there, dataset.current_names(there), strict=True) if now not in keys]
    categories = [name for name in config.categories if name in columns]
    rows: pd.DataFrame = pq.read_table(path, columns=columns, read_dictionary=categories).to_pandas(split_blocks=True)
    return rows


def _numeric(config: Config, rows: pd.DataFrame) -> list[str]:
    return [name for name in (*config.measures, *feature_names(config)) if name in rows]


def _numbers(rows: pd.DataFrame, name: str) -> np.ndarray:
    values: np.ndarray = rows[name].to_numpy(np.float64)
    return values


def _instant(text: str) -> str:
    return text[:16].replace("T", " ")


def _rate(positives: int, rows: int) -> tuple[float, float]:
    """Interval of the rate of positives among rows."""
    low, high = wilson(positives / max(rows, 1), rows)
    return float(low), float(high)
