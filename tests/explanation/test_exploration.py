"""The page on a training set tells its figures, and finds what was changed since the last one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml import artifacts
from ml.config import Config
from ml.explanation import exploration
from ml.explanation.exploration import Exploration, explore
from ml.explanation.summary import (
    per_day,
    shift_of_category,
    shift_of_numbers,
    spearman,
    summarize_category,
    summarize_numbers,
)
from ml.store.feast import feature_names
from ml.training import dataset
from tests.deployments import FIRST_AS_OF, small
from tests.explanation import pages
from tests.models import HOSTILE, NO_SET

DAY = pd.Timedelta(days=1)


def freeze(config: Config, rows: pd.DataFrame, as_of: pd.Timestamp) -> str:
    """Freeze rows as the step `build_training_set` does."""
    store = artifacts.of(config)
    name, _ = store.put_by_content(
        dataset.KIND, lambda sha256: f"{sha256}.parquet", lambda path: rows.to_parquet(path, index=False)
    )
    cuts = ("train_start", "validation_start", "fitted_until", "holdout_start", "holdout_end")
    windows = {cut: (pd.Timestamp("2025-02-01", tz="UTC") + 4 * i * DAY).isoformat() for i, cut in enumerate(cuts)}
    record = dataclasses.replace(NO_SET, training_set=name, as_of=as_of.isoformat(), rows=len(rows), windows=windows)
    store.put_text(dataset.KIND, f"{name}.json", json.dumps(dataclasses.asdict(record)))
    return name


@pytest.fixture
def deployment(tmp_path: Path) -> Config:
    """A small deployment of its own."""
    return small(tmp_path)


@pytest.fixture
def everything(deployment: Config, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with all columns of the deployment, of which those that the small model does not need are noise."""
    rng = np.random.default_rng(2)
    noise = {name: rng.normal(size=len(rows)) for name in feature_names(deployment) if name not in rows}
    keys = dict.fromkeys(deployment.entities.values(), "K1")
    noise |= {dataset.LABEL_KNOWN_AT: rows["event_time"]}
    return rows.assign(**noise, **keys, merchant_category="grocery", country="FR")


def explored(config: Config, rows: pd.DataFrame, nights: int) -> Exploration:
    as_of = pd.Timestamp(FIRST_AS_OF) + nights * DAY
    return explore(config, as_of.to_pydatetime(), freeze(config, rows, as_of))


def test_the_first_training_set_has_nothing_to_be_compared_with(deployment: Config, everything: pd.DataFrame) -> None:
    told = explored(deployment, everything, 0)
    assert told.previous is None
    assert "nothing to compare with" in Path(told.page).read_text()


def test_a_planted_shift_comes_first(deployment: Config, everything: pd.DataFrame) -> None:
    first = explored(deployment, everything, 0)
    moved = everything.assign(
        terminal_amount_mean_7d=everything["terminal_amount_mean_7d"] + 1.5,
        customer_amount_mean_7d=everything["customer_amount_mean_7d"].where(np.arange(len(everything)) % 5 > 0),
        channel=everything["channel"].replace({"chip": "contactless"}),
    )
    told = explored(deployment, moved, 1)
    assert told.previous == first.training_set
    change = json.loads(Path(told.page).with_suffix(".json").read_text())["change"]
    found = {shift["name"]: shift for shift in change["shifts"]}
    assert {shift["name"] for shift in change["shifts"][:3]} == {
        "terminal_amount_mean_7d",
        "customer_amount_mean_7d",
        "channel",
    }
    chips = (everything["channel"] == "chip").mean()
    assert found["channel"]["size"] == pytest.approx(chips)
    assert "new: 'contactless'; gone: 'chip'" in found["channel"]["sentence"]
    gone = moved["customer_amount_mean_7d"].isna().mean() - everything["customer_amount_mean_7d"].isna().mean()
    assert found["customer_amount_mean_7d"]["size"] == pytest.approx(gone)
    assert found["amount"]["size"] == 0
    assert change["shifts"][0]["name"] in told.sentence


def test_the_same_rows_have_not_moved(deployment: Config, everything: pd.DataFrame) -> None:
    explored(deployment, everything, 0)
    assert "No column moved." in explored(deployment, everything.sample(frac=1, random_state=1), 1).sentence


def test_a_page_compares_with_the_last_set_before_its_own(deployment: Config, everything: pd.DataFrame) -> None:
    later = explored(deployment, everything.iloc[1:], 2)
    first = explored(deployment, everything, 0)
    assert (later.previous, first.previous) == (None, None)
    assert explored(deployment, everything.iloc[2:], 1).previous == first.training_set


