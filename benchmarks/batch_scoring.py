"""A table of complete rows scored by the step `score`, beside bare CatBoost with the same model, rows and threads.

The model is the champion of the demo's deployment with a smaller bank, trained on the first run. The tables are drawn from its
training rows, with raw categories and gaps, as Delta tables of 1 and 10 million rows. Each run is a process of its own:

- ours: the step, from its call to its return: it opens and checks the version, reads the Delta table in chunks, fills gaps and
  encodes categories, scores, and commits each chunk exactly once.
- bare CatBoost: it opens the model, too, then `pandas.read_parquet` of one file with the numbers that the model was fitted on
  (nothing to fill or encode), `predict_proba` of the whole frame, `to_parquet` of ids, times and scores.

The import of CatBoost counts in both.

Both run twice, by turns, after all that was written before is on the disk; figures are means. In memory, without reading and
writing, the model's own `score` of raw columns is compared with `predict_proba` of the prepared frame, both at 1 million rows.

Keys of the last line: `vs_catboost` (rows a second, ours over bare CatBoost's, both reading and writing), `vs_catboost_cpu`
(the same by seconds of the processors, which a busy machine changes less), `vs_catboost_in_memory`, `vs_predict_alone` (ours
with reading and writing over `predict_proba` alone), `rows_per_second`, `peak_gb` (of ours at 10 million rows), `peak_gb_1m`,
`catboost_peak_gb`, `rows`, `trees`, `inputs`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.serving import deployment
from ml.config import Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.model.model import Model
from ml.model.trees import Trees
from ml.serving.batch import score
from ml.serving.registered import open_registered
from ml.training import dataset
from ml.training.fit import record_of

PART, ROUNDS = 500_000, 2
SMALL, LARGE = 1_000_000, 10_000_000
processes = multiprocessing.get_context("spawn")


def draw(drawn_from: pd.DataFrame, names: list[str], number: int) -> pa.Table:
    """A part of a table: rows of the training set, in a new order and with ids and times of their own."""
    dice = np.random.default_rng(number)
    rows = drawn_from[names].iloc[dice.integers(0, len(drawn_from), PART)]
    first = number * PART
    times = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.arange(first, first + PART), "s")
    ids = pd.Series(np.arange(first, first + PART).astype(str)).str.zfill(12)
    table = pa.Table.from_pandas(rows.reset_index(drop=True), preserve_index=False)
    return table.add_column(0, "event_time", pa.array(times, schema.INSTANT)).add_column(
        0, "event_id", pa.array(ids, pa.string())
    )


def write(config: Config, model: Model, training_set: str, folder: Path, sizes: list[int]) -> None:
    """The tables of raw rows in the lake, and for CatBoost one file of numbers by table."""
    drawn_from, lake = dataset.read(config, training_set), Lake(config.lake)
    files = {size: folder / f"prepared_{size}.parquet" for size in sizes}
    writers: dict[int, pq.ParquetWriter] = {}
    for number in range(max(sizes) // PART):
        raw = draw(drawn_from, model.inputs.names, number)
        matrix = model.inputs.matrix(raw.select(model.inputs.names).to_pandas(categories=list(model.inputs.categories)))
        ready = pa.table({"event_id": raw["event_id"], "event_time": raw["event_time"]} | named(model, matrix))
        batch = raw.append_column("batch_id", pa.repeat(f"part {number:04d}", len(raw)))
        for size in (size for size in sizes if number < size // PART):
            lake.append_batches(f"rows_{size}", batch)
            if size not in writers:
                writers[size] = pq.ParquetWriter(files[size], ready.schema, compression="zstd")
            writers[size].write_table(ready, row_group_size=122_880)
    for writer in writers.values():
        writer.close()


def named(model: Model, matrix: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of a matrix by the names of the inputs."""
    return {name: matrix[:, place] for place, name in enumerate(model.inputs.names)}


def ours(path: Path, home: Path, size: int) -> dict[str, float]:
    """The step on a table, into an empty table of scores."""
    config = load(path).model_copy(update={"lake_folder": home})
    shutil.rmtree(home / schema.SCORES, ignore_errors=True)
    as_of = Ledger(config.ledger).moves.history(config.name)[-1].as_of
    begun, busy = time.perf_counter(), time.process_time()
    told = score(config, as_of, table=f"rows_{size}")
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    assert told.added == size, f"{told.added} of {size} rows were scored"
    return {"seconds": seconds, "cpu_seconds": busy, "peak_gb": peak_gb()}


