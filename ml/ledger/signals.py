"""What monitoring saw, day by day: readings of each signal with its state, alarms that were confirmed, and data incidents.

A day of a champion is recorded as a whole and once; so monitoring that was cut off runs again, and goes on where it was.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from ml.errors import BadInput
from ml.ledger.database import Database
from ml.ledger.records import aware, is_json, one_of, read
from ml.ledger.requests import Request, submit
from ml.ledger.table import table
from ml.ledger.words import SignalKind, SignalState, Trigger


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One signal on one day.

    Parameters:
        signal: its name, for example `amount: location`.
        value, threshold: in the unit of the signal; None where there was nothing to measure, or nothing to compare with.
        details: what the next day goes on from, and what a reader may want to know.
    """

    signal: str
    kind: SignalKind
    value: float | None
    threshold: float | None
    state: SignalState
    details: Mapping[str, Any]

    def __post_init__(self) -> None:
        one_of("kind", self.kind, SignalKind)
        one_of("state", self.state, SignalState)
        is_json(f"{self.signal}.details", self.details)


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Drift or a loss of performance that was confirmed on a day; it asks for a training."""

    trigger: Trigger
    reason: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Incident:
    """A fault of the feed on one day: `fault` says which, `subject` of which column or file; it never asks for a training."""

    day: dt.date
    fault: str
    subject: str
    reason: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ReadingOfDay(Reading):
    """A recorded reading."""

    version: str
    day: dt.date
    as_of: dt.datetime


@dataclass(frozen=True, kw_only=True)
class Confirmation(Alarm):
    """A recorded alarm; `request` is the id of the request that was recorded with it."""

    request: int
    version: str
    day: dt.date
    as_of: dt.datetime


OF_MODEL = {"model": str, "as_of": dt.datetime}
readings = table("readings", ReadingOfDay, ("id",), ("model", "version", "day", "signal"), more={"model": str})
confirmations = table(
    "confirmations",
    Confirmation,
    ("id",),
    ("model", "version", "day", "trigger"),
    more={"model": str},
    refers={"request": "requests.id"},
)
incidents = table("incidents", Incident, ("id",), ("model", "day", "fault", "subject"), more=OF_MODEL)


class Signals:
    """The readings of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_day(
        self,
        model: str,
        version: str,
        day: dt.date,
        as_of: dt.datetime,
        seen: Sequence[Reading],
        alarms: Sequence[Alarm] = (),
        faults: Sequence[Incident] = (),
    ) -> bool:
        """Record a day of a champion, all of it or nothing; False if it was there before.

        An alarm is recorded together with the request for a training that it makes.

        Raises:
            ValueError: `seen` is empty, or a later day of this champion is recorded already.
        """
        aware(as_of)
        if not seen:
            raise BadInput(
                f"{model} version {version}: no readings of {day}; a day without any looks like a day that was not recorded"
            )
        common = {"model": model, "as_of": as_of}
        with self._database.writing() as connection:
            newest = _newest(connection, model, version)
            if newest is not None and newest >= day:
                theirs = sa.select(readings.c.id).where(
                    readings.c.model == model, readings.c.version == version, readings.c.day == day
                )
                if connection.execute(theirs).first() is not None:
                    return False
                raise BadInput(f"{model} version {version}: {newest} is recorded, so {day} comes too late")
            of_day = common | {"version": version, "day": day}
            connection.execute(sa.insert(readings), [asdict(reading) | of_day for reading in seen])
            for alarm in alarms:
                request = submit(connection, _request(model, version, day, as_of, alarm))
                connection.execute(sa.insert(confirmations).values(asdict(alarm) | of_day | {"request": request.id}))
            for fault in faults:
                values = asdict(fault)
                same = [incidents.c[name] == values[name] for name in ("day", "fault", "subject")]
                if connection.execute(sa.select(incidents.c.id).where(incidents.c.model == model, *same)).first() is None:
                    connection.execute(sa.insert(incidents).values(values | common))
            return True

    def newest_day(self, model: str, version: str) -> dt.date | None:
        """The newest day of a champion that is recorded."""
        with self._database.reading() as connection:
            return _newest(connection, model, version)

    def readings(
        self, model: str, version: str, since: dt.date | None = None, without: Sequence[str] = ()
    ) -> list[ReadingOfDay]:
        """The readings of a champion, oldest day first, but for the signals `without`."""
        query = sa.select(readings).where(readings.c.model == model, readings.c.version == version)
        query = query.where(readings.c.signal.not_in(without))
        if since is not None:
            query = query.where(readings.c.day >= since)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(readings.c.day, readings.c.id)).mappings()
            return [read(ReadingOfDay, row) for row in rows]

    def of_day(self, model: str, version: str, day: dt.date, signals: Sequence[str]) -> list[ReadingOfDay]:
        """The readings of these signals of a champion's day."""
        query = sa.select(readings).where(readings.c.model == model, readings.c.version == version, readings.c.day == day)
        with self._database.reading() as connection:
            rows = connection.execute(query.where(readings.c.signal.in_(signals)).order_by(readings.c.id)).mappings()
            return [read(ReadingOfDay, row) for row in rows]

    def confirmations(self, model: str) -> list[Confirmation]:
        """The alarms of a model, oldest first."""
        query = sa.select(confirmations).where(confirmations.c.model == model)
        with self._database.reading() as connection:
            return [read(Confirmation, row) for row in connection.execute(query.order_by(confirmations.c.id)).mappings()]

    def incidents(self, model: str, since: dt.date | None = None) -> list[Incident]:
        """The faults of a model's feed, oldest day first."""
        query = sa.select(incidents).where(incidents.c.model == model)
        if since is not None:
            query = query.where(incidents.c.day >= since)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(incidents.c.day, incidents.c.id)).mappings()
            return [read(Incident, row) for row in rows]


def _request(model: str, version: str, day: dt.date, as_of: dt.datetime, alarm: Alarm) -> Request:
    return Request(
        model=model,
        key=f"{alarm.trigger} of version {version} on {day}",
        trigger=alarm.trigger,
        as_of=as_of,
        requested_by="monitor",
        reason=alarm.reason,
        evidence={**alarm.evidence, "version": version, "day": day.isoformat()},
    )


def _newest(connection: sa.Connection, model: str, version: str) -> dt.date | None:
    newest = sa.select(sa.func.max(readings.c.day)).where(readings.c.model == model, readings.c.version == version)
    found: dt.date | None = connection.scalar(newest)
    return found
