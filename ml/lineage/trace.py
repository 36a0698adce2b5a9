"""The lineage of a registered version, read from the records of all steps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml.config import Config
from ml.lake import schema
from ml.lake.schema import ACCEPTED, QUARANTINED, REJECTED
from ml.lake.tables import Lake
from ml.ledger.decisions import Decision
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Promotion
from ml.training.dataset import TrainingSet
from ml.training.fit import Fit, origin_of, record_of, registry

READMISSION = "readmission"


@dataclass(frozen=True)
class Batch:
    """A source of the lake's rows: a landing file, with the SHA-256 of its content as id, or a later readmission of rows."""

    batch_id: str
    file: str
    kind: str
    rows: int
    accepted: int
    quarantined: int
    rejected: int
    known_at: dt.datetime


@dataclass(frozen=True)
class Lineage:
    """The origin of a version, in the order of the pipeline."""

    model: str
    version: str
    batches: tuple[Batch, ...]
    training_set: TrainingSet
    fitted: Fit
    tags: Mapping[str, str]
    decisions: tuple[Decision, ...]
    promotions: tuple[Promotion, ...]


def trace(config: Config, version: str) -> Lineage:
    """The lineage of a version.

    Raises:
        BrokenModel: the version's files were changed since they were registered.
        NoOrigin: the version has no record of its origin.
    """
    versions, ledger = registry(config), Ledger(config.ledger)
    folder = versions.fetch(version)
    frozen, _ = origin_of(folder)
    return Lineage(
        model=config.name,
        version=version,
        batches=_batches(config, frozen),
        training_set=frozen,
        fitted=record_of(folder),
        tags=versions.tags(version),
        decisions=tuple(d for d in ledger.decisions.all(config.name) if d.challenger_version == version),
        promotions=tuple(p for p in ledger.moves.history(config.name) if version in (p.from_version, p.to_version)),
    )


def _batches(config: Config, frozen: TrainingSet) -> tuple[Batch, ...]:
    """The batches with rows in the lake at the training set's versions that were known at its `as_of`."""
    tables = {name: schema.of(name, config) for name in (*frozen.lake, schema.BATCHES, schema.READMISSIONS)}
    read = " UNION ".join(f"SELECT batch_id FROM {table}" for table in frozen.lake)
    outcomes = ", ".join(f"count(*) FILTER (outcome = '{outcome}')" for outcome in (ACCEPTED, QUARANTINED, REJECTED))
    with Lake(config.lake).connect(tables, dt.datetime.fromisoformat(frozen.as_of), frozen.lake) as connection:
        rows = connection.execute(
            f"""
            WITH loaded AS (
                SELECT batch_id, file, kind, rows, accepted, quarantined, rejected, known_at FROM {schema.BATCHES}
                UNION ALL
                SELECT r.batch_id, any_value(b.file), '{READMISSION}', count(*), {outcomes}, any_value(r.known_at)
                FROM {schema.READMISSIONS} r JOIN {schema.BATCHES} b ON b.batch_id = r.source GROUP BY r.batch_id
            )
            SELECT * FROM loaded SEMI JOIN ({read}) USING (batch_id) ORDER BY known_at, file
            """
        ).fetchall()
    return tuple(Batch(*row) for row in rows)


def summary(lineage: Lineage) -> dict[str, Any]:
    """A version's lineage as nested dictionaries for display: one key per stage, with counts of files instead of a list."""
    frozen, fitted = lineage.training_set, lineage.fitted
    files: dict[str, str] = {}
    for kind in sorted({batch.kind for batch in lineage.batches}):
        of_kind = [batch for batch in lineage.batches if batch.kind == kind]
        rows, accepted, quarantined, rejected = (
            sum(getattr(b, n) for b in of_kind) for n in ("rows", "accepted", "quarantined", "rejected")
        )
        files[kind] = (
            f"{len(of_kind)} files, {rows:,} rows = {accepted:,} accepted + {quarantined:,} quarantined + "
            f"{rejected:,} rejected, from {of_kind[0].file} to {of_kind[-1].file}"
        )
    return {
        "files": files,
        "lake": {table: f"version {number}" for table, number in frozen.lake.items()},
        "features": {
            view: f"{len(published)} files, snapshots up to {published[-1]['last'] if published else 'none'}"
            for view, published in frozen.features.items()
        },
        "training set": {
            "SHA-256": frozen.training_set,
            "as of": frozen.as_of,
            "rows": f"{frozen.train_rows:,} train, {frozen.validation_rows:,} validation, {frozen.holdout_rows:,} holdout",
        },
        "run": {
            "MLflow run": fitted.mlflow_run,
            "size": fitted.size,
            "commit": fitted.code["commit"],
            "sources": fitted.code["sources"],
            "lock": fitted.code["lock"],
        },
        "version": {"name": f"{lineage.model} version {lineage.version}", "configuration": lineage.tags["configuration"]},
        "decisions": {
            f"{d.as_of:%Y-%m-%d %H:%M}": f"{d.outcome} against {_named(d.champion_version)}, run {d.run_id}: {d.reason}"
            for d in lineage.decisions
        },
        "promotions": {
            f"move {p.sequence}, {p.as_of:%Y-%m-%d %H:%M}": f"{p.action} from {_named(p.from_version)} "
            f"to {_named(p.to_version)} by {p.actor}: {p.reason}"
            for p in lineage.promotions
        },
    }


def _named(version: str | None) -> str:
    return "no champion" if version is None else f"version {version}"
