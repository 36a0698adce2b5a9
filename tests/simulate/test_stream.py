import datetime as dt
from functools import cache
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.simulate.drift import AmountShift, FeedFault, FraudRateShock, LabelFault, NewScenario
from ml.simulate.stream import (
    BLATANT_AMOUNT,
    CATEGORIES,
    PAYMENT_COLUMNS,
    RADIUS,
    REPORT_COLUMNS,
    TRUTH_COLUMNS,
    PaymentStream,
    _Reach,
)

FIRST = dt.date(2025, 1, 1)
PLANTED = dt.date(2025, 1, 20)


def day(offset: int) -> dt.date:
    return FIRST + dt.timedelta(days=offset)


@cache
def small() -> PaymentStream:
    return PaymentStream(300, 600, 7, FIRST, (NewScenario(day=day(20), customers=0.01),))


@cache
def small_payments() -> pd.DataFrame:
    return small().payments(day(0), day(59))


@cache
def demo_payments(customers: int = 2500, terminals: int = 5000, seed: int = 20250101) -> pd.DataFrame:
    return PaymentStream(customers, terminals, seed, FIRST).payments(day(0), day(89))


def with_and_without(*drift: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Payments of the 19 days before PLANTED and the 41 days from it on, without and with drift."""
    return tuple(PaymentStream(1500, 3000, 3, FIRST, d).payments(day(0), day(59)) for d in ((), drift))


def split(payments: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    since = payments["paid_at"] >= pd.Timestamp(PLANTED)
    return payments[~since].reset_index(drop=True), payments[since].reset_index(drop=True)


# One seed, one stream


@settings(max_examples=15, deadline=None)
@given(cuts=st.sets(st.integers(1, 59), max_size=6))
def test_payments_do_not_depend_on_which_days_were_asked_for_together(cuts):
    edges = [0, *sorted(cuts), 60]
    parts = [small().payments(day(a), day(b - 1)) for a, b in pairwise(edges)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), small_payments(), check_exact=True)


@settings(max_examples=6, deadline=None)
@given(cuts=st.sets(st.integers(1, 69), max_size=2))
def test_reports_do_not_depend_on_which_days_were_asked_for_together(cuts):
    edges = [0, *sorted(cuts), 70]
    parts = [small().reports(day(a), day(b - 1)) for a, b in pairwise(edges)]
    whole = small().reports(day(0), day(69))
    assert len(whole) > 100
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole, check_exact=True)


def test_a_stream_made_again_is_the_same_and_another_seed_is_another():
    again = PaymentStream(300, 600, 7, FIRST, small().drift).payments(day(0), day(9))
    pd.testing.assert_frame_equal(again, small().payments(day(0), day(9)), check_exact=True)
    other = PaymentStream(300, 600, 8, FIRST, small().drift).payments(day(0), day(9))
    assert len(np.intersect1d(other["amount"], again["amount"])) < len(again) / 2
    assert not other[["paid_at", "customer_id"]].merge(again[["paid_at", "customer_id"]]).shape[0] > 5


def test_the_first_day_only_says_where_the_stream_begins():
    later = PaymentStream(300, 600, 7, day(10), small().drift)
    pd.testing.assert_frame_equal(later.payments(day(10), day(30)), small().payments(day(10), day(30)))


# What a payment looks like


def test_columns_types_and_values_of_payments():
    payments = small_payments()
    assert list(payments) == [*PAYMENT_COLUMNS, *TRUTH_COLUMNS]
    assert payments["paid_at"].dtype == "datetime64[us]"
    assert payments["is_fraud"].dtype == bool
    assert payments["scenario"].dtype == np.int8
    assert payments["paid_at"].is_monotonic_increasing
    assert payments["payment_id"].is_unique
    assert payments["payment_id"].is_monotonic_increasing
    assert (payments["payment_id"].str[1:9] == payments["paid_at"].dt.strftime("%Y%m%d")).all()
    assert payments["customer_id"].str.fullmatch(r"C\d{7}").all()
    assert payments["terminal_id"].str.fullmatch(r"T\d{7}").all()
    assert payments["amount"].min() >= 0.01
    np.testing.assert_array_equal(payments["amount"], payments["amount"].round(2))
    assert (payments["is_fraud"] == (payments["scenario"] > 0)).all()
    assert set(payments["scenario"]) == {0, 1, 2, 3, 4}
    assert not payments.isna().any(axis=None)


def test_category_and_country_belong_to_the_terminal_and_channel_follows_from_the_category():
    payments = demo_payments()
    assert set(payments["merchant_category"]) == {category.name for category in CATEGORIES}
    assert (payments.groupby("terminal_id")[["merchant_category", "country"]].nunique() == 1).all(axis=None)
    share = payments.groupby("merchant_category")["channel"].value_counts(normalize=True)
    assert share["online_retail"].to_dict() == {"online": 1.0}
    # Standard error of a share of 0.65 over the 30,000 payments for groceries is 0.003.
    assert share["groceries", "contactless"] == pytest.approx(0.65, abs=0.015)
    assert "online" not in share["groceries"]
    assert 0.85 < (payments["country"] == "DE").mean() < 0.97


def test_honest_customers_pay_within_their_radius_or_at_the_nearest_terminals():
    rng = np.random.default_rng(0)
    for terminals in (2000, 60, 2):
        xy, terminal_xy = rng.uniform(0, 100, (500, 2)), rng.uniform(0, 100, (terminals, 2))
        customers = np.repeat(np.arange(500), 40)
        drawn = _Reach(xy, terminal_xy).draw(customers, rng)
        distance = np.linalg.norm(xy[:, None] - terminal_xy, axis=2)
        in_reach = (distance <= RADIUS).sum(axis=1)
        rank = distance.argsort(axis=1).argsort(axis=1)[customers, drawn]
        assert (rank < np.maximum(in_reach, 3 * (in_reach == 0))[customers]).all()
        assert (in_reach > 0).any()


def test_every_terminal_in_reach_is_as_likely_as_the_next():
    from scipy.stats import chisquare

    rng = np.random.default_rng(1)
    terminal_xy = rng.uniform(0, 100, (3000, 2))
    for xy in ([50.0, 50.0], [0.5, 99.8], [24.9, 5.1]):
        drawn = _Reach(np.array([xy]), terminal_xy).draw(np.zeros(20_000, dtype=np.int64), rng)
        in_reach = np.flatnonzero(np.linalg.norm(terminal_xy - xy, axis=1) <= RADIUS)
        counts = np.bincount(drawn, minlength=3000)
        assert counts.sum() == counts[in_reach].sum()
        assert chisquare(counts[in_reach]).pvalue > 1e-4


@pytest.mark.parametrize(("customers", "terminals"), [(1, 1), (3, 1), (1, 50), (20, 4)])
def test_tiny_populations_work(customers, terminals):
    stream = PaymentStream(customers, terminals, 0, FIRST, (NewScenario(day=FIRST, customers=1.0),))
    payments = stream.payments(day(0), day(29))
    assert len(payments) > 0
    assert payments["customer_id"].nunique() <= customers
    assert list(stream.reports(day(0), day(29))) == list(REPORT_COLUMNS)


# Rates


@pytest.mark.parametrize(("customers", "terminals"), [(2500, 5000), (5000, 10_000)])
def test_fraud_is_about_as_frequent_as_in_the_handbook(customers, terminals):
    # Over 20 seeds the rate of 90 days was 0.0089 with a standard deviation of 0.0002 at 2,500 customers.
    payments = demo_payments(customers, terminals)
    assert 0.006 < payments["is_fraud"].mean() < 0.012
    assert len(payments) / 90 / customers == pytest.approx(1.94, abs=0.08)
    share = payments["scenario"].value_counts(normalize=True)
    assert 0.0002 < share[1] < 0.001
    assert 0.004 < share[2] < 0.008
    assert 0.002 < share[3] < 0.0045


def test_fraud_is_as_frequent_in_the_first_week_as_later():
    # A week has about 300 frauds, which come in clusters: a compromised terminal gives some 27 of them in four weeks.
    streams = [demo_payments(seed=seed) for seed in (20250101, 1, 2)]
    first_week = np.mean([p["is_fraud"][p["paid_at"] < pd.Timestamp(day(7))].mean() for p in streams])
    assert first_week == pytest.approx(np.mean([p["is_fraud"].mean() for p in streams]), rel=0.35)


def test_the_scenarios_are_those_of_the_handbook():
    payments = demo_payments()
    honest = payments[payments["scenario"] == 0]
    assert honest["amount"].max() <= BLATANT_AMOUNT + 0.005
    assert payments.loc[payments["scenario"] == 1, "amount"].min() >= BLATANT_AMOUNT
    stolen = payments[payments["scenario"] == 3]
    usual = stolen["customer_id"].map(honest.groupby("customer_id")["amount"].mean())
    # The ratio of one amount to the mean has standard deviation 0.5 × 5; 1,200 payments bring it down to 0.07.
    assert (stolen["amount"] / usual).mean() == pytest.approx(5, abs=0.4)
    span = stolen.groupby("customer_id")["paid_at"].agg(lambda t: (t.max() - t.min()).days)
    assert (span < 14).mean() > 0.95
    skimmed = payments[(payments["scenario"] == 2)].groupby("terminal_id")["paid_at"].agg(["min", "max"])
    assert ((skimmed["max"] - skimmed["min"]).dt.days < 28).mean() > 0.9
    at_skimmed = payments.merge(skimmed, left_on="terminal_id", right_index=True)
    between = at_skimmed[(at_skimmed["paid_at"] >= at_skimmed["min"]) & (at_skimmed["paid_at"] <= at_skimmed["max"])]
    assert between["is_fraud"].mean() > 0.9


def test_fraud_is_likelier_online_and_abroad():
    rate = demo_payments().groupby("channel")["is_fraud"].mean()
    assert rate["online"] > 1.3 * rate[["chip", "contactless"]].max()
    payments = demo_payments()
    abroad = payments["country"] != "DE"
    assert payments[abroad]["is_fraud"].mean() > 1.5 * payments[~abroad]["is_fraud"].mean()


def test_sundays_are_quiet_and_saturdays_busy():
    payments = demo_payments()
    volume = payments.groupby(payments["paid_at"].dt.normalize()).size()
    by_weekday = volume.groupby(volume.index.dayofweek).mean()
    usual = by_weekday[:5].mean()
    # A day of 5,000 payments has a standard deviation of 1.5 %; the mean of 12 such weekdays 0.4 %.
    assert by_weekday[6] / usual == pytest.approx(0.74, abs=0.03)
    assert by_weekday[5] / usual == pytest.approx(1.16, abs=0.03)
    assert volume.min() / usual > 0.65
    assert volume.max() / usual < 1.35


def test_times_are_normal_around_noon():
    second = (demo_payments()["paid_at"] - demo_payments()["paid_at"].dt.normalize()).dt.total_seconds()
    assert second.mean() == pytest.approx(43_200, abs=200)
    # A normal of 20,000 s that is cut at 2.16 standard deviations has 0.919 of them left.
    assert second.std() == pytest.approx(18_370, abs=200)


# Reports


@cache
def delays() -> tuple[pd.DataFrame, int]:
    stream = PaymentStream(5000, 10_000, 1, FIRST)
    payments = stream.payments(day(0), day(99))
    reports = stream.reports_of(payments).merge(payments[["payment_id", "paid_at"]], on="payment_id")
    reports["days"] = (reports["reported_at"] - reports["paid_at"]).dt.total_seconds() / 86_400
    return reports, int(payments["is_fraud"].sum())


def test_reports_come_late_and_some_never():
    reports, frauds = delays()
    # About 9,000 frauds: the standard errors are 0.003 for the shares and 0.04 days for the median.
    assert len(reports) / frauds == pytest.approx(0.92, abs=0.015)
    assert reports["days"].median() == pytest.approx(3, abs=0.25)
    assert (reports["days"] <= 7).mean() == pytest.approx(0.90, abs=0.02)
    assert 0.005 < (reports["days"] > 21).mean() < 0.04
    assert 30 < reports["days"].max() <= 45
    assert reports["days"].min() > 0
    assert reports["days"].mean() > reports["days"].median()


def test_every_report_is_of_a_fraud_and_only_one():
    payments = small_payments()
    reports = small().reports_of(payments)
    assert list(reports) == list(REPORT_COLUMNS)
    assert reports["reported_at"].dtype == "datetime64[us]"
    assert reports["reported_at"].is_monotonic_increasing
    assert reports["payment_id"].is_unique
    assert payments.set_index("payment_id").loc[reports["payment_id"], "is_fraud"].all()
    assert (reports["is_fraud"] == 1).all()


def test_the_slower_a_report_the_likelier_it_is_a_chargeback():
    reports, _ = delays()
    late = reports["days"] > 7
    assert set(reports["source"]) == {"chargeback", "analyst", "customer"}
    assert (reports["source"][late] == "chargeback").mean() > 2 * (reports["source"][~late] == "chargeback").mean()
    assert reports["days"].groupby(reports["source"]).median().idxmin() == "analyst"


def test_reports_of_a_day_are_those_that_arrive_on_it():
    everything = small().reports_of(small_payments())
    arrived = small().reports(day(30), day(31))
    assert len(arrived) > 2
    expected = everything[everything["reported_at"].dt.date.isin([day(30), day(31)])]
    pd.testing.assert_frame_equal(arrived, expected.reset_index(drop=True))


# Drift of the world


@pytest.mark.parametrize(
    "drift",
    [
        NewScenario(day=PLANTED),
        AmountShift(day=PLANTED, factor=1.5),
        FraudRateShock(day=PLANTED, factor=3),
        FeedFault(day=PLANTED, kind="cents"),
    ],
    ids=lambda drift: drift.name,
)
def test_nothing_changes_before_the_day_of_a_drift(drift):
    usual, drifted = with_and_without(drift)
    pd.testing.assert_frame_equal(split(usual)[0], split(drifted)[0], check_exact=True)
    assert split(usual)[1].equals(split(drifted)[1]) is isinstance(drift, FeedFault)


def test_a_new_scenario_brings_bursts_of_small_online_payments_abroad_at_night():
    usual, drifted = with_and_without(NewScenario(day=PLANTED, customers=0.002))
    new = drifted[drifted["scenario"] == 4]
    assert new["paid_at"].dt.normalize().nunique() == 41
    assert new["is_fraud"].all()
    assert (new["paid_at"].dt.hour < 5).all()
    assert (new["channel"] == "online").all()
    assert (new["country"] != "DE").all()
    assert new["amount"].between(1, 20).all()
    bursts = new.groupby([new["paid_at"].dt.date, "customer_id"])["paid_at"].agg(["size", "min", "max"])
    assert bursts["size"].between(4, 8).all()
    assert (bursts["max"] - bursts["min"] < pd.Timedelta(hours=1)).all()
    assert len(bursts) == 41 * 3
    old = drifted[drifted["scenario"] != 4].drop(columns="payment_id").reset_index(drop=True)
    pd.testing.assert_frame_equal(old, usual.drop(columns="payment_id"))


def test_an_amount_shift_multiplies_all_amounts_and_nothing_else():
    usual, drifted = with_and_without(AmountShift(day=PLANTED, factor=1.5))
    usual, drifted = split(usual)[1], split(drifted)[1]
    pd.testing.assert_frame_equal(usual.drop(columns="amount"), drifted.drop(columns="amount"))
    np.testing.assert_allclose(drifted["amount"], usual["amount"] * 1.5, atol=0.0126)


def test_a_drift_of_some_days_ends():
    usual, drifted = with_and_without(AmountShift(day=PLANTED, days=3, factor=2))
    changed = usual["paid_at"][usual["amount"] != drifted["amount"]].dt.date
    assert set(changed) == {PLANTED + dt.timedelta(days=i) for i in range(3)}


def test_a_feed_of_labels_that_is_stopped_brings_at_its_end_what_was_due():
    usual, drifted = with_and_without(LabelFault(day=PLANTED, days=10, kind="stopped"))
    pd.testing.assert_frame_equal(usual, drifted)
    stopped = PaymentStream(500, 1000, 3, day(0), [LabelFault(day=day(20), days=10, kind="stopped")])
    plain = PaymentStream(500, 1000, 3, day(0))
    assert stopped.reports(day(20), day(29)).empty
    for first, last in ((day(0), day(19)), (day(31), day(50))):
        pd.testing.assert_frame_equal(stopped.reports(first, last), plain.reports(first, last))
    due, came = plain.reports(day(20), day(30)), stopped.reports(day(30), day(30))
    assert sorted(due["payment_id"]) == sorted(came["payment_id"])
    assert len(due) > 20


def test_slow_labels_take_so_many_times_as_long():
    payments = PaymentStream(500, 1000, 3, day(0)).payments(day(0), day(39))
    slow = PaymentStream(500, 1000, 3, day(0), [LabelFault(day=day(10), days=20, kind="slow")])
    assert slow.longest_delay == 450
    both = [stream.reports_of(payments).set_index("payment_id") for stream in (PaymentStream(500, 1000, 3, day(0)), slow)]
    paid = payments.set_index("payment_id")["paid_at"].reindex(both[0].index)
    usual, late = ((each["reported_at"].reindex(paid.index) - paid).dt.total_seconds() for each in both)
    within = (paid >= pd.Timestamp(day(10))) & (paid < pd.Timestamp(day(30)))
    assert (late[within] == 10 * usual[within]).all()
    assert (late[~within] == usual[~within]).all()
    assert within.sum() > 20


def test_a_fraud_rate_shock_multiplies_compromises_and_leaves_honest_payments_alone():
    usual, drifted = with_and_without(FraudRateShock(day=PLANTED, factor=3))
    settled = pd.Timestamp(PLANTED + dt.timedelta(days=28))
    before, after = (p[p["paid_at"] >= settled] for p in (usual, drifted))
    counts = [p["scenario"].isin([2, 3]).sum() for p in (before, after)]
    # Over 30 seeds the ratio was 2.9 with a standard deviation of 0.4.
    assert 1.8 < counts[1] / counts[0] < 4.5
    pd.testing.assert_frame_equal(
        usual[["payment_id", "paid_at", "customer_id"]], drifted[["payment_id", "paid_at", "customer_id"]]
    )
    calm = PaymentStream(1500, 3000, 3, FIRST, (FraudRateShock(day=FIRST, factor=0),)).payments(day(28), day(40))
    assert set(calm["scenario"]) == {0, 1}


# Errors


def test_days_that_do_not_exist():
    with pytest.raises(ValueError, match="2024-12-31 is before the stream's first day 2025-01-01"):
        small().payments(day(-1), day(3))
    with pytest.raises(ValueError, match="2024-12-31 is before the stream's first day"):
        small().reports(day(-1), day(3))
    with pytest.raises(ValueError, match="first day 2025-01-05 is after last day 2025-01-04"):
        small().payments(day(4), day(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"customers": 0}, "customers is 0, expected at least 1"),
        ({"terminals": -1}, "terminals is -1, expected at least 1"),
        ({"seed": -5}, "seed is -5, expected at least 0"),
        (
            {"drift": (AmountShift(day=FIRST, factor=2), NewScenario(day=day(-1)))},
            r"drift\.1\.day: 2024-12-31 is before the stream's first day 2025-01-01",
        ),
    ],
)
def test_a_stream_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        PaymentStream(**{"customers": 10, "terminals": 10, "seed": 0, "first_day": FIRST} | arguments)
