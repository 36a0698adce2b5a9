"""Each way in which a gate can be worthless is planted here and must be caught."""

import inspect
import json
import warnings
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from ml.evaluation.gate import Contender, GateError, Holdout, Outcome, Rows, Rules, Verdict, judge

START, END = datetime(2025, 6, 2, tzinfo=UTC), datetime(2025, 6, 16, tzinfo=UTC)
HOLDOUT = Holdout(START, END, datetime(2025, 6, 23, tzinfo=UTC), digest="rows")
CHAMPION = Contender("fraud 12", "aaaa", datetime(2025, 5, 20, tzinfo=UTC), datetime(2025, 5, 27, tzinfo=UTC), 0.9)
CHALLENGER = Contender("fraud 13", "bbbb", datetime(2025, 5, 25, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC), 0.9)
RULES = Rules("average precision", alpha=0.05, worthwhile_gain=0.02, margins={}, limits={}, cards_a_day=20)


def probabilities(logits):
    return 1 / (1 + np.exp(3 - logits))


def scored(gain=0.0, rows=6000, clusters=600, seed=0):
    """Rows on which the challenger's frauds score higher by `gain`."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.04).astype(int)
    common = 1.5 * labels + 0.8 * rng.normal(size=rows)
    return Rows(
        labels=labels,
        champion=probabilities(common + 0.4 * rng.normal(size=rows)),
        challenger=probabilities(common + 0.4 * rng.normal(size=rows) + gain * labels),
        clusters=rng.integers(0, clusters, rows),
        event_times=np.datetime64("2025-06-02") + rng.integers(0, 14 * 86_400, rows).astype("timedelta64[s]"),
    )


def meeting(rows=None, rules=None, **changes):
    """Arguments of `judge`, without guardrails or slices."""
    return {
        "champion": CHAMPION,
        "challenger": CHALLENGER,
        "holdout": HOLDOUT,
        "rows": rows or scored(),
        "rules": replace(RULES, **(rules or {})),
        "replicates": 300,
        "seed": 1,
        "trigger": "schedule",
        "slices": (),
        "attributes": {},
        "meetings": (),
        "footprint": None,
        "notes": (),
        "spend": lambda: None,
    } | changes


def test_a_better_challenger_is_promoted():
    verdict = judge(**meeting(scored(gain=1.0)))
    assert verdict.outcome is Outcome.PROMOTE
    assert verdict.primary.lower_bound > 0
    assert f"at least {verdict.primary.lower_bound:+.4f} with 95% confidence" in verdict.reason


def test_a_worse_challenger_is_not():
    verdict = judge(**meeting(scored(gain=-1.0)))
    assert verdict.outcome is Outcome.KEEP
    assert verdict.primary.upper_bound < 0
    assert "is not better by what is worthwhile" in verdict.reason


def test_too_few_rows_are_inconclusive_and_say_what_they_could_have_shown():
    verdict = judge(**meeting(scored(gain=0.1, rows=1500)))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert f"show a gain of {verdict.minimum_detectable_effect:.4f} in 80 of 100 gates" in verdict.reason
    width = verdict.primary.upper_bound - verdict.primary.lower_bound
    assert verdict.more_days == np.ceil(14 * (width / 0.02) ** 2 - 14)
    assert f"A holdout {verdict.more_days} days longer would decide." in verdict.reason


def test_a_proven_gain_is_promoted_however_small():
    verdict = judge(**meeting(scored(gain=1.0), {"worthwhile_gain": 0.9}))
    assert 0 < verdict.primary.lower_bound < verdict.primary.upper_bound < 0.9
    assert verdict.outcome is Outcome.PROMOTE


def test_the_minimum_detectable_effect_is_about_two_and_a_half_standard_errors():
    verdict = judge(**meeting())
    assert 2.486 < verdict.minimum_detectable_effect / verdict.primary.standard_error < 2.6


def test_a_tie_is_never_promoted():
    """Other hash, same ranking: the figures are exactly 0, whatever gain is asked for."""
    rows = scored()
    tie = replace(rows, challenger=rows.champion**2)
    verdict = judge(**meeting(tie))
    assert (verdict.primary.gain, verdict.primary.lower_bound) == (0, 0)
    assert verdict.outcome is Outcome.KEEP
    assert judge(**meeting(tie, {"worthwhile_gain": 0.0})).outcome is Outcome.INCONCLUSIVE


def test_a_model_is_not_compared_with_itself():
    renamed = replace(CHALLENGER, model_hash=CHAMPION.model_hash)
    with pytest.raises(GateError, match=r"fraud 12 and challenger fraud 13 are the same model \(hash aaaa\)"):
        judge(**meeting(scored(gain=1.0), challenger=renamed))


@pytest.mark.parametrize("who", ["champion", "challenger"])
def test_a_model_that_has_seen_the_holdout_is_refused(who):
    """The challenger is far better here, as a leaked one is; it is refused all the same."""
    contender = CHAMPION if who == "champion" else CHALLENGER
    for until in (START, START + timedelta(days=3), END + timedelta(days=30)):
        leaked = replace(contender, trained_until=until)
        with pytest.raises(GateError, match=f"{contender.name} was trained on events up to"):
            judge(**meeting(scored(gain=1.0), **{who: leaked}))
    leaked = replace(contender, labels_known_until=START + timedelta(microseconds=1))
    with pytest.raises(GateError, match=f"{contender.name} was trained on labels known up to"):
        judge(**meeting(scored(gain=1.0), **{who: leaked}))


def test_training_may_end_right_before_the_holdout():
    last = replace(CHALLENGER, trained_until=START - timedelta(microseconds=1), labels_known_until=START)
    assert judge(**meeting(scored(gain=1.0), challenger=last)).outcome is Outcome.PROMOTE


def test_time_zones_are_compared_as_instants():
    """An hour before midnight in New York is already the holdout's first morning in UTC."""
    local = datetime(2025, 6, 1, 23, tzinfo=timezone(timedelta(hours=-5)))
    with pytest.raises(GateError, match="was trained on events up to"):
        judge(**meeting(scored(gain=1.0), challenger=replace(CHALLENGER, trained_until=local)))


