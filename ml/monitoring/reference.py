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
from ml.monitoring.estimate import EstimateError, estimated
from ml.monitoring.faults import FeedReference
from ml.monitoring.observed import DailyProfiles
from ml.monitoring.performance import DayMetric, ReferenceRates
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
class ProfileResult:
    """Result of the step.

    Attributes:
        version: the champion's version.
        reference: key of the reference among the artifacts.
        first_day, last_day: first and last reference day.
        days: number of reference days.
        scored_days: number of reference days with scores.
        signals: number of monitored signals.
        note: summary for people.
    """

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
        version: the champion's version.
        model_hash: hash of the champion's files.
        until: the first day after the reference; monitoring starts with it.
        alert_threshold: score from which a row is alerted.
        binning: bins of the model's inputs and the raw columns.
        outputs: bins of the score.
        days: profiles and series of the reference days.
        volumes: number of rows in the lake, by day.
        sizes: distribution of the sizes of the values, by measure.
        rates: base rate and class counts of the days of `performance`.
        performance: each metric by day, None if it was undefined.
        estimate_errors: error of each estimated metric on these days.
        detector: drift detector that was fitted on `days`.
        charts: control charts that were fitted on `performance`, of the metrics with enough days.
    """

    version: str
    model_hash: str
    until: dt.date
    alert_threshold: float
    binning: Binning
    outputs: Binning
    days: DailyProfiles
    volumes: Mapping[dt.date, int]
    sizes: Mapping[str, Sizes]
    rates: ReferenceRates
    performance: Mapping[dt.date, Mapping[str, DayMetric | None]]
    estimate_errors: Mapping[str, EstimateError]
    detector: Detector
    charts: ControlCharts

    def count(self, rows: pd.DataFrame) -> tuple[Profile, Profile, float]:
        """Profiles of a day's features and scores, and the logarithm of its alert rate."""
        return self.binning.count(rows), self.outputs.count(rows), log_alert_rate(rows[SCORE].to_numpy(), self.alert_threshold)

    def mean_performance(self, name: str) -> float:
        """Mean of a metric, at the reference's base rate, over the days on which it was defined."""
        return float(np.mean([metric.at_reference_rate for metrics in self.performance.values() if (metric := metrics[name])]))

    def measured(self, config: Config, rows: pd.DataFrame, answered: pd.Series[int]) -> dict[str, DayMetric | None]:
        """The metrics of a matured day for the charts; see `ml.monitoring.performance.measured`."""
        rows, labels = performance.judged(config, rows, answered)
        metrics = performance.measured(config, self.alert_threshold, self.rates, rows, labels)
        means = charted_means(self.performance)
        return {name: metric and metric.shrunk(means.get(name, metric.charted)) for name, metric in metrics.items()}

    def feed(self, config: Config) -> FeedReference:
        """The feed on the reference days, for the detection of faults."""
        columns = {name: [day.counts[name] for day in self.days.features.values()] for name in raw_columns(config)}
        return FeedReference.of(self.volumes, columns, self.sizes)


def profile_champion(config: Config, as_of: dt.datetime, version: str) -> ProfileResult:
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


def log_alert_rate(scores: np.ndarray, alert_threshold: float) -> float:
    """Logarithm of the share of alerted rows; half an alert is added, so that it is defined on a day without one."""
    return float(np.log((np.count_nonzero(scores >= alert_threshold) + 0.5) / (len(scores) + 1)))


