"""Faults of the feed on one day: an incident that is reported, and never a reason to train.

What a day's feed is compared with varies from day to day by itself: a station that sends no pressure for some hours, a holiday,
a storm. So a share is compared with those of the reference days, a unit with how far these lie apart. A day that lies beyond
all that, but not far beyond, is doubted and told of nobody; the same on the next day confirms it. `ml.monitoring.muting` says
what is not judged because of a fault.
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

NOTHING, VOLUME, SET_ASIDE = "nothing came", "volume", "set aside"
MISSING, UNSEEN, UNIT = "missing values", "unseen categories", "unit"
OF_THE_DAY = (NOTHING, VOLUME, SET_ASIDE)
"""Faults that concern all rows of a day; the others are of one column."""

WIDER = 1.25
"""Beyond the usual share, a day may reach so many times what a reference day has reached beyond it."""
CLEAR_SHARE = 0.2
"""A share that lies so far beyond the usual one, and `CLEAR` times as far as on any reference day, leaves no doubt."""
CLEAR_VOLUME = 0.9
"""Neither does a volume that is so far below the least one: a holiday may be just below it, half a feed is not."""


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


@dataclass(frozen=True)
class Share:
    """A share of rows: over all reference days, and on the day on which it was largest."""

    usual: float
    largest: float

    @classmethod
    def of(cls, days: Sequence[tuple[int, int]]) -> Share:
        """From the counts of the days and their rows."""
        shares = [count / rows for count, rows in days if rows]
        return cls(sum(count for count, _ in days) / max(sum(rows for _, rows in days), 1), max(shares, default=0.0))

    def allowed(self, most: float) -> float:
        """What a day may have more than the usual share: `most`, or what reference days had, whichever is larger."""
        return max(most, WIDER * (self.largest - self.usual))

    def is_clear(self, over: float) -> bool:
        """Whether no day that has so much more than the usual share is to be expected."""
        return over > max(CLEAR_SHARE, CLEAR * (self.largest - self.usual))


@dataclass(frozen=True, eq=False)
class Usual:
    """What the reference says of a feed.

    Attributes:
        rows: of a day, median by weekday, Monday first; 0 for a weekday without events.
        missing, unseen: by raw column.
        sizes: by measure.
    """

    rows: Sequence[float]
    missing: Mapping[str, Share]
    unseen: Mapping[str, Share]
    sizes: Mapping[str, Sizes]

    @classmethod
    def of(cls, volumes: Mapping[dt.date, int], columns: Mapping[str, Sequence[Counts]], sizes: Mapping[str, Sizes]) -> Usual:
        """From the reference days.

        Args:
            volumes: rows in the lake, by day.
            columns: by raw column, what was counted on each day; those of text have unseen values.
            sizes: by measure.
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
class Found:
    """What is wrong with a day.

    Attributes:
        incidents: that are told.
        doubts: what is told if the next day doubts it too.
    """

    incidents: tuple[Incident, ...]
    doubts: frozenset[str]


@dataclass(frozen=True)
class _Suspicion:
    """An incident, if it is clear or lasts; `doubt` is equal on two days of the same fault."""

    incident: Incident
    is_clear: bool
    doubt: str


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


def left_out(incidents: Iterable[Incident], days: Collection[dt.date]) -> set[dt.date]:
    """Which of the days say nothing of what is usual: those with a fault, unless more than half of them have the same one.

    A feed that has changed for good is what is usual now, and a champion that was trained on it has to be compared with it.
    """
    by_fault: dict[tuple[str, str], set[dt.date]] = {}
    for incident in incidents:
        if incident.day in days:
            by_fault.setdefault((incident.fault, incident.subject), set()).add(incident.day)
    return {day for hit in by_fault.values() if 2 * len(hit) <= len(days) for day in hit}


def faults_of(
    config: Config,
    usual: Usual,
    day: dt.date,
    rows: pd.DataFrame,
    profile: Profile,
    delivery: Delivery,
    doubted: Collection[str] = (),
) -> Found:
    """The faults of a day by `monitoring.faults`.

    Args:
        rows: the day's events with their raw columns.
        profile: of the same rows, with all raw columns.
        doubted: the doubts of the day before.
    """
    suspicions = list(_suspicions(config, usual, day, rows, profile, delivery))
    return Found(
        incidents=tuple(each.incident for each in suspicions if each.is_clear or each.doubt in doubted),
        doubts=frozenset(each.doubt for each in suspicions),
    )


