"""Faults of the feed on one day: an incident that is reported, and never a reason to train.

A day on which a fault was found is not compared with anything. What it left behind in the windows of features is muted for as
long as it stays there, by the window's column, aggregate and length:

- rows that did not come, or that came too often, are in counts and sums of every window; rows that were quarantined were not
  lost by chance, and are in means as well; where rows were only rejected, because they were in already, nothing is lost;
- values that are missing or in another unit are in sums and means of windows over their column;
- categories that were never seen are in no window.

A window of w days with a delay of d holds a day from d days after it to d + w days after it, and a day longer where the
snapshot of the last midnight is not published yet. A ratio is muted with its average, the score and the alerts with any of
the model's inputs.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.config import Config, Window
from ml.features import request
from ml.lake import schema
from ml.lake.tables import Lake
from ml.monitoring.profile import Binning, Profile
from ml.monitoring.traffic import DAY, raw_columns
from ml.registry.signals import Incident

NOTHING, VOLUME, SET_ASIDE = "nothing came", "volume", "set aside"
MISSING, UNSEEN, UNIT = "missing values", "unseen categories", "unit"

FACTORS = (*[10.0**power for power in range(-6, 7) if power], 60.0, 1 / 60, 3600.0, 1 / 3600)
"""Of cents, thousands, minutes and the like."""
APART, FITS = 0.3, 1 / 3
"""The unit has changed if the distribution of a day lies at least `APART` from the reference (largest difference of the two
cumulative distributions, Kolmogorov's distance), and times one of `FACTORS` at most `FITS` of that."""


@dataclass(frozen=True)
class Delivery:
    """Rows of the batches that speak of a day, or that came for it and hold nothing that could be taken; and their files."""

    rows: int = 0
    quarantined: int = 0
    rejected: int = 0
    files: tuple[str, ...] = ()

    def share(self, count: int) -> float:
        """A count as a share of the rows."""
        return count / self.rows if self.rows else 0.0


@dataclass(frozen=True, eq=False)
class Usual:
    """What the reference says of a feed.

    Attributes:
        rows: of a day, median by weekday, Monday first; 0 for a weekday without events.
        missing, unseen: by raw column, share of the rows.
        binnings: by measure, how that one column is cut.
        measures: by measure, reference rows by bin.
    """

    rows: Sequence[float]
    missing: Mapping[str, float]
    unseen: Mapping[str, float]
    binnings: Mapping[str, Binning]
    measures: Mapping[str, NDArray[np.int64]]


def deliveries(config: Config, as_of: dt.datetime, days: Sequence[dt.date]) -> dict[dt.date, Delivery]:
    """The batches of events by the days that their good rows are of; one without a good row is of the day before it came."""
    with Lake(config.lake).connect({schema.BATCHES: schema.BATCHES_SCHEMA}, as_of) as connection:
        batches = connection.execute(
            "SELECT coalesce(first_event, came)::DATE, coalesce(last_event, came)::DATE, rows, quarantined, rejected, file "
            "FROM (SELECT *, known_at - INTERVAL 1 DAY AS came FROM batches WHERE kind = 'events')"
        ).fetchall()
    told = {}
    for day in days:
        found = [counts for first, last, *counts in batches if first <= day <= last]
        rows, quarantined, rejected = (sum(counts[i] for counts in found) for i in range(3))
        told[day] = Delivery(rows, quarantined, rejected, tuple(sorted(counts[3] for counts in found)))
    return told


def faults_of(
    config: Config, usual: Usual, day: dt.date, rows: pd.DataFrame, profile: Profile, delivery: Delivery
) -> list[Incident]:
    """The faults of a day by `monitoring.faults`.

    Args:
        rows: the day's events with their raw columns.
        profile: of the same rows, with all raw columns.
    """
    found = [_set_aside(config, day, delivery), _volume(config, usual, day, len(rows), delivery)]
    if len(rows):
        limits = config.monitoring.faults
        for name in raw_columns(config):
            share = profile.counts[name].missing / profile.rows
            found.append(_more(MISSING, day, name, "are missing", share, usual.missing[name], limits.missing.value))
        for name in (*config.categories, *config.attributes):
            share = (profile.counts[name].unseen or 0) / profile.rows
            found.append(_more(UNSEEN, day, name, "were never seen before", share, usual.unseen[name], limits.unseen.value))
        found += [_unit(usual, day, name, rows) for name in config.measures]
    return [incident for incident in found if incident is not None]


def muted(config: Config, incidents: Iterable[Incident], day: dt.date) -> set[str]:
    """Features whose windows hold a faulty day before `day`, by the rule of this module."""
    windowed = {
        window.feature(aggregate, days)
        for incident in incidents
        for window in config.windows
        for aggregate in window.aggregates
        for days in window.days
        if _is_in(window, days, incident.day, day) and _spoils(config, incident, window, aggregate)
    }
    return windowed | {f"{measure}_over_{average}" for measure, average in request.ratios(config) if average in windowed}


def reach(config: Config) -> dt.timedelta:
    """How long a fault can stay in any window."""
    return max((math.ceil(window.behind / DAY) + max(window.days) + 1 for window in config.windows), default=0) * DAY


def _is_in(window: Window, days: int, faulty: dt.date, day: dt.date) -> bool:
    return window.behind // DAY <= (day - faulty).days <= math.ceil(window.behind / DAY) + days + 1 and day > faulty


def _spoils(config: Config, incident: Incident, window: Window, aggregate: str) -> bool:
    if incident.fault in (NOTHING, VOLUME):
        return aggregate in ("count", "sum")
    if incident.fault == SET_ASIDE:
        return bool(incident.evidence["quarantined"])
    return incident.fault in (MISSING, UNIT) and incident.subject == window.column and aggregate in ("sum", "mean")


def _set_aside(config: Config, day: dt.date, delivery: Delivery) -> Incident | None:
    share, most = delivery.share(delivery.quarantined + delivery.rejected), config.monitoring.faults.set_aside.value
    if share <= most:
        return None
    told = f"{delivery.quarantined:,} quarantined and {delivery.rejected:,} rejected of {delivery.rows:,} rows"
    return Incident(
        day=day,
        fault=SET_ASIDE,
        subject="events",
        reason=f"{share:.0%} of the rows of {day} were set aside, at most {most:.0%} is usual: {told}",
        evidence={
            "rows": delivery.rows,
            "quarantined": delivery.quarantined,
            "rejected": delivery.rejected,
            "files": list(delivery.files),
        },
    )


def _volume(config: Config, usual: Usual, day: dt.date, rows: int, delivery: Delivery) -> Incident | None:
    """By the rows that came, whether they were good or not: what was set aside is told as that.

    On a weekday of which the reference has no events, none are missed and some are no fault.
    """
    lost = delivery.share(delivery.quarantined)
    came = rows / (1 - lost) if lost < 1 else float(delivery.quarantined)
    expected, least = usual.rows[day.weekday()], config.monitoring.faults.volume.value
    evidence = {"rows": rows, "usual": expected}
    if not expected:
        return None
    if not came:
        return Incident(day=day, fault=NOTHING, subject="events", reason=f"no event of {day} came", evidence=evidence)
    ratio = came / expected
    if least <= ratio <= 1 / least:
        return None
    told = f"{came:,.0f} events came of {day}, {ratio:.2f} of the {expected:,.0f} of a usual {day:%A}"
    reason = f"{told}; {least:g} to {1 / least:.2f} is taken for usual"
    return Incident(day=day, fault=VOLUME, subject="events", reason=reason, evidence=evidence)


def _more(fault: str, day: dt.date, name: str, told: str, share: float, usual: float, most: float) -> Incident | None:
    """The share of a column's values of which something is told has grown by more than `most`."""
    if share - usual <= most:
        return None
    return Incident(
        day=day,
        fault=fault,
        subject=name,
        reason=f"{share:.1%} of the values of {name} on {day} {told}, usually {usual:.1%}",
        evidence={"share": share, "usual": usual},
    )


def _unit(usual: Usual, day: dt.date, name: str, rows: pd.DataFrame) -> Incident | None:
    apart = _distance(usual, name, rows[name])
    if apart < APART:
        return None
    distances = {factor: _distance(usual, name, rows[name] * factor) for factor in FACTORS}
    factor = min(distances, key=lambda f: distances[f])
    if distances[factor] > FITS * apart:
        return None
    told = f"{name} of {day} lies {apart:.2f} from the reference, and {distances[factor]:.2f} if multiplied by {factor:g}"
    return Incident(
        day=day,
        fault=UNIT,
        subject=name,
        reason=f"{told}: its unit has changed",
        evidence={"distance": apart, "factor": factor, "distance_then": distances[factor]},
    )


def _distance(usual: Usual, name: str, values: pd.Series) -> float:
    """Largest difference of the cumulative distributions at the reference's edges; 0 where there is no value."""
    live = usual.binnings[name].count(values.to_frame()).counts[name].present
    if not live.sum() or not usual.measures[name].sum():
        return 0.0
    before = usual.measures[name]
    return float(np.abs(np.cumsum(live) / live.sum() - np.cumsum(before) / before.sum()).max())
