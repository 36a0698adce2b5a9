"""A fold is a small copy of a training: windows in the order of time, a gap, and only labels that were known by then."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.config import Config, Threshold, load
from ml.training import dataset, folds
from ml.training.split import Split, split
from tests.training import rows

DEMO = load("config/demo.yaml")
instants = st.datetimes(
    min_value=dt.datetime(2022, 1, 1),  # noqa: DTZ001
    max_value=dt.datetime(2027, 1, 1),  # noqa: DTZ001
    timezones=st.just(dt.UTC),
)


def _days(value: float) -> Threshold:
    return Threshold(value=value, unit="days", reason="as drawn")


def _drawn(train: int, validation: int, delay: int, evaluation: int, count: int) -> Config:
    """The demo with other windows."""
    assert DEMO.training.tuning is not None
    tuning = DEMO.training.tuning.model_copy(
        update={"evaluation": _days(evaluation), "folds": Threshold(value=count, unit="folds", reason="as drawn")}
    )
    training = DEMO.training.model_copy(update={"train": _days(train), "validation": _days(validation), "tuning": tuning})
    labels = DEMO.labels.model_copy(update={"delay": _days(delay)})
    return DEMO.model_copy(update={"training": training, "labels": labels})


@given(
    as_of=instants,
    train=st.integers(1, 90),
    validation=st.integers(1, 14),
    delay=st.integers(0, 21),
    evaluation=st.integers(1, 14),
    count=st.integers(2, 6),
)
def test_folds_keep_the_order_of_time_and_the_gap_or_say_that_they_do_not_fit(
    as_of: dt.datetime, train: int, validation: int, delay: int, evaluation: int, count: int
) -> None:
    config = _drawn(train, validation, delay, evaluation, count)
    whole = split(config, as_of)
    if train <= count * evaluation + delay:
        with pytest.raises(folds.NoFold, match=r"training\.tuning\.folds"):
            folds.windows(config, config.training.tuning, whole)
        return
    cut = folds.windows(config, config.training.tuning, whole)
    assert len(cut) == count
    for fold in cut:
        assert fold.train_start < fold.validation_start < fold.fitted_until <= fold.holdout_start < fold.holdout_end
        assert fold.holdout_start - fold.fitted_until == config.label_delay
        assert fold.train_start == whole.train_start
    for older, newer in pairwise(cut):
        assert older.holdout_end == newer.holdout_start, "evaluation windows neither overlap nor leave days out"
    assert cut[-1].holdout_end == whole.fitted_until, "nothing of the holdout is looked at"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A deployment with two folds."""
    return rows.deployment(tmp_path_factory.mktemp("folds"))


@pytest.fixture(scope="module")
def whole(config: Config) -> Split:
    """The windows of its training."""
    return split(config, rows.AS_OF)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), negatives=st.floats(0.1, 1))
def test_rows_of_a_fold_carry_no_label_of_the_future(config: Config, whole: Split, seed: int, negatives: float) -> None:
    given_rows = rows.made(config, whole, a_day=40, seed=seed % 1000)
    reported = given_rows.set_index("event_id")[dataset.LABEL_KNOWN_AT]
    for window in folds.windows(config, config.training.tuning, whole):
        fold = folds.cut(window, given_rows, negatives, seed)
        fitted, evaluated = fold.fitted, fold.evaluated
        assert fitted["event_time"].max() < window.fitted_until
        assert evaluated["event_time"].between(window.holdout_start, window.holdout_end, inclusive="left").all()
        assert not set(fitted["event_id"]) & set(evaluated["event_id"])
        positives = fitted[fitted["label"] == 1]
        assert (reported[positives["event_id"]] <= window.holdout_start).all()
        inside = given_rows[(given_rows["event_time"] >= window.train_start) & (given_rows["event_time"] < window.fitted_until)]
        known = inside[(inside["label"] == 1) & (inside[dataset.LABEL_KNOWN_AT] <= window.holdout_start)]
        assert set(positives["event_id"]) == set(known["event_id"]), "no positive is left out by the draw of negatives"
        assert (fitted[fitted[dataset.SPLIT] == dataset.TRAIN]["event_time"] < window.validation_start).all()
        assert (fitted[fitted[dataset.SPLIT] == dataset.VALIDATION]["event_time"] >= window.validation_start).all()


def test_a_positive_that_is_reported_after_the_evaluation_began_is_a_negative_to_who_fits(config: Config, whole: Split) -> None:
    window = folds.windows(config, config.training.tuning, whole)[0]
    given_rows = rows.made(config, whole)
    late = given_rows[(given_rows["label"] == 1) & (given_rows["event_time"] < window.validation_start)].index[0]
    on_time = folds.cut(window, given_rows, 1.0, 0).fitted.set_index("event_id")["label"]
    given_rows.loc[late, dataset.LABEL_KNOWN_AT] = pd.Timestamp(window.holdout_start) + pd.Timedelta(seconds=1)
    too_late = folds.cut(window, given_rows, 1.0, 0).fitted.set_index("event_id")["label"]
    event = given_rows.loc[late, "event_id"]
    assert (on_time[event], too_late[event]) == (1, 0)
    assert on_time.drop(event).equals(too_late.drop(event))


@pytest.mark.parametrize("part", ["train", "validation", "evaluation"])
def test_a_fold_without_positives_names_the_window(config: Config, whole: Split, part: str) -> None:
    window = folds.windows(config, config.training.tuning, whole)[0]
    given_rows = rows.made(config, whole)
    bounds = {
        "train": (window.train_start, window.validation_start),
        "validation": (window.validation_start, window.fitted_until),
        "evaluation": (window.holdout_start, window.holdout_end),
    }[part]
    inside = given_rows["event_time"].between(*bounds, inclusive="left")
    with pytest.raises(folds.NoFold, match=f"the {part} window of fold .* 0 of them positive"):
        folds.cut(window, given_rows.assign(label=given_rows["label"].where(~inside, 0)), 1.0, 0)


def test_a_deployment_whose_folds_do_not_fit_is_refused_on_load(tmp_path: Path) -> None:
    from ml.config import ConfigError
    from tests import deployments

    told = deployments.raw()
    told["training"]["train"]["value"] = 28
    with pytest.raises(ConfigError, match=r"folds \* evaluation \+ labels.delay is 28 days, which leaves nothing"):
        load(deployments.write(tmp_path, told))
