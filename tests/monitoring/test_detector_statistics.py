"""The detector as a statistical instrument, fitted and lived through as in `benchmarks.drift_errors`, on fewer years.

Three years of 95 signals with a drift planted eight times a year in each of two sizes; 77 reference days, 21 of the score.
"""

import numpy as np
import pytest

from benchmarks.days import World
from benchmarks.drift_errors import run


@pytest.fixture(scope="module")
def years():
    return [run(number, World()) for number in range(500, 503)]


def delays(years, key, way=""):
    return np.array([delay for year in years for delay in year[way].delays[key]])


def test_years_without_drift_raise_about_one_false_alarm_each(years):
    """Asked for 1 a year. If it were 3 a year, 9 in three years, 5 or fewer would come in one of nine runs; of 1, in all but
    one of twelve."""
    assert sum(year[""].alarms for year in years) <= 5


def test_a_shift_of_015_in_three_of_thirty_features_is_confirmed_by_the_third_day_after_its_first(years):
    """In at least 95 % of the runs: of 24, at most 4 may be missed before 95 % is refuted at 1 %."""
    assert np.count_nonzero(delays(years, "015") > 3) <= 4


def test_a_shift_of_04_is_confirmed_on_the_next_day(years):
    assert np.count_nonzero(delays(years, "04") > 1) <= 4


def test_common_rules_alarm_every_day_or_never_find_the_small_shift(years):
    assert all(year["ks"].alarms == 365 for year in years)
    assert np.isinf(delays(years, "015", "psi")).all()
    assert sum(year["three_sd"].alarms for year in years) > 3 * sum(year[""].alarms for year in years)
