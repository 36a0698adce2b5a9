"""Charts of daily performance: what a day does to them, and how often they err."""

import datetime as dt
import json
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.days import World, effects
from benchmarks.drift_errors import charts
from ml.monitoring.cusum import (
    ALLOWANCE,
    CHARTS,
    MOST_CARRIED,
    Chart,
    ChartState,
    ControlCharts,
    _alarms,
    autocorrelation,
    chart_threshold,
)

FIRST = dt.date(2025, 1, 6)
REFERENCE = [0.48, 0.52, 0.5, 0.46, 0.54, 0.5, 0.5] * 3


fit = partial(ControlCharts.fit, false_alarms_per_year=1.0)


def family():
    return fit({"precision": REFERENCE, "cost": REFERENCE}, ["cost"])


def replay(chart, values):
    standing, told = chart.reference, []
    for number, value in enumerate(values):
        standing = chart.advance(standing, FIRST + dt.timedelta(number), value)
        told.append(standing)
    return told


def test_a_fall_of_precision_and_a_rise_of_cost_are_alarms_and_their_opposites_are_not():
    charts = family().charts
    for name, worse in (("precision", 0.4), ("cost", 0.6)):
        assert any(standing.alarm for standing in replay(charts[name], [worse] * 6))
        assert not any(standing.alarm for standing in replay(charts[name], [1 - worse] * 40))


def test_a_single_bad_day_is_no_alarm():
    assert not any(standing.alarm for standing in replay(family().charts["precision"], [0.5, 0.35, 0.5, 0.5, 0.5]))


def test_after_an_alarm_the_sum_begins_anew_and_a_fall_that_lasts_alarms_again():
    told = replay(family().charts["precision"], [0.4] * 30)
    alarms = [number for number, standing in enumerate(told) if standing.alarm]
    assert len(alarms) >= 3
    assert all(told[number].total == 0 for number in alarms)
    assert told[-1].mean == pytest.approx(0.5)


def test_days_without_an_excursion_are_learnt():
    chart = family().charts["precision"]
    last = replay(chart, [0.51, 0.55, 0.52])[-1]
    values = np.array([*REFERENCE, 0.51, 0.55, 0.52])
    assert last.days == len(values)
    assert last.mean == pytest.approx(values.mean())
    assert last.squares == pytest.approx(np.sum((values - values.mean()) ** 2))


def test_a_day_without_the_measure_leaves_the_sum_as_it_is():
    one, two = replay(family().charts["precision"], [0.45, None])
    assert (two.total, two.pending, two.alarm) == (one.total, one.pending, False)


@given(st.lists(st.one_of(st.none(), st.floats(0.3, 0.7)), max_size=40), st.integers(0, 40))
def test_charts_that_are_stored_and_taken_up_again_stand_where_they_would(values, stop):
    performance = family()
    again = ControlCharts.from_dict(json.loads(json.dumps(performance.to_dict())))
    assert again == performance
    whole, parts = {}, {}
    for number, value in enumerate(values):
        if number == stop:
            parts = {name: ChartState.from_dict(json.loads(json.dumps(told.to_dict()))) for name, told in parts.items()}
        day = FIRST + dt.timedelta(number)
        whole = performance.advance(whole, day, {"precision": value})
        parts = again.advance(parts, day, {"precision": value})
    assert whole == parts


def test_the_simulation_alarms_exactly_when_the_charts_do():
    rng = np.random.default_rng(20250708)
    reference, live = rng.normal(size=(14, 20)), rng.normal(size=(300, 20))
    over, alarms = 3.0, 0
    for mine, days in zip(reference.T, live.T, strict=True):
        chart = Chart(ChartState(14, mine.mean(), np.sum((mine - mine.mean()) ** 2)), True, over)
        alarms += sum(standing.alarm for standing in replay(chart, days.tolist()))
    assert alarms > 20
    assert _alarms(reference, live, over) == alarms


