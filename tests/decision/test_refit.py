"""What is judged is fitted before the holdout, what becomes champion on all that has matured: through the whole loop."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from ml import pipeline, steps
from ml.__main__ import main
from ml.config import Config, load
from ml.decision import judgements
from ml.evaluation.gate import GateError
from ml.lake import schema
from ml.lake.labels import label_order
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.model import copies
from ml.model.model import Model
from ml.pipeline import Record
from ml.registry.versions import folder_hash
from ml.replay.policy import EARLY
from ml.simulate.feed import write_until
from ml.training import dataset, fit, golden, refit, reproduce
from tests import deployments
from tests.deployments import FIRST_AS_OF, MORE_FRAUDS, small_told

DAY = dt.timedelta(days=1)
REASON = "a test declares it"
REFRESH = 2


def told() -> dict[str, Any]:
    """The small deployment, which refits what it promotes and refreshes a champion of two days."""
    told = small_told()
    told["feed"] |= MORE_FRAUDS
    told["training"]["refit"] = {
        "refresh": {"value": REFRESH, "unit": "days", "reason": REASON},
        "correlation": {"value": 0.3, "unit": "correlation", "reason": REASON},
        "overlap": {"value": 0.1, "unit": "share", "reason": REASON},
        "calibration": {"value": 2, "unit": "share of the positives", "reason": REASON},
    }
    told["gate"]["golden"] = {
        "share": {"value": 0.05, "unit": "share", "reason": REASON},
        "drop": {"value": 0.5, "unit": "average precision", "reason": REASON},
    }
    return told


def night(config: Config, as_of: dt.datetime) -> Mapping[str, Record]:
    """Ingest what landed by then, and train."""
    write_until(config, (as_of - DAY).date())
    pipeline.run(pipeline.INGEST, config, as_of)
    given = {"run_id": f"night {as_of:%m-%d}", "trigger": "schedule"}
    return pipeline.run(pipeline.training(config), config, as_of, given, explain=False)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A deployment that reserves a twentieth of its events for the golden set."""
    return load(deployments.write(tmp_path_factory.mktemp("refit"), told()))


@pytest.fixture(scope="module")
def first(config: Config) -> Mapping[str, Record]:
    """The records of the first training, which finds a first champion."""
    records = night(config, FIRST_AS_OF)
    assert records["promote"]["outcome"] == "PROMOTE"
    return records


@pytest.fixture(scope="module")
def later(config: Config, first: Mapping[str, Record]) -> list[Mapping[str, Record]]:
    """The records of the next trainings, the last of them when the champion is due."""
    return [night(config, FIRST_AS_OF + days * DAY) for days in range(1, REFRESH + 1)]


def test_the_champion_is_fitted_on_all_that_has_matured_and_holds_the_model_that_was_judged(
    config: Config, first: Mapping[str, Record]
) -> None:
    folder = fit.registry(config).fetch(first["register"]["version"])
    champion, judged = fit.record_of(folder), fit.record_of(copies.judged_folder(folder))
    frozen = dataset.describe(config, champion.training_set)
    assert champion.refit_of == judged.model == first["export_graph"]["model"]
    assert (champion.trained_until, champion.labels_known_until) == (frozen.windows["holdout_end"], frozen.as_of)
    assert (judged.trained_until, judged.labels_known_until) == (
        frozen.windows["fitted_until"],
        frozen.windows["holdout_start"],
    )
    assert champion.trees == judged.trees
    logged = MlflowClient(tracking_uri=config.tracking).download_artifacts(champion.mlflow_run, "agreement.json")
    assert all(check["holds"] for check in json.loads(Path(logged).read_text())["checks"])
    verdict = judgements.verdict_of(config, first["judge"]["judgement"])
    assert verdict["challenger_hash"] == folder_hash(copies.judged_folder(folder)) != folder_hash(folder)


def test_a_refit_learns_from_every_matured_event_that_is_not_reserved_with_its_label_of_today(
    config: Config, first: Mapping[str, Record]
) -> None:
    frozen = dataset.describe(config, first["build_training_set"]["training_set"])
    rows = refit.rows_of(config, frozen).set_index("event_id")
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    with Lake(config.lake).connect(tables, FIRST_AS_OF) as connection:
        events = connection.execute("SELECT event_id, event_time FROM events").df().set_index("event_id")
        labels = connection.execute(
            f"SELECT event_id, first(label ORDER BY {label_order(config)}) AS label FROM labels GROUP BY event_id"
        ).df()
    version = golden.newest(config)
    assert version is not None
    reserved = set(golden.read(config, version)["event_id"])
    start, end = (pd.Timestamp(frozen.windows[name]) for name in ("train_start", "holdout_end"))
    matured = events[(events["event_time"] >= start) & (events["event_time"] < end)]
    assert set(rows.index) == set(matured.index) - reserved
    assert reserved & set(matured.index)
    expected = labels.set_index("event_id")["label"].reindex(rows.index).fillna(0).astype(int)
    assert (rows["label"] == expected).all()
    fitted_then = dataset.read(config, frozen.training_set, (dataset.TRAIN, dataset.VALIDATION)).set_index("event_id")
    assert (fitted_then["label"] != rows["label"].reindex(fitted_then.index)).any(), "no label came late: this proves nothing"


