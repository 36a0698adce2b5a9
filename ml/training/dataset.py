"""The step `build_training_set`: matured events with their features and labels, frozen under the hash of their content."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml import artifacts
from ml.config import Config
from ml.errors import BadInput, Refused
from ml.features.history import history
from ml.lake import schema
from ml.lake.labels import label_order
from ml.lake.sql import columns, quoted, stored
from ml.lake.tables import Lake, instant
from ml.ledger.run import BY_HAND, Run
from ml.store.feast import retrieve
from ml.training import early, reserve
from ml.training.code import code_version
from ml.training.refused import record_refusal
from ml.training.split import Split, split

TRAIN, VALIDATION, HOLDOUT = "train", "validation", "holdout"
# With `training.refit` also: what only the refit learns from, and what nobody does, because its labels are not known yet.
GAP, NEWEST = "gap", "newest"
# Columns added to those of the deployment: the window that a row belongs to, the time when its label became known, and, with
# `training.refit`, its label as of the training, UNLABELLED for rows that a refit does not learn from. With
# `training.refit.early` also the weight of a row in a refit, see `ml.training.early`.
SPLIT, LABEL_KNOWN_AT, LABEL_NOW, EARLY = "_split", "_label_known_at", "_label_now", "_early"
UNLABELLED = -1
KIND = "training_sets"
PART = 100_000
"""Rows of a part of a training set that is read in parts."""


class NotEnoughHistory(Refused, ValueError):
    """The lake does not reach back far enough yet."""


class WindowEmpty(NotEnoughHistory):
    """A window holds no rows, although the lake reaches back far enough."""


@dataclass(frozen=True)
class TrainingSet:
    """The record of a frozen training set: its content hash, which is its address, its sources and its row counts.

    `lake` is the version of each table, `features` lists the publications of each view (see `ml.features.history.Published`).
    `rows` are those of the three windows; `refit_rows` those that a refit learns from, 0 without `training.refit`.
    """

    training_set: str
    as_of: str
    rows: int
    train_rows: int
    validation_rows: int
    holdout_rows: int
    positives: dict[str, int]
    windows: dict[str, str]
    labels_known_until: str
    lake: dict[str, int]
    features: dict[str, list[dict[str, str]]]
    config: str
    refit_rows: int = 0


def path_of(config: Config, training_set: str) -> Path:
    """File of a frozen training set.

    Raises:
        Missing: there is none.
    """
    return artifacts.of(config).get(KIND, f"{training_set}.parquet")


def is_frozen(config: Config, training_set: str) -> bool:
    """Whether there is a training set."""
    return artifacts.of(config).has(KIND, f"{training_set}.parquet")


def record_of(config: Config, training_set: str) -> Path:
    """File of the record of a frozen training set; errors as for `path_of`."""
    return artifacts.of(config).get(KIND, f"{training_set}.json")


def describe(config: Config, training_set: str) -> TrainingSet:
    """The record of a frozen training set; errors as for `path_of`."""
    return TrainingSet(**json.loads(record_of(config, training_set).read_text()))


def all_records(config: Config) -> list[TrainingSet]:
    """The records of all frozen training sets."""
    keys = artifacts.of(config).list(KIND)
    frozen = [key.removesuffix(".parquet") for key in keys if key.endswith(".parquet")]
    return [describe(config, each) for each in frozen if f"{each}.json" in keys]


def read(config: Config, training_set: str, parts: tuple[str, ...] = (TRAIN, VALIDATION, HOLDOUT)) -> pd.DataFrame:
    """Rows of windows of a frozen training set, in the order of their time; errors as for `verified_path`."""
    path = verified_path(config, training_set)
    names = pq.read_schema(path).names
    split_column = names[current_names(names).index(SPLIT)]
    table = pq.read_table(path, filters=[(split_column, "in", list(parts))])
    rows: pd.DataFrame = table.rename_columns(current_names(names)).to_pandas()
    return rows


def read_without_numbers(config: Config, training_set: str) -> pd.DataFrame:
    """The training rows with label, time, keys and categories alone, texts by their codes; errors as for `verified_path`."""
    texts = [*config.entities.values(), *config.categories]
    path, names = verified_path(config, training_set), ["event_id", "event_time", "label", *texts]
    table = pq.read_table(path, columns=names, filters=[(SPLIT, "=", TRAIN)], read_dictionary=texts)
    rows: pd.DataFrame = table.to_pandas(types_mapper={pa.string(): pd.ArrowDtype(pa.string())}.get)
    return rows


def parts(config: Config, training_set: str, names: list[str], rows: int = PART) -> Iterator[pd.DataFrame]:
    """Columns of the training rows in consecutive parts of at most so many rows, in the order of `read`."""
    with pq.ParquetFile(path_of(config, training_set)) as file:
        for batch in file.iter_batches(rows, columns=[SPLIT, *names]):
            yield batch.filter(pc.equal(batch[SPLIT], TRAIN)).select(names).to_pandas()


def current_names(columns: Sequence[str]) -> list[str]:
    """Current names of a frozen training set's columns; older ones have `split` and `label_known_at` for the added columns."""
    if SPLIT in columns:
        return list(columns)
    return [{"split": SPLIT, "label_known_at": LABEL_KNOWN_AT}.get(name, name) for name in columns]


