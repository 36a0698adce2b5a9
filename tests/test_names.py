"""Columns, entities and deployments have the names that people give them: words of SQL, of pandas and of our own tables."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from ml.config import Config, ConfigError, load
from ml.config.names import CLOCK, RESERVED
from ml.decision.judge import judge
from ml.decision.judgements import verdict_of
from ml.explanation.exploration import explore
from ml.features.publish import publish_features
from ml.ledger.ledger import Ledger
from ml.monitoring.monitor import monitor
from ml.monitoring.observed import ROWS
from ml.monitoring.traffic import SCORE
from ml.quality.load import load_batch
from ml.quality.validate import validate_batch
from ml.store import feast
from ml.training import dataset, export, fit, formats, golden
from ml.training.check import single_feature_auc
from tests import deployments
from tests.monitoring import living

DAY = dt.timedelta(days=1)
FIRST = dt.date(2025, 3, 1)
DAYS = 28
AS_OF = dt.datetime(2025, 3, 29, 2, tzinfo=dt.UTC)

ENTITIES = {"order": "group", "table": "select", "snapshot": "created_timestamp"}
CATEGORIES = ["source", "user", "from", "batch_id", "alerts"]
ATTRIBUTES = ["answer", "chosen", "null", "split"]
MEASURES = [
    *("end", "times", "position", "hour", "weekday", "is_night", "first", "seen"),
    *("key", "tick", "created", "cutoff", "rank", "change", "day", "reported_at"),
    *("known", "version", "n", "v", "x", "value", "count", "mean"),
    *("index", "file", "row", "features", "predicted", "request", "event", "entity"),
    *("where", "all", "default", "self", "frame", "expected"),
    *("known_at", "label_known_at", "event_timestamp", "probability", "score", "rows"),
]


def _told(folder: Path) -> dict[str, Any]:
    told = deployments.small_told()
    named = [*ENTITIES.values(), *CATEGORIES, *ATTRIBUTES, *MEASURES]
    told |= {"name": "default", "entities": ENTITIES, "categories": CATEGORIES, "attributes": ATTRIBUTES, "costs": None}
    told["archive_until"] = AS_OF.isoformat()
    told["events"]["columns"] = {"event_id": "event_id", "event_time": "event_time"} | {name: name for name in named}
    told["labels"]["columns"] = {"event_id": "event_id", "label": "label", "reported_at": "reported_at", "source": "source"}
    told["labels"]["delay"] = {"value": 30, "unit": "hours", "reason": "as the test asks"}
    told["windows"] = [
        {"entity": entity, "column": column, "aggregates": ["count", "sum", "mean"], "days": [1, 3], "delay": delay}
        for entity, column, delay in [
            *(("order", "times", 0), ("order", "known_at", 0), ("table", "end", 1), ("table", "label", 2)),
            *(("snapshot", "event_timestamp", 0), ("snapshot", "score", 0)),
        ]
    ]
    ratios = ["order_times_mean_3d", "order_known_at_mean_3d", "table_end_mean_1d", "snapshot_event_timestamp_mean_3d"]
    told["request"] = {"clock": True, "ratios": ratios}
    for part, days in {"train": 8, "validation": 7, "holdout": 7}.items():
        told["training"][part]["value"] = days
    told["training"]["caps"] = {"order": {"value": 0.5, "unit": "share", "reason": "as the test asks"}}
    told["training"]["model"] |= {"iterations": 20}
    told["gate"] |= {"cluster": "order", "fairness": {"attributes": ["null", "split"]}}
    told["gate"]["golden"] = {
        "share": {"value": 0.02, "unit": "share", "reason": "as the test asks"},
        "drop": {"value": 0.5, "unit": "average precision", "reason": "as the test asks"},
    }
    told["gate"]["guardrails"]["expected_cost"] = None
    told["gate"]["slices"]["by"] = [
        {"column": "times", "edges": [50]},
        {"column": "user"},
        {"column": "order_age", "edges": [3]},
        {"column": "known_at", "edges": [50]},
        {"column": "batch_id"},
    ]
    suites = _suites(folder)
    told["events"]["suite"], told["labels"]["suite"] = suites["events"], suites["labels"]
    return told


def _suites(folder: Path) -> dict[str, str]:
    keys = [
        {
            "type": "expect_column_values_to_not_be_null",
            "kwargs": {"column": column},
            "severity": "critical",
            "reason": "as the test asks",
        }
        for column in ("event_id", "position")
    ]
    paths = {}
    for kind, rows in (("events", keys), ("labels", keys[:1])):
        paths[kind] = str(folder / f"{kind}.yaml")
        Path(paths[kind]).write_text(yaml.safe_dump({"rows": rows}))
    return paths


def _land(config: Config, first: int, last: int) -> None:
    """A file of events and one of answers a day; in every tenth row an entity is missing, and so are some measures."""
    for number in range(first, last):
        rng, day = np.random.default_rng(number), FIRST + number * DAY
        size = 150
        ids = [f"E{number:02d}{i:04d}" for i in range(size)]
        rows: dict[str, list[Any]] = {"event_id": ids}
        rows["event_time"] = [dt.datetime.combine(day, dt.time()) + dt.timedelta(seconds=570 * i) for i in range(size)]
        rows["group"] = [None if i % 10 == 3 else f"G{k}" for i, k in enumerate(rng.integers(0, 40, size))]
        rows["select"] = [f"S{k}" for k in rng.integers(0, 9, size)]
        rows["created_timestamp"] = [f"C{k}" for k in rng.integers(0, 9, size)]
        for name in (*CATEGORIES, *ATTRIBUTES):
            rows[name] = [f"{name} {k}" for k in rng.integers(0, 3, size)]
        for name in MEASURES:
            rows[name] = [
                None if name != "position" and i % 7 == 0 else round(v, 2) for i, v in enumerate(rng.normal(50, 9, size))
            ]
        fraud = [i for i in range(size) if (rows["times"][i] or 0) > 58]
        answers = {
            "event_id": [ids[i] for i in fraud],
            "label": [1] * len(fraud),
            "reported_at": [rows["event_time"][i] + dt.timedelta(hours=20) for i in fraud],
            "source": ["analyst"] * len(fraud),
        }
        deployments.land(config, f"payments_{day}.parquet", rows)
        deployments.land(config, f"fraud_reports_{day}.parquet", answers)


def _ingest(config: Config, as_of: dt.datetime) -> None:
    told = validate_batch(config, as_of)
    assert (told.quarantined, told.stopped) == (0, ())
    load_batch(config, as_of, told.staged)
    publish_features(config, as_of)
    feast.materialize(config, as_of)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Four weeks are ingested and published."""
    folder = tmp_path_factory.mktemp("names")
    config = load(deployments.write(folder, _told(folder)))
    _land(config, 0, DAYS)
    _ingest(config, AS_OF)
    return config