def test_the_newest_events_have_no_label_and_nobody_is_fitted_on_them(config: Config, first: Mapping[str, Record]) -> None:
    newest = dataset.read(config, first["build_training_set"]["training_set"], (dataset.NEWEST,))
    assert len(newest)
    assert set(newest["label"]) == set(newest[dataset.LABEL_NOW]) == {dataset.UNLABELLED}
    assert newest["event_time"].min() >= FIRST_AS_OF - config.label_delay - DAY


@pytest.fixture(scope="module")
def early_rows(config: Config, first: Mapping[str, Record]) -> tuple[Config, pd.DataFrame]:
    """The deployment as one that learns from early answers, and the rows of a refit on the first night, by event."""
    limits = config.training.refit
    assert limits is not None
    refitted = limits.model_copy(update={"early": EARLY})
    asked = config.model_copy(update={"training": config.training.model_copy(update={"refit": refitted})})
    frozen = dataset.build_training_set(asked, FIRST_AS_OF)
    return asked, refit.rows_of(asked, frozen).set_index("event_id")


@pytest.fixture(scope="module")
def reported(config: Config, first: Mapping[str, Record]) -> pd.DataFrame:
    """All positives that were known on the first night: `event_time`, and the age in days at which each was known."""
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    with Lake(config.lake).connect(tables, FIRST_AS_OF) as connection:
        frauds: pd.DataFrame = connection.execute(
            "SELECT event_id, any_value(event_time) AS event_time, min(labels.known_at) AS known_at "
            "FROM events JOIN labels USING (event_id) GROUP BY event_id"
        ).df()
    return frauds.set_index("event_id").assign(age=lambda rows: (rows["known_at"] - rows["event_time"]) / DAY)


def test_young_rows_are_weighed_by_what_matured_rows_say_of_the_speed_of_answers(
    config: Config, early_rows: tuple[Config, pd.DataFrame], reported: pd.DataFrame
) -> None:
    _, rows = early_rows
    matured = pd.Timestamp(FIRST_AS_OF - config.label_delay)
    begin = rows["event_time"].min().floor("D")
    window = reported[(reported["event_time"] >= begin) & (reported["event_time"] < matured)]
    delays = np.sort(window.loc[window["age"] <= config.labels.delay.value, "age"].to_numpy())
    young = rows[rows["event_time"] >= matured.ceil("D")]
    ages = ((pd.Timestamp(FIRST_AS_OF) - young["event_time"]) / DAY).to_numpy()
    share = np.searchsorted(delays, ages, side="right") / len(delays)
    assert young["label"].sum() > 0
    assert (young["label"] == young.index.isin(reported.index)).all()
    positive = (young["label"] == 1).to_numpy()
    assert young[dataset.EARLY].to_numpy()[positive] == pytest.approx(1 / share[positive])
    silent = young[dataset.EARLY].to_numpy()[~positive]
    assert ((silent > 0.9) & (silent <= 1)).all()
    assert (rows.loc[rows["event_time"] < matured.floor("D"), dataset.EARLY] == 1).all()
    assert share.min() >= EARLY.value
    seen_early = reported[reported["event_time"] >= begin]["age"].to_numpy()
    immature = np.searchsorted(np.sort(seen_early), ages, side="right") / len(seen_early)
    assert np.abs(immature - share).max() > 0.005, "young answers are as slow as old ones: this proves nothing"


def test_rows_too_young_to_say_anything_are_left_out(early_rows: tuple[Config, pd.DataFrame], config: Config) -> None:
    asked, rows = early_rows
    newest = dataset.read(asked, dataset.build_training_set(asked, FIRST_AS_OF).training_set, (dataset.NEWEST,))
    left_out = newest[newest[dataset.LABEL_NOW] == dataset.UNLABELLED]
    version = golden.newest(config)
    assert version is not None
    youngest = rows["event_time"].max()
    assert (left_out["event_time"] > youngest).any()
    reserved = set(golden.read(config, version)["event_id"])
    assert not reserved & set(rows.index)


def test_the_judged_model_learns_from_no_early_answer(early_rows: tuple[Config, pd.DataFrame], config: Config) -> None:
    """The same rows and labels, whether the refit that may follow it learns from early answers or not."""
    asked, _ = early_rows
    parts = (dataset.TRAIN, dataset.VALIDATION, dataset.HOLDOUT)
    frozen = [dataset.build_training_set(each, FIRST_AS_OF).training_set for each in (config, asked)]
    without, with_early = (dataset.read(each, key, parts) for each, key in zip((config, asked), frozen, strict=True))
    pd.testing.assert_frame_equal(with_early.drop(columns=dataset.EARLY), without)


