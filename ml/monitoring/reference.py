"""The step `profile_champion`: build the reference of a champion from its training set, once for every champion.

The reference days are the days of the frozen training set without faults of the feed. Scores, alerts and performance come from
days that the model was not fitted on: validation window and holdout for scores and alerts, the holdout for the performance. A
refit was fitted on those days too, so its judged model stands in for it there.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ml import artifacts
from ml.config import Config
from ml.errors import BadInput, Refused
from ml.lake import schema
from ml.lake.tables import Lake, instant
from ml.ledger.ledger import Ledger
from ml.monitoring import faults, performance
from ml.monitoring.champion import Champion, champion_of
from ml.monitoring.cusum import FEWEST_DAYS as FEWEST_CHARTED
from ml.monitoring.cusum import ControlCharts
from ml.monitoring.detector import FEWEST_DAYS, Detector
from ml.monitoring.estimate import Trust, estimated
from ml.monitoring.faults import FeedReference
from ml.monitoring.observed import Days
from ml.monitoring.performance import Figure, ReferenceRates
from ml.monitoring.profile import Binning, Counts, Profile, cut, numbers_of
from ml.monitoring.traffic import SCORE, midnight, raw_columns
from ml.monitoring.units import Sizes
from ml.training import dataset

ALERTS = "model alerts"
OF_DAY = "_day"
"""Name of a temporary column with the day of an event."""
FEATURES, OUTPUTS = "features", "outputs"
KIND = "monitoring"
PROFILES, RECORD = "profiles.parquet", "reference.json"
FORMAT = 5
"""Version of the file format; a reference in another format is built again."""


class ReferenceMissing(Refused, LookupError):
    """A champion has no reference yet."""


@dataclass(frozen=True)
class Profiled:
    """Result of the step: version, folder, reference days and number of signals."""

    version: str
    reference: str
    first_day: str
    last_day: str
    days: int
    scored_days: int
    signals: int
    note: str


@dataclass(frozen=True, eq=False)
class Reference:
    """The reference of a champion.

    Attributes:
        version, model_hash: of the champion.
        until: the first day after the reference; monitoring starts with it.
        threshold: score from which a row is alerted.
        binning: bins of the model's inputs and the raw columns.
        outputs: bins of the score.
        days: profiles and series by day.
        volumes: rows in the lake, by day.
        sizes: of the measures.
        rates: base rate and class counts of the days of `performance`.
        performance: each metric by day, None where it was undefined.
        trust: error of the estimated metrics on these days.
        detector: fitted on `days`.
        charts: fitted on `performance`, for the metrics with enough days.
    """

    version: str
    model_hash: str
    until: dt.date
    threshold: float
    binning: Binning
    outputs: Binning
    days: Days
    volumes: Mapping[dt.date, int]
    sizes: Mapping[str, Sizes]
    rates: ReferenceRates
    performance: Mapping[dt.date, Mapping[str, Figure | None]]
    trust: Mapping[str, Trust]
    detector: Detector
    charts: ControlCharts

    def count(self, rows: pd.DataFrame) -> tuple[Profile, Profile, float]:
        """Profiles of a day's features and scores, and the logarithm of its alert rate."""
        return self.binning.count(rows), self.outputs.count(rows), alert_rate(rows[SCORE].to_numpy(), self.threshold)

    def usual_performance(self, name: str) -> float:
        """Mean of a metric, at the reference's base rate, over the days on which it was defined."""
        return float(np.mean([figure.at_usual_rate for metrics in self.performance.values() if (figure := metrics[name])]))

    def measured(self, config: Config, rows: pd.DataFrame, answered: pd.Series[int]) -> dict[str, Figure | None]:
        """The metrics of a matured day for the charts; see `ml.monitoring.performance.measured`."""
        figures = performance.measured(config, self.threshold, self.rates, *performance.judged(config, rows, answered))
        centre = centres(self.performance)
        return {name: figure and figure.steadied(centre.get(name, figure.charted)) for name, figure in figures.items()}

    def usual(self, config: Config) -> FeedReference:
        """What is usual of the feed, for the detection of faults."""
        columns = {name: [day.counts[name] for day in self.days.features.values()] for name in raw_columns(config)}
        return FeedReference.of(self.volumes, columns, self.sizes)


