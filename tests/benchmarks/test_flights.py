"""The flights' files hold what was known when they were written, and every flight and answer once."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

from benchmarks import flights, flights_data
from benchmarks.flights import Year
from ml.config import Config, load, suites


def test_files_hold_the_hours_before_they_were_closed_and_nothing_of_the_journey(tmp_path) -> None:
    answers, scheduled = flights_data.write_files(tmp_path, dt.date(2013, 1, 2), flights_data.NOON)
    told = pd.read_csv(scheduled)
    assert told["scheduled"].min() >= "2013-01-02 04"
    assert told["scheduled"].max() < "2013-01-02 13"
    assert not {name for name in told if "dep_" in name or "arr_" in name or name in ("air_time", "late", "known")}
    known = pd.to_datetime(pd.read_csv(answers)["known"], utc=True)
    assert known.min() >= pd.Timestamp("2013-01-02T09:00Z")
    assert known.max() < pd.Timestamp("2013-01-02T18:00Z")


def test_every_flight_and_answer_is_in_one_file(tmp_path) -> None:
    days = pd.date_range("2013-03-08", "2013-03-12")  # the clock goes forward on the 10th
    written = [path for day in days for path in flights_data.write_day(tmp_path, day.date())]
    assert len(set(written)) == 4 * len(days)
    told = flights_data.flights()
    for kind, column in (("flights", "scheduled"), ("answers", "known")):
        instants = told[column].dt.tz_localize(None)
        there = told["flight_id"][instants.between("2013-03-08T04", "2013-03-13T04", inclusive="left")]
        found = pd.concat([pd.read_csv(path) for path in tmp_path.glob(f"{kind}_*")])["flight_id"]
        assert sorted(found) == sorted(there)


def test_every_flight_has_one_answer_after_its_scheduled_departure() -> None:
    told = flights_data.flights()
    assert len(told) == 336_776
    assert told["flight_id"].is_unique
    assert told["late"].mean() == pytest.approx(0.181, abs=0.001)
    assert (told["known"] > told["scheduled"].dt.tz_localize(flights_data.ZONE)).all()


def test_tail_numbers_are_missing_for_flights_that_were_late_alone() -> None:
    """So nothing of the deployment may be made of them."""
    told = flights_data.flights()
    assert told.loc[told["tailnum"].isna(), "late"].all()
    config = load("config/flights.yaml")
    assert "tailnum" not in {config.events.columns[name] for name in (*config.measures, *config.categories)}


def test_the_suites_of_the_deployment_can_be_read() -> None:
    config = load("config/flights.yaml")
    assert suites.events_suite(config).rows
    told = suites.labels_suite(config)
    assert told is not None
    assert told.rows


def test_the_plain_model_that_is_retrained_learns_from_what_was_known_and_asks_about_every_flight(monkeypatch) -> None:
    told = flights_data.flights()
    monkeypatch.setattr(flights_data, "flights", lambda: told[told["scheduled"] < "2013-01-22"])
    config = load("config/flights.yaml")
    model = config.training.model.model_copy(update={"iterations": 5})
    config = config.model_copy(update={"training": config.training.model_copy(update={"model": model})})
    first = dt.datetime(2013, 1, 5, 9, tzinfo=dt.UTC)
    never, weekly = (flights.plain(config, first, pd.Timestamp("2013-01-22", tz="UTC"), every) for every in (None, 7))
    assert never.index.is_unique
    assert (
        set(never.index)
        == set(weekly.index)
        == set(told["flight_id"][told["scheduled"].between("2013-01-05T04:00", "2013-01-22")])
    )
    before = weekly.index.str[:8] < "20130112"
    pd.testing.assert_series_equal(never[before], weekly[before])
    assert (never[~before] != weekly[~before]).any()


def test_without_a_champion_nothing_is_compared() -> None:
    assert flights.compared(load("config/flights.yaml"), Year()) == {"champion_ap": None, "never_ap": None, "weekly_ap": None}


def test_a_year_that_was_stopped_goes_on_with_the_night_that_is_missing(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load("config/flights.yaml").model_copy(update={"home": tmp_path})
    nights: list[dt.datetime] = []

    def night(config: Config, as_of: dt.datetime, year: Year) -> str:
        nights.append(as_of)
        if len(nights) == 2:
            raise KeyboardInterrupt
        year.refused[as_of] = "too few rows"
        return "refused"

    for writes in ("write_day", "write_files"):
        monkeypatch.setattr(flights_data, writes, lambda *args: None)
    monkeypatch.setattr(flights, "_night", night)
    monkeypatch.setattr(flights, "_ingest", lambda config, as_of: {"stopped": []})
    monkeypatch.setattr(flights.pipeline, "run", lambda *args: {})
    with pytest.raises(KeyboardInterrupt):
        flights.play(config, flights.NIGHT.date() + flights.DAY)
    played = flights.play(config, flights.NIGHT.date() + flights.DAY)
    first, second, third = (flights.NIGHT + number * flights.DAY for number in range(3))
    assert nights == [first, second, second, third]
    assert (played.nights, list(played.refused)) == (3, [first, second, third])
    assert Year.read(tmp_path) == played
