"""The loop from landing files to the champion's alias, and what the gate does with challengers of every kind."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml import artifacts, steps
from ml.__main__ import main
from ml.config import Config, load
from ml.decision import judge, judgements
from ml.evaluation.gate import GateError
from ml.ledger.ledger import Ledger
from ml.model import copies
from ml.registry.promotion import PromotionRefused
from ml.registry.versions import BrokenModel
from ml.simulate.feed import write_until
from ml.training import check, dataset, export, fit
from tests.deployments import FIRST_AS_OF, MORE_FRAUDS, small_file, small_told, write

DAY = dt.timedelta(days=1)


WEAK = {"iterations": 3, "learning_rate": 0.1}


@pytest.fixture(scope="module", autouse=True)
def endless_holdout() -> Iterator[None]:
    """One holdout decides on every challenger of this file; how often it may is the matter of `test_budget.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "_use", lambda *_: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    """Nobody looks at the pictures of so many verdicts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judgements, "_draw", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small deployment whose archive is ingested and whose training set is frozen."""
    path = _file(tmp_path_factory.mktemp("loop"))
    write_until(_load(path), (FIRST_AS_OF - DAY).date())
    assert main(["ingest", "--config", str(path), "--as-of", FIRST_AS_OF.isoformat()]) == 0
    dataset.build_training_set(_load(path), FIRST_AS_OF)
    return path


@pytest.fixture(scope="module")
def training_set(ingested: Path) -> str:
    """The frozen training set of the first instant."""
    return dataset.build_training_set(_load(ingested), FIRST_AS_OF).training_set


def _file(folder: Path) -> Path:
    told = small_told()
    told["feed"] |= MORE_FRAUDS
    return write(folder, told)


def _copy(ingested: Path, folder: Path) -> Path:
    """The same deployment in a folder of its own, before anything was trained there."""
    shutil.copytree(_load(ingested).home, folder / "home")
    return _file(folder)


@pytest.fixture(scope="module")
def deployment(ingested: Path, training_set: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment whose champion beat the base rate."""
    path = _copy(ingested, tmp_path_factory.mktemp("strong"))
    told = _through_the_gate(_load(path), training_set)
    assert (told["outcome"], told["champion"]) == ("PROMOTE", "1")
    return path


@pytest.fixture(scope="module")
def weak(ingested: Path, training_set: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment whose champion has three trees, which is better than no model."""
    path = _copy(ingested, tmp_path_factory.mktemp("weak"))
    config = _load(path, **WEAK)
    told = _through_the_gate(config, training_set)
    assert (told["outcome"], told["champion"]) == ("PROMOTE", "1")
    return path


def _load(path: Path, **model: object) -> Config:
    """A deployment with other settings of its model."""
    config = load(path)
    changed = config.training.model.model_copy(update=model)
    return config.model_copy(update={"training": config.training.model_copy(update={"model": changed})})


def _judged(config: Config, training_set: str) -> judgements.Judgement:
    fitted = fit.fit(config, FIRST_AS_OF, training_set)
    export.export_graph(config, FIRST_AS_OF, fitted.model)
    return judge.judge(config, FIRST_AS_OF, fitted.model)


def _through_the_gate(config: Config, training_set: str) -> dict:
    judged = _judged(config, training_set)
    version = steps.run("register", config, FIRST_AS_OF, {"judgement": judged.judgement})["version"]
    references = {"judgement": judged.judgement, "version": version, "run_id": f"run of {judged.model}"}
    return steps.run("promote", config, FIRST_AS_OF, references)


def _champion(path: Path) -> str | None:
    """The champion, which ledger and alias must agree on."""
    config = load(path)
    champion = Ledger(config.ledger).moves.champion(config.name)
    assert fit.registry(config).aliases().get("champion") == champion
    return champion


@pytest.fixture
def champion_stays(deployment: Path) -> Iterator[None]:
    """Asserts that whatever the test does, the champion is the same afterwards."""
    before = _champion(deployment)
    yield
    assert _champion(deployment) == before


@pytest.fixture
def weak_champion_stays(weak: Path) -> Iterator[None]:
    """The same for the weak champion."""
    before = _champion(weak)
    yield
    assert _champion(weak) == before


def test_the_training_set_holds_only_what_was_known(ingested: Path, training_set: str) -> None:
    config = _load(ingested)
    rows, record = dataset.read(config, training_set), dataset.describe(config, training_set)
    fitted = rows[rows[dataset.SPLIT] != dataset.HOLDOUT]
    holdout = rows[rows[dataset.SPLIT] == dataset.HOLDOUT]
    start = pd.Timestamp(record.windows["holdout_start"])
    assert fitted["event_time"].max() < start - config.label_delay
    assert fitted[dataset.LABEL_KNOWN_AT].max() <= start
    assert holdout["event_time"].min() >= start
    assert holdout["event_time"].max() < pd.Timestamp(FIRST_AS_OF) - config.label_delay
    assert rows["event_id"].is_unique
    assert len(rows) == record.rows == record.train_rows + record.validation_rows + record.holdout_rows


def test_freezing_again_finds_the_same_content(ingested: Path, training_set: str) -> None:
    config = _load(ingested)
    assert dataset.build_training_set(config, FIRST_AS_OF).training_set == training_set
    for pointer in (config.home / "training_sets" / "inputs").iterdir():
        pointer.unlink()
    assert dataset.build_training_set(config, FIRST_AS_OF).training_set == training_set


def test_a_frozen_set_that_was_changed_is_refused(ingested: Path, training_set: str, tmp_path: Path) -> None:
    config = _load(ingested).model_copy(update={"home": tmp_path})
    source = dataset.path_of(_load(ingested), training_set)
    table = pq.read_table(source)
    artifacts.of(config).put(dataset.KIND, source.name, lambda path: pq.write_table(table.slice(1), path))
    with pytest.raises(ValueError, match="the frozen training set was changed"):
        dataset.read(config, training_set)


@pytest.mark.usefixtures("champion_stays")
def test_a_worse_challenger_is_kept_out(deployment: Path, training_set: str) -> None:
    assert _through_the_gate(_load(deployment, **WEAK), training_set)["outcome"] == "KEEP"


@pytest.mark.usefixtures("champion_stays")
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.proof) for seed in (2, 3))])
def test_an_equal_challenger_is_not_promoted(deployment: Path, training_set: str, seed: int) -> None:
    assert _through_the_gate(_load(deployment, random_seed=seed), training_set)["outcome"] in ("KEEP", "INCONCLUSIVE")


@pytest.mark.usefixtures("champion_stays")
def test_the_champion_is_not_judged_against_itself(deployment: Path, training_set: str) -> None:
    with pytest.raises(GateError, match="a model is not compared with itself"):
        _judged(_load(deployment), training_set)


@pytest.mark.usefixtures("weak_champion_stays")
def test_a_challenger_that_saw_the_holdout_is_refused(weak: Path, training_set: str) -> None:
    """A leaky split: the record of the model says that it was fitted on rows of the holdout."""
    config = _load(weak, iterations=50)
    fitted = fit.fit(config, FIRST_AS_OF, training_set)
    export.export_graph(config, FIRST_AS_OF, fitted.model)
    record = fit.folder_of(config, fitted.model) / fit.RECORD
    until = dataset.describe(config, training_set).windows["holdout_end"]
    record.write_text(json.dumps(dataclasses.asdict(fitted) | {"trained_until": until}))
    with pytest.raises(GateError, match="it must start after both models' training rows"):
        judge.judge(config, FIRST_AS_OF, fitted.model)


def test_a_feature_that_has_seen_the_label_stops_the_training_set(ingested: Path, training_set: str) -> None:
    config = _load(ingested)
    rows = dataset.read(config, training_set)
    noise = np.random.default_rng(0).normal(0, 0.01, len(rows))
    content = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(rows.assign(terminal_label_mean_1d=rows["label"] + noise)), content)
    leaked = hashlib.sha256(content.getvalue()).hexdigest()
    artifacts.of(config).put(dataset.KIND, f"{leaked}.parquet", lambda path: path.write_bytes(content.getvalue()))
    with pytest.raises(check.TrainingSetRefused, match="largest_single_feature_auc") as caught:
        check.validate_training_set(config, FIRST_AS_OF, leaked)
    assert "the strongest single feature is 'terminal_label_mean_1d'" in str(caught.value)


def test_the_honest_training_set_passes(ingested: Path, training_set: str) -> None:
    told = check.validate_training_set(_load(ingested), FIRST_AS_OF, training_set)
    assert told.figures["rows_known_too_late"] == 0
    assert max(told.suspects.values()) < 0.95


@pytest.fixture(scope="module")
def promising(weak: Path, training_set: str) -> tuple[Config, str, str]:
    """A deployment whose gate promotes a challenger, the address of that judgement, and the challenger's version."""
    config = _load(weak, random_seed=1)
    judged = _judged(config, training_set)
    assert judged.outcome == "PROMOTE"
    version = steps.run("register", config, FIRST_AS_OF, {"judgement": judged.judgement})["version"]
    return config, judged.judgement, version


@pytest.mark.usefixtures("weak_champion_stays")
@pytest.mark.parametrize("damage", ["flipped", "truncated", "gone"])
def test_a_broken_model_file_never_becomes_champion(promising: tuple[Config, str, str], damage: str) -> None:
    config, judgement, version = promising
    file = fit.registry(config).fetch(version) / "model.onnx"
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-50] ^= 1
    file.unlink()
    try:
        if damage != "gone":
            file.write_bytes(flipped if damage == "flipped" else whole[:-50])
        with pytest.raises(BrokenModel):
            steps.run("promote", config, FIRST_AS_OF, {"judgement": judgement, "version": version})
    finally:
        file.write_bytes(whole)


@pytest.mark.usefixtures("weak_champion_stays")
def test_a_verdict_on_another_model_promotes_nothing(promising: tuple[Config, str, str], weak: Path, training_set: str) -> None:
    config, judgement, _ = promising
    other = _load(weak, random_seed=5)
    stranger = _judged(other, training_set)
    version = steps.run("register", other, FIRST_AS_OF, {"judgement": stranger.judgement})["version"]
    with pytest.raises(PromotionRefused, match="give the version that `register` printed for this judgement"):
        steps.run("promote", config, FIRST_AS_OF, {"judgement": judgement, "version": version})


def test_a_better_challenger_is_promoted_and_can_be_rolled_back(weak: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _champion(weak)
    command = ["--config", str(weak)]
    instant = ["--as-of", FIRST_AS_OF.isoformat()]
    assert main(["train", *command, *instant, "--reason", "the weak champion has to go"]) == 0
    assert "**PROMOTE**" in capsys.readouterr().out
    promoted = _champion(weak)
    assert promoted not in (None, before)
    assert main(["status", *command]) == 0
    assert f"champion      version {promoted}" in capsys.readouterr().out
    assert main(["rollback", *command, *instant, "--reason", "to see it go back", "--actor", "test"]) == 0
    assert _champion(weak) == before
    capsys.readouterr()
    assert main(["history", *command, "--json"]) == 0
    assert [move["action"] for move in json.loads(capsys.readouterr().out)] == ["promote", "promote", "rollback"]
    config = _load(weak)
    told = Ledger(config.ledger).messages.all(config.name)[-1]
    assert (told.event, told.version, told.run_id) == ("rollback", before, "")
    assert told.text == f"champion is version {before} again, in place of version {promoted}: to see it go back (test)"


def test_the_champion_is_served_by_its_alias_from_raw_columns(deployment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    config = _load(deployment)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", config.tracking)
    served = mlflow.pyfunc.load_model(f"models:/{config.name}@champion")
    sample = pd.read_parquet(fit.registry(config).fetch("1") / copies.SAMPLE)
    raw = sample.drop(columns=copies.EXPECTED)
    raw = raw.astype(dict.fromkeys(raw.select_dtypes("float64"), "float32"))
    assert np.abs(served.predict(raw)["probability"].to_numpy() - sample[copies.EXPECTED].to_numpy()).max() < 1e-5


def test_a_version_carries_what_an_auditor_asks_for(deployment: Path) -> None:
    tags = fit.registry(_load(deployment)).tags("1")
    wanted = {"as_of", "training_set", "windows", "lake_versions", "metrics", "environment", "reason", "code_sources", "lock"}
    assert wanted <= set(tags)
    assert tags["judged_against"] == "base rate"


def test_nothing_new_is_not_trained_on_again(ingested: Path, tmp_path: Path) -> None:
    path = _copy(ingested, tmp_path)
    config = _load(path)
    assert main(["train", "--config", str(path), "--as-of", FIRST_AS_OF.isoformat()]) == 0
    nightly = {"run_id": "another run", "trigger": "schedule"}
    told = steps.run("admit", config, FIRST_AS_OF + dt.timedelta(hours=1), nightly)
    assert not told["admitted"]
    assert "nothing new: run command line" in told["reason"]
    refused = [request for request in Ledger(config.ledger).requests.all(config.name) if request.last.answer == "refused"]
    assert [(request.trigger, request.last.run_id) for request in refused] == [("schedule", "another run")]
    assert steps.run("admit", config, FIRST_AS_OF, nightly | {"force": "True"})["admitted"]


def test_two_runs_on_the_same_data_are_one_training(ingested: Path, tmp_path: Path) -> None:
    config = _load(_copy(ingested, tmp_path))
    assert steps.run("admit", config, FIRST_AS_OF, {"run_id": "first", "trigger": "new_data"})["admitted"]
    assert not steps.run("admit", config, FIRST_AS_OF, {"run_id": "double", "trigger": "new_data"})["admitted"]
    assert steps.run("admit", config, FIRST_AS_OF, {"run_id": "first", "trigger": "new_data"})["admitted"]


def test_a_silent_feed_is_no_reason_to_train(deployment: Path) -> None:
    told = steps.run("admit", _load(deployment), FIRST_AS_OF + 10 * DAY, {"run_id": "late", "force": True})
    assert not told["admitted"]
    assert "days old, more than 3" in told["reason"]


def test_an_empty_lake_is_no_reason_to_train(tmp_path: Path) -> None:
    config = _load(small_file(tmp_path))
    told = steps.run("admit", config, FIRST_AS_OF)
    assert not told["admitted"]
    assert "the lake holds no events" in told["reason"]


def test_too_little_history_says_so(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    early = FIRST_AS_OF - 40 * DAY
    assert main(["build_training_set", "--config", str(deployment), "--as-of", early.isoformat()]) == 3
    assert "wait until it reaches back far enough" in capsys.readouterr().err


def test_references_that_a_step_does_not_take_or_lacks_are_named(ingested: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"step fit takes \[.*'settings', 'training_set', .*\]; not known: \['modle'\], missing: \['training_set'\]",
    ):
        steps.run("fit", _load(ingested), FIRST_AS_OF, {"modle": "x"})


def test_an_instant_without_a_time_zone_is_refused(ingested: Path) -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        steps.run("admit", _load(ingested), FIRST_AS_OF.replace(tzinfo=None))
