"""A champion's reference: made once, read back as it was, and of days on which the feed was whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml import artifacts, steps
from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.signals import Incident, Reading
from ml.monitoring.champion import champion_of
from ml.monitoring.reference import KIND, RECORD, _build, key_of, read, reference_of
from ml.training import dataset
from tests.deployments import FIRST_AS_OF
from tests.monitoring import living
from tests.monitoring.living import DAY


@pytest.fixture(scope="module")
def profiled(trained: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A copy with a reference."""
    config = living.copy(trained, tmp_path_factory.mktemp("profiled"))
    steps.run("profile_champion", config, FIRST_AS_OF, {"version": "1"})
    return config


def test_it_is_read_back_as_it_was_made(profiled: Config) -> None:
    champion = champion_of(profiled, "1")
    made, found = _build(profiled, champion), reference_of(profiled, champion)
    assert (found.until, found.alert_threshold, found.volumes) == (made.until, made.alert_threshold, made.volumes)
    assert (found.binning, found.outputs, found.performance) == (made.binning, made.outputs, made.performance)
    assert found.charts == made.charts
    assert found.detector.to_dict() == made.detector.to_dict()
    assert found.days.series == made.days.series
    for mine, theirs in ((found.days.features, made.days.features), (found.days.outputs, made.days.outputs)):
        assert {day: p.to_dict() for day, p in mine.items()} == {day: p.to_dict() for day, p in theirs.items()}


def test_scores_and_performance_are_of_days_that_the_champion_was_not_fitted_on(profiled: Config) -> None:
    champion = champion_of(profiled, "1")
    found = reference_of(profiled, champion)
    validation, holdout, end = (champion.window(name) for name in ("validation_start", "holdout_start", "holdout_end"))
    fitted_until = champion.window("fitted_until")
    kept = {day for day in found.days.features if validation <= day < fitted_until or holdout <= day < end}
    assert set(found.days.outputs) == kept
    assert set(found.performance) == {day for day in kept if day >= holdout}
    assert min(found.days.features) == champion.window("train_start")
    assert found.until == end


def test_the_second_time_it_is_found(profiled: Config) -> None:
    folder = artifacts.local(profiled).get(KIND, key_of(profiled, champion_of(profiled, "1")))
    before = (folder / RECORD).stat().st_mtime_ns
    told = steps.run("profile_champion", profiled, FIRST_AS_OF, {"version": "1"})
    assert (folder / RECORD).stat().st_mtime_ns == before
    assert told["reference"] == folder.name
    assert told["version"] == "1"


def test_nothing_of_it_is_a_pickle(profiled: Config) -> None:
    folder = artifacts.local(profiled).get(KIND, key_of(profiled, champion_of(profiled, "1")))
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".parquet"]
    assert json.loads((folder / RECORD).read_text())["version"] == "1"


def test_days_with_a_fault_are_no_reference(trained: Config, tmp_path: Path) -> None:
    config = living.copy(trained, tmp_path)
    champion = champion_of(config, "1")
    day = champion.window("holdout_start") + DAY
    reading = Reading(signal="traffic", kind="feed", value=1.0, threshold=None, state="CONFIRMED", details={})
    fault = Incident(day=day, fault="unit", subject="amount", reason="cents", evidence={})
    Ledger(config.ledger).signals.record_day(config.name, "0", day, FIRST_AS_OF, [reading], [], [fault])
    found = reference_of(config, champion)
    assert day not in {*found.days.features, *found.days.outputs, *found.volumes, *found.performance}
    assert day + DAY in found.days.features


def test_a_version_is_unknown_before_it_was_trained(profiled: Config) -> None:
    with pytest.raises(ValueError, match="was trained as of"):
        steps.run("profile_champion", profiled, FIRST_AS_OF - DAY, {"version": "1"})


def test_a_reference_of_a_changed_training_set_is_refused(trained: Config, tmp_path: Path) -> None:
    config = living.copy(trained, tmp_path)
    champion = champion_of(config, "1")
    with dataset.path_of(config, champion.fitted.training_set).open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="was changed"):
        reference_of(config, champion)
    assert not list(config.home.glob("monitoring/*"))


def test_a_folder_without_a_reference_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="profile_champion"):
        read(tmp_path)