@pytest.mark.parametrize("instant", [START - timedelta(seconds=1), END, END + timedelta(days=1)])
def test_rows_outside_the_holdout_are_refused(instant):
    rows = scored(gain=1.0)
    rows.event_times[7] = np.datetime64(instant.replace(tzinfo=None))
    with pytest.raises(GateError, match="1 of 6,000 event times lie outside the holdout"):
        judge(**meeting(rows))


def test_a_missing_event_time_is_outside():
    rows = scored(gain=1.0)
    rows.event_times[7] = np.datetime64("NaT")
    with pytest.raises(GateError, match="1 of 6,000 event times lie outside the holdout"):
        judge(**meeting(rows))


def test_event_times_may_be_a_column_with_a_time_zone():
    rows = scored()
    expected = judge(**meeting(rows))
    column = pd.Series(rows.event_times).dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert judge(**meeting(replace(rows, event_times=column))) == expected


def test_labels_that_cannot_have_been_known_are_refused():
    early = replace(HOLDOUT, labels_known_until=END - timedelta(days=1))
    with pytest.raises(GateError, match="its label cannot be known"):
        judge(**meeting(scored(gain=1.0), holdout=early))


ROWS = scored()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"challenger": np.where(np.arange(6000) == 3, np.nan, 0.5)}, "fraud 13: scores must be finite: 1 of 6,000"),
        ({"champion": np.where(np.arange(6000) == 3, np.inf, 0.5)}, "fraud 12: scores must be finite: 1 of 6,000"),
        ({"challenger": np.zeros(5)}, r"fraud 13: labels have shape \(6000,\) and scores \(5,\)"),
        ({"challenger": ["high"] * 6000}, "fraud 13: could not convert"),
        ({"challenger": np.full(6000, 0.3)}, "fraud 13 gives all 6,000 rows the score 0.3"),
        ({"champion": np.zeros(6000)}, "fraud 12 gives all 6,000 rows the score 0"),
        ({"labels": np.zeros(6000)}, "no positive among 6,000 labels"),
        ({"labels": np.ones(6000)}, "no negative among 6,000 labels"),
        ({"labels": np.full(6000, 2)}, "labels must be 0 or 1"),
        ({"clusters": np.zeros(6000)}, "only 1 clusters have a positive in the holdout, an interval needs 30"),
        ({"clusters": np.where(ROWS.labels == 1, np.arange(6000) % 29, np.arange(6000))}, "clusters have a positive"),
        ({"clusters": np.where(ROWS.labels == 0, np.arange(6000) % 29, np.arange(6000))}, "clusters have a negative"),
        ({"clusters": np.array([None] * 6000)}, "clusters cannot be sorted"),
        ({"clusters": np.zeros(5)}, r"clusters have shape \(5,\)"),
        ({"event_times": ROWS.event_times[:5]}, r"event_times have shape \(5,\)"),
        ({"event_times": np.array(["soon"] * 6000)}, "event_times are not instants"),
        ({"challenger": 2 * ROWS.challenger}, "fraud 13 scores from .* expected probabilities"),
        ({"challenger": ROWS.champion}, "fraud 12 and fraud 13 give every one of 6,000 rows the same score"),
        ({"missed": np.ones(5)}, r"costs of a miss have shape \(5,\)"),
    ],
)
def test_rows_that_decide_nothing_are_refused_before_the_holdout_is_used(changes, message):
    def spend():
        raise AssertionError("the holdout was used")

    with pytest.raises(GateError, match=message):
        judge(**meeting(replace(scored(gain=1.0), **changes), spend=spend))


