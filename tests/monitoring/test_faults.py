"""Which days count as broken, and in which features a broken day stays for how long."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.config import Config
from ml.monitoring import faults
from ml.monitoring.faults import Delivery, Usual, deliveries, faults_of, muted
from ml.monitoring.profile import cut
from ml.quality.load import load_batch
from ml.quality.validate import validate_batch
from ml.registry.signals import Incident
from tests.deployments import land, payments, small

DAY = dt.timedelta(days=1)
MONDAY = dt.date(2025, 3, 10)
RNG = np.random.default_rng(7)
TEXTS = {"merchant_category": "grocery", "channel": "chip", "country": "FR"}
BEFORE = pd.DataFrame({"amount": RNG.lognormal(3, 1, 20_000)}).assign(**TEXTS)
BINNING = cut(BEFORE, ["amount"], list(TEXTS))
USUAL = Usual(
    rows=[1000.0] * 6 + [600.0],
    missing=dict.fromkeys(["amount", *TEXTS], 0.01),
    unseen=dict.fromkeys(TEXTS, 0.0),
    binnings={"amount": cut(BEFORE, ["amount"])},
    measures={"amount": BINNING.count(BEFORE).counts["amount"].present},
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return small(tmp_path_factory.mktemp("faults"))


def _rows(count: int = 1000) -> pd.DataFrame:
    return BEFORE.head(count).copy()


def _found(
    config: Config, rows: pd.DataFrame, day: dt.date = MONDAY, delivery: Delivery | None = None
) -> list[tuple[str, str]]:
    told = faults_of(config, USUAL, day, rows, BINNING.count(rows), delivery or Delivery(len(rows)))
    return [(incident.fault, incident.subject) for incident in told]


def test_a_usual_day_has_no_fault(config: Config) -> None:
    assert _found(config, _rows()) == []


@pytest.mark.parametrize(
    ("rows", "day", "told"), [(640, 0, 1), (660, 0, 0), (1500, 0, 0), (1560, 0, 1), (600, 6, 0), (1000, 6, 1)]
)
def test_a_volume_is_compared_with_that_of_its_weekday(config: Config, rows: int, day: int, told: int) -> None:
    assert _found(config, _rows(rows), MONDAY + day * DAY) == [("volume", "events")] * told


def test_rows_that_were_quarantined_did_come_and_are_told_once(config: Config) -> None:
    assert _found(config, _rows(500), delivery=Delivery(1000, quarantined=500)) == [("set aside", "events")]
    assert _found(config, _rows(0), delivery=Delivery(1000, quarantined=1000)) == [("set aside", "events")]
    assert _found(config, _rows(), delivery=Delivery(2000, rejected=1000)) == [("set aside", "events")]


def test_a_day_of_which_nothing_came(config: Config) -> None:
    assert _found(config, _rows(0)) == [("nothing came", "events")]


@pytest.mark.parametrize("rows", [0, 100])
def test_a_weekday_without_events_is_missed_by_nobody(config: Config, rows: int) -> None:
    closed, told = replace(USUAL, rows=[1000.0] * 6 + [0.0]), _rows(rows)
    assert faults_of(config, closed, MONDAY + 6 * DAY, told, BINNING.count(told), Delivery(rows)) == []


def test_values_that_are_missing_or_new_in_many_rows(config: Config) -> None:
    few, many = _rows(), _rows()
    few.loc[few.index[:50], "country"] = None
    many.loc[many.index[:100], "country"] = None
    assert (_found(config, few), _found(config, many)) == ([], [("missing values", "country")])
    few.loc[few.index[:150], "channel"] = "drone"
    many.loc[many.index[:250], "channel"] = "drone"
    assert (_found(config, few), _found(config, many)[1:]) == ([], [("unseen categories", "channel")])


@settings(max_examples=60, deadline=None)
@given(factor=st.sampled_from(faults.FACTORS), seed=st.integers(0, 1000))
def test_another_unit_is_found_whatever_the_factor(config: Config, factor: float, seed: int) -> None:
    rows = BEFORE.sample(1000, random_state=seed)
    assert _found(config, rows.assign(amount=rows["amount"] * factor)) == [("unit", "amount")]


@settings(max_examples=60, deadline=None)
@given(factor=st.floats(0.4, 2.5))
def test_a_world_that_spends_more_or_less_is_no_fault(config: Config, factor: float) -> None:
    assert _found(config, _rows().assign(amount=_rows()["amount"] * factor)) == []


def _incident(fault: str, subject: str, quarantined: int = 0) -> Incident:
    return Incident(day=MONDAY, fault=fault, subject=subject, reason="planted", evidence={"quarantined": quarantined})


@pytest.mark.parametrize(
    ("fault", "spoils", "leaves"),
    [
        (_incident("unit", "amount"), {"customer_amount_sum_1d", "customer_amount_mean_1d"}, {"customer_amount_count_1d"}),
        (_incident("missing values", "amount"), {"terminal_amount_mean_1d"}, {"terminal_amount_count_1d"}),
        (_incident("missing values", "country"), set(), {"customer_amount_sum_1d"}),
        (_incident("unseen categories", "country"), set(), {"customer_amount_sum_1d"}),
        (_incident("volume", "events"), {"customer_amount_sum_1d", "customer_amount_count_1d"}, {"customer_amount_mean_1d"}),
        (_incident("nothing came", "events"), {"customer_amount_count_1d"}, {"customer_amount_mean_1d"}),
        (_incident("set aside", "events", 9), {"customer_amount_count_1d", "customer_amount_mean_1d"}, set()),
        (_incident("set aside", "events", 0), set(), {"customer_amount_count_1d", "customer_amount_mean_1d"}),
    ],
)
def test_a_fault_spoils_the_aggregates_that_it_reaches(
    config: Config, fault: Incident, spoils: set[str], leaves: set[str]
) -> None:
    found = muted(config, [fault], MONDAY + DAY)
    assert spoils <= found
    assert not leaves & found


def test_a_fault_stays_as_long_as_the_window_and_comes_as_late_as_its_delay(config: Config) -> None:
    lost = [_incident("volume", "events")]

    def days(feature: str) -> list[int]:
        return [number for number in range(-3, 30) if feature in muted(config, lost, MONDAY + number * DAY)]

    assert days("customer_amount_sum_1d") == [1, 2]
    assert days("customer_amount_sum_7d") == list(range(1, 9))
    assert days("terminal_label_count_7d") == list(range(7, 16))


def test_a_ratio_is_muted_with_its_average(config: Config) -> None:
    found = muted(config, [_incident("unit", "amount")], MONDAY + 3 * DAY)
    assert "amount_over_customer_amount_mean_7d" in found
    assert muted(config, [_incident("volume", "events")], MONDAY + 3 * DAY).isdisjoint({"amount_over_customer_amount_mean_7d"})


def test_a_batch_belongs_to_the_days_of_its_rows_or_else_to_the_day_before_it_came(tmp_path: Path) -> None:
    config = small(tmp_path)
    land(config, "payments_one.parquet", payments(100, MONDAY) | {"amount": [-1.0] * 10 + [5.0] * 90})
    as_of = dt.datetime(2025, 3, 11, 2, tzinfo=dt.UTC)
    load_batch(config, as_of, validate_batch(config, as_of).staged)
    land(config, "payments_two.parquet", payments(100, MONDAY, start=200) | {"amount": [-1.0] * 100})
    later = as_of + DAY
    load_batch(config, later, validate_batch(config, later).staged)
    days = [MONDAY - DAY, MONDAY, MONDAY + DAY]
    found = deliveries(config, later, days)
    assert [(found[d].rows, found[d].quarantined) for d in days] == [(0, 0), (100, 10), (100, 100)]
    assert [deliveries(config, as_of, days)[d].rows for d in days] == [0, 100, 0]
