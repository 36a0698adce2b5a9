"""What a training set is refused for follows from its deployment, and nights of refusals are told once."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml import artifacts
from ml.__main__ import main
from ml.config import Config, ConfigError, load
from ml.config.suites import FIGURES, LIMITS
from ml.ledger.decisions import Decision
from ml.ledger.ledger import Ledger
from ml.ledger.run import Run
from ml.overview.status import status
from ml.store.feast import feature_names
from ml.training import check, dataset
from ml.training.check import TrainingSetRefused, validate_training_set
from tests.deployments import small_told, write

AS_OF = dt.datetime(2025, 3, 12, 2, tzinfo=dt.UTC)
NIGHT = dt.timedelta(days=1)


def _config(folder: Path, **labels: Any) -> Config:
    told = small_told()
    told["labels"] |= labels
    return load(write(folder, told))


def _share(value: float) -> dict[str, Any]:
    return {"value": value, "unit": "share", "reason": "a share for a test"}


def _frozen(config: Config, train: list[float], holdout: list[float], rows: int = 400) -> str:
    """A frozen training set whose days have these label rates; the features are noise."""
    rates = [*train, 0.1, *holdout]
    parts = [dataset.TRAIN] * len(train) + [dataset.VALIDATION] + [dataset.HOLDOUT] * len(holdout)
    days = []
    for number, (rate, part) in enumerate(zip(rates, parts, strict=True)):
        at = AS_OF - dt.timedelta(days=60 - number)
        label = np.arange(rows) < round(rate * rows)
        days.append(pd.DataFrame({"event_time": at, "label": label.astype("int8"), dataset.SPLIT: part}))
    frame = pd.concat(days, ignore_index=True)
    random = np.random.default_rng(3)
    frame["event_id"] = [f"E{i}" for i in range(len(frame))]
    frame[dataset.LABEL_KNOWN_AT] = frame["event_time"]
    for name in [*config.measures, *feature_names(config)]:
        frame[name] = random.normal(size=len(frame))
    content = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    artifacts.of(config).put(dataset.KIND, f"{digest}.parquet", lambda path: path.write_bytes(content.getvalue()))
    return digest


@pytest.mark.parametrize("rate", [0.001, 0.03, 0.34, 0.51, 0.9])
def test_any_label_rate_trains_where_none_is_declared(tmp_path: Path, rate: float) -> None:
    config = _config(tmp_path)
    told = validate_training_set(config, AS_OF, _frozen(config, [rate] * 5, [rate] * 5, rows=10_000))
    assert told.figures["label_rate_train"] == pytest.approx(rate)
    assert told.figures.keys() == set(FIGURES)


def test_the_limits_are_those_that_suites_may_name(tmp_path: Path) -> None:
    config = _config(tmp_path)
    rows = dataset.read(config, _frozen(config, [0.1, 0.2], [0.1]))
    assert check._limits(config, rows).keys() == set(LIMITS)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_labels_that_are_all_alike_are_refused(tmp_path: Path, rate: float) -> None:
    config = _config(tmp_path)
    with pytest.raises(TrainingSetRefused, match="label_rate_train"):
        validate_training_set(config, AS_OF, _frozen(config, [rate] * 5, [0.3] * 5))


def test_a_declared_rate_is_a_limit_with_its_reason(tmp_path: Path) -> None:
    config = _config(tmp_path, rate={"low": _share(0.2), "high": _share(0.5)})
    validate_training_set(config, AS_OF, _frozen(config, [0.34] * 5, [0.34] * 5))
    with pytest.raises(TrainingSetRefused, match=r"label_rate_train: .*min_value 0.2, max_value 0.5.*labels.rate"):
        validate_training_set(config, AS_OF, _frozen(config, [0.6] * 5, [0.6] * 5))


def test_a_declared_rate_that_is_none_is_refused_on_load(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"low is 0.5, expected less than high, which is 0.2"):
        _config(tmp_path, rate={"low": _share(0.5), "high": _share(0.2)})


def test_a_steady_rate_that_falls_to_a_tenth_is_a_fault_of_the_labels(tmp_path: Path) -> None:
    config = _config(tmp_path)
    with pytest.raises(TrainingSetRefused, match="label_rate_holdout_over_train"):
        validate_training_set(config, AS_OF, _frozen(config, [0.3, 0.31, 0.29] * 4, [0.03] * 7))


def test_a_rate_that_moves_from_day_to_day_may_move_between_the_windows(tmp_path: Path) -> None:
    """The same fall in a stream whose days have rates from 3 % to 51 %, as flights have in winter."""
    config = _config(tmp_path)
    told = validate_training_set(config, AS_OF, _frozen(config, [0.03, 0.51, 0.2, 0.35, 0.06, 0.44] * 3, [0.03] * 7))
    assert told.figures["label_rate_holdout_over_train"] < 0.2


def test_the_least_positives_are_the_deployments_own(tmp_path: Path) -> None:
    config = _config(tmp_path)
    few = _frozen(config, [0.05] * 5, [0.05], rows=400)
    with pytest.raises(TrainingSetRefused, match=r"positives_holdout: .*min_value 30.* observed .*20"):
        validate_training_set(config, AS_OF, few)
    least = config.training.positives.model_copy(update={"value": 15.0})
    fewer = config.model_copy(update={"training": config.training.model_copy(update={"positives": least})})
    validate_training_set(fewer, AS_OF, few)


@pytest.mark.parametrize("rate", [0.3, 0.0])
def test_a_deployment_without_numbers_is_checked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    config = _config(tmp_path)
    monkeypatch.setattr(check, "feature_names", lambda _: [])
    monkeypatch.setattr(check, "single_feature_auc", lambda *_: {})
    frozen = _frozen(config, [rate] * 5, [0.3] * 5)
    if not rate:
        with pytest.raises(TrainingSetRefused, match="label_rate_train"):
            validate_training_set(config, AS_OF, frozen)
        return
    figures = validate_training_set(config, AS_OF, frozen).figures
    assert (figures["largest_single_feature_auc"], figures["largest_null_share"]) == (0.5, 0.0)


def test_who_trains_by_hand_is_told_what_to_run_and_airflow_what_to_clear(tmp_path: Path) -> None:
    config = _config(tmp_path)
    bad = _frozen(config, [0.0] * 5, [0.3] * 5)
    with pytest.raises(TrainingSetRefused, match=r"then run `python -m ml train --as-of 2025-03-12T02:00:00Z`") as caught:
        validate_training_set(config, AS_OF, bad)
    assert "clear this task" not in str(caught.value)
    with pytest.raises(TrainingSetRefused, match="then clear this task"):
        validate_training_set(config, AS_OF, bad, run=Run(id="scheduled 1"))


def _refuse(config: Config, training_set: str, night: int, run_id: str = "") -> None:
    with pytest.raises(TrainingSetRefused):
        validate_training_set(config, AS_OF + night * NIGHT, training_set, Run(id=run_id))


def _decide(config: Config, night: int) -> None:
    Ledger(config.ledger).decisions.record(
        Decision(
            model=config.name,
            as_of=AS_OF + night * NIGHT,
            trigger="schedule",
            run_id=f"night {night}",
            champion_version=None,
            challenger_version=str(night),
            outcome="KEEP",
            metric="average precision",
            difference=None,
            lower_bound=None,
            interval_low=None,
            interval_high=None,
            minimum_detectable_effect=None,
            rows=1,
            training_rows=1,
            reason="a test",
            evidence={},
        )
    )


def test_people_are_told_once_of_a_streak_and_again_of_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _config(tmp_path)
    bad = _frozen(config, [0.0] * 5, [0.3] * 5)
    for night in (0, 1):
        _refuse(config, bad, night)
        _refuse(config, bad, night)  # a retry of the same night counts once
    assert Ledger(config.ledger).messages.all(config.name) == []
    _refuse(config, bad, 2, run_id="scheduled 3")
    _refuse(config, bad, 3, run_id="scheduled 4")
    (told,) = Ledger(config.ledger).messages.all(config.name)
    assert (told.event, told.figure) == ("refused training", "3 nights without a training")
    assert (told.process, told.run_id, told.as_of) == ("train", "scheduled 3", AS_OF + 2 * NIGHT)
    assert "since 2025-03-12" in told.text
    assert "python -m ml train --as-of 2025-03-14T02:00:00Z" in told.text
    assert len(told.text) < 400
    refused = status(config).refused
    assert refused is not None
    assert (refused.nights, refused.since) == (4, AS_OF)
    assert main(["status", "--config", str(tmp_path / "deployment.yaml")]) == 0
    assert "refused       4 nights without a training since 2025-03-12" in capsys.readouterr().out
    _decide(config, 4)
    assert Ledger(config.ledger).refusals.streak(config.name) == []
    for night in (5, 6):
        _refuse(config, bad, night)
    assert len(Ledger(config.ledger).messages.all(config.name)) == 1
    _refuse(config, bad, 7)
    assert [m.as_of for m in Ledger(config.ledger).messages.all(config.name)] == [AS_OF + 2 * NIGHT, AS_OF + 7 * NIGHT]


def test_a_window_without_rows_is_a_refusal_once_the_lake_reaches_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config(tmp_path)

    def raising(error: Exception) -> Any:
        def build(*_: Any) -> Any:
            raise error

        return build

    monkeypatch.setattr(dataset, "build_at", raising(dataset.NotEnoughHistory("wait")))
    with pytest.raises(dataset.NotEnoughHistory):
        dataset.build_training_set(config, AS_OF)
    assert Ledger(config.ledger).refusals.streak(config.name) == []
    monkeypatch.setattr(dataset, "build_at", raising(dataset.WindowEmpty("no events")))
    with pytest.raises(dataset.WindowEmpty):
        dataset.build_training_set(config, AS_OF)
    assert [refusal.step for refusal in Ledger(config.ledger).refusals.streak(config.name)] == ["build_training_set"]
