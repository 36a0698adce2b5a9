"""Spark publishes the very bytes that DuckDB does, from the same lake: the whole history, and each publication after it."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.config import PROJECT, Config
from ml.config.engine import Spark
from ml.features.history import folder, history
from ml.features.publish import publish_features
from ml.features.spark import NoSpark
from tests.features import streams
from tests.features.streams import HOUR, START, contents

LOCAL = Spark(kind="spark", master="local[2]", settings={"spark.sql.shuffle.partitions": "2", "spark.default.parallelism": "2"})


def _java() -> str:
    """A Java that Spark runs on, Debian's if there is none; a package from PyPI lacks a module that Spark asks for."""
    for _ in range(2):
        found = sorted(each for version in (17, 21) for each in Path("/usr/lib/jvm").glob(f"*{version}*/bin/java"))
        if found:
            return str(found[0].parents[1])
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", "openjdk-17-jre-headless"], check=True)
    raise FileNotFoundError("/usr/lib/jvm has no Java 17 or 21; install one")


@pytest.fixture(scope="module")
def spark() -> Iterator[None]:
    """Spark, from a lock of its own: it is a gigabyte that the project's environment does without."""
    lock, place = PROJECT / "deploy/images/requirements-spark.txt", PROJECT / "var/spark"
    uv = Path(sys.executable).with_name("uv")
    if not (place / "pyspark").exists():
        install = [uv, "pip", "install", "--quiet", "--target", place, "--no-deps", "--require-hashes", "-r", lock]
        subprocess.run(install, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        patch.setenv("JAVA_HOME", _java())
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        yield


def _stream(seed: int) -> list[tuple[Any, ...]]:
    """Forty events in twenty days, late ones among them, with answers that may disagree."""
    drawn = np.random.default_rng(seed)

    def one_of(*values: Any) -> Any:
        return values[drawn.integers(len(values))]

    def answer() -> tuple[Any, ...]:
        return one_of(0, 1, 7, 7.3, 9, 15), one_of(1, 1, 0), one_of("chargeback", "analyst", "customer", "somebody")

    return [
        (
            float(drawn.integers(4 * 24 * 20)) / 4,
            one_of("A", "B", "C", None),
            one_of("X", "Y", None),
            one_of(None, float(drawn.integers(1, 500_000)) / 100),
            one_of(0, 0, 0, 1, 4, 9),
            [answer(), answer()],
        )
        for _ in range(40)
    ]


def _published(
    home: Path, seed: int, hours: int, complete: bool, engine: Spark | None
) -> tuple[Config, list[dict[str, bytes]]]:
    home.mkdir()
    config = streams.deployment(home, hours, complete).model_copy(update={"engine": engine})
    events, labels = streams.rows_of(_stream(seed))
    before = START
    for cut in (11 * 24 + 1, 12 * 24 + 3, 15 * 24 + 1, 24 * 24 + 7):
        now: dt.datetime = START + cut * HOUR
        streams.fill(config, events, labels, now, before)
        publish_features(config, now)
        before = now
    return config, [contents(folder(config, window)) for window in config.snapshot_windows]


@pytest.mark.proof
@pytest.mark.parametrize(("seed", "hours", "complete"), [(1, 24, False), (2, 6, False), (3, 24, True)])
def test_the_bytes_are_those_of_duckdb(spark: None, tmp_path: Path, seed: int, hours: int, complete: bool) -> None:
    config, alone = _published(tmp_path / "duckdb", seed, hours, complete, None)
    _, by_spark = _published(tmp_path / "spark", seed, hours, complete, LOCAL)
    assert by_spark == alone
    assert [len(history(config, window)) for window in config.snapshot_windows] == [4, 4]


def test_without_spark_the_step_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyspark", "pyspark.sql"):
        monkeypatch.setitem(sys.modules, name, None)
    config = streams.deployment(tmp_path).model_copy(update={"engine": LOCAL})
    events, labels = streams.rows_of(_stream(5))
    streams.fill(config, events, labels, START + 12 * 24 * HOUR)
    with pytest.raises(NoSpark, match="pip install pyspark"):
        publish_features(config, START + 12 * 24 * HOUR)


def test_the_engine_is_no_part_of_a_version(tmp_path: Path) -> None:
    config = streams.deployment(tmp_path)
    assert config.model_copy(update={"engine": LOCAL}).fingerprint == config.fingerprint