def profile_champion(config: Config, as_of: dt.datetime, version: str) -> Profiled:
    """Build the reference of a champion from its frozen training set; a second call returns the same reference.

    Raises:
        ValueError: the version was trained after `as_of`, or has too few days for a reference.
    """
    champion = champion_of(config, version)
    if dt.datetime.fromisoformat(champion.frozen.as_of) > as_of:
        raise BadInput(f"version {version} was trained as of {champion.frozen.as_of}, which is later than {as_of.isoformat()}")
    return _summary(key_of(config, champion), reference_of(config, champion))


def reference_of(config: Config, champion: Champion) -> Reference:
    """The reference of a champion, built if it is missing.

    Raises:
        ValueError: the training set was changed, or has too few days for a reference.
    """
    store, key = artifacts.of(config), key_of(config, champion)
    return read(store.put(KIND, key, lambda folder: _write(folder, _build(config, champion))))


def key_of(config: Config, champion: Champion) -> str:
    """Key of a champion's reference; it contains the settings on which the thresholds depend."""
    monitoring = config.monitoring
    settings = (
        f"{FORMAT}-{monitoring.drift_alarms.value:g}-{monitoring.performance_alarms.value:g}-{monitoring.cooldown.value:g}"
    )
    return f"{champion.version}-{champion.model_hash[:16]}-{settings}"


def alert_rate(scores: np.ndarray, threshold: float) -> float:
    """Logarithm of the share of alerted rows; half an alert is added, so that it is defined on a day without one."""
    return float(np.log((np.count_nonzero(scores >= threshold) + 0.5) / (len(scores) + 1)))


def _summary(name: str, reference: Reference) -> Profiled:
    days, scored, signals = len(reference.days.features), len(reference.days.outputs), len(reference.detector.baselines)
    first, last = min(reference.days.features), max(reference.days.features)
    note = f"version {reference.version} is compared with {days} days from {first} to {last}, by {signals} signals"
    note += f", and charts of {', '.join(reference.charts.charts) or 'nothing, for too few days have answers'}"
    if not scored:
        note += f"; its scores are not compared, for fewer than {FEWEST_DAYS} days were kept from its fit"
    return Profiled(reference.version, name, str(first), str(last), days, scored, signals, note)


def _build(config: Config, champion: Champion) -> Reference:
    until = champion.window("holdout_end")
    rows = dataset.read(config, champion.fitted.training_set)
    rows = rows.assign(**{OF_DAY: rows["event_time"].dt.date})
    broken = faults.left_out(Ledger(config.ledger).signals.incidents(config.name), set(rows[OF_DAY]))
    rows = rows[~rows[OF_DAY].isin(broken)]
    scored = rows[rows[dataset.SPLIT] != dataset.TRAIN]
    scored = scored.assign(**{SCORE: champion.judged.score(scored)})
    texts = [*config.categories, *config.attributes]
    numbers = list(dict.fromkeys([*champion.model.inputs.fill, *config.measures]))
    binning, outputs = cut(rows, numbers, texts), cut(scored, [SCORE])
    volumes = _volumes(config, champion, broken)
    days = Days({day: _of(binning, part, volumes[day]) for day, part in rows.groupby(OF_DAY)})
    if scored[OF_DAY].nunique() >= FEWEST_DAYS:
        of_day = dict(list(scored.groupby(OF_DAY)))
        alerts = {day: alert_rate(part[SCORE].to_numpy(), champion.fitted.threshold) for day, part in of_day.items()}
        days = Days(days.features, {day: _of(outputs, part, volumes[day]) for day, part in of_day.items()}, {ALERTS: alerts})
    detector = Detector.fit(
        days,
        champion.fitted.importance,
        cooldown=int(config.monitoring.cooldown.value),
        false_alarms_per_year=config.monitoring.drift_alarms.value,
    )
    against, measured, trust = _performance(config, champion, scored)
    return Reference(
        version=champion.version,
        model_hash=champion.model_hash,
        until=until,
        threshold=champion.fitted.threshold,
        binning=binning,
        outputs=outputs,
        days=days,
        volumes=volumes,
        sizes={name: Sizes.of({day: numbers_of(part) for day, part in rows.groupby(OF_DAY)[name]}) for name in config.measures},
        rates=against,
        performance=measured,
        trust=trust,
        detector=detector,
        charts=charts_of(config, measured),
    )