@pytest.mark.parametrize("days", [14, 21, 60])
def test_the_threshold_holds_its_rate_on_days_that_it_was_not_made_from(days):
    """Asked for .75; Poisson error of 4,000 charts below .02 on each side, that of the search (1 % of h) below .04."""
    rng = np.random.default_rng([20250709, days])
    over = chart_threshold(days, 0.75, seed=0)
    alarms = _alarms(rng.normal(size=(days, CHARTS)), rng.normal(size=(365, CHARTS)), over)
    assert 0.66 <= alarms / CHARTS <= 0.84


def test_fewer_reference_days_ask_for_more_evidence():
    assert chart_threshold(14, 0.2, seed=0) > chart_threshold(21, 0.2, seed=0) > chart_threshold(60, 0.2, seed=0)


@pytest.fixture(scope="module")
def years():
    """150 years of four charts, in each of which one measure falls from .50 to .40, day SD .04."""
    return np.array([charts(number) for number in range(10_000, 10_150)])


def test_four_charts_raise_at_most_one_false_alarm_a_year(years):
    """About .72, and 1 is asked for; standard deviation of the mean of 150 years .09: between .5 and 1."""
    assert 0.5 <= years[:, 0].mean() <= 1.0


def test_a_fall_from_50_to_40_is_found_by_the_fifth_day_after_its_first(years):
    """Found in about 96 %; standard deviation of a share of 150 is 1.4 %: at least 92 %."""
    assert np.mean(years[:, 1] <= 5) >= 0.92


def test_days_that_carry_over_raise_few_more_false_alarms():
    """Days correlated by .3: about 1.8 a year, standard deviation of the mean of 150 years .25; without the correction 6.5."""
    years = np.array([charts(number, correlation=0.3) for number in range(20_000, 20_150)])
    assert years[:, 0].mean() <= 2.7


@pytest.mark.parametrize("rho", [0.0, 0.2, 0.4])
@pytest.mark.parametrize("days", [14, 21])
def test_the_autocorrelation_is_that_of_the_days(rho, days):
    """Mean over 1,000 references of four charts; its error is below .005, and it cannot be negative."""
    rng = np.random.default_rng([20250714, days])
    noise = effects(rng, days, 4000, World(autocorrelation=rho))
    found = np.mean([autocorrelation(list(four.T)) for four in np.split(noise, 1000, axis=1)])
    assert rho - 0.06 <= found <= rho + 0.06


def test_a_day_is_judged_by_what_its_eve_does_not_tell():
    chart = Chart(ChartState(20, 0.25, 0.02), True, 5.0, autocorrelation=0.5)
    eve, day = replay(chart, [0.4, 0.45])
    assert eve.total > 0
    assert day.total == pytest.approx(eve.total - ALLOWANCE)
    assert replay(chart, [0.4, None, 0.4])[-1].total == pytest.approx(2 * eve.total)


def test_the_autocorrelation_has_bounds():
    assert autocorrelation([]) == 0
    assert autocorrelation([np.array([0.0, 1.0] * 10)]) == 0
    assert autocorrelation([np.arange(20.0)]) == MOST_CARRIED


def test_reference_days_that_tell_no_spread_and_unknown_measures_are_refused():
    with pytest.raises(ValueError, match="at least 14"):
        fit({"x": [0.1, 0.2] * 6})
    with pytest.raises(ValueError, match="not all the same"):
        fit({"x": [0.5] * 20})
    with pytest.raises(ValueError, match="finite"):
        fit({"x": [float("nan"), *REFERENCE]})
    with pytest.raises(ValueError, match="'y'"):
        fit({"x": REFERENCE}, ["y"])


def test_days_come_in_order_and_are_finite():
    chart = family().charts["cost"]
    standing = chart.advance(chart.reference, FIRST, 0.5)
    with pytest.raises(ValueError, match="each once"):
        chart.advance(standing, FIRST, 0.5)
    with pytest.raises(ValueError, match="finite"):
        chart.advance(standing, FIRST + dt.timedelta(1), float("inf"))
