"""Every step may be killed at any line and run again: no row is lost or doubled, and nobody sees half of anything."""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ml.config import Config, load
from ml.features.publish import publish_features
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.registry.promotion import promote, sync
from ml.registry.versions import Registry
from ml.serving import source
from ml.serving.batch import score
from ml.simulate.feed import write_until
from ml.training import dataset
from tests import villages
from tests.killing import Phase, Step, killed_anywhere
from tests.serving.packages import register

DAY = dt.timedelta(days=1)
AS_OF = villages.ARCHIVE_UNTIL + 3 * DAY
KILLS = {"ingest": 70, "publish": 50, "freeze": 40, "promote": 50, "score": 40}


def ingest(home: Path) -> None:
    villages.ingest(_of(home), AS_OF)


def publish(home: Path) -> None:
    publish_features(_of(home), AS_OF)


def freeze(home: Path) -> None:
    dataset.build_training_set(_of(home), AS_OF)


def promote_second(home: Path) -> None:
    config = _of(home)
    _promote(config, "2", "1")


def score_by_second(home: Path) -> None:
    source.CHUNK = 300
    score(_of(home), AS_OF, version="2")


def _of(home: Path) -> Config:
    return load(home.parent / "deployment.yaml")


def _promote(config: Config, version: str, champion: str | None) -> None:
    """Register a model's folder and make it champion, as the steps `register` and `promote` do."""
    registry, ledger = Registry(config.tracking, config.name), Ledger(config.ledger)
    folder = config.home / f"model_{version}"
    experiment = registry.experiment(config.name, f"{config.home}/mlartifacts")
    registered = registry.register(folder, registry.run(experiment, f"key {version}"), {}, "a model")
    verdict = {
        "outcome": "PROMOTE",
        "challenger_hash": registry.model_hash(registered),
        "champion_hash": None if champion is None else registry.model_hash(champion),
    }
    registry.set_aliases(challenger=registered)
    promote(
        ledger,
        registry,
        version=registered,
        judged_champion=champion,
        verdict=verdict,
        as_of=AS_OF,
        actor="gate",
        reason="better",
        run_id=f"run {version}",
        check=_loads,
    )


def _loads(folder: Path) -> None:
    assert (folder / "model.onnx").is_file()


