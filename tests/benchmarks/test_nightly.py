"""In a simulated year the truth is known, policies see the same nights, and each keeps to its own rule."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import gate_errors, nightly
from benchmarks.nightly import Model, Policy, Stream, World, run
from benchmarks.payments import payments
from ml.evaluation.metrics import average_precision


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A year of 30 nights."""
    monkeypatch.setattr(nightly, "NIGHTS", 30)


@pytest.mark.usefixtures("short")
def test_true_quality_is_the_average_precision_that_a_long_window_shows() -> None:
    """One model on its own 51 days; their chance is about .02, three times that is allowed."""
    stream, world = Stream(1), World(decay=0.0, luck=0.0)
    model = Model(stream, world, [1, 0], trained_until=0)
    days = range(30 + nightly.LAG)
    labels = np.concatenate([stream.labels[day] for day in days])
    scores = np.concatenate([model.scores(day) for day in days])
    assert average_precision(labels, scores) == pytest.approx(model.quality(0), abs=0.06)


@pytest.mark.usefixtures("short")
def test_models_age_and_answer_the_same_whenever_they_are_asked() -> None:
    stream = Stream(1)
    model, again = (Model(stream, World(decay=0.02, luck=0.0), [1, 7], trained_until=5) for _ in range(2))
    assert model.quality(5) - model.quality(50) == pytest.approx(0.02)
    asked_alone = model.scores(9)
    again.scores(8)
    assert (again.scores(9) == asked_alone).all()


@pytest.mark.usefixtures("short")
def test_policies_see_the_same_nights_and_keep_to_their_rules() -> None:
    policies = {"higher": Policy(None), "again": Policy(None), "weekly": Policy(None, fresh=7), "never": Policy(1e-9)}
    told = run(3, World(), policies)
    assert told["higher"] == told["again"]
    assert told["higher"].promotions >= 2
    assert told["weekly"].promotions <= 5  # 30 nights hold five windows that start a week apart
    assert told["never"].promotions == told["never"].worse == 0
    assert all(year.worse <= year.promotions for year in told.values())


@pytest.mark.usefixtures("short")
def test_a_fresh_champion_is_worth_more_where_models_age() -> None:
    told = run(4, World(decay=0.4, luck=0.0), {"higher": Policy(None), "never": Policy(1e-9)})
    assert told["higher"].quality > told["never"].quality
    assert told["higher"].worse == 0  # without luck the newer model is the better one


def test_alpha_is_relaxed_when_nothing_was_promoted_for_long() -> None:
    policy = Policy(0.05, fresh=7, relaxed=0.2, old=21)
    assert [policy.alpha_after(nights) for nights in (0, 20, 21, 300)] == [0.05, 0.05, 0.2, 0.2]
    assert Policy(0.05).alpha_after(300) == 0.05


def test_a_challenger_of_the_same_recipe_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 3,000 cards with a fraud; chance is about .012."""
    monkeypatch.setattr(gate_errors, "LARGE", 3000)
    assert gate_errors.true_gain(0.0, 0.0) == pytest.approx(0, abs=0.036)
    assert gate_errors.true_gain(0.5, 0.0) > gate_errors.true_gain(0.2, 0.0) > 0.03


def test_a_day_favours_one_model_or_the_other_and_neither_in_the_long_run() -> None:
    """Ranks of frauds by day differ by the effect that was asked for; 300 days know its standard deviation to 4 %, times 3."""
    for by_day in (0.0, 1.0):
        labels, *scores, _, day = payments(np.random.default_rng(1), 6000, days=300, by_day=by_day)
        champion, challenger = (np.log(of / (1 - of)) for of in scores)
        frauds = labels == 1
        daily = np.bincount(day[frauds], (challenger - champion)[frauds]) / np.bincount(day[frauds])
        noise = 1.0 / np.sqrt(20)
        assert daily.mean() == pytest.approx(0, abs=0.2)
        assert daily.std() == pytest.approx(np.hypot(by_day, noise), abs=0.12)
        assert set(day) == set(range(300))


def test_a_model_has_good_and_bad_days_in_a_world_where_days_have_an_effect() -> None:
    stream = Stream(5)
    steady, moody = (Model(stream, World(by_day=by_day), [5, 1], trained_until=0) for by_day in (0.0, 0.5))
    found = []
    for day in range(40):
        higher = moody.scores(day) - steady.scores(day)
        assert not higher[stream.labels[day] == 0].any()
        found.append(higher[stream.labels[day] == 1].mean())
    assert steady.quality(7) == moody.quality(7)
    assert np.std(found) == pytest.approx(0.5, abs=0.17)  # three standard deviations of 40 days
