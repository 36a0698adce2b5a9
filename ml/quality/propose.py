"""Proposes the roles of the columns of a file of events: time, id, entities, categories, measures, label.

Everything here is a guess from values and names; a person who knows the feed decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from ml.config.data import Epoch
from ml.errors import Refused
from ml.evaluation.metrics import roc_auc
from ml.quality.formats import NO_FORMAT, PARQUET, format_of
from ml.quality.times import DIGITS

LABEL_VALUES = ({0, 1}, {False, True}, {"0", "1"}, {"true", "false"}, {"TRUE", "FALSE"}, {"True", "False"}, {"0.0", "1.0"})
FEW_LEVELS, MANY_LEVELS = 50, 2000
REPEATS = 3
SAMPLE = 200_000
CODES_REPEAT = 50
LEAKING_AUC = 0.95
QUANTILES = (0.5, 0.9, 0.95, 0.99)
ZONES = (
    *("UTC", "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Sao_Paulo"),
    *("Europe/London", "Europe/Paris", "Asia/Kolkata", "Asia/Shanghai", "Asia/Tokyo", "Australia/Sydney"),
)
RESERVED = {"event_id", "event_time", "label", "reported_at", "source"}
TIME_NAMES = r"time|date|stamp|epoch|when|_at$|_ts$|^ts$|^at$"
PLAUSIBLE = (pd.Timestamp("1990-01-01"), pd.Timestamp("2050-01-01"))
LABEL_NAMES = r"label|target|fraud|churn|default|late|is_|outcome|class|cancel|click|return|bad|response"


class NotAStream(Refused, ValueError):
    """A file cannot be a stream of events; the message says what it lacks."""


@dataclass(frozen=True)
class Stream:
    """The guesses. Columns have the feed's names; `names` maps them to the proposed names.

    Attributes:
        times, ids, labels: candidates, the likeliest first; the first of each is taken.
        left_out: columns that are not used, with the reason.
        zoned: whether the times include their zone.
        epoch: what the times count since 1970, None if they are written out.
        quiet: the hour of the day with the fewest events.
        days: number of events by day.
    """

    rows: int
    times: list[str]
    ids: list[str]
    labels: list[str]
    entities: list[str]
    categories: list[str]
    measures: list[str]
    left_out: dict[str, str]
    missing: dict[str, float]
    names: dict[str, str]
    zoned: bool
    epoch: Epoch | None
    quiet: int
    days: pd.Series
    rate: float | None


@dataclass(frozen=True)
class Answers:
    """A file of labels: its columns, the share of events with an answer, and hours from event to answer by quantile.

    `rate` is the share of events with a positive answer; without the column `label` every row is one. `epoch` is what the times
    count since 1970, None if they are written out. `zone` is the likely zone of the events' times where only the answers' times
    include one: no answer precedes its event, and most follow soon.
    """

    columns: dict[str, str]
    answered: float
    rate: float
    zone: str | None
    epoch: Epoch | None
    hours: dict[float, float]


def read(path: Path) -> pd.DataFrame:
    """A file as a table, with the types that its values have; only an empty field is missing.

    Raises:
        NotAStream: there is no such file, it cannot be read, or it is empty.
    """
    if not path.is_file():
        raise NotAStream(f"{path}: no such file; expected one of past events, CSV or Parquet")
    form = format_of(path.name)
    if form is None:
        raise NotAStream(f"{path}: {NO_FORMAT}")
    if form.startswith(PARQUET) and form not in PARQUET:
        raise NotAStream(f"{path}: Parquet that was packed once more; unpack it, then propose")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        try:
            if form in PARQUET:
                table = connection.read_parquet(str(path)).df()
            else:
                table = connection.read_csv(str(path), sample_size=-1, na_values="").df()
        except duckdb.Error as error:
            raise NotAStream(
                f"{path}: cannot be read: {str(error).splitlines()[0]}; look for lines that end otherwise or have another "
                "number of fields than the rest"
            ) from error
    if table.empty:
        raise NotAStream(f"{path}: no rows")
    return table


def stream_of(rows: pd.DataFrame, labelled: bool) -> Stream:
    """Guesses about a file of events.

    Args:
        labelled: whether the labels come in a file of their own.

    Raises:
        NotAStream: there is no time, no id, no label, or no entity.
    """
    time_columns = {name: parsed for name in rows if (parsed := _as_time(rows[name])) is not None}
    distinct = {name: int(rows[name].nunique()) for name in rows}
    if not time_columns:
        raise NotAStream(
            "no column holds times: written out as 2025-05-02T14:00:00, or as a number since 1970 in a column whose name says "
            f"so, such as shown_at; there are {list(rows)}"
        )
    times = sorted(time_columns, key=lambda name: -distinct[name])
    time = time_columns[times[0]]
    ids = [
        n
        for n in rows
        if n not in time_columns and distinct[n] == len(rows) and rows[n].notna().all() and not _is_real(rows[n])
    ]
    ids = [name for name in ids if not _is_label(rows[name])]
    if not ids:
        raise NotAStream("no column has another value in every row, so none can be the event's id; add one to the file")
    ids.sort(key=lambda name: not re.search(r"id$|^id|key|number|uuid", str(name).lower()))
    labels = [] if labelled else [name for name in rows if _is_label(rows[name])]
    labels.sort(key=lambda name: not re.search(LABEL_NAMES, str(name).lower()))
    if not labelled and not labels:
        raise NotAStream("no column holds 0 and 1 alone, so none can be the label; give --labels, the file of the answers")
    left_out, entities, categories, measures = {}, [], [], []
    truth = None if labelled else _truth(rows[labels[0]])
    for name in [n for n in rows if n not in (times[0], ids[0], *labels[:1])]:
        values = rows[name]
        if distinct[name] <= 1:
            left_out[name] = "it has one value"
        elif name in time_columns:
            left_out[name] = "a second time; events have one"
        elif truth is not None and (auc := _leakage(values, truth)) > LEAKING_AUC:
            left_out[name] = f"it tells the label by itself (ROC AUC {auc:.3f}): is it known when the event happens?"
        elif _is_number(values) and not (
            (_looks_like_key(name) and _repeats(values, distinct[name])) or _are_codes(values, distinct[name])
        ):
            measures.append(name)
        elif distinct[name] > FEW_LEVELS and _repeats(values, distinct[name]):
            entities.append(name)
        elif distinct[name] <= MANY_LEVELS and _repeats(values, distinct[name]):
            categories.append(name)
        else:
            left_out[name] = f"text with {distinct[name]:,} values that hardly repeat"
    entities.sort(key=lambda name: (not _looks_like_key(name), -distinct[name]))
    if not entities and categories:
        entities = [categories.pop(int(np.argmax([distinct[name] for name in categories])))]
    if not entities:
        raise NotAStream(
            f"no column names what events have in common, such as a customer: of {list(rows)} none has values that repeat; "
            "add one to the file"
        )
    categories += entities[3:]
    measures.sort(key=lambda name: not _is_real(rows[name]))
    return Stream(
        rows=len(rows),
        times=times,
        ids=ids,
        labels=labels,
        entities=entities[:3],
        categories=categories,
        measures=measures,
        left_out=left_out,
        missing={str(n): float(rows[n].isna().mean()) for n in rows if rows[n].isna().any()},
        names=_names([n for n in rows if n not in (times[0], ids[0])]),
        zoned=_zoned(rows[times[0]]) or _epoch(rows[times[0]]) is not None,
        epoch=_epoch(rows[times[0]]),
        quiet=int(time.dt.hour.value_counts().reindex(range(24), fill_value=0).idxmin()),
        days=time.dt.date.value_counts().sort_index(),
        rate=None if truth is None else float(truth.mean()),
    )


def answers_of(rows: pd.DataFrame, events: pd.DataFrame, stream: Stream) -> Answers:
    """Guesses about a file of labels.

    Raises:
        NotAStream: no column holds the events' ids, 0 and 1 alone, or times.
    """
    ids = set(events[stream.ids[0]].astype(str))
    shared = {name: rows[name].astype(str).isin(ids).mean() for name in rows}
    key = max(shared, key=lambda name: shared[name])
    time_columns = {name: parsed for name in rows if (parsed := _as_time(rows[name])) is not None}
    labels = [name for name in rows if name != key and name not in time_columns and _is_label(rows[name], or_one=True)]
    if shared[key] < 0.5 or not time_columns:
        required = "ids of events" if shared[key] < 0.5 else "times, written out or as a number since 1970"
        raise NotAStream(f"the file of labels has no column with {required}; it has {list(rows)}")
    reported = next(iter(time_columns))
    columns = {"event_id": key} | ({"label": labels[0]} if labels else {}) | {"reported_at": reported}
    positive = _truth(rows[labels[0]]) if labels else pd.Series(True, rows.index)
    first_answers = (
        pd.DataFrame({"id": rows[key].astype(str), "at": time_columns[columns["reported_at"]]}).groupby("id")["at"].min()
    )
    event_time = pd.to_datetime(_as_time(events[stream.times[0]]))
    event_times = pd.Series(event_time.to_numpy(), index=events[stream.ids[0]].astype(str))
    event_times = event_times[~event_times.index.duplicated()].reindex(first_answers.index)
    says_zone = _zoned(rows[reported]) or _epoch(rows[reported]) is not None
    zones = ZONES if says_zone and not stream.zoned else ("UTC",)
    delays = {zone: _hours(first_answers, event_times, zone) for zone in zones}
    possible = {zone: hours for zone, hours in delays.items() if hours.quantile(0.001) >= 0} or {"UTC": delays["UTC"]}
    zone = min(possible, key=lambda name: possible[name].median())
    return Answers(
        {name: str(column) for name, column in columns.items()},
        answered=float(events[stream.ids[0]].astype(str).isin(first_answers.index).mean()),
        rate=float(events[stream.ids[0]].astype(str).isin(set(rows.loc[positive, key].astype(str))).mean()),
        zone=zone if len(zones) > 1 else None,
        epoch=_epoch(rows[reported]),
        hours={q: float(possible[zone].quantile(q)) for q in QUANTILES},
    )


def _hours(answer_times: pd.Series, event_times: pd.Series, zone: str) -> pd.Series:
    """Hours from each event, its time read in a zone, to its answer."""
    instants = event_times.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC").dt.tz_localize(None)
    return (answer_times - instants).dt.total_seconds().dropna() / 3600


def _as_time(values: pd.Series) -> pd.Series | None:
    """The values as local or UTC times; None if they are not times."""
    if (epoch := _epoch(values)) is not None:
        return pd.to_datetime(values.astype("Int64") * _nanoseconds(epoch))
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return values.dt.tz_convert("UTC").dt.tz_localize(None)
    if pd.api.types.is_datetime64_any_dtype(values):
        return values
    if not pd.api.types.is_object_dtype(values) and not pd.api.types.is_string_dtype(values):
        return None
    texts = values.dropna().astype(str)
    if texts.empty or not texts.head(100).str.match(r"\d{4}-\d{2}-\d{2}").all():
        return None
    times = pd.to_datetime(values, errors="coerce", format="ISO8601", utc=True)
    return times.dt.tz_localize(None) if times.notna().sum() >= 0.95 * len(texts) else None


def _epoch(values: pd.Series) -> Epoch | None:
    """What whole numbers in a column with the name of a time count since 1970; None if they are no times."""
    if not re.search(TIME_NAMES, str(values.name).lower()) or not _is_number(values) or _is_real(values):
        return None
    known = values.dropna()
    low, high = (int(known.min()), int(known.max())) if len(known) else (0, 0)
    for epoch in DIGITS:
        first, last = (int(at.value) // _nanoseconds(epoch) for at in PLAUSIBLE)
        if first <= low and high <= last:
            return epoch
    return None


def _nanoseconds(epoch: Epoch) -> int:
    return 10 ** (9 - DIGITS[epoch])


def _zoned(values: pd.Series) -> bool:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return True
    return bool(values.dropna().astype(str).head(100).str.contains(r"(?:Z|[+-]\d{2}:?\d{2})$").all())


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _is_real(values: pd.Series) -> bool:
    """Whether some numbers are not whole; a column of ids with missing values is read as floats."""
    return pd.api.types.is_float_dtype(values) and bool((values.dropna() % 1 != 0).any())


def _is_label(values: pd.Series, or_one: bool = False) -> bool:
    """Whether a column holds the two values of a label; `or_one`: or the positive one alone."""
    found = set(values.dropna().unique())
    return found in LABEL_VALUES or (or_one and found in ({1}, {"1"}, {"true"}, {"True"}, {"TRUE"}, {"1.0"}))


def _are_codes(values: pd.Series, distinct: int) -> bool:
    """Whether whole numbers name things, such as campaigns 1000 to 1059: few of them, close together and far from 0."""
    if _is_real(values) or not 1 < distinct <= MANY_LEVELS or values.notna().sum() < CODES_REPEAT * distinct:
        return False
    low, high = float(values.min()), float(values.max())
    return low > max(10, distinct) and high - low < 20 * distinct


def _truth(values: pd.Series) -> pd.Series:
    return values.astype(str).str.lower().isin(["1", "true", "1.0"])


def _looks_like_key(name: object) -> bool:
    return bool(re.search(r"id$|num|no$|code|card|account|user|customer|device|plane|terminal|merchant", str(name).lower()))


def _repeats(values: pd.Series, distinct: int) -> bool:
    return distinct > 1 and values.notna().sum() >= REPEATS * distinct and not _is_real(values)


def _leakage(values: pd.Series, truth: pd.Series) -> float:
    """How well a number, or its being missing, predicts the label: the ROC AUC or one minus it, whichever is larger."""
    if truth.nunique() < 2 or not _is_number(values):
        return 0.5
    numbers = values.astype("float64").head(SAMPLE)
    filled = numbers.fillna(numbers.min() - 1).to_numpy()
    auc = float(roc_auc(truth.head(SAMPLE).to_numpy().astype(int), filled))
    return max(auc, 1 - auc)


def _names(feed_names: list[Any]) -> dict[str, str]:
    """A proposed name for each of the feed's names: lower-case letters, digits and underscores."""
    names: dict[str, str] = {}
    for name in feed_names:
        plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name)).lower()).strip("_")[:50]
        plain = plain if re.match(r"[a-z]", plain) else f"column_{plain}".rstrip("_")
        plain = f"{plain}_of_event" if plain in RESERVED else plain
        unique, number = plain, 2
        while unique in names.values():
            unique, number = f"{plain}_{number}", number + 1
        names[str(name)] = unique
    return names
