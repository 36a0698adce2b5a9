"""Files of before columns of ours had names of their own are read as today's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from ml import artifacts
from ml.config import load
from ml.explanation import exploration
from ml.monitoring.day import MonitoredDay
from ml.monitoring.profile import Counts, Profile
from ml.monitoring.reference import ALERTS
from ml.monitoring.traffic import SCORE
from ml.training import dataset
from tests.deployments import small_file


def test_an_older_training_set_is_read_by_todays_names(tmp_path: Path) -> None:
    config = load(small_file(tmp_path))
    rows = pd.DataFrame({"event_id": ["A", "B"], "amount": [1.0, 2.0], "split": ["train", "holdout"], "label": [0, 1]})
    content = rows.assign(label_known_at=pd.Timestamp("2025-03-01", tz="UTC")).to_parquet()
    name = hashlib.sha256(content).hexdigest()
    artifacts.of(config).put(dataset.KIND, f"{name}.parquet", lambda path: path.write_bytes(content))
    read = dataset.read(config, name, (dataset.HOLDOUT,))
    assert read["event_id"].tolist() == ["B"]
    assert {dataset.SPLIT, dataset.LABEL_KNOWN_AT} <= set(read)
    assert not {"split", "label_known_at"} & set(read)
    assert set(exploration._read(config, name)) == {"amount", "label"}


def test_a_column_that_is_named_split_stays_what_it_is() -> None:
    assert dataset.current_names(["split", "label_known_at", dataset.SPLIT]) == ["split", "label_known_at", dataset.SPLIT]


@pytest.mark.parametrize(("score", "alerts"), [("score", "alerts"), (SCORE, ALERTS)])
def test_a_day_goes_on_whatever_its_score_was_named(score: str, alerts: str) -> None:
    counts = Counts.from_dict({"present": [3, 1], "missing": 0, "unseen": None})
    day = MonitoredDay(
        Profile(4, {"amount": counts}), Profile(4, {score: counts}), 0.5, False, frozenset({score, alerts, "amount"})
    )
    read = MonitoredDay.from_dict(day.to_dict())
    assert read.outputs.counts.keys() == {SCORE}
    assert read.muted == {SCORE, ALERTS, "amount"}
    assert not read.sound