def test_the_refit_is_made_again_byte_for_byte(config: Config, first: Mapping[str, Record]) -> None:
    made = reproduce.reproduce(config, first["register"]["version"])
    assert made.equal, [check for check in made.checks if not check.equal]
    assert "refit: model.onnx" in {check.name for check in made.checks}


def test_a_champion_that_is_due_is_refreshed_by_its_own_recipe(config: Config, later: list[Mapping[str, Record]]) -> None:
    moves = Ledger(config.ledger).moves.history(config.name)
    young = [records["promote"] for records in later[:-1]]
    assert [move.action for move in moves] == ["promote", "refresh"]
    assert all("refresh" not in record["note"] for record in young)
    due = later[-1]
    assert due["promote"]["outcome"] != "PROMOTE"
    assert due["promote"]["champion"] == due["register"]["version"] == moves[-1].to_version
    assert "refreshes version 1" in due["promote"]["note"]
    assert [message.event for message in Ledger(config.ledger).messages.all(config.name)][-1] == "refresh"


def test_the_champion_is_judged_as_what_had_not_seen_the_holdout(config: Config, later: list[Mapping[str, Record]]) -> None:
    for records in later:
        verdict = judgements.verdict_of(config, records["judge"]["judgement"])
        seen, holdout = verdict["champion"], verdict["holdout"]
        assert seen["trained_until"] < holdout["start"]
        assert seen["labels_known_until"] <= holdout["start"]


def test_monitoring_knows_the_refit_by_the_scores_of_the_judged_model(
    config: Config, first: Mapping[str, Record], later: list[Mapping[str, Record]]
) -> None:
    from ml.monitoring.champion import champion_of

    champion = champion_of(config, first["register"]["version"])
    rows = dataset.read(config, champion.fitted.training_set, (dataset.HOLDOUT,))
    assert (champion.judged.score(rows) != champion.model.score(rows)).any()
    assert (champion.judged.score(rows) == Model(fit.folder_of(config, champion.fitted.refit_of)).score(rows)).all()
    steps.run("monitor", config, FIRST_AS_OF + REFRESH * DAY)
    ledger = Ledger(config.ledger)
    assert ledger.signals.newest_day(config.name, str(ledger.moves.champion(config.name)))


def test_a_refresh_is_rolled_back_like_a_promotion(config: Config, later: list[Mapping[str, Record]]) -> None:
    path = str(config.home.parent / "deployment.yaml")
    as_of = (FIRST_AS_OF + REFRESH * DAY).isoformat()
    words = ["rollback", "--config", path, "--as-of", as_of, "--actor", "ann", "--reason", "it alerts too much"]
    assert main(words) == 0
    assert Ledger(config.ledger).moves.champion(config.name) == "1"


def test_a_refit_that_does_not_agree_is_not_promoted(config: Config, first: Mapping[str, Record]) -> None:
    """The same verdict again, where only the very same ranking agrees."""
    limits = config.training.refit
    assert limits is not None
    exact = limits.model_copy(update={"correlation": limits.correlation.model_copy(update={"value": 1.0})})
    strict = config.model_copy(update={"training": config.training.model_copy(update={"refit": exact})})
    moves = Ledger(config.ledger).moves.history(config.name)
    judgement = {"judgement": first["judge"]["judgement"]}
    refitted = steps.run("refit", strict, FIRST_AS_OF, judgement)
    assert "does not agree" in refitted["note"]
    assert "rank correlation" in refitted["note"]
    assert (refitted["model"], refitted["is_refit"]) == (first["export_graph"]["model"], False)
    version = steps.run("register", strict, FIRST_AS_OF, judgement | {"model": refitted["model"]})["version"]
    decided = steps.run("promote", strict, FIRST_AS_OF, judgement | {"version": version, "run_id": "strict"})
    assert version != first["register"]["version"]
    assert decided["outcome"] == "PROMOTE"
    assert "does not agree" in decided["note"]
    assert Ledger(config.ledger).moves.history(config.name) == moves


def test_a_judgement_that_was_edited_to_allow_a_refresh_is_found_out(config: Config, later: list[Mapping[str, Record]]) -> None:
    judgement = later[0]["judge"]["judgement"]
    path = judgements.folder_of(config, judgement) / judgements.VERDICT
    record = json.loads(path.read_text())
    harmful = record | {"refresh": True, "outcome": "KEEP"}
    harmful["guardrails"] = [check | {"status": "failed"} for check in record["guardrails"]]
    path.write_text(json.dumps(harmful))
    try:
        with pytest.raises(GateError, match="edited"):
            judgements.verdict_of(config, judgement)
    finally:
        path.write_text(json.dumps(record))
