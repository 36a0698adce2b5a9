"""A training that the gate cannot decide is a refused night: a streak of them is told, as of any other refusal."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ml.config import Config, load
from ml.decision import judge
from ml.evaluation.gate import GateError
from ml.ledger.ledger import Ledger
from ml.ledger.run import Run
from tests.deployments import small_file

AS_OF = dt.datetime(2025, 3, 12, 2, tzinfo=dt.UTC)
NIGHT = dt.timedelta(days=1)


def _night(config: Config, number: int, error: type[Exception] = GateError) -> None:
    def undecided(*_: object) -> None:
        raise error(f"only {number} clusters have a positive")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "_judge", undecided)
        with pytest.raises(error):
            judge.judge(config, AS_OF + number * NIGHT, "model", run=Run(id=f"nightly {number}"))


def test_nights_in_a_row_without_a_verdict_are_told_once(tmp_path: Path) -> None:
    config = load(small_file(tmp_path))
    for number in (0, 0, 1):
        _night(config, number)
    assert [refusal.step for refusal in Ledger(config.ledger).refusals.streak(config.name)] == ["judge", "judge"]
    assert Ledger(config.ledger).messages.all(config.name) == []
    for number in (2, 3):
        _night(config, number)
    (told,) = Ledger(config.ledger).messages.all(config.name)
    assert (told.event, told.figure, told.run_id) == ("refused training", "3 nights without a training", "nightly 2")
    assert "only 2 clusters have a positive" in told.text


def test_a_fault_that_is_no_answer_about_the_comparison_is_no_refusal(tmp_path: Path) -> None:
    config = load(small_file(tmp_path))
    _night(config, 0, OSError)
    _night(config, 1, judge.HoldoutSpent)
    assert Ledger(config.ledger).refusals.streak(config.name) == []