def _rows(config: Config, table: str) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of a table by batch."""
    columns = [name for name in schema.of(table, config).names if name != "batch_id"]
    with Lake(config.lake).connect({table: schema.of(table, config)}) as connection:
        found = connection.execute(f"SELECT batch_id, {', '.join(columns)} FROM {table}").fetchall()
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for batch, *values in found:
        rows.setdefault(batch, []).append(tuple(str(value) for value in values))
    return {batch: sorted(values) for batch, values in rows.items()}


TABLES = (schema.EVENTS, schema.LABELS, schema.QUARANTINE, schema.BATCHES)


def _lake(home: Path) -> dict[str, Any]:
    return {table: _rows(_of(home), table) for table in TABLES}


def _batches_are_whole(home: Path, expected: dict[str, Any]) -> None:
    for table, batches in _lake(home).items():
        for batch, rows in batches.items():
            assert rows == expected[table][batch], f"{table}: batch {batch} is in, but not whole"


def _files(folder: Path, pattern: str) -> dict[str, str]:
    found = sorted(folder.glob(pattern))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def _features(home: Path) -> dict[str, str]:
    return _files(home / "features", "*/*.parquet")


def _features_are_whole(home: Path, expected: dict[str, str]) -> None:
    for name, digest in _features(home).items():
        assert expected[name] == digest
        assert pq.ParquetFile(home / "features" / name).metadata.num_rows >= 0


def _training_sets(home: Path) -> dict[str, str]:
    return _files(home / "training_sets", "*.parquet")


def _training_sets_are_whole(home: Path, expected: dict[str, str]) -> None:
    config, found = _of(home), _training_sets(home)
    assert set(found.items()) <= set(expected.items())
    for name in found:
        assert dataset.describe(config, Path(name).stem).rows == len(dataset.read(config, Path(name).stem))


def _moves(config: Config) -> list[tuple[int, str | None, str]]:
    return [(m.sequence, m.from_version, m.to_version) for m in Ledger(config.ledger).moves.history(config.name)]


def _champions(home: Path) -> dict[str, Any]:
    config = _of(home)
    registry = Registry(config.tracking, config.name)
    stages = registry.stages()
    return {
        "moves": _moves(config),
        "aliases": registry.aliases(),
        "champions": [version for version, stage in stages.items() if stage == "champion"],
        "versions": sorted(str(version.version) for version in registry._versions()),
        "files": {version: _fetched(registry, version) for version in stages},
    }


def _fetched(registry: Registry, version: str) -> dict[str, str]:
    folder = registry.fetch(version)
    return {name: digest for name, digest in _files(folder, "*").items() if name != "registered_model_meta"}


def _one_champion(home: Path, expected: dict[str, Any]) -> None:
    config = _of(home)
    moves = _moves(config)
    assert moves in (expected["moves"][:1], expected["moves"])
    registry = Registry(config.tracking, config.name)
    assert registry.aliases()["champion"] in ("1", moves[-1][2])
    assert _fetched(registry, moves[-1][2])
    assert sync(Ledger(config.ledger), registry) == moves[-1][2] == registry.aliases()["champion"]


def _scores(home: Path) -> list[tuple[Any, ...]]:
    config = _of(home)
    with Lake(config.lake).connect({schema.SCORES: schema.SCORES_SCHEMA}) as connection:
        return connection.execute("SELECT * EXCLUDE (batch_id) FROM scores ORDER BY event_id").fetchall()


def _scores_are_right(home: Path, expected: list[tuple[Any, ...]]) -> None:
    found = _scores(home)
    assert set(found) <= set(expected)
    assert len(set(found)) == len(found)


PHASES = {
    "ingest": Phase(ingest, _batches_are_whole, _lake),
    "publish": Phase(publish, _features_are_whole, _features),
    "freeze": Phase(freeze, _training_sets_are_whole, _training_sets),
    "promote": Phase(promote_second, _one_champion, _champions),
    "score": Phase(score_by_second, _scores_are_right, _scores),
}


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The deployment before each phase, by phase; each folder is the home to start from."""
    folder = tmp_path_factory.mktemp("kills")
    config = villages.village(folder)
    villages.live_until(config, villages.ARCHIVE_UNTIL)
    write_until(config, (AS_OF - DAY).date())
    _spoil(config)
    for number in (1, 2):
        model = config.home / f"model_{number}"
        model.mkdir()
        (model / "MLmodel").write_text(f"model_uuid: {number}\n")
        (model / "model.onnx").write_bytes(bytes(range(256)) * 4000 * number)
    _promote(config, "1", None)
    found = {}
    for phase in PHASES:
        if phase == "score":
            register(config, config.home / "model")
        found[phase] = folder / phase
        shutil.copytree(config.home, found[phase])
        if phase != "promote":
            Step(PHASES[phase].function, config.home).run()
    return found


def _spoil(config: Config) -> None:
    """Some of the newest rows are impossible, some came before, some labels are for nothing."""
    newest = sorted(config.landing.glob("payments_*"))[-2:]
    older, newer = (pq.read_table(path).to_pandas() for path in newest)
    newer.loc[newer.index[:3], "amount"] = -5.0
    newer = pd.concat([newer.iloc[:-1], older.iloc[:4]], ignore_index=True)
    newer.to_parquet(newest[-1], index=False)
    reports = sorted(config.landing.glob("fraud_reports_*"))[-1]
    with reports.open("a") as file:
        file.write(f"nobody's,1,{AS_OF - DAY:%Y-%m-%dT12:00:00Z},customer\n")


@pytest.mark.parametrize("phase", KILLS)
def test_a_step_that_was_killed_anywhere_is_mended_by_running_it_again(
    phase: str, states: dict[str, Path], repetitions: Callable[[int], int]
) -> None:
    assert sum(KILLS.values()) >= 200
    killed_anywhere(phase, PHASES[phase], states[phase], repetitions(KILLS[phase]))