def _suspicions(
    config: Config, usual: Usual, day: dt.date, rows: pd.DataFrame, profile: Profile, delivery: Delivery
) -> Iterator[_Suspicion]:
    yield from _set_aside(config, day, delivery)
    yield from _volume(config, usual, day, len(rows), delivery)
    if not len(rows):
        return
    limits = config.monitoring.faults
    for name in raw_columns(config):
        share = profile.counts[name].missing / profile.rows
        yield from _more(MISSING, day, name, "are missing", share, usual.missing[name], limits.missing.value)
    for name in (*config.categories, *config.attributes):
        share = (profile.counts[name].unseen or 0) / profile.rows
        yield from _more(UNSEEN, day, name, "were never seen before", share, usual.unseen[name], limits.unseen.value)
    for name in config.measures:
        yield from _unit(day, name, usual.sizes[name], rows[name])


def _set_aside(config: Config, day: dt.date, delivery: Delivery) -> Iterator[_Suspicion]:
    share, most = delivery.share(delivery.quarantined + delivery.rejected), config.monitoring.faults.set_aside.value
    if share <= most:
        return
    told = f"{delivery.quarantined:,} quarantined and {delivery.rejected:,} rejected of {delivery.rows:,} rows"
    incident = Incident(
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
    yield _Suspicion(incident, True, SET_ASIDE)


def _volume(config: Config, usual: Usual, day: dt.date, rows: int, delivery: Delivery) -> Iterator[_Suspicion]:
    """By the rows that came, whether they were good or not: what was set aside is told as that.

    On a weekday of which the reference has no events, none are missed and some are no fault.
    """
    lost = delivery.share(delivery.quarantined)
    came = rows / (1 - lost) if lost < 1 else float(delivery.quarantined)
    expected, least = usual.rows[day.weekday()], config.monitoring.faults.volume.value
    evidence = {"rows": rows, "usual": expected}
    if not expected:
        return
    if not came:
        silent = Incident(day=day, fault=NOTHING, subject="events", reason=f"no event of {day} came", evidence=evidence)
        yield _Suspicion(silent, True, NOTHING)
        return
    ratio = came / expected
    if least <= ratio <= 1 / least:
        return
    told = f"{came:,.0f} events came of {day}, {ratio:.2f} of the {expected:,.0f} of a usual {day:%A}"
    reason = f"{told}; {least:g} to {1 / least:.2f} is taken for usual"
    incident = Incident(day=day, fault=VOLUME, subject="events", reason=reason, evidence=evidence)
    is_clear = not CLEAR_VOLUME * least <= ratio <= 1 / (CLEAR_VOLUME * least)
    yield _Suspicion(incident, is_clear, f"{VOLUME}, {'few' if ratio < 1 else 'many'}")


def _more(fault: str, day: dt.date, name: str, told: str, share: float, usual: Share, most: float) -> Iterator[_Suspicion]:
    """The share of a column's values of which something is told has grown by more than reference days let expect."""
    over, allowed = share - usual.usual, usual.allowed(most)
    if over <= allowed:
        return
    most_seen = f", on a reference day at most {usual.largest:.1%}"
    incident = Incident(
        day=day,
        fault=fault,
        subject=name,
        reason=f"{share:.1%} of the values of {name} on {day} {told}, usually {usual.usual:.1%}{most_seen}",
        evidence={"share": share, "usual": usual.usual, "largest": usual.largest},
    )
    yield _Suspicion(incident, usual.is_clear(over), f"{fault} {name}")


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
            f"{name} of {day} has changed its unit: {part} of its values are {change.factor:g} times what is usual; sizes lie "
            f"{change.distance:.2f} powers of ten from the reference, and {change.rest:.2f} when that is taken into account"
        ),
        evidence={
            "factor": change.factor,
            "part": change.part,
            "distance": change.distance,
            "distance_then": change.rest,
            "farthest_of_reference": sizes.farthest,
        },
    )
    yield _Suspicion(incident, change.is_clear, f"{UNIT} {name} {change.factor:g}")