def bare(folder: Path, prepared: Path) -> dict[str, float]:
    """CatBoost on a prepared file, as anybody would write it."""
    begun, busy = time.perf_counter(), time.process_time()
    from catboost import CatBoostClassifier

    classifier = CatBoostClassifier().load_model(str(folder / Trees.FILE))
    rows = pd.read_parquet(prepared)
    frame = rows[classifier.feature_names_]
    middle = time.perf_counter()
    scores = classifier.predict_proba(frame)[:, 1]
    predicted = time.perf_counter() - middle
    rows[["event_id", "event_time"]].assign(score=scores).to_parquet(prepared.with_suffix(".scores"), compression="zstd")
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    return {"seconds": seconds, "cpu_seconds": busy, "predict_seconds": predicted, "peak_gb": peak_gb()}


def in_memory(path: Path, home: Path, folder: Path, prepared: Path) -> dict[str, float]:
    """Seconds of our scoring of raw columns and of CatBoost's of prepared ones, the best of three each, by turns."""
    model, lake = Model(folder), Lake(home)
    texts = list(model.inputs.categories)
    found = lake.open(f"rows_{SMALL}")
    assert found is not None
    parts = [pq.read_table(file, columns=model.inputs.names) for file in lake.files(f"rows_{SMALL}", found)]
    raw = pa.concat_tables(parts).to_pandas(categories=texts, split_blocks=True)
    frame = pd.read_parquet(prepared, columns=model.inputs.names)
    classifier = model.estimator.classifier  # type: ignore[attr-defined]
    pairs = [(timed(lambda: model.score(raw)), timed(lambda: classifier.predict_proba(frame))) for _ in range(3)]
    return {"ours": min(mine for mine, _ in pairs), "catboost": min(theirs for _, theirs in pairs)}


def timed(work: Callable[[], Any]) -> float:
    """Seconds of some work."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def peak_gb() -> float:
    """The most that this process held in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def alone(work: Callable[..., dict[str, float]], *given: Any) -> dict[str, float]:
    """The figures of some work in a process of its own, which waits for no disk that keeps what others wrote."""
    os.sync()
    with processes.Pool(1) as pool:
        found = pool.apply(work, given)
    print(
        f"{work.__name__:10} {given[-1]!s:>12}: " + ", ".join(f"{name} {value:.2f}" for name, value in found.items()),
        flush=True,
    )
    return found


def mean(runs: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure."""
    return {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batch_scoring", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="folder with a trained deployment, or to train one in (default: a new one)")
    parser.add_argument("--rows", type=int, default=LARGE, help="rows of the larger table (default: %(default)s)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="batch-scoring-") as temporary:
        home = (asked.home or Path(temporary) / "home").resolve()
        home.mkdir(parents=True, exist_ok=True)
        path, lake = deployment(home), Path(temporary) / "lake"
        config = load(path)
        model = open_registered(config, "champion").model
        if not isinstance(model.estimator, Trees):
            raise SystemExit("the champion is no CatBoost model; remove the home and train again")
        sizes = sorted({SMALL, asked.rows})
        training_set = record_of(model.folder).training_set
        write(config.model_copy(update={"lake_folder": lake}), model, training_set, Path(temporary), sizes)
        prepared = {size: Path(temporary) / f"prepared_{size}.parquet" for size in sizes}
        small = alone(ours, path, lake, SMALL)
        runs = [(alone(ours, path, lake, asked.rows), alone(bare, model.folder, prepared[asked.rows])) for _ in range(ROUNDS)]
        memory = alone(in_memory, path, lake, model.folder, prepared[SMALL])
    mine, peer = mean([own for own, _ in runs]), mean([theirs for _, theirs in runs])
    seconds = mine["seconds"]
    print(
        json.dumps(
            {
                "vs_catboost": round(peer["seconds"] / seconds, 2),
                "vs_catboost_cpu": round(peer["cpu_seconds"] / mine["cpu_seconds"], 2),
                "vs_catboost_in_memory": round(memory["catboost"] / memory["ours"], 2),
                "vs_predict_alone": round(peer["predict_seconds"] / seconds, 2),
                "rows_per_second": round(asked.rows / seconds),
                "peak_gb": round(mine["peak_gb"], 2),
                "peak_gb_1m": round(small["peak_gb"], 2),
                "catboost_peak_gb": round(peer["peak_gb"], 2),
                "rows": asked.rows,
                "trees": model.estimator.trees,
                "inputs": len(model.inputs.names),
            }
        )
    )


if __name__ == "__main__":
    main()
