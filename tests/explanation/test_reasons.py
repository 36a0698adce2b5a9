"""Reason codes add up to the score, come in order, and say in words what the catalogue says."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from ml.explanation.reasons import reason_codes, sentence
from ml.model.model import Model


@pytest.mark.parametrize("top", [1, 2, 3])
def test_base_reasons_and_rest_are_the_score(model: Model, rows: pd.DataFrame, top: int) -> None:
    for place in (0, 17, 230):
        row = rows.iloc[[place]]
        told = reason_codes(model, row, top)
        assert len(told.reasons) == top
        assert told.base + sum(r.contribution for r in told.reasons) + told.rest == pytest.approx(told.log_odds)
        assert told.probability == pytest.approx(float(model.score(row)[0]))
    assert reason_codes(model, rows.head(1), top=3).rest == pytest.approx(0)


def test_the_largest_contribution_comes_first(model: Model, rows: pd.DataFrame) -> None:
    sizes = [abs(reason.contribution) for reason in reason_codes(model, rows.iloc[[5]], top=3).reasons]
    assert sizes == sorted(sizes, reverse=True)


def test_a_reason_says_what_the_feature_means(model: Model, rows: pd.DataFrame) -> None:
    row = rows.iloc[[0]].assign(customer_amount_mean_7d=12.5)
    told = {reason.feature: reason for reason in reason_codes(model, row, top=3).reasons}
    mean = told["customer_amount_mean_7d"]
    assert "12.5 (mean of amount over a customer's events that have it in the 7 days before midnight UTC)" in mean.sentence
    factor = math.exp(abs(mean.contribution))
    assert f"{'multiplies' if mean.contribution > 0 else 'divides'} the odds by {factor:,.3g}" in mean.sentence
    assert told["channel"].value == row["channel"].iloc[0]


def test_a_missing_value_is_said_to_be_missing(model: Model, rows: pd.DataFrame) -> None:
    row = rows.iloc[[0]].assign(customer_amount_mean_7d=float("nan"))
    told = {reason.feature: reason for reason in reason_codes(model, row, top=3).reasons}
    assert told["customer_amount_mean_7d"].value is None
    assert told["customer_amount_mean_7d"].sentence.startswith("customer_amount_mean_7d is missing (mean of")


def test_no_contribution_leaves_the_odds() -> None:
    assert sentence("amount", None, 3.0, 0.0) == "amount is 3 and leaves the odds as they are"


@pytest.mark.parametrize(("rows_given", "top"), [(0, 4), (2, 4), (1, 0)])
def test_reasons_are_of_one_row(model: Model, rows: pd.DataFrame, rows_given: int, top: int) -> None:
    with pytest.raises(ValueError, match="expected one row and at least one reason"):
        reason_codes(model, rows.head(rows_given), top)
