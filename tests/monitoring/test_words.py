"""Words are made of records that may lack anything: what is there is told, what is not is a dash, and nothing fails."""

from __future__ import annotations

import argparse
import datetime as dt
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.commands import monitoring as command
from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move
from ml.ledger.signals import Alarm, Incident, Reading
from ml.monitoring import decay, drift, words
from ml.monitoring.cusum import Chart, ChartState, ControlCharts
from ml.monitoring.measurements import Kind, Measurement, Role, Signal
from ml.monitoring.monitor import _post_messages
from tests.deployments import FIRST_AS_OF, small

DAY = dt.date(2025, 4, 18)
NUMBERS = st.none() | st.floats(allow_nan=True, allow_infinity=True)
RECORDED = st.none() | st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.sampled_from([words.SEVERITY, words.TRAFFIC, "amount: location", "performance: average precision", "performance: x"])


def _told(numbers: st.SearchStrategy) -> st.SearchStrategy:
    others = {"importance": numbers, "rate": numbers, "usual_rate": numbers, "of_day": numbers}
    others |= {"trust": st.none() | st.fixed_dictionaries({}, optional={"days": st.integers(0, 3), "error": numbers})}
    others |= {"day": st.none() | st.just(str(DAY)), "faults": st.none() | st.just(["a fault"])}
    return st.fixed_dictionaries({}, optional={"measured": numbers, "usual": numbers} | others)


def _readings(numbers: st.SearchStrategy) -> st.SearchStrategy:
    one = st.builds(
        Reading,
        signal=NAMES,
        kind=st.sampled_from(["drift", "performance", "estimate", "feed"]),
        value=numbers,
        threshold=numbers,
        state=st.sampled_from(["OK", "WARN", "CONFIRMED"]),
        details=_told(RECORDED),
    )
    return st.lists(one, max_size=6, unique_by=lambda reading: reading.signal)


@settings(max_examples=100, deadline=None)
@given(readings=_readings(NUMBERS), broken=st.lists(st.just("country is missing"), max_size=1), days=st.integers(0, 3))
def test_a_note_tells_every_incident_whatever_its_readings_lack(readings: list[Reading], broken: list[str], days: int) -> None:
    told = words.note("1", DAY, readings, days, ["drift confirmed"], broken)
    assert "- ALARM drift confirmed" in told
    assert ("- INCIDENT country is missing" in told) == bool(broken)
    assert "nan" not in told
    assert "None" not in told


@settings(max_examples=60, deadline=None)
@given(value=NUMBERS, usual=NUMBERS, z=NUMBERS, threshold=st.floats(1, 9), readings=_readings(NUMBERS))
def test_a_reason_tells_what_there_is(
    value: float | None, usual: float | None, z: float | None, threshold: float, readings: list[Reading]
) -> None:
    measured = Measurement(Signal("amount", Kind.LOCATION, Role.FEATURE), value, usual, z, threshold)  # type: ignore[arg-type]
    assert drift.in_words(measured).startswith("amount: location ")
    assert all(decay.in_words(reading) for reading in readings)


def test_a_measure_that_could_not_be_taken_is_told_beside_what_is_usual() -> None:
    """As on a day of which no positive was reported: the chart has moved before, and there is nothing to show for the day."""
    told = {"measured": None, "usual": 0.61}
    reading = Reading(signal="performance: x", kind="performance", value=1.0, threshold=4.0, state="OK", details=told)
    assert words.in_words(reading) == "performance: x OK: 0.25 of its threshold, not measured, usually 0.61"


def test_a_chart_that_is_alarmed_by_one_measure_while_others_lack_theirs_has_its_reason() -> None:
    chart = Chart(ChartState(20, 0.6, 0.02, total=5.0), higher_is_better=True, threshold=5.1)
    charts = ControlCharts({"average precision": chart, "card precision": chart})
    values = {"average precision": decay.DayMetric(0.04, 0.03, 0.1, 0.1, 1.0), "card precision": None}
    usual = dict.fromkeys(charts.charts, 0.6)
    found = decay.decay_of(charts, usual, 0.2, "1", DAY, values, sound=True, before={}, cooled=True)
    assert found.alarm is not None
    assert found.alarm.reason.startswith(f"loss confirmed on {DAY}: average precision 0.1 (")
    assert "both at a base rate of 20.0% (that day 0.04 at 3.0%)" in found.alarm.reason
    assert found.readings[1].details["measured"] is None


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = small(tmp_path_factory.mktemp("words"))
    crowned = Move(
        model=config.name,
        action="promote",
        expected_from=None,
        to_version="1",
        as_of=FIRST_AS_OF,
        actor="test",
        reason="a champion to watch",
        verdict={},
        run_id="r",
        hashes={},
    )
    Ledger(config.ledger).moves.make(crowned)
    return config


@settings(max_examples=10, deadline=None)
@given(
    days=st.lists(_readings(RECORDED).filter(bool), min_size=1, max_size=3),
    evidence=st.sampled_from([{}, {"figure": None}]),
    as_json=st.booleans(),
)
def test_the_command_and_the_messages_show_any_record(
    deployment: Config, days: list[list[Reading]], evidence: dict, as_json: bool
) -> None:
    """Days of one champion, in which a signal may come and go; each example goes on where the last one ended."""
    signals, before = Ledger(deployment.ledger).signals, len(Ledger(deployment.ledger).messages.all(deployment.name))
    first = (signals.newest_day(deployment.name, "1") or DAY) + dt.timedelta(days=9)
    for number, readings in enumerate(days):
        day = first + dt.timedelta(days=number)
        alarms = [Alarm(trigger="drift", reason="confirmed", evidence=evidence)]
        faults = [Incident(day=day, fault="unit", subject=f"a{day}", reason="cents", evidence={})]
        signals.record_day(deployment.name, "1", day, FIRST_AS_OF, readings, alarms, faults)
        _post_messages(deployment, FIRST_AS_OF, "run", "1", day)
    assert len(Ledger(deployment.ledger).messages.all(deployment.name)) == before + 2 * len(days)
    command.signals(deployment, argparse.Namespace(days=14, json=as_json))


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "text", SimpleNamespace()])
def test_what_is_no_number_is_a_dash(value: object) -> None:
    assert words.format_number(value) == "-"