def test_the_whole_way_runs_whatever_the_columns_are_named(config: Config) -> None:
    frozen = dataset.build_training_set(config, AS_OF)
    rows = dataset.read(config, frozen.training_set)
    assert set(MEASURES) < set(rows)
    assert rows["group"].isna().any()
    nobody = rows[rows["group"].isna()]
    assert nobody["order_age"].isna().all()
    assert nobody[[name for name in rows if name.startswith("order_times_mean")]].isna().all(axis=None)
    assert nobody["table_end_count_3d"].notna().mean() > 0.9
    assert rows["order_age"].notna().sum() == len(rows) - len(nobody)
    assert max(single_feature_auc(config, rows[rows[dataset.SPLIT] == dataset.TRAIN]).values()) > 0.9
    _holds_the_feeds_values(config, rows)
    explore(config, AS_OF, frozen.training_set)
    golden.freeze(config, AS_OF, "ann", "as the test asks")

    fitted = fit.fit(config, AS_OF, frozen.training_set)
    assert fitted.validation_average_precision > 0.5
    export.export_graph(config, AS_OF, fitted.model)
    verdict = verdict_of(config, judge(config, AS_OF, fitted.model).judgement)
    assert verdict["challenger"]["name"]
    assert {"batch_id", "times", "user"} <= {part["slice"].split()[0] for part in verdict["slices"]}
    registry = fit.registry(config)
    version = registry.register(export.folder_of(config, fitted.model), fitted.mlflow_run, {}, "a model")
    for file_format in ("onnx", "pmml"):
        assert formats.write_checked(config, version, file_format, config.home / "out").checked.startswith("checked")
    living.move(config, None, version)

    _land(config, DAYS, DAYS + 1)
    _ingest(config, AS_OF + DAY)
    told = monitor(config, AS_OF + DAY)
    assert len(told.days) >= 1
    assert told.version == version
    watched = {reading.signal for reading in Ledger(config.ledger).signals.readings(config.name, version, FIRST)}
    assert {"score: location", f"{SCORE}: location", "rows: missing", f"{ROWS}: volume", "alerts: unseen"} <= watched