def _summary(name: str, reference: Reference) -> ProfileResult:
    days, scored, signals = len(reference.days.features), len(reference.days.outputs), len(reference.detector.baselines)
    first, last = min(reference.days.features), max(reference.days.features)
    note = f"version {reference.version} is compared with {days} days from {first} to {last}, by {signals} signals"
    note += f", and charts of {', '.join(reference.charts.charts) or 'nothing, for too few days have positives'}"
    if not scored:
        note += f"; its scores are not compared, for fewer than {FEWEST_DAYS} days were kept from its fit"
    return ProfileResult(reference.version, name, str(first), str(last), days, scored, signals, note)


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
    days = DailyProfiles({day: _of(binning, part, volumes[day]) for day, part in rows.groupby(OF_DAY)})
    if scored[OF_DAY].nunique() >= FEWEST_DAYS:
        of_day = dict(list(scored.groupby(OF_DAY)))
        alerts = {day: log_alert_rate(part[SCORE].to_numpy(), champion.fitted.threshold) for day, part in of_day.items()}
        days = DailyProfiles(
            days.features, {day: _of(outputs, part, volumes[day]) for day, part in of_day.items()}, {ALERTS: alerts}
        )
    detector = Detector.fit(
        days,
        champion.fitted.importance,
        cooldown=int(config.monitoring.cooldown.value),
        false_alarms_per_year=config.monitoring.drift_alarms.value,
    )
    rates, measured, errors = _performance(config, champion, scored)
    return Reference(
        version=champion.version,
        model_hash=champion.model_hash,
        until=until,
        alert_threshold=champion.fitted.threshold,
        binning=binning,
        outputs=outputs,
        days=days,
        volumes=volumes,
        sizes={name: Sizes.of({day: numbers_of(part) for day, part in rows.groupby(OF_DAY)[name]}) for name in config.measures},
        rates=rates,
        performance=measured,
        estimate_errors=errors,
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
) -> tuple[ReferenceRates, dict[dt.date, dict[str, DayMetric | None]], dict[str, EstimateError]]:
    """Metrics of the holdout's days; with those of the validation window if the holdout has too few days for a chart."""
    holdout = scored[scored[dataset.SPLIT] == dataset.HOLDOUT]
    rows = holdout if holdout[OF_DAY].nunique() >= FEWEST_CHARTED else scored
    answered = performance.answers(config, dt.datetime.fromisoformat(champion.frozen.as_of), sorted(rows[OF_DAY].unique()))
    days = {day: performance.judged(config, part, answered) for day, part in rows.groupby(OF_DAY)}
    rates = performance.reference_rates([labels for _, labels in days.values()])
    measured, errors = {}, dict.fromkeys(estimated(config, rows), EstimateError())
    for day, (part, labels) in days.items():
        measured[day] = performance.measured(config, champion.fitted.threshold, rates, part, labels)
        errors = updated_errors(errors, estimated(config, part), measured[day])
    return rates, measured, errors


def updated_errors(
    before: Mapping[str, EstimateError], estimates: Mapping[str, float | None], measured: Mapping[str, DayMetric | None]
) -> dict[str, EstimateError]:
    """The error of each estimated metric, updated with one more matured day."""
    return {
        name: error.after(estimates[name], metric.value if (metric := measured.get(name)) else None)
        for name, error in before.items()
    }


def charted_means(measured: Mapping[dt.date, Mapping[str, DayMetric | None]]) -> dict[str, float]:
    """Mean of the charted values of each metric over the days, weighted by their squared `weight`."""
    by_name: dict[str, list[DayMetric]] = {}
    for metrics in measured.values():
        for name, metric in metrics.items():
            if metric:
                by_name.setdefault(name, []).append(metric)
    return {
        name: float(np.average([day.charted for day in days], weights=[day.weight**2 for day in days]))
        for name, days in by_name.items()
    }


def charts_of(config: Config, measured: Mapping[dt.date, Mapping[str, DayMetric | None]]) -> ControlCharts:
    """Control charts of the metrics that were defined on enough days and are not constant."""
    means = charted_means(measured)
    series = {
        name: [metric.shrunk(means[name]).charted for metrics in measured.values() if (metric := metrics[name])]
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
        "threshold": reference.alert_threshold,
        "binning": reference.binning.to_dict(),
        "outputs": reference.outputs.to_dict(),
        "series": {name: _by_text(days) for name, days in reference.days.series.items()},
        "volumes": _by_text(reference.volumes),
        "sizes": {name: sizes.to_dict() for name, sizes in reference.sizes.items()},
        "usually": reference.rates._asdict(),
        "performance": _by_text(reference.performance),
        "trust": {name: error.to_dict() for name, error in reference.estimate_errors.items()},
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
        alert_threshold=record["threshold"],
        binning=Binning.from_dict(record["binning"]),
        outputs=Binning.from_dict(record["outputs"]),
        days=DailyProfiles(days[FEATURES], days[OUTPUTS], series),
        volumes=_by_day(record["volumes"]),
        sizes={name: Sizes.from_dict(sizes) for name, sizes in record["sizes"].items()},
        rates=ReferenceRates(**record["usually"]),
        estimate_errors={name: EstimateError.from_dict(error) for name, error in record["trust"].items()},
        performance={
            day: {name: metric and DayMetric(*metric) for name, metric in measured.items()}
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
