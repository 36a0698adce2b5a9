"""The outcome follows from the figures, the reason names them, and the record gives them back."""

import json
from dataclasses import fields, replace
from itertools import product

import numpy as np
import pytest

from ml.evaluation import verdict as verdicts
from ml.evaluation.bootstrap import Difference
from ml.evaluation.gate import Footprint, Meeting, Outcome, Slice, Verdict, judge
from ml.evaluation.guardrails import GuardrailCheck, Status
from ml.evaluation.slices import SliceCheck, SliceStatus
from tests.evaluation.meetings import RULES, meeting, scored


def difference(lower, upper, name="average precision"):
    gain = (lower + upper) / 2
    return Difference(
        name=name,
        unit=name,
        champion=0.5,
        challenger=0.5 + gain,
        champion_interval=(0.4, 0.6),
        challenger_interval=(0.4, 0.6),
        gain=gain,
        standard_error=0.01,
        standard_error_influence=0.01,
        share_of_days=0.2,
        degrees_of_freedom=80.0,
        lower_bound=lower,
        upper_bound=upper,
        interval=(lower - 0.01, upper + 0.01),
        alpha=0.05,
        confidence=0.95,
    )


def check(status, gain=0.0, lower=-0.04, upper=0.04, margin=0.02):
    return GuardrailCheck("ROC AUC", "area", status, margin, 0.9, 0.9 + gain, gain, lower, upper, f"ROC AUC is {status}")


def part(status):
    return SliceCheck("country", "PT", 10, 1, 1, None, None, None, None, None, status, f"it is {status}")


BETTER, OPEN, POOR = difference(0.01, 0.05), difference(-0.01, 0.05), difference(-0.03, 0.01)


@pytest.mark.parametrize(
    ("primary", "guardrail", "in_slice"), product((BETTER, OPEN, POOR), (None, *Status), (None, *SliceStatus))
)
def test_an_outcome_promotes_only_on_what_is_shown_and_keeps_only_on_evidence(primary, guardrail, in_slice):
    """All combinations: harm anywhere is KEEP, what is not known is never PROMOTE, a slice that is not judged bars nobody."""
    checks = [check(Status.PASSED)] + ([] if guardrail is None else [check(guardrail)])
    parts = [part(SliceStatus.PASSED)] + ([] if in_slice is None else [part(in_slice)])
    told = verdicts.decide(primary, 0.02, checks, parts)
    if guardrail is Status.FAILED or in_slice is SliceStatus.VETOED or primary is POOR:
        assert told is Outcome.KEEP
    elif primary is BETTER and guardrail is not Status.UNKNOWN and in_slice is not SliceStatus.EMPTY:
        assert told is Outcome.PROMOTE
    else:
        assert told is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("lower", "upper", "outcome"),
    [
        (0.0, 0.05, Outcome.INCONCLUSIVE),  # a bound at 0 proves no gain
        (0.0, 0.0, Outcome.KEEP),  # a tie
        (1e-12, 0.001, Outcome.PROMOTE),
        (-0.01, 0.02, Outcome.INCONCLUSIVE),  # what is worthwhile can just be reached
        (-0.01, 0.0199, Outcome.KEEP),
    ],
)
def test_bounds_decide_strictly(lower, upper, outcome):
    assert verdicts.decide(difference(lower, upper), 0.02, [], []) is outcome


def test_days_until_the_interval_can_tell_nothing_from_what_is_worthwhile():
    """The interval is three times as wide as 0.02, so nine times the rows are needed: 14 days become 126."""
    assert verdicts.more_days(Outcome.INCONCLUSIVE, OPEN, 0.02, [], 14) == 9 * 14 - 14
    assert verdicts.more_days(Outcome.INCONCLUSIVE, OPEN, 0.06, [], 14) == 1  # never none where something is open


def test_days_until_a_guardrail_is_known():
    asked = [check(Status.UNKNOWN), check(Status.PASSED, lower=-0.01)]
    assert verdicts.more_days(Outcome.INCONCLUSIVE, BETTER, 0.02, asked, 14) == 4 * 14 - 14
    both = verdicts.more_days(Outcome.INCONCLUSIVE, OPEN, 0.02, asked, 14)
    assert both == 9 * 14 - 14  # the longer of the two


@pytest.mark.parametrize(
    ("outcome", "primary", "worthwhile", "checks"),
    [
        (Outcome.PROMOTE, BETTER, 0.02, []),
        (Outcome.KEEP, POOR, 0.02, []),
        (Outcome.INCONCLUSIVE, OPEN, 0.0, []),  # no length shows nothing
        (Outcome.INCONCLUSIVE, BETTER, 0.02, [check(Status.UNKNOWN, gain=-0.02)]),  # its figure would have to change
        (Outcome.INCONCLUSIVE, BETTER, 0.02, []),  # only a slice is empty
    ],
)
def test_no_number_of_days_is_promised_where_none_would_decide(outcome, primary, worthwhile, checks):
    assert verdicts.more_days(outcome, primary, worthwhile, checks, 14) is None