def _holds_the_feeds_values(config: Config, rows: pd.DataFrame) -> None:
    """What is frozen is what was delivered, and features follow from it, offline and online."""
    every = pd.concat([pd.read_parquet(path) for path in sorted(config.landing.glob("payments_*"))]).set_index("event_id")
    feed = every.loc[rows["event_id"]]
    for name in (*ENTITIES.values(), *CATEGORIES, *ATTRIBUTES):
        assert rows[name].where(rows[name].notna(), None).tolist() == feed[name].where(feed[name].notna(), None).tolist()
    for name in MEASURES:
        np.testing.assert_array_equal(rows[name], feed[name])
    usual = rows["snapshot_event_timestamp_mean_3d"]
    np.testing.assert_allclose(rows["event_timestamp_over_snapshot_event_timestamp_mean_3d"], rows["event_timestamp"] / usual)
    midnight = feed["event_time"].iloc[-1].floor("D")
    window = every[(every["event_time"] < midnight) & (every["event_time"] >= midnight - 3 * DAY)]
    means = window.groupby("created_timestamp")["event_timestamp"].mean()
    last = rows[rows["event_time"] >= midnight.tz_localize("UTC") + config.events.lag.span]
    np.testing.assert_allclose(last["snapshot_event_timestamp_mean_3d"], means.loc[last["created_timestamp"]])
    asked = last.head(3).assign(event_time=AS_OF)[["event_time", *ENTITIES.values(), *MEASURES]]
    served = feast.retrieve_online(config, asked.to_dict("records"))
    expected = asked["event_timestamp"].to_numpy() / served["snapshot_event_timestamp_mean_3d"]
    np.testing.assert_allclose(served["event_timestamp_over_snapshot_event_timestamp_mean_3d"], expected)


def test_a_repeat_is_rejected_and_another_row_with_its_id_is_set_aside(config: Config) -> None:
    _land(config, 0, 1)
    path = next(config.landing.glob("payments_2025-03-01*"))
    rows = pd.read_parquet(path)
    rows.loc[0, "position"] += 1
    rows.to_parquet(config.landing / "payments_again.parquet")
    told = validate_batch(config, AS_OF + 2 * DAY)
    assert (told.accepted, told.quarantined, told.rejected) == (0, 1, 149)


def _refusal(tmp_path: Path, told: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as refused:
        load(deployments.write(tmp_path, told))
    return str(refused.value)


@pytest.mark.parametrize("name", [*RESERVED, *CLOCK, "order_times_mean_3d", "times_over_order_times_mean_3d", "order_age"])
def test_a_name_that_is_taken_is_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    told = _told(tmp_path)
    told["events"]["columns"][name] = "theirs"
    refused = _refusal(tmp_path, told)
    assert f"events.columns.{name}: the name is reserved for " in refused
    assert f"'{name}_: theirs'" in refused
    told["events"]["columns"][f"{name}_"] = told["events"]["columns"].pop(name)
    assert f"{name}_" in load(deployments.write(tmp_path, told)).measures


def test_the_clocks_names_are_free_where_there_is_no_clock(tmp_path: Path) -> None:
    told = _told(tmp_path)
    told["request"]["clock"] = False
    told["events"]["columns"]["clock_hour"] = "clock_hour"
    assert "clock_hour" in load(deployments.write(tmp_path, told)).measures


def test_two_views_of_one_name_are_refused(tmp_path: Path) -> None:
    told = _told(tmp_path)
    told["entities"] = {"order": "group", "order_rank": "select"}
    told["events"]["columns"]["rank_key"] = "theirs"
    window = {"aggregates": ["mean"], "days": [1]}
    told["windows"] = [
        window | {"entity": "order", "column": "rank_key"},
        window | {"entity": "order_rank", "column": "key"},
    ]
    told["request"]["ratios"] = []
    refused = _refusal(tmp_path, told)
    assert "windows: those of 'rank_key' of 'order' and of 'key' of 'order_rank' are both named 'order_rank_key'" in refused


def test_two_features_of_one_name_are_refused(tmp_path: Path) -> None:
    told = _told(tmp_path)
    told["windows"][0]["days"] = [3, 3]
    assert "'order_times_mean_3d' is listed 2 times" in _refusal(tmp_path, told)
    told = _told(tmp_path)
    told["entities"]["times"] = "select"
    told["events"]["columns"]["over_order_times"] = "theirs"
    told["windows"].append({"entity": "times", "column": "over_order_times", "aggregates": ["mean"], "days": [3]})
    assert "'times_over_order_times_mean_3d' is the name of a feature of times_over_order_times and the ratio over" in _refusal(
        tmp_path, told
    )


@pytest.mark.parametrize(
    ("section", "value"),
    [("entities", {"order": "group", "table": "group"}), ("categories", ["group"]), ("attributes", ["null", "null"])],
)
def test_a_column_is_one_thing(tmp_path: Path, section: str, value: object) -> None:
    assert "is several of these, or several times" in _refusal(tmp_path, _told(tmp_path) | {section: value})
