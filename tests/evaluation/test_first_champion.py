"""A first champion has to beat the base rate, and anything that truly does can take office."""

from dataclasses import replace

import numpy as np
import pytest

from ml.evaluation.gate import GateError, Outcome, Verdict, judge
from ml.evaluation.guardrails import Status
from tests.evaluation.meetings import CHALLENGER, CHAMPION, meeting, scored

RATE = 0.04
NOBODY = replace(CHAMPION, name="base rate", threshold=1.0, ranks=False)
EVERY_MARGIN = {"ROC AUC": 0.01, "calibration error": 0.05, "expected cost": 1.0, "card precision": 0.02}


def against_nobody(scores=None, rules=None, seed=0, missed=None, **changes):
    """A challenger with its own scores, or others, against a score that is the same on all rows."""
    rows = scored(seed=seed)
    size = len(rows.labels)
    rows = replace(rows, champion=np.full(size, RATE), challenger=rows.challenger if scores is None else scores(rows))
    if missed is not None:
        rows = replace(rows, missed=np.full(size, missed))
    return judge(**meeting(rows, rules, **{"champion": NOBODY, "challenger": replace(CHALLENGER, threshold=0.2)} | changes))


def test_a_model_that_ranks_beats_the_base_rate():
    verdict = against_nobody()
    assert verdict.outcome is Outcome.PROMOTE
    assert verdict.primary.champion == pytest.approx(verdict.positives / verdict.rows)
    area = next(told for told in verdict.others if told.name == "ROC AUC")
    assert area.champion == pytest.approx(0.5)
    assert Verdict.from_dict(verdict.to_dict()) == verdict


def test_scores_without_any_skill_take_office_no_more_often_than_alpha():
    """Of 100 gates at alpha .05, 11 and more would be seen once in a hundred times."""
    seeds = range(100)
    outcomes = [
        against_nobody(lambda rows, s=seed: np.random.default_rng(s + 1000).random(len(rows.labels)), seed=seed).outcome
        for seed in seeds
    ]
    assert outcomes.count(Outcome.PROMOTE) <= 10


def test_a_ranking_upside_down_is_significantly_worse_and_the_office_stays_vacant():
    verdict = against_nobody(lambda rows: 1 - rows.challenger)
    assert verdict.outcome is Outcome.KEEP
    assert verdict.reason.startswith("The challenger is significantly worse: average precision")
    assert f"a loss of at least {-verdict.primary.upper_bound:.4f}" in verdict.reason
    assert "There is no champion yet: a first one has to beat base rate, which was not beaten" in verdict.reason


def test_what_cannot_be_told_says_what_would_decide():
    few = {"worthwhile_gain": 0.05}
    verdict = against_nobody(lambda rows: np.random.default_rng(3).random(len(rows.labels)) * 0.9, few | {"alpha": 0.001})
    assert verdict.outcome in (Outcome.KEEP, Outcome.INCONCLUSIVE)
    assert "There is no champion yet" in verdict.reason


def test_no_guardrail_makes_a_first_champion_impossible():
    """A constant is calibrated perfectly and costs nothing to alert; neither keeps out a model that ranks."""
    rules = {"margins": EVERY_MARGIN, "alert_cost": 50.0, "false_alert_cost": 50.0}
    verdict = against_nobody(rules=rules, missed=20.0)
    assert verdict.outcome is Outcome.PROMOTE, verdict.reason
    assert {check.name for check in verdict.guardrails} == {"ROC AUC", "expected cost", "card precision@20"}
    assert {check.status for check in verdict.guardrails} == {Status.PASSED}


def test_money_is_compared_with_as_many_alerts_at_random():
    rules = {"metric": "expected cost", "worthwhile_gain": 1.0, "alert_cost": 4.0, "false_alert_cost": 6.0}
    verdict = against_nobody(rules=rules, missed=200.0)
    rows = scored()
    alerts, fraud = rows.challenger >= 0.2, rows.labels == 1
    share = alerts.mean()
    expected = (200.0 * (1 - share) * fraud.sum() + 4.0 * alerts.sum() + 6.0 * share * (~fraud).sum()) / 14
    assert verdict.primary.champion == pytest.approx(expected)
    assert verdict.outcome is Outcome.PROMOTE


def test_a_challenger_that_ranks_nothing_is_still_refused():
    with pytest.raises(GateError, match="it ranks nothing"):
        against_nobody(lambda rows: np.full(len(rows.labels), 0.5))


def test_a_champion_that_is_worse_than_its_challenger_by_chance_alone_is_no_vacancy():
    verdict = judge(**meeting(scored(gain=-1.0)))
    assert verdict.reason.startswith("The challenger is significantly worse")
    assert "There is no champion" not in verdict.reason
