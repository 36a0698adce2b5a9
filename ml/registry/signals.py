"""What monitoring saw, day by day: readings of each signal with its state, alarms that were confirmed, and data incidents.

A day of a champion is recorded as a whole and once; so monitoring that was cut off runs again, and goes on where it was.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sa

from ml.registry.database import Database, Instant, Json, append_only, metadata, recorded_at, words
from ml.registry.records import aware, is_json, one_of, read
from ml.registry.schema import Trigger

Kind = Literal["drift", "performance", "estimate", "feed"]
State = Literal["OK", "WARN", "CONFIRMED"]

readings = sa.Table(
    "readings",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("signal", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("value", sa.Float),
    sa.Column("threshold", sa.Float),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("told", Json, nullable=False),
    sa.Column("as_of", Instant, nullable=False),
    recorded_at(),
    words("kind", Kind),
    words("state", State),
    sa.UniqueConstraint("model", "version", "day", "signal", name="reading_of_a_day_once"),
)

confirmations = sa.Table(
    "confirmations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", Json, nullable=False),
    sa.Column("as_of", Instant, nullable=False),
    recorded_at(),
    words("trigger", Trigger),
    sa.UniqueConstraint("model", "version", "day", "trigger", name="confirmed_once_a_day"),
)

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("fault", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", Json, nullable=False),
    sa.Column("as_of", Instant, nullable=False),
    recorded_at(),
    sa.UniqueConstraint("model", "day", "fault", "subject", name="incident_of_a_day_once"),
)

append_only(readings, "id = NEW.id OR (model = NEW.model AND version = NEW.version AND day = NEW.day AND signal = NEW.signal)")
append_only(
    confirmations, "id = NEW.id OR (model = NEW.model AND version = NEW.version AND day = NEW.day AND trigger = NEW.trigger)"
)
append_only(incidents, "id = NEW.id OR (model = NEW.model AND day = NEW.day AND fault = NEW.fault AND subject = NEW.subject)")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One signal on one day.

    Parameters:
        signal: its name, for example `amount: location`.
        value, threshold: in the unit of the signal; None where there was nothing to measure, or nothing to compare with.
        told: what the next day goes on from, and what a reader may want to know.
    """

    signal: str
    kind: Kind
    value: float | None
    threshold: float | None
    state: State
    told: Mapping[str, Any]

    def __post_init__(self) -> None:
        one_of("kind", self.kind, Kind)
        one_of("state", self.state, State)
        is_json(f"{self.signal}.told", self.told)


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
    """A recorded alarm; `id` rises, so that a watcher can ask for what came after the last that it has seen."""

    id: int
    version: str
    day: dt.date
    as_of: dt.datetime


class Signals:
    """The readings of one database, which may hold those of many models; see `ml.registry.ledger.Ledger` for `url`."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

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

        Raises:
            ValueError: `seen` is empty, or a later day of this champion is recorded already.
        """
        aware(as_of)
        if not seen:
            raise ValueError(f"{model} version {version}: no readings of {day}; a day without any cannot be told from no day")
        common = {"model": model, "as_of": as_of}
        with self._database.writing() as connection:
            newest = _newest(connection, model, version)
            if newest is not None and newest >= day:
                theirs = sa.select(readings.c.id).where(
                    readings.c.model == model, readings.c.version == version, readings.c.day == day
                )
                if connection.execute(theirs).first() is not None:
                    return False
                raise ValueError(f"{model} version {version}: {newest} is recorded, so {day} comes too late")
            of_day = common | {"version": version, "day": day}
            connection.execute(sa.insert(readings), [asdict(reading) | of_day for reading in seen])
            for alarm in alarms:
                connection.execute(sa.insert(confirmations).values(asdict(alarm) | of_day))
            for fault in faults:
                told = asdict(fault)
                same = [incidents.c[name] == told[name] for name in ("day", "fault", "subject")]
                if connection.execute(sa.select(incidents.c.id).where(incidents.c.model == model, *same)).first() is None:
                    connection.execute(sa.insert(incidents).values(told | common))
            return True

    def newest_day(self, model: str, version: str) -> dt.date | None:
        """The newest day of a champion that is recorded."""
        with self._database.reading() as connection:
            return _newest(connection, model, version)

    def readings(self, model: str, version: str, since: dt.date | None = None) -> list[ReadingOfDay]:
        """The readings of a champion, oldest day first."""
        query = sa.select(readings).where(readings.c.model == model, readings.c.version == version)
        if since is not None:
            query = query.where(readings.c.day >= since)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(readings.c.day, readings.c.id)).mappings()
            return [read(ReadingOfDay, row) for row in rows]

    def confirmations(self, model: str, after: int = 0) -> list[Confirmation]:
        """The alarms of a model whose id is greater than `after`, oldest first."""
        query = sa.select(confirmations).where(confirmations.c.model == model, confirmations.c.id > after)
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


def _newest(connection: sa.Connection, model: str, version: str) -> dt.date | None:
    newest = sa.select(sa.func.max(readings.c.day)).where(readings.c.model == model, readings.c.version == version)
    found: dt.date | None = connection.scalar(newest)
    return found