def told(primary, checks=(), parts=(), days=None):
    outcome = verdicts.decide(primary, 0.02, checks, parts)
    return outcome, verdicts.reason(outcome, primary, RULES, checks, parts, "6,000 rows", days)


@pytest.mark.parametrize(
    ("primary", "checks", "parts", "outcome", "figures"),
    [
        (BETTER, [], [], Outcome.PROMOTE, ["0.5000 → 0.5300 (+0.0300)", "at least +0.0100 with 95% confidence"]),
        (POOR, [], [], Outcome.KEEP, ["0.5000 → 0.4900 (-0.0100)", "at most +0.0100 with 95% confidence, below 0.02"]),
        (BETTER, [check(Status.FAILED)], [], Outcome.KEEP, ["does harm: ROC AUC is failed", "0.5000 → 0.5300 (+0.0300)"]),
        (BETTER, [], [part(SliceStatus.VETOED)], Outcome.KEEP, ["does harm: country PT: it is vetoed", "(+0.0300)"]),
        (BETTER, [check(Status.UNKNOWN)], [], Outcome.INCONCLUSIVE, ["not shown to hold: ROC AUC is unknown", "(+0.0300)"]),
        (BETTER, [], [part(SliceStatus.EMPTY)], Outcome.INCONCLUSIVE, ["not shown to hold: country PT: it is empty"]),
        (
            OPEN,
            [],
            [],
            Outcome.INCONCLUSIVE,
            ["0.5000 → 0.5200 (+0.0200)", "between -0.0100 and +0.0500", "show a gain of 0.025", "in 80 of 100 gates"],
        ),
    ],
)
def test_every_reason_names_its_figures_and_the_rows(primary, checks, parts, outcome, figures):
    found, sentence = told(primary, checks, parts, days=112)
    assert found is outcome
    assert [figure for figure in [*figures, "6,000 rows"] if figure not in sentence] == []
    assert ("A holdout 112 days longer would decide." in sentence) == (outcome is Outcome.INCONCLUSIVE)
    assert "nan" not in sentence
    assert "None" not in sentence


def test_money_is_told_in_whole_units():
    primary = replace(difference(-1200.0, 3400.4, "expected cost"), champion=54321.0, challenger=53220.8)
    _, sentence = told(primary)
    assert "expected cost 54,321 → 53,221 (+1,100)" in sentence
    assert "between -1,200 and +3,400" in sentence


def everything(gain=1.0):
    """A verdict with every kind of evidence."""
    rows = scored(gain=gain)
    country = np.where(rows.clusters % 2 == 0, "PT", "ES")
    margins = {"ROC AUC": 0.02, "card precision": 0.5, "expected cost": 500.0, "golden set": 0.2, "ancestor": 0.1}
    again = (rows.labels, rows.champion, rows.challenger, rows.clusters, rows.event_times)
    return judge(
        **meeting(
            replace(rows, missed=np.full(6000, 50.0)),
            {"margins": margins, "limits": {"latency": 5.0, "size": 20.0}, "fairness_gap": 0.5, "slice_harm": 0.5},
            slices=[Slice("country", name, country == name) for name in ("PT", "ES")],
            attributes={"country": country},
            meetings=[Meeting("golden set", "version 1", *again), Meeting("ancestor", "version 2", impossible="it is gone")],
            footprint=Footprint(np.full(300, 0.2), 3.0),
            notes=("a note",),
        )
    )


@pytest.mark.parametrize("gain", [-1.0, 0.1, 1.0])
def test_a_verdict_with_all_its_evidence_survives_json(gain):
    verdict = everything(gain)
    record = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert Verdict.from_dict(record) == verdict
    assert [entry["name"] for entry in record["guardrails"]] == [
        "ROC AUC",
        "expected cost",
        "card precision@20",
        "latency",
        "size",
        "golden set (version 1)",
        "ancestor (version 2)",
        "fairness",
    ]
    assert (len(record["slices"]), len(record["fairness"]), record["notes"][0]) == (2, 4, "a note")


@pytest.mark.parametrize("edit", ["guardrails", "slices"])
def test_evidence_of_harm_cannot_be_edited_away_nor_in(edit):
    """The outcome must follow from all the evidence, so a record whose evidence was changed is refused."""
    record = everything(gain=1.0).to_dict()
    record[edit][0]["status"] = {"guardrails": "failed", "slices": "vetoed"}[edit]
    with pytest.raises(ValueError, match="contradicts the figures, which say KEEP"):
        Verdict.from_dict(record)


def test_the_record_holds_every_field():
    verdict = everything()
    assert set(verdict.to_dict()) == {field.name for field in fields(verdict)}