def _of(binning: Binning, rows: pd.DataFrame, volume: int) -> Profile:
    """Profile of the rows of a day, with the number of rows in the lake, because a training set lacks reserved rows."""
    return Profile(volume, binning.count(rows).counts)


def _volumes(config: Config, champion: Champion, broken: set[dt.date]) -> dict[dt.date, int]:
    """Events in the lake by day, from the training window to the holdout, as known at the training."""
    first, end = (midnight(champion.window(name)) for name in ("train_start", "holdout_end"))
    as_of = dt.datetime.fromisoformat(champion.frozen.as_of)
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}, as_of) as connection:
        counts = connection.execute(
            f"SELECT event_time::DATE, count(*) FROM events WHERE event_time >= {instant(first)} "
            f"AND event_time < {instant(end)} GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    return {day: int(count) for day, count in counts if day not in broken}


def _performance(
    config: Config, champion: Champion, scored: pd.DataFrame
) -> tuple[ReferenceRates, dict[dt.date, dict[str, Figure | None]], dict[str, Trust]]:
    """Metrics of the holdout's days; with those of the validation window if the holdout has too few days for a chart."""
    holdout = scored[scored[dataset.SPLIT] == dataset.HOLDOUT]
    rows = holdout if holdout[OF_DAY].nunique() >= FEWEST_CHARTED else scored
    answered = performance.answers(config, dt.datetime.fromisoformat(champion.frozen.as_of), sorted(rows[OF_DAY].unique()))
    days = {day: performance.judged(config, part, answered) for day, part in rows.groupby(OF_DAY)}
    against = performance.reference_rates([labels for _, labels in days.values()])
    measured, trust = {}, dict.fromkeys(estimated(config, rows), Trust())
    for day, (part, labels) in days.items():
        measured[day] = performance.measured(config, champion.fitted.threshold, against, part, labels)
        trust = trusted(trust, estimated(config, part), measured[day])
    return against, measured, trust


def trusted(
    before: Mapping[str, Trust], estimates: Mapping[str, float | None], measured: Mapping[str, Figure | None]
) -> dict[str, Trust]:
    """The error of estimates, updated with one more matured day."""
    return {
        name: trust.after(estimates[name], figure.value if (figure := measured.get(name)) else None)
        for name, trust in before.items()
    }


def centres(measured: Mapping[dt.date, Mapping[str, Figure | None]]) -> dict[str, float]:
    """The usual charted value of each metric: mean over the days, weighted by the squared weight of their figures."""
    by_name: dict[str, list[Figure]] = {}
    for metrics in measured.values():
        for name, figure in metrics.items():
            if figure:
                by_name.setdefault(name, []).append(figure)
    return {
        name: float(np.average([f.charted for f in figures], weights=[f.weight**2 for f in figures]))
        for name, figures in by_name.items()
    }


def charts_of(config: Config, measured: Mapping[dt.date, Mapping[str, Figure | None]]) -> ControlCharts:
    """Control charts of the metrics that were defined on enough days and are not constant."""
    centre = centres(measured)
    series = {
        name: [figure.steadied(centre[name]).charted for metrics in measured.values() if (figure := metrics[name])]
        for name in performance.metrics(config)
    }
    charted = {name: values for name, values in series.items() if len(values) >= FEWEST_CHARTED and len(set(values)) > 1}
    return ControlCharts.fit(
        charted,
        [name for name in charted if not performance.HIGHER_IS_BETTER[name]],
        false_alarms_per_year=config.monitoring.performance_alarms.value,
    )


def _write(folder: Path, reference: Reference) -> None:
    folder.mkdir()
    profiles = [
        {"role": role, "day": day, "rows": profile.rows, "column": name, **asdict(counts)}
        for role, of_role in ((FEATURES, reference.days.features), (OUTPUTS, reference.days.outputs))
        for day, profile in of_role.items()
        for name, counts in profile.counts.items()
    ]
    pq.write_table(pa.Table.from_pylist(profiles, _PROFILE), folder / PROFILES, compression="zstd")
    record: dict[str, Any] = {
        "version": reference.version,
        "model_hash": reference.model_hash,
        "until": reference.until.isoformat(),
        "threshold": reference.threshold,
        "binning": reference.binning.to_dict(),
        "outputs": reference.outputs.to_dict(),
        "series": {name: _by_text(days) for name, days in reference.days.series.items()},
        "volumes": _by_text(reference.volumes),
        "sizes": {name: sizes.to_dict() for name, sizes in reference.sizes.items()},
        "usually": reference.rates._asdict(),
        "performance": _by_text(reference.performance),
        "trust": {name: trust.to_dict() for name, trust in reference.trust.items()},
        "detector": reference.detector.to_dict(),
        "charts": reference.charts.to_dict(),
    }
    (folder / RECORD).write_text(json.dumps(record, allow_nan=False))


def read(folder: Path) -> Reference:
    """Read a reference.

    Raises:
        ReferenceMissing: there is none.
    """
    if not (folder / RECORD).exists():
        raise ReferenceMissing(f"{folder}: no reference; make it with `python -m ml profile_champion`")
    record = json.loads((folder / RECORD).read_text())
    profiles = pq.read_table(folder / PROFILES).to_pylist()
    days = {role: _profiles([row for row in profiles if row["role"] == role]) for role in (FEATURES, OUTPUTS)}
    series = {name: _by_day(values) for name, values in record["series"].items()}
    return Reference(
        version=record["version"],
        model_hash=record["model_hash"],
        until=dt.date.fromisoformat(record["until"]),
        threshold=record["threshold"],
        binning=Binning.from_dict(record["binning"]),
        outputs=Binning.from_dict(record["outputs"]),
        days=Days(days[FEATURES], days[OUTPUTS], series),
        volumes=_by_day(record["volumes"]),
        sizes={name: Sizes.from_dict(sizes) for name, sizes in record["sizes"].items()},
        rates=ReferenceRates(**record["usually"]),
        trust={name: Trust.from_dict(trust) for name, trust in record["trust"].items()},
        performance={
            day: {name: figure and Figure(*figure) for name, figure in measured.items()}
            for day, measured in _by_day(record["performance"]).items()
        },
        detector=Detector.from_dict(record["detector"]),
        charts=ControlCharts.from_dict(record["charts"]),
    )


_PROFILE = pa.schema(
    [
        pa.field("role", pa.string()),
        pa.field("day", pa.date32()),
        pa.field("rows", pa.int64()),
        pa.field("column", pa.string()),
        pa.field("present", pa.list_(pa.int64())),
        pa.field("missing", pa.int64()),
        pa.field("unseen", pa.int64()),
    ]
)


def _profiles(rows: list[dict[str, Any]]) -> dict[dt.date, Profile]:
    by_day: dict[dt.date, dict[str, Counts]] = {}
    volumes = {row["day"]: row["rows"] for row in rows}
    for row in rows:
        by_day.setdefault(row["day"], {})[row["column"]] = Counts.from_dict(row)
    return {day: Profile(volumes[day], counts) for day, counts in by_day.items()}


def _by_text(by_day: Mapping[dt.date, Any]) -> dict[str, Any]:
    return {day.isoformat(): value for day, value in sorted(by_day.items())}


def _by_day(by_text: Mapping[str, Any]) -> dict[dt.date, Any]:
    return {dt.date.fromisoformat(day): value for day, value in by_text.items()}
