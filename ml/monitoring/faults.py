"""Faults of the data feed on one day: each is reported as an incident, and never a reason to train.

A healthy feed varies from day to day: a station sends no pressure for some hours, a holiday, a storm. So a share is compared
with the shares of the reference days, and a unit with the distances between them. A day that is only a little outside this
range is a suspicion, which is not reported; the same suspicion on the next day confirms it. `ml.monitoring.muting` says which
signals a fault mutes.

Example: the limit for a share of missing values follows the reference days.
    >>> share = Share.of([(10, 1000), (10, 1000), (70, 1000)])  # missing values and rows by reference day
    >>> share.overall, share.largest
    (0.03, 0.07)
    >>> round(share.allowed(0.02), 3), share.is_clear(0.3)
    (0.05, True)
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.signals import Incident
from ml.monitoring.profile import Counts, Profile, numbers_of
from ml.monitoring.traffic import raw_columns
from ml.monitoring.units import CLEAR, Sizes

NO_EVENTS, VOLUME, SET_ASIDE = "nothing came", "volume", "set aside"
MISSING, UNSEEN, UNIT = "missing values", "unseen categories", "unit"
OF_THE_DAY = (NO_EVENTS, VOLUME, SET_ASIDE)
"""Faults of all rows of a day; the other faults are of one column."""

WIDER = 1.25
"""A day may exceed the overall share by this factor times the largest excess of a reference day."""
CLEAR_SHARE = 0.2
"""An excess of this share, and of `CLEAR` times the largest of a reference day, is clear on the first day."""
CLEAR_VOLUME = 0.9
"""A volume below this share of the lower limit is clear on the first day: a holiday may be just below the limit."""


@dataclass(frozen=True)
class Delivery:
    """Row counts and files of the batches of a day, including those of which no row was accepted."""

    rows: int = 0
    quarantined: int = 0
    rejected: int = 0
    files: tuple[str, ...] = ()

    def share(self, count: int) -> float:
        """A count divided by the rows; 0 without rows."""
        return count / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Share:
    """A share of rows on the reference days.

    Attributes:
        overall: share of the rows of all reference days together.
        largest: largest share of a single reference day.
    """

    overall: float
    largest: float

    @classmethod
    def of(cls, days: Sequence[tuple[int, int]]) -> Share:
        """From (count, rows) of each day."""
        shares = [count / rows for count, rows in days if rows]
        return cls(sum(count for count, _ in days) / max(sum(rows for _, rows in days), 1), max(shares, default=0.0))

    def allowed(self, most: float) -> float:
        """Largest allowed excess over the overall share: `most`, or that of the reference days if it is larger."""
        return max(most, WIDER * (self.largest - self.overall))

    def is_clear(self, over: float) -> bool:
        """Whether an excess over the overall share is sufficient evidence on one day."""
        return over > max(CLEAR_SHARE, CLEAR * (self.largest - self.overall))


@dataclass(frozen=True, eq=False)
class FeedReference:
    """The feed on the reference days.

    Attributes:
        rows: median number of rows by weekday, Monday first; 0 for a weekday without events.
        missing: share of missing values, by raw column.
        unseen: share of values that the training set does not have, by raw column of text.
        sizes: distribution of the sizes of the values, by measure.
    """

    rows: Sequence[float]
    missing: Mapping[str, Share]
    unseen: Mapping[str, Share]
    sizes: Mapping[str, Sizes]

    @classmethod
    def of(
        cls, volumes: Mapping[dt.date, int], columns: Mapping[str, Sequence[Counts]], sizes: Mapping[str, Sizes]
    ) -> FeedReference:
        """From the reference days.

        Args:
            volumes: number of rows in the lake, by day.
            columns: counts of each day, by raw column; columns of text have unseen values.
            sizes: distribution of the sizes of the values, by measure.
        """
        weekdays = [[rows for day, rows in volumes.items() if day.weekday() == weekday] for weekday in range(7)]
        texts = {name: days for name, days in columns.items() if all(counts.unseen is not None for counts in days)}
        return cls(
            rows=[float(np.median(rows)) if rows else 0.0 for rows in weekdays],
            missing={name: Share.of([(day.missing, day.rows) for day in days]) for name, days in columns.items()},
            unseen={name: Share.of([(day.unseen or 0, day.rows) for day in days]) for name, days in texts.items()},
            sizes=sizes,
        )


@dataclass(frozen=True)
class Faults:
    """Faults of a day.

    Attributes:
        incidents: confirmed or clear faults, which are reported.
        doubts: suspicions, which the next day can confirm.
    """

    incidents: tuple[Incident, ...]
    doubts: frozenset[str]


@dataclass(frozen=True)
class _Suspicion:
    """A possible incident: reported if it is clear, or if the day before had the same `doubt`."""

    incident: Incident
    is_clear: bool
    doubt: str


def deliveries(config: Config, as_of: dt.datetime, days: Sequence[dt.date]) -> dict[dt.date, Delivery]:
    """Deliveries by the event days of their accepted rows; a batch without one counts for the day before it arrived."""
    with Lake(config.lake).connect({schema.BATCHES: schema.BATCHES_SCHEMA}, as_of) as connection:
        batches = connection.execute(
            "SELECT coalesce(first_event, came)::DATE, coalesce(last_event, came)::DATE, rows, quarantined, rejected, file "
            "FROM (SELECT *, known_at - INTERVAL 1 DAY AS came FROM batches WHERE kind = 'events')"
        ).fetchall()
    by_day = {}
    for day in days:
        of_day = [counts for first, last, *counts in batches if first <= day <= last]
        rows, quarantined, rejected = (sum(counts[i] for counts in of_day) for i in range(3))
        by_day[day] = Delivery(rows, quarantined, rejected, tuple(sorted(counts[3] for counts in of_day)))
    return by_day


def left_out(incidents: Iterable[Incident], days: Collection[dt.date]) -> set[dt.date]:
    """Days that are excluded from the reference: those with a fault, except one that more than half of the days have.

    Such a fault is a lasting change of the feed: the champion was trained on it and has to be compared with it.
    """
    by_fault: dict[tuple[str, str], set[dt.date]] = {}
    for incident in incidents:
        if incident.day in days:
            by_fault.setdefault((incident.fault, incident.subject), set()).add(incident.day)
    return {day for hit in by_fault.values() if 2 * len(hit) <= len(days) for day in hit}


def faults_of(
    config: Config,
    reference: FeedReference,
    day: dt.date,
    rows: pd.DataFrame,
    profile: Profile,
    delivery: Delivery,
    doubted: Collection[str] = (),
) -> Faults:
    """The faults of a day by `monitoring.faults`.

    Args:
        config: the deployment.
        reference: the feed on the reference days.
        day: the day to check.
        rows: events of the day with their raw columns.
        profile: profile of these rows, with all raw columns.
        delivery: row counts and files of the day.
        doubted: doubts of the day before.
    """
    suspicions = list(_suspicions(config, reference, day, rows, profile, delivery))
    return Faults(
        incidents=tuple(each.incident for each in suspicions if each.is_clear or each.doubt in doubted),
        doubts=frozenset(each.doubt for each in suspicions),
    )


def _suspicions(
    config: Config, reference: FeedReference, day: dt.date, rows: pd.DataFrame, profile: Profile, delivery: Delivery
) -> Iterator[_Suspicion]:
    yield from _set_aside(config, day, delivery)
    yield from _volume(config, reference, day, len(rows), delivery)
    if not len(rows):
        return
    limits = config.monitoring.faults
    for name in raw_columns(config):
        share = profile.counts[name].missing / profile.rows
        yield from _more(MISSING, day, name, "are missing", share, reference.missing[name], limits.missing.value)
    for name in (*config.categories, *config.attributes):
        share = (profile.counts[name].unseen or 0) / profile.rows
        yield from _more(UNSEEN, day, name, "were never seen before", share, reference.unseen[name], limits.unseen.value)
    for name in config.measures:
        yield from _unit(day, name, reference.sizes[name], rows[name])


def _set_aside(config: Config, day: dt.date, delivery: Delivery) -> Iterator[_Suspicion]:
    share, most = delivery.share(delivery.quarantined + delivery.rejected), config.monitoring.faults.set_aside.value
    if share <= most:
        return
    counts = f"{delivery.quarantined:,} quarantined and {delivery.rejected:,} rejected of {delivery.rows:,} rows"
    incident = Incident(
        day=day,
        fault=SET_ASIDE,
        subject="events",
        reason=f"{share:.0%} of the rows of {day} were set aside, at most {most:.0%} is usual: {counts}",
        evidence={
            "rows": delivery.rows,
            "quarantined": delivery.quarantined,
            "rejected": delivery.rejected,
            "files": list(delivery.files),
        },
    )
    yield _Suspicion(incident, True, SET_ASIDE)


def _volume(config: Config, reference: FeedReference, day: dt.date, rows: int, delivery: Delivery) -> Iterator[_Suspicion]:
    """Compare the number of received rows, accepted or not, with the usual number; rows set aside are a fault of their own.

    A weekday without events in the reference is not checked.
    """
    lost = delivery.share(delivery.quarantined)
    came = rows / (1 - lost) if lost < 1 else float(delivery.quarantined)
    expected, least = reference.rows[day.weekday()], config.monitoring.faults.volume.value
    evidence = {"rows": rows, "usual": expected}
    if not expected:
        return
    if not came:
        silent = Incident(day=day, fault=NO_EVENTS, subject="events", reason=f"no event of {day} came", evidence=evidence)
        yield _Suspicion(silent, True, NO_EVENTS)
        return
    ratio = came / expected
    if least <= ratio <= 1 / least:
        return
    text = f"{came:,.0f} events came of {day}, {ratio:.2f} of the {expected:,.0f} of a usual {day:%A}"
    reason = f"{text}; {least:g} to {1 / least:.2f} is taken for usual"
    incident = Incident(day=day, fault=VOLUME, subject="events", reason=reason, evidence=evidence)
    is_clear = not CLEAR_VOLUME * least <= ratio <= 1 / (CLEAR_VOLUME * least)
    yield _Suspicion(incident, is_clear, f"{VOLUME}, {'few' if ratio < 1 else 'many'}")


def _more(fault: str, day: dt.date, name: str, verb: str, share: float, reference: Share, most: float) -> Iterator[_Suspicion]:
    """A share of a column's values (missing, unseen) has grown by more than the reference days allow."""
    over, allowed = share - reference.overall, reference.allowed(most)
    if over <= allowed:
        return
    most_seen = f", on a reference day at most {reference.largest:.1%}"
    incident = Incident(
        day=day,
        fault=fault,
        subject=name,
        reason=f"{share:.1%} of the values of {name} on {day} {verb}, usually {reference.overall:.1%}{most_seen}",
        evidence={"share": share, "usual": reference.overall, "largest": reference.largest},
    )
    yield _Suspicion(incident, reference.is_clear(over), f"{fault} {name}")


def _unit(day: dt.date, name: str, sizes: Sizes, values: pd.Series) -> Iterator[_Suspicion]:
    change = sizes.change(numbers_of(values))
    if change is None:
        return
    part = "all" if change.part > 0.95 else f"{change.part:.0%}"
    incident = Incident(
        day=day,
        fault=UNIT,
        subject=name,
        reason=(
            f"{name} of {day} has changed its unit: {part} of its values are {change.factor:g} times what is usual; "
            f"sizes lie {change.distance:.2f} powers of ten from the reference, and {change.remaining_distance:.2f} when that "
            "is taken into account"
        ),
        evidence={
            "factor": change.factor,
            "part": change.part,
            "distance": change.distance,
            "distance_then": change.remaining_distance,
            "farthest_of_reference": sizes.farthest,
        },
    )
    yield _Suspicion(incident, change.is_clear, f"{UNIT} {name} {change.factor:g}")
