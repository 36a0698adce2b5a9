"""Faults of the feed become incidents and no alarm; what changes in the world becomes an alarm. All through the real ingest."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.run import Run
from ml.monitoring.monitor import monitor
from ml.monitoring.traffic import SCORE
from tests.monitoring import living
from tests.monitoring.living import DAY, night

BEGINS = dt.date(2025, 3, 14)


def _fault(day: dt.date, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": "feed_fault", "day": day.isoformat(), "kind": kind, "days": 1} | more


FAULTS = {
    BEGINS: (_fault(BEGINS, "nulls", column="merchant_category"), "missing values", "merchant_category"),
    BEGINS + 2 * DAY: (_fault(BEGINS + 2 * DAY, "nulls", column="amount"), "set aside", "events"),
    BEGINS + 4 * DAY: (_fault(BEGINS + 4 * DAY, "cents", days=2), "unit", "amount"),
    BEGINS + 5 * DAY: (None, "unit", "amount"),
    BEGINS + 7 * DAY: (_fault(BEGINS + 7 * DAY, "half_volume"), "volume", "events"),
    BEGINS + 9 * DAY: (_fault(BEGINS + 9 * DAY, "doubled"), "set aside", "events"),
}


@pytest.fixture(scope="module")
def faulty(trained: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A deployment whose feed broke in one way after another, and on whose last night no file came at all."""
    config = living.copy(trained, tmp_path_factory.mktemp("faulty"), *[entry for entry, *_ in FAULTS.values() if entry])
    last = (max(FAULTS) - night(0).date()).days + 3
    living.let_pass(config, 1, last)
    monitor(config, night(last + 1))
    return config


def test_every_fault_is_an_incident_of_its_day_and_nothing_else_is(faulty: Config) -> None:
    incidents = Ledger(faulty.ledger).signals.incidents(faulty.name)
    silent = incidents.pop()
    assert {(i.day, i.fault, i.subject) for i in incidents} == {(day, *what) for day, (_, *what) in FAULTS.items()}
    assert (silent.fault, silent.day) == ("nothing came", max(FAULTS) + 3 * DAY)


def test_no_fault_asks_for_a_training_on_its_day_or_afterwards(faulty: Config) -> None:
    assert Ledger(faulty.ledger).signals.confirmations(faulty.name) == []


def test_a_fault_that_lasts_is_told_once(faulty: Config) -> None:
    told = [m for m in Ledger(faulty.ledger).messages.all(faulty.name) if m.event == "data incident"]
    assert len(told) == len(FAULTS)
    assert [message.figure for message in told if "unit" in message.figure] == [f"unit of amount on {BEGINS + 4 * DAY}"]


def _spoilt(faulty: Config, day: dt.date) -> set[str]:
    """Signals that a day does not judge: all of them on a day of which rows are lost, else those of what is muted."""
    seen = living.seen(faulty)
    drift = {signal for (of, signal), reading in seen.items() if of == day and reading[0] == "drift"}
    kept = seen[day, "traffic"][4]["kept"]
    return drift if kept["faulty"] else {signal for signal in drift if signal.split(":")[0] in kept["muted"]}


def test_no_state_of_what_a_fault_has_spoilt_moves_on_its_day(faulty: Config) -> None:
    seen = living.seen(faulty)
    for day in FAULTS:
        spoilt = _spoilt(faulty, day)
        assert {seen[day, signal][1] for signal in spoilt} == {None}
        assert {seen[day, signal][3] for signal in spoilt} == {seen[day - DAY, s][3] for s in spoilt}


@pytest.mark.parametrize("number", [0, 4])
def test_a_broken_column_leaves_the_day_judged(faulty: Config, number: int) -> None:
    """Severity is judged on all that is sound; the score is not, for the model reads the column."""
    seen, day = living.seen(faulty), BEGINS + number * DAY
    subject = FAULTS[day][2]
    assert seen[day, "drift: severity"][1] is not None
    assert seen[day, "country: shape"][1] is not None
    assert seen[day, f"{subject}: shape"][1] is None
    assert seen[day, f"{SCORE}: location"][1] is None
    assert SCORE in seen[day, "traffic"][4]["kept"]["muted"]


def test_a_day_of_which_rows_are_lost_is_compared_with_nothing(faulty: Config) -> None:
    seen = living.seen(faulty)
    for day in (BEGINS + 2 * DAY, BEGINS + 7 * DAY, BEGINS + 9 * DAY):
        assert {seen[day, signal][1] for signal in _spoilt(faulty, day)} == {None}
        assert {"amount: location", "drift: severity", f"{SCORE}: location"} <= _spoilt(faulty, day)


def test_what_a_fault_left_in_windows_is_muted_until_it_has_left_them(faulty: Config) -> None:
    """Cents are in means and sums of amounts for as long as the windows reach back, and in no count."""
    seen, last = living.seen(faulty), BEGINS + 5 * DAY
    muted = {number: set(seen[last + number * DAY, "traffic"][4]["kept"]["muted"]) for number in (1, 6)}
    assert {"customer_amount_mean_1d", "customer_amount_mean_7d", "amount_over_customer_amount_mean_7d", SCORE} <= muted[1]
    assert "customer_amount_mean_1d" not in muted[6]
    assert "customer_amount_mean_7d" in muted[6]
    assert seen[last + DAY, "customer_amount_mean_7d: location"][1] is None


def _alarms(config: Config) -> list[tuple[str, dt.date]]:
    return [(alarm.trigger, alarm.day) for alarm in Ledger(config.ledger).signals.confirmations(config.name)]


def test_a_shift_of_amounts_is_confirmed_as_drift_on_the_second_day(trained: Config, tmp_path: Path) -> None:
    config = living.copy(trained, tmp_path, {"name": "amount_shift", "day": BEGINS.isoformat(), "factor": 1.3})
    living.let_pass(config, 1, 5)
    told = monitor(config, night(5), run=Run(id="scheduled"))
    assert _alarms(config) == [("drift", BEGINS + DAY)]
    assert "severity" in told.note
    assert "ALARM" in told.note
    (message,) = Ledger(config.ledger).messages.all(config.name)
    assert (message.event, message.run_id, message.version) == ("drift", "scheduled", "1")
    (alarm,) = Ledger(config.ledger).signals.confirmations(config.name)
    assert alarm.evidence["version"] == "1"
    assert "amount: location" in alarm.evidence["signals"]


def test_a_new_kind_of_fraud_is_confirmed_as_a_loss_of_performance(trained: Config, tmp_path: Path) -> None:
    config = living.copy(trained, tmp_path, {"name": "new_scenario", "day": BEGINS.isoformat(), "customers": 0.006})
    living.let_pass(config, 1, 14)
    monitor(config, night(14))
    day = min(day for trigger, day in _alarms(config) if trigger == "performance")
    assert BEGINS + 7 * DAY <= day <= BEGINS + 12 * DAY
    assert Ledger(config.ledger).signals.incidents(config.name) == []
