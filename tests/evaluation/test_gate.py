"""Each way in which a gate can be worthless is planted here and must be caught."""

import inspect
import json
import warnings
from dataclasses import FrozenInstanceError, replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from ml.evaluation.gate import GateError, Meeting, Outcome, Verdict, judge
from ml.evaluation.guardrails import Status, unknown
from tests.evaluation.meetings import CHALLENGER, CHAMPION, END, HOLDOUT, START, meeting, scored


def test_a_better_challenger_is_promoted():
    verdict = judge(**meeting(scored(gain=1.0)))
    assert verdict.outcome is Outcome.PROMOTE
    assert verdict.primary.lower_bound > 0
    assert f"at least {verdict.primary.lower_bound:+.4f} with 95% confidence" in verdict.reason


def test_a_worse_challenger_is_not():
    verdict = judge(**meeting(scored(gain=-1.0)))
    assert verdict.outcome is Outcome.KEEP
    assert verdict.primary.upper_bound < 0
    assert "is significantly worse" in verdict.reason


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
    """Fourteen days leave fewer degrees of freedom than hundreds of cards; with one day nothing is known of days."""
    ratio, alone = (
        verdict.minimum_detectable_effect / verdict.primary.standard_error
        for verdict in (judge(**meeting()), judge(**meeting(on_one_day(scored()))))
    )
    assert 2.486 < alone < 2.6
    assert alone < ratio < 2.85


def on_one_day(rows):
    return replace(rows, event_times=np.full(len(rows.labels), np.datetime64("2025-06-05T12:00")))


def with_good_days(gain, seed=0):
    """Rows on which the challenger's frauds score higher by `gain` on every second day, and lower by it on the others."""
    rows = scored(seed=seed)
    days = rows.event_times.astype("datetime64[D]").astype(int)
    logits = np.log(rows.challenger / (1 - rows.challenger)) + gain * rows.labels * np.where(days % 2, 1, -1)
    return replace(rows, challenger=1 / (1 + np.exp(-logits)))


def test_a_verdict_tells_how_much_of_the_uncertainty_comes_from_days():
    steady, uneven = judge(**meeting()), judge(**meeting(with_good_days(1.0)))
    assert uneven.primary.share_of_days > 0.5 > steady.primary.share_of_days
    assert uneven.minimum_detectable_effect > 1.5 * steady.minimum_detectable_effect
    assert f"{uneven.primary.share_of_days:.0%} of the gain's variance comes from differences between days" in uneven.reason
    assert "600 clusters, 14 days" in uneven.reason
    assert not [note for note in uneven.notes if "one day" in note]


def test_a_holdout_of_one_day_says_that_nothing_is_known_of_days():
    verdict = judge(**meeting(on_one_day(with_good_days(1.0))))
    assert verdict.primary.share_of_days == 0
    assert [note for note in verdict.notes if note.startswith("all positives are of one day: nothing is known of how")]


def test_guardrails_and_second_meetings_know_days_too():
    rules = {"margins": {"ROC AUC": 0.05, "golden set": 0.05, "calibration error": 0.2}}
    told = []
    for rows in (with_good_days(1.0), on_one_day(with_good_days(1.0))):
        frozen = {part: getattr(rows, part) for part in ("labels", "champion", "challenger", "clusters", "event_times")}
        second = Meeting("golden set", "version 1", **frozen)
        told.append(judge(**meeting(rows, rules, meetings=[second])).guardrails)
    assert [check.name for check in told[0]] == ["ROC AUC", "calibration error", "golden set (version 1)"]
    for check, alone in zip(*told, strict=True):
        assert check.gain == alone.gain
        assert check.lower_bound < alone.lower_bound


def test_a_golden_set_of_months_knows_their_days():
    rows = scored(seed=9)
    months = np.datetime64("2025-01-01") + np.random.default_rng(1).integers(0, 120, 6000).astype("timedelta64[D]")
    assert met(second_meeting(event_times=months)).guardrails[0].status is Status.PASSED
    with pytest.raises(GateError, match=r"golden set \(version 1\): days have shape \(5,\)"):
        met(second_meeting(event_times=rows.event_times[:5]))


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


def test_a_holdout_that_is_used_up_promotes_nothing_however_good():
    used_up = unknown("fresh days", "days", 3, "only a refresh can follow, for 1 day is fresh and 3 are needed")
    fresh, used = (judge(**meeting(scored(gain=1.0), spend=lambda check=check: check)) for check in (None, used_up))
    assert (fresh.outcome, used.outcome) == ("PROMOTE", "INCONCLUSIVE")
    assert used.primary == fresh.primary
    assert "only a refresh can follow" in used.reason
    assert not used.harms


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
def test_rules_that_decide_nothing_are_refused_before_the_holdout_is_used(rules, message):
    def spend():
        raise AssertionError("the holdout was used")

    with pytest.raises(GateError, match=message):
        judge(**meeting(scored(gain=1.0), rules, spend=spend))


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


def second_meeting(name="golden set", gain=0.0, **changes):
    """Rows of a second meeting in which the challenger's frauds score higher by `gain`."""
    rows = scored(gain=gain, seed=9)
    told = {part: getattr(rows, part) for part in ("labels", "champion", "challenger", "clusters", "event_times")}
    return Meeting(name, "version 1", **{**told, **changes})