def test_the_page_tells_the_figures_of_the_rows(deployment: Config, everything: pd.DataFrame) -> None:
    text = Path(explored(deployment, everything, 0).page).read_text()
    tables = pages.of_html(text)
    levels = pages.under(tables, "channel")
    online = everything[everything["channel"] == "online"]
    assert levels["online"][0] == f"{len(online):,}"
    assert float(levels["online"][3].removesuffix(" %")) == pytest.approx(100 * online["label"].mean(), abs=0.001)
    numbers = pages.under(tables, "column")
    missing = everything["customer_amount_mean_7d"].isna().mean()
    assert float(numbers["customer_amount_mean_7d"][0].removesuffix(" %")) == pytest.approx(100 * missing, abs=0.051)
    means = [everything.loc[everything["label"] == label, "amount"].mean() for label in (0, 1)]
    shown = [value for name, cells in numbers.items() if name.startswith("amount") and "over" not in name for value in cells]
    assert [float(value) for value in shown[-2:]] == pytest.approx(means, rel=0.001)


def test_hostile_names_are_shown_and_run_nothing(deployment: Config, everything: pd.DataFrame) -> None:
    explored(deployment, everything, 0)
    told = explored(deployment, everything.assign(country=HOSTILE), 1)
    text = Path(told.page).read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)" in text


def test_a_page_is_made_once(deployment: Config, everything: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    first = explored(deployment, everything, 0)
    monkeypatch.setattr(exploration.render, "html", None)
    assert explore(deployment, FIRST_AS_OF, first.training_set) == first


def test_a_set_that_was_changed_is_not_explored(deployment: Config, everything: pd.DataFrame) -> None:
    name = freeze(deployment, everything, pd.Timestamp(FIRST_AS_OF))
    everything.iloc[1:].to_parquet(dataset.path_of(deployment, name))
    with pytest.raises(ValueError, match="the frozen training set was changed"):
        explore(deployment, FIRST_AS_OF, name)


NUMBERS = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=200)


@given(NUMBERS)
def test_every_row_is_in_a_bin_or_missing(values: list[float]) -> None:
    found = np.array(values)
    labels = np.arange(len(found)) % 2
    told = summarize_numbers(found, labels, "x")
    there = np.isfinite(found)
    assert sum(told.negatives) + sum(told.positives) == there.sum()
    assert told.missing == pytest.approx(1 - there.mean())
    assert list(told.quantiles) == sorted(told.quantiles)


@given(NUMBERS, NUMBERS)
def test_a_shift_is_a_share_and_the_same_both_ways(before: list[float], after: list[float]) -> None:
    there, back = (shift_of_numbers(np.array(a), np.array(b), "x") for a, b in ((before, after), (after, before)))
    assert 0 <= there.size <= 1 + 1e-12
    assert there.size == pytest.approx(back.size)
    assert shift_of_numbers(np.array(before), np.array(before), "x").size == 0


def test_a_shift_of_numbers_is_the_distance_of_kolmogorov_and_smirnov() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    before, after = rng.normal(size=3000), rng.normal(0.2, 1.1, size=2000)
    assert shift_of_numbers(before, after, "x").size == pytest.approx(ks_2samp(before, after).statistic, abs=1e-3)


@pytest.mark.parametrize(("spread", "is_log"), [(0.5, False), (2.5, True)])
def test_only_a_long_tail_is_shown_on_a_logarithmic_scale(spread: float, is_log: bool) -> None:
    rng = np.random.default_rng(0)
    assert summarize_numbers(rng.lognormal(3, spread, 4000), np.zeros(4000), "x").is_log is is_log
    assert not summarize_numbers(np.r_[np.zeros(90), np.ones(10)], np.zeros(100), "is_night").is_log


def test_a_category_that_is_replaced_moved_altogether() -> None:
    labels = np.zeros(4, dtype=int)
    before, after = (summarize_category(pd.Series([level] * 4), labels, "c") for level in ("a", "b"))
    assert shift_of_category(before, after).size == 1
    assert shift_of_category(before, before).sentence == "the same shares"


def test_a_day_without_rows_is_told() -> None:
    times = pd.Series(pd.to_datetime(["2025-02-01T10:00", "2025-02-03T23:59", "2025-02-03T00:00"], utc=True))
    days = [(day.date, day.rows, day.positives) for day in per_day(times, np.array([1, 0, 1]))]
    assert days == [("2025-02-01", 1, 1), ("2025-02-02", 0, 0), ("2025-02-03", 2, 1)]


def test_rank_correlations_are_those_of_scipy() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(500, 3)), columns=["a", "b", "c"])
    frame["b"] += frame["a"] ** 3
    assert np.allclose(spearman(frame, ["a", "b", "c"]), spearmanr(frame).statistic)
