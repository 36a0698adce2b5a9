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
from ml.ledger.signals import Incident
from ml.monitoring.faults import Delivery, FeedReference, Share, deliveries, faults_of, left_out
from ml.monitoring.muting import is_faulty, muted
from ml.monitoring.profile import Counts, cut
from ml.monitoring.units import FACTORS, Sizes
from ml.quality.load import load_batch
from ml.quality.validate import validate_batch
from tests.deployments import land, payments, small

DAY = dt.timedelta(days=1)
MONDAY = dt.date(2025, 3, 10)
RNG = np.random.default_rng(7)
TEXTS = {"merchant_category": "grocery", "channel": "chip", "country": "FR"}
BEFORE = pd.DataFrame({"amount": RNG.lognormal(3, 1, 20_000)}).assign(**TEXTS)
BINNING = cut(BEFORE, ["amount"], list(TEXTS))
USUAL = FeedReference(
    rows=[1000.0] * 6 + [600.0],
    missing=dict.fromkeys(["amount", *TEXTS], Share(0.01, 0.015)),
    unseen=dict.fromkeys(TEXTS, Share(0.0, 0.0)),
    sizes={"amount": Sizes.of(dict(enumerate(np.split(BEFORE["amount"].to_numpy(), 20))))},
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return small(tmp_path_factory.mktemp("faults"))


def _rows(count: int = 1000) -> pd.DataFrame:
    return BEFORE.head(count).copy()


def _found(
    config: Config, rows: pd.DataFrame, day: dt.date = MONDAY, delivery: Delivery | None = None
) -> list[tuple[str, str]]:
    """What is told at once."""
    told = faults_of(config, USUAL, day, rows, BINNING.count(rows), delivery or Delivery(len(rows)))
    return [(incident.fault, incident.subject) for incident in told.incidents]


def _told_on_the_second(config: Config, rows: pd.DataFrame) -> list[tuple[str, str]]:
    """What two such days tell; on the first of them nothing."""
    first = faults_of(config, USUAL, MONDAY, rows, BINNING.count(rows), Delivery(len(rows)))
    assert first.incidents == ()
    second = faults_of(config, USUAL, MONDAY + DAY, rows, BINNING.count(rows), Delivery(len(rows)), first.doubts)
    return [(incident.fault, incident.subject) for incident in second.incidents]


def test_a_usual_day_has_no_fault(config: Config) -> None:
    assert _found(config, _rows()) == []


@pytest.mark.parametrize(
    ("rows", "day", "told"), [(580, 0, 1), (660, 0, 0), (1500, 0, 0), (1720, 0, 1), (600, 6, 0), (1050, 6, 1)]
)
def test_a_volume_is_compared_with_that_of_its_weekday(config: Config, rows: int, day: int, told: int) -> None:
    assert _found(config, _rows(rows), MONDAY + day * DAY) == [("volume", "events")] * told


def test_a_volume_that_a_holiday_may_have_is_told_when_it_lasts(config: Config) -> None:
    assert _told_on_the_second(config, _rows(640)) == [("volume", "events")]
    assert _told_on_the_second(config, _rows(1560)) == [("volume", "events")]
    few = faults_of(config, USUAL, MONDAY, _rows(640), BINNING.count(_rows(640)), Delivery(640)).doubts
    many = faults_of(config, USUAL, MONDAY + DAY, _rows(1560), BINNING.count(_rows(1560)), Delivery(1560), few)
    assert (many.incidents, len(many.doubts)) == ((), 1)


def test_rows_that_were_quarantined_did_come_and_are_told_once(config: Config) -> None:
    assert _found(config, _rows(500), delivery=Delivery(1000, quarantined=500)) == [("set aside", "events")]
    assert _found(config, _rows(0), delivery=Delivery(1000, quarantined=1000)) == [("set aside", "events")]
    assert _found(config, _rows(), delivery=Delivery(2000, rejected=1000)) == [("set aside", "events")]


def test_a_day_of_which_nothing_came(config: Config) -> None:
    assert _found(config, _rows(0)) == [("nothing came", "events")]


@pytest.mark.parametrize("rows", [0, 100])
def test_a_weekday_without_events_is_missed_by_nobody(config: Config, rows: int) -> None:
    closed, told = replace(USUAL, rows=[1000.0] * 6 + [0.0]), _rows(rows)
    assert not faults_of(config, closed, MONDAY + 6 * DAY, told, BINNING.count(told), Delivery(rows)).doubts


def test_values_that_are_missing_or_new_in_many_rows(config: Config) -> None:
    few, some, many = _rows(), _rows(), _rows()
    few.loc[few.index[:50], "country"] = None
    some.loc[some.index[:100], "country"] = None
    many.loc[many.index[:250], "country"] = None
    assert (_found(config, few), _found(config, many)) == ([], [("missing values", "country")])
    assert _told_on_the_second(config, some) == [("missing values", "country")]
    few.loc[few.index[:150], "channel"] = "drone"
    many.loc[many.index[:250], "channel"] = "drone"
    assert (_found(config, few), _found(config, many)[1:]) == ([], [("unseen categories", "channel")])


@pytest.mark.parametrize(
    ("missing", "usual", "told"),
    [
        (400, Share(0.1, 0.45), []),
        (600, Share(0.1, 0.45), ["in doubt"]),
        (1000, Share(0.8, 1.0), []),
        (600, Share(0.1, 0.15), ["at once"]),
        (130, Share(0.1, 0.15), []),
    ],
)
def test_missing_values_are_compared_with_those_of_single_reference_days(
    config: Config, missing: int, usual: Share, told: list[str]
) -> None:
    """As of a pressure that a station does not send for some hours."""
    rows = _rows()
    rows.loc[rows.index[:missing], "amount"] = None
    before = replace(USUAL, missing={**USUAL.missing, "amount": usual})
    found = faults_of(config, before, MONDAY, rows, BINNING.count(rows), Delivery(len(rows)))
    assert ["at once" if found.incidents else "in doubt" for _ in found.doubts] == told


def test_a_share_is_that_of_all_rows_and_of_the_worst_day() -> None:
    days = [(0, 100), (50, 100), (10, 800), (0, 0)]
    assert Share.of(days) == Share(0.06, 0.5)
    assert Share.of([]) == Share(0.0, 0.0)


def test_the_reference_is_made_of_what_was_counted() -> None:
    text, number = Counts(np.array([6, 2]), 1, 1), Counts(np.array([5, 5]), 0)
    told = FeedReference.of({MONDAY: 10, MONDAY + 7 * DAY: 20}, {"channel": [text, text], "amount": [number]}, {})
    assert told.rows == [15.0, 0, 0, 0, 0, 0, 0]
    assert (told.missing["channel"], told.unseen) == (Share(0.1, 0.1), {"channel": Share(0.1, 0.1)})


def test_days_with_a_fault_are_left_out_of_a_reference_unless_it_has_become_usual() -> None:
    days = {MONDAY + i * DAY for i in range(10)}
    once = replace(_incident("volume", "events"), day=MONDAY + 3 * DAY)
    always = [replace(_incident("unit", "amount"), day=MONDAY + i * DAY) for i in range(6)]
    before = replace(once, day=MONDAY - DAY)
    assert left_out([once, before], days) == {once.day}
    assert left_out([once, *always], days) == {once.day}
    assert left_out(always[:5], days) == {incident.day for incident in always[:5]}


@settings(max_examples=12, deadline=None)
@given(factor=st.sampled_from(FACTORS), seed=st.integers(0, 1000))
def test_another_unit_is_found_whatever_the_factor(config: Config, factor: float, seed: int) -> None:
    rows = BEFORE.sample(1000, random_state=seed)
    assert _found(config, rows.assign(amount=rows["amount"] * factor)) == [("unit", "amount")]


@settings(max_examples=12, deadline=None)
@given(factor=st.floats(0.4, 2.5))
def test_a_world_that_spends_more_or_less_is_no_fault(config: Config, factor: float) -> None:
    assert _found(config, _rows().assign(amount=_rows()["amount"] * factor)) == []


@settings(max_examples=12, deadline=None)
@given(factor=st.sampled_from(FACTORS), part=st.floats(0.15, 0.9), seed=st.integers(0, 1000))
def test_another_unit_of_a_part_of_the_rows_is_found(config: Config, factor: float, part: float, seed: int) -> None:
    """Of one channel, or of the half of a feed that one machine sends."""
    rows = BEFORE.sample(1000, random_state=seed)
    hit = np.random.default_rng(seed).random(len(rows)) < part
    assert _found(config, rows.assign(amount=rows["amount"].where(~hit, rows["amount"] * factor))) == [("unit", "amount")]


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


@pytest.mark.parametrize(
    ("fault", "faulty", "spoils"),
    [
        (_incident("unit", "amount"), False, {"amount", "amount_over_customer_amount_mean_7d"}),
        (_incident("missing values", "country"), False, {"country"}),
        (_incident("unseen categories", "channel"), False, {"channel"}),
        (_incident("volume", "events"), True, set()),
        (_incident("nothing came", "events"), True, set()),
        (_incident("set aside", "events", 9), True, set()),
    ],
)
def test_a_broken_column_mutes_itself_and_what_is_made_of_it_and_not_the_day(
    config: Config, fault: Incident, faulty: bool, spoils: set[str]
) -> None:
    found = muted(config, [fault], MONDAY)
    assert is_faulty([fault]) == faulty
    assert spoils <= found
    assert not {"merchant_category", "customer_amount_mean_7d"} & found


def test_a_window_that_is_published_within_a_day_holds_the_faulty_day_itself(config: Config) -> None:
    hourly = config.windows[0].model_copy(update={"publish": config.windows[0].publish.model_copy(update={"value": 1.0})})
    within = config.model_copy(update={"windows": [hourly, *config.windows[1:]]})
    lost = [_incident("unit", "amount")]
    assert "customer_amount_mean_1d" in muted(within, lost, MONDAY)
    assert "terminal_amount_mean_1d" not in muted(within, lost, MONDAY)


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