def test_a_holdout_that_is_used_up_is_not_looked_at():
    def spend():
        raise GateError("used up")

    with pytest.raises(GateError, match="used up"):
        judge(**meeting(scored(gain=1.0), spend=spend))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"alpha": 0.21}, "alpha is 0.21, expected more than 0 and at most 0.2"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"worthwhile_gain": -0.01}, "thresholds {'worthwhile_gain': -0.01} are negative or not finite"),
        ({"margins": {"ROC AUC": float("nan")}}, "thresholds {'ROC AUC': nan} are negative or not finite"),
        ({"metric": "accuracy"}, "metric is 'accuracy', expected one of"),
        ({"metric": "expected cost"}, "what a missed positive costs is not given"),
        ({"limits": {"latency": 5.0}}, r"limits on \['latency'\] were declared, but what serving takes was not measured"),
    ],
)
def test_rules_that_decide_nothing_are_refused(rules, message):
    with pytest.raises(GateError, match=message):
        judge(**meeting(scored(gain=1.0), rules))


def test_a_seed_must_not_decide():
    with pytest.raises(GateError, match="replicates is 199, expected at least 200"):
        judge(**meeting(replicates=199))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(CHAMPION, model_hash=""), "Contender: model_hash is empty"),
        (
            lambda: replace(CHAMPION, trained_until=CHAMPION.trained_until.replace(tzinfo=None)),
            "trained_until is .*expected an instant with a time zone",
        ),
        (lambda: replace(CHAMPION, labels_known_until="2025-05-01"), "labels_known_until is '2025-05-01'"),
        (lambda: replace(HOLDOUT, digest=""), "Holdout: digest is empty"),
        (lambda: replace(HOLDOUT, end=START), "is not before end"),
    ],
)
def test_contender_and_holdout_must_say_what_they_are(make, message):
    with pytest.raises(GateError, match=message):
        make()


def test_no_argument_turns_the_gate_off():
    """No flag, no dry run, no default: whoever calls the gate states everything it decides by."""
    parameters = inspect.signature(judge).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters)
    assert not [p.name for p in parameters if p.annotation in ("bool", bool)]


def test_an_outcome_cannot_be_overwritten():
    verdict = judge(**meeting(scored(gain=-1.0)))
    with pytest.raises(FrozenInstanceError):
        verdict.outcome = Outcome.PROMOTE
    with pytest.raises(GateError, match="outcome PROMOTE contradicts the figures, which say KEEP"):
        replace(verdict, outcome=Outcome.PROMOTE)
    record = verdict.to_dict()
    with pytest.raises(GateError, match="outcome PROMOTE contradicts the figures"):
        Verdict.from_dict(record | {"outcome": "PROMOTE"})
    with pytest.raises(GateError, match="are the same model"):
        Verdict.from_dict(record | {"challenger": record["champion"]})
    with pytest.raises(GateError, match="was trained on events up to"):
        replace(verdict, challenger=replace(CHALLENGER, trained_until=END))
    with pytest.raises(GateError, match=r"alpha is 0.01, but the bounds were computed for 0.05"):
        replace(verdict, rules=replace(verdict.rules, alpha=0.01))


@pytest.mark.parametrize("gain", [-1.0, 0.1, 1.0])
def test_a_verdict_survives_json(gain):
    verdict = judge(**meeting(scored(gain=gain)))
    record = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert Verdict.from_dict(record) == verdict
    assert record["outcome"] == verdict.outcome.value
    assert record["holdout"]["start"] == "2025-06-02T00:00:00+00:00"
    assert [told["name"] for told in record["others"]] == ["ROC AUC", "calibration error"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: r.pop("primary"), "KeyError: 'primary'"),
        (lambda r: r.update(force=True), "force"),
        (lambda r: r.update(outcome="YES"), "'YES' is not a valid Outcome"),
        (lambda r: r["champion"].update(trained_until="yesterday"), "Invalid isoformat string"),
        (lambda r: r["primary"].pop("gain"), "gain"),
    ],
)
def test_a_record_that_is_no_verdict_is_refused(spoil, message):
    record = judge(**meeting()).to_dict()
    spoil(record)
    with pytest.raises(GateError, match=f"not the record of a verdict: .*{message}"):
        Verdict.from_dict(record)


def test_the_same_rows_and_seed_give_the_same_verdict():
    assert judge(**meeting(scored(gain=0.3))) == judge(**meeting(scored(gain=0.3)))
    assert judge(**meeting(scored(gain=0.3))) != judge(**meeting(scored(gain=0.3), seed=2))