def met(second, margin=0.1, gain=1.0):
    return judge(**meeting(scored(gain=gain), {"margins": {second.name: margin}}, meetings=[second]))


@pytest.mark.parametrize("name", ["golden set", "ancestor"])
def test_a_second_meeting_without_a_loss_bars_nobody(name):
    verdict = met(second_meeting(name))
    assert verdict.guardrails[0].status is Status.PASSED
    assert verdict.guardrails[0].name == f"{name} (version 1)"
    assert verdict.outcome is Outcome.PROMOTE


@pytest.mark.parametrize("name", ["golden set", "ancestor"])
def test_a_challenger_that_is_worse_where_it_met_before_is_kept_out_however_much_it_gains(name):
    verdict = met(second_meeting(name, gain=-1.0), margin=0.02)
    check = verdict.guardrails[0]
    assert verdict.primary.lower_bound > 0
    assert check.status is Status.FAILED
    assert verdict.outcome is Outcome.KEEP
    assert f"{name} (version 1) {check.champion:.4g} → {check.challenger:.4g}: worse by at most" in verdict.reason


def test_a_second_meeting_that_cannot_be_held_leaves_the_question_open():
    verdict = met(Meeting("golden set", "version 1", impossible="it cannot be scored: column amount is gone"))
    assert verdict.primary.lower_bound > 0
    assert verdict.guardrails[0].status is Status.UNKNOWN
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "golden set (version 1): it cannot be scored: column amount is gone" in verdict.reason
    assert verdict.more_days is None


def test_a_second_meeting_of_few_fraud_cards_shows_nothing():
    rows = scored(gain=1.0, seed=9)
    few = np.where(rows.labels == 1, np.arange(6000) % 29, 100 + np.arange(6000))
    verdict = met(second_meeting(gain=1.0, clusters=few))
    assert verdict.guardrails[0].status is Status.UNKNOWN
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "golden set (version 1): only 29 clusters have a positive" in verdict.reason


def test_a_second_meeting_is_judged_by_a_margin_of_its_own():
    with pytest.raises(GateError, match=r"a comparison with the ancestor needs a margin, the rules have \['ROC AUC'\]"):
        judge(**meeting(scored(gain=1.0), {"margins": {"ROC AUC": 0.02}}, meetings=[second_meeting("ancestor")]))
    with pytest.raises(GateError, match=r"golden set \(version 1\): scores must be finite"):
        met(second_meeting(challenger=np.full(6000, np.nan)))


def costly(gain, missed=200.0):
    """Rows whose missed frauds cost as much; the alert threshold is 0.1."""
    rows = scored(gain=gain)
    return replace(rows, missed=np.full(len(rows.labels), missed))


def by_cost(gain, **rules):
    told = {"metric": "expected cost", "worthwhile_gain": 100.0, "alert_cost": 4.0, "false_alert_cost": 6.0} | rules
    contenders = {"champion": replace(CHAMPION, threshold=0.1), "challenger": replace(CHALLENGER, threshold=0.1)}
    return judge(**meeting(costly(gain), told, **contenders))


def test_expected_cost_may_be_the_metric_that_decides():
    """The gain is the money that is saved in a day: frauds found, less the alerts that are looked at."""
    verdict = by_cost(gain=1.0)
    primary, rows = verdict.primary, costly(gain=1.0)

    def cost(scores):
        alerts, fraud = scores >= 0.1, rows.labels == 1
        return (200.0 * (fraud & ~alerts).sum() + 4.0 * alerts.sum() + 6.0 * (alerts & ~fraud).sum()) / 14

    assert (primary.name, primary.unit) == ("expected cost", "money per day")
    assert primary.champion == pytest.approx(cost(rows.champion))
    assert primary.challenger == pytest.approx(cost(rows.challenger))
    assert primary.gain == pytest.approx(cost(rows.champion) - cost(rows.challenger))
    assert verdict.outcome is Outcome.PROMOTE
    assert f"expected cost {primary.champion:,.0f} → {primary.challenger:,.0f} (+{primary.gain:,.0f})" in verdict.reason
    assert [told.name for told in verdict.others] == ["average precision", "ROC AUC", "calibration error"]


def test_a_dearer_challenger_is_kept_out_whatever_it_ranks():
    verdict = by_cost(gain=-1.0)
    assert verdict.primary.gain < 0
    assert verdict.outcome is Outcome.KEEP


def test_a_challenger_that_ranks_better_and_costs_more_is_kept_out_where_cost_is_guarded():
    """It alerts nothing at its threshold: the ranking gains, every fraud is paid for."""
    asleep = replace(CHALLENGER, threshold=1.0)
    rules = {"margins": {"expected cost": 100.0}, "alert_cost": 4.0}
    verdict = judge(**meeting(costly(1.0), rules, champion=replace(CHAMPION, threshold=0.1), challenger=asleep))
    assert verdict.primary.lower_bound > 0
    assert verdict.outcome is Outcome.KEEP
    assert "The challenger does harm: expected cost" in verdict.reason
