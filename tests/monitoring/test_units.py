"""A changed unit is told from weather: from days that lie apart together, caps, masses of one value, and columns of zeros."""

from __future__ import annotations

import datetime as dt
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

from ml.monitoring.faults import UNIT
from ml.monitoring.units import FACTORS, Sizes, _distance, _levels
from tests.monitoring import foreign

COLUMNS = (("visib", "precip", "humid", "pressure", "distance"), ("carrier",))


@pytest.fixture(scope="module")
def days() -> dict[dt.date, pd.DataFrame]:
    """Flights of the eleven weeks around New Year's cold, snow and fog."""
    told = foreign.flights()
    return {day: rows for day, rows in told.items() if day < dt.date(2013, 3, 20)}


def test_no_weather_is_a_changed_unit(days: dict[dt.date, pd.DataFrame]) -> None:
    """Fog under a cap of ten miles, rain in a column of zeros, gaps of a barometer, and a blizzard on 8 and 9 February."""
    told = [(day, i.fault, i.subject) for day, incidents in foreign.found(days, COLUMNS, 28) for i in incidents]
    assert told == []


@pytest.mark.parametrize("part", [1.0, 0.5, 0.2])
@pytest.mark.parametrize(("column", "factor"), [("distance", 10.0), ("distance", 1 / 60), ("pressure", 100.0)])
def test_a_unit_that_changes_is_found_on_its_first_day(
    days: dict[dt.date, pd.DataFrame], column: str, factor: float, part: float
) -> None:
    assert _delays(days, column, factor, part) == [0, 0, 0]


@pytest.mark.parametrize(("column", "factor"), [("humid", 0.01), ("visib", 1000.0), ("precip", 1000.0)])
def test_a_unit_of_weather_is_found_within_days(days: dict[dt.date, pd.DataFrame], column: str, factor: float) -> None:
    """A factor that single days of weather could nearly reach needs a second day; rain has to fall before it can be judged."""
    delays = _delays(days, column, factor, 1.0)
    assert min(delays) <= (1 if column != "precip" else 7)


def _delays(days: dict[dt.date, pd.DataFrame], column: str, factor: float, part: float) -> list[int]:
    """Days until the fault is told, planted on each of three Mondays until the end of the stream; a month for never."""
    delays = []
    for begins in (dt.date(2013, 2, 4), dt.date(2013, 2, 11), dt.date(2013, 2, 25)):

        def plant(day: dt.date, rows: pd.DataFrame, begins: dt.date = begins) -> pd.DataFrame:
            hit = (day >= begins) & (np.random.default_rng(day.toordinal()).random(len(rows)) < part)
            return rows.assign(**{column: rows[column].where(~hit, rows[column] * factor)})

        last = begins + dt.timedelta(days=8)
        until = {day: rows for day, rows in days.items() if day < last}
        hits = [
            (day - begins).days
            for day, incidents in foreign.found(until, ((column,), ()), 28, plant)
            for incident in incidents
            if incident.fault == UNIT and day >= begins and incident.evidence["factor"] == pytest.approx(factor)
        ]
        delays.append(min(hits, default=30))
    return delays


def _sizes(rng: np.random.Generator, zeros: float = 0.0, cap: float = np.inf, days: int = 28) -> Sizes:
    return Sizes.of({day: _day(rng, zeros, cap) for day in range(days)})


def _day(rng: np.random.Generator, zeros: float = 0.0, cap: float = np.inf, moved: float = 0.0) -> np.ndarray:
    """A day of two decimals, whose sizes lie where the day's own effect puts them."""
    values = np.exp(rng.normal(3 + 0.1 * rng.standard_normal() + moved, 1, 1000)).round(2)
    return np.where(rng.random(1000) < zeros, 0.0, np.minimum(values, cap))


def test_zeros_and_caps_move_with_the_factor_as_they_should() -> None:
    """Always found, and in 96 of 100 days as the very factor on all rows (99 of 100 in 6,000 days)."""
    told = []
    for factor, zeros, cap, seed in product(FACTORS, (0, 0.6, 0.95), (30, 1e9), range(0, 28, 7)):
        rng = np.random.default_rng(seed)
        change = _sizes(rng, zeros, cap).change(_day(rng, zeros, cap) * factor)
        assert change is not None
        told.append((change.factor, change.is_clear, change.part > 0.9) == (factor, True, True))
    assert np.mean(told) >= 0.96


@pytest.mark.parametrize(("zeros", "cap"), [(0.0, np.inf), (0.0, 20.0), (0.9, np.inf)])
def test_days_of_one_world_are_hardly_ever_doubted(zeros: float, cap: float) -> None:
    """500 days: at most one in a hundred, and none that is clear."""
    rng = np.random.default_rng(5)
    found = [_sizes(rng, zeros, cap).change(_day(rng, zeros, cap)) for _ in range(50)]
    sizes = _sizes(rng, zeros, cap)
    found += [sizes.change(_day(rng, zeros, cap)) for _ in range(450)]
    told = [change for change in found if change is not None]
    assert len(told) <= 5
    assert not any(change.is_clear for change in told)


def test_a_day_whose_zeros_are_gone_is_no_change_of_the_unit() -> None:
    """A factor leaves zeros where they are: here nearly all values are 0 on a usual day."""
    rng = np.random.default_rng(6)
    assert _sizes(rng, zeros=0.95).change(_day(rng, moved=np.log(10))) is None


def test_one_broken_day_of_the_reference_hides_no_other() -> None:
    rng = np.random.default_rng(7)
    days = {day: _day(rng) * (100 if day == 3 else 1) for day in range(28)}
    change = Sizes.of(days).change(_day(rng) * 100)
    assert change is not None
    assert change.is_clear


@pytest.mark.parametrize("values", [[], [np.nan] * 100, [0.0] * 100, [5.0] * 10, [np.inf] * 100])
def test_a_day_without_sizes_says_nothing(values: list[float]) -> None:
    rng = np.random.default_rng(8)
    assert _sizes(rng).change(values) is None
    assert Sizes.of(dict.fromkeys(range(28), values)).change(_day(rng)) is None


def test_few_reference_days_leave_every_change_in_doubt() -> None:
    rng = np.random.default_rng(9)
    change = _sizes(rng, days=10).change(_day(rng) * 100)
    assert change is not None
    assert not change.is_clear
    assert _sizes(rng, days=5).change(_day(rng) * 100) is None


def test_a_column_of_one_value_changes_its_unit_too() -> None:
    sizes = Sizes.of({day: np.full(100, 7.0) for day in range(20)})
    change = sizes.change(np.full(100, 700.0))
    assert change is not None
    assert (change.factor, change.part, change.is_clear) == (100.0, 1.0, True)
    assert sizes.change(np.full(100, 7.1)) is None


def test_the_distance_is_that_of_wasserstein() -> None:
    rng = np.random.default_rng(10)
    one, other = _day(rng), _day(rng, moved=1.0)
    ours = _distance(_levels(one), _levels(other))  # type: ignore[arg-type]
    assert ours == pytest.approx(wasserstein_distance(np.log10(one), np.log10(other)), rel=0.02)


def test_what_was_written_is_read_again() -> None:
    rng = np.random.default_rng(11)
    sizes, day = _sizes(rng, zeros=0.5), _day(rng, zeros=0.5) * 100
    assert Sizes.from_dict(sizes.to_dict()).change(day) == sizes.change(day)
