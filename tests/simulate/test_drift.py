import datetime as dt
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ml.config import ConfigError
from ml.simulate.drift import AmountShift, FeedFault, FraudRateShock, LabelFault, NewScenario, drift_from_config
from ml.simulate.stream import PAYMENT_COLUMNS, PaymentStream

DAY = dt.date(2025, 3, 1)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def payments() -> pd.DataFrame:
    return PaymentStream(1000, 2000, 0, DAY).payments(DAY, DAY)[list(PAYMENT_COLUMNS)]


def test_drift_is_read_from_entries_of_a_deployment_file():
    drift = drift_from_config(
        [
            {"name": "new_scenario", "day": DAY},
            {"name": "amount_shift", "day": "2025-03-01", "factor": 1.5, "days": 3},
            {"name": "fraud_rate_shock", "day": DAY, "factor": 2},
            {"name": "feed_fault", "day": DAY, "kind": "nulls", "column": "amount", "share": 0.2},
            {"name": "label_fault", "day": DAY, "kind": "slow", "factor": 3},
        ]
    )
    assert drift == (
        NewScenario(day=DAY),
        AmountShift(day=DAY, factor=1.5, days=3),
        FraudRateShock(day=DAY, factor=2),
        FeedFault(day=DAY, kind="nulls", column="amount", share=0.2),
        LabelFault(day=DAY, kind="slow", factor=3),
    )
    assert drift_from_config([]) == ()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"day": DAY, "factor": 2}, r"drift\.1\.name: .*'name'"),
        ({"name": "amount_shfit", "day": DAY}, r"drift\.1\.name: .*'amount_shfit'.*'amount_shift'"),
        ({"name": "amount_shift", "day": DAY}, r"drift\.1\.factor: Field required"),
        ({"name": "amount_shift", "day": DAY, "factor": 0}, r"drift\.1\.factor: .*greater than 0"),
        ({"name": "amount_shift", "day": DAY, "factor": "a lot"}, r"drift\.1\.factor: .*number"),
        ({"name": "amount_shift", "day": "soon", "factor": 2}, r"drift\.1\.day: .*date"),
        ({"name": "amount_shift", "factor": 2}, r"drift\.1\.day: Field required"),
        ({"name": "amount_shift", "day": DAY, "factor": 2, "days": 0}, r"drift\.1\.days: .*greater than or equal to 1"),
        ({"name": "new_scenario", "day": DAY, "factor": 2}, r"drift\.1\.factor: Extra inputs"),
        ({"name": "new_scenario", "day": DAY, "customers": 2}, r"drift\.1\.customers: .*less than or equal to 1"),
        ({"name": "feed_fault", "day": DAY, "kind": "late"}, r"drift\.1\.kind: .*'half_volume'"),
        ({"name": "feed_fault", "day": DAY, "kind": "nulls", "column": "is_fraud"}, r"drift\.1\.column: .*'channel'"),
        ({"name": "feed_fault", "day": DAY, "kind": "nulls"}, r"drift\.1: .*'column' is missing"),
        ({"name": "label_fault", "day": DAY, "kind": "stopped"}, r"drift\.1: .*'days' is missing"),
        ({"name": "label_fault", "day": DAY, "kind": "stopped", "days": 2, "factor": 2}, r"drift\.1: .*belongs to kind 'slow'"),
        ({"name": "feed_fault", "day": DAY, "kind": "cents", "share": 0.5}, r"drift\.1: .*belong to kind 'nulls'"),
    ],
)
def test_errors_name_the_entry_and_the_key(entry, message):
    with pytest.raises(ConfigError, match=message):
        drift_from_config([{"name": "new_scenario", "day": DAY}, entry])


def test_all_errors_are_told_at_once():
    with pytest.raises(ConfigError, match=r"3 problem\(s\)") as error:
        drift_from_config([{"name": "amount_shift"}, {"name": "feed_fault", "day": DAY}])
    assert all(key in str(error.value) for key in ("drift.0.day", "drift.0.factor", "drift.1.kind"))


def test_a_drift_acts_from_its_day_on_for_as_long_as_it_says():
    three = AmountShift(day=DAY, days=3, factor=2)
    assert [three.acts_on(DAY + dt.timedelta(days=i)) for i in (-1, 0, 2, 3)] == [False, True, True, False]
    for_ever = AmountShift(day=DAY, factor=2)
    assert [for_ever.acts_on(DAY + dt.timedelta(days=i)) for i in (-1, 0, 10_000)] == [False, True, True]


def test_a_drift_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        AmountShift(day=DAY, factor=2).factor = 3


def test_the_columns_that_can_be_emptied_are_those_of_a_payment():
    literal, _ = get_args(FeedFault.model_fields["column"].annotation)
    assert get_args(literal) == PAYMENT_COLUMNS


@pytest.mark.parametrize("column", PAYMENT_COLUMNS)
def test_nulls_empty_a_share_of_one_column(payments, column):
    faulty = FeedFault(day=DAY, kind="nulls", column=column, share=0.3).apply(payments, rng())
    # 2,000 rows: a share of 0.3 has a standard error of 0.01.
    assert faulty[column].isna().mean() == pytest.approx(0.3, abs=0.05)
    pd.testing.assert_frame_equal(faulty.drop(columns=column), payments.drop(columns=column))
    kept = faulty[column].notna()
    pd.testing.assert_series_equal(faulty[column][kept], payments[column][kept])
    assert FeedFault(day=DAY, kind="nulls", column=column, share=1).apply(payments, rng())[column].isna().all()


def test_half_of_a_column_is_emptied_when_no_share_is_given(payments):
    faulty = FeedFault(day=DAY, kind="nulls", column="country").apply(payments, rng())
    assert faulty["country"].isna().mean() == pytest.approx(0.5, abs=0.05)


def test_cents_are_a_hundred_times_the_amount(payments):
    faulty = FeedFault(day=DAY, kind="cents").apply(payments, rng())
    np.testing.assert_array_equal(faulty["amount"], (payments["amount"] * 100).round())
    pd.testing.assert_frame_equal(faulty.drop(columns="amount"), payments.drop(columns="amount"))


def test_half_volume_loses_half_of_the_payments_from_all_over_the_day(payments):
    faulty = FeedFault(day=DAY, kind="half_volume").apply(payments, rng())
    assert len(faulty) / len(payments) == pytest.approx(0.5, abs=0.06)
    whole = payments.set_index("payment_id").loc[faulty["payment_id"]].reset_index()
    pd.testing.assert_frame_equal(faulty, whole)
    morning = [(p["paid_at"].dt.hour < 12).mean() for p in (faulty, payments)]
    assert morning[0] == pytest.approx(morning[1], abs=0.08)


def test_doubled_delivers_every_payment_twice(payments):
    faulty = FeedFault(day=DAY, kind="doubled").apply(payments, rng())
    assert len(faulty) == 2 * len(payments)
    assert (faulty["payment_id"].value_counts() == 2).all()
    pd.testing.assert_frame_equal(faulty.drop_duplicates(ignore_index=True), payments)


@pytest.mark.parametrize("kind", ["nulls", "cents", "half_volume", "doubled"])
def test_a_fault_leaves_the_world_as_it_is(payments, kind):
    before = payments.copy()
    FeedFault(day=DAY, kind=kind, column="amount" if kind == "nulls" else None).apply(payments, rng())
    pd.testing.assert_frame_equal(payments, before)