def verified_path(config: Config, training_set: str) -> Path:
    """File of a frozen training set.

    Raises:
        ValueError: the hash of the content differs from the name.
    """
    path = path_of(config, training_set)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != training_set:
        raise BadInput(f"{path}: content has SHA-256 {digest}; the frozen training set was changed, build it again")
    return path


def build_training_set(config: Config, as_of: dt.datetime, run: Run = BY_HAND) -> TrainingSet:
    """Join, label, split and freeze; equal inputs give equal bytes, and a second call returns the existing training set.

    Args:
        run: the training run; it is recorded with a refusal.

    Raises:
        NotEnoughHistory: a window holds no events.
        RowsLost: the point-in-time join lost or duplicated rows.
        TooFewAnswers: see `ml.training.early`.
    """
    with record_refusal(config, as_of, "build_training_set", run.id, (WindowEmpty, early.TooFewAnswers)):
        return build_at(config, as_of, Lake(config.lake).versions([schema.EVENTS, schema.LABELS]))


def build_at(config: Config, as_of: dt.datetime, versions: dict[str, int]) -> TrainingSet:
    """Build a training set from the lake at the given versions of its tables; see `build_training_set`."""
    features = {window.view: [p.record() for p in history(config, window, as_of)] for window in config.snapshot_windows}
    code = code_version()["sources"]
    inputs = json.dumps([as_of.isoformat(), config.fingerprint, versions, features, code], sort_keys=True)
    store, index = artifacts.of(config), f"inputs/{hashlib.sha256(inputs.encode()).hexdigest()}"
    if store.has(KIND, index):
        frozen = store.get(KIND, index).read_text()
        if store.has(KIND, f"{frozen}.parquet"):
            return describe(config, frozen)
    windows = split(config, as_of)
    events = _with_early_answers(config, as_of, versions, windows, _labelled(config, as_of, versions, windows))
    frame = pd.concat([events, retrieve(config, events, as_of, versions)], axis=1)
    record = _freeze(config, as_of, frame, windows, versions, features)
    store.put_text(KIND, index, record.training_set)
    return record


def _labelled(config: Config, as_of: dt.datetime, versions: dict[str, int], windows: Split) -> pd.DataFrame:
    """Events of the windows with the labels known at `holdout_start` (training, validation) or at `as_of` (holdout).

    For a refit there are also the events of the gap and those that became known, or were answered, too late for the training;
    and the newest ones, without a label.
    """
    order, answered = label_order(config), config.labels.complete
    wanted = [TRAIN, VALIDATION, HOLDOUT, *([GAP, NEWEST] if config.training.refit else [])]
    names = ["event_id", "event_time", *config.entities.values(), *config.measures, *config.categories, *config.attributes]
    cluster = config.entities[config.gate.cluster]
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    with Lake(config.lake).connect(tables, as_of, versions) as connection:
        (oldest,) = connection.execute("SELECT min(event_time) FROM events").fetchone() or (None,)
        frame: pd.DataFrame = connection.execute(
            f"""
            WITH seen AS (
                SELECT {columns(names)}, events.known_at AS _known_at, {reserve.is_reserved(config)} AS _reserved FROM events
                WHERE event_time >= {instant(windows.train_start)}
            ),
            placed AS (
                SELECT *, CASE
                    WHEN event_time >= {instant(windows.holdout_end)} THEN '{NEWEST}'
                    WHEN event_time >= {instant(windows.holdout_start)} THEN '{HOLDOUT}'
                    WHEN _reserved THEN NULL
                    WHEN event_time >= {instant(windows.fitted_until)} THEN '{GAP}'
                    WHEN _known_at > {instant(windows.holdout_start)} THEN '{GAP}'
                    WHEN event_time >= {instant(windows.validation_start)} THEN '{VALIDATION}' ELSE '{TRAIN}' END AS _place
                FROM seen
            ),
            first_seen AS (
                SELECT events.{quoted(stored(cluster))} AS entity, min(event_time) AS first_event FROM events GROUP BY ALL
            ),
            answer AS (
                SELECT event_id, first(labels.label ORDER BY {order}) AS label,
                    first(labels.known_at ORDER BY {order}) AS known_at
                FROM placed JOIN labels USING (event_id)
                WHERE _place NOT IN ('{TRAIN}', '{VALIDATION}') OR labels.known_at <= {instant(windows.holdout_start)}
                GROUP BY event_id
            ),
            answer_now AS (
                SELECT event_id, first(labels.label ORDER BY {order}) AS label FROM placed JOIN labels USING (event_id)
                GROUP BY event_id
            ),
            labelled AS (
                SELECT placed.* EXCLUDE (_known_at, _reserved, _place),
                    CASE WHEN _place IN ('{TRAIN}', '{VALIDATION}') AND {answered} AND answer.label IS NULL
                        THEN '{GAP}' ELSE _place END AS {SPLIT},
                    CASE WHEN _place = '{NEWEST}' THEN {UNLABELLED} ELSE coalesce(answer.label, 0) END::TINYINT AS label,
                    answer.known_at AS {LABEL_KNOWN_AT},
                    CASE WHEN _reserved{"" if _learns_early(config) else f" OR _place = '{NEWEST}'"} THEN {UNLABELLED}
                        ELSE coalesce(answer_now.label, 0) END::TINYINT AS {LABEL_NOW},
                    _place = '{NEWEST}' OR NOT {answered} OR answer_now.label IS NOT NULL AS _kept
                FROM placed LEFT JOIN answer USING (event_id) LEFT JOIN answer_now USING (event_id)
                WHERE _place IS NOT NULL
            )
            SELECT labelled.* EXCLUDE (_kept{"" if config.training.refit else f", {LABEL_NOW}"}),
                (epoch(labelled.event_time - first_seen.first_event) / 86400)::FLOAT AS {quoted(config.age)}
            FROM labelled LEFT JOIN first_seen ON labelled.{quoted(cluster)} = first_seen.entity
            WHERE _kept AND {SPLIT} IN ({", ".join(f"'{part}'" for part in wanted)})
            ORDER BY labelled.event_time, event_id
            """
        ).df()
    for part in (TRAIN, VALIDATION, HOLDOUT):
        if not (frame[SPLIT] == part).any():
            kind = "answered events" if config.labels.complete else "events"
            problem = f"no {kind} in the {part} window of {windows}; the lake begins at {oldest}: "
            if oldest is not None and oldest <= windows.train_start:
                raise WindowEmpty(f"{problem}look at the feed of those days, and at the quarantine")
            raise NotEnoughHistory(
                f"{problem}wait until it reaches back far enough, or shorten training.train, .validation or .holdout"
            )
    return frame


def _learns_early(config: Config) -> bool:
    return config.training.refit is not None and config.training.refit.early is not None


def _with_early_answers(
    config: Config, as_of: dt.datetime, versions: dict[str, int], windows: Split, frame: pd.DataFrame
) -> pd.DataFrame:
    """With `training.refit.early` the weight of each row in a refit; rows too young to learn from stay without a label."""
    refit = config.training.refit
    if refit is None or refit.early is None:
        return frame
    found = early.reporting(config, as_of, windows, versions)
    ages = ((pd.Timestamp(as_of) - frame["event_time"]) / pd.Timedelta(days=1)).to_numpy(np.float64)
    labels, newest = frame[LABEL_NOW].to_numpy(), (frame[SPLIT] == NEWEST).to_numpy()
    known = newest & (labels != UNLABELLED) & (found.share(ages) >= refit.early.value)
    weight = np.ones(len(frame))
    weight[known] = early.weights(found, ages[known], labels[known])
    return frame.assign(**{LABEL_NOW: np.where(newest & ~known, UNLABELLED, labels).astype(np.int8), EARLY: weight})


def _freeze(
    config: Config,
    as_of: dt.datetime,
    frame: pd.DataFrame,
    windows: Split,
    versions: dict[str, int],
    features: dict[str, list[dict[str, str]]],
) -> TrainingSet:
    for column in frame.columns:
        if isinstance(frame[column].dtype, pd.DatetimeTZDtype):
            frame[column] = frame[column].dt.tz_convert("UTC").astype("datetime64[us, UTC]")
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    store = artifacts.of(config)
    content, _ = store.put_by_content(
        KIND, lambda sha256: f"{sha256}.parquet", lambda path: pq.write_table(table, path, compression="zstd")
    )
    judged = frame[frame[SPLIT].isin((TRAIN, VALIDATION, HOLDOUT))]
    counts = judged[SPLIT].value_counts()
    record = TrainingSet(
        training_set=content,
        as_of=as_of.isoformat(),
        rows=len(judged),
        train_rows=int(counts[TRAIN]),
        validation_rows=int(counts[VALIDATION]),
        holdout_rows=int(counts[HOLDOUT]),
        positives={str(part): int(count) for part, count in judged.groupby(SPLIT)["label"].sum().items()},
        windows={name: value.isoformat() for name, value in asdict(windows).items()},
        labels_known_until=windows.holdout_start.isoformat(),
        lake=versions,
        features=features,
        config=config.fingerprint,
        refit_rows=int((frame[LABEL_NOW] != UNLABELLED).sum()) if LABEL_NOW in frame else 0,
    )
    store.put_text(KIND, f"{content}.json", json.dumps(asdict(record), indent=1))
    return record
