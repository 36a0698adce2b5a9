"""Sends the lineage of a version as OpenLineage events (https://openlineage.io), when a transport is configured.

A transport is configured as the standard says: `OPENLINEAGE_URL`, `OPENLINEAGE_CONFIG`, `OPENLINEAGE__TRANSPORT__…`, or a file
`openlineage.yml`. Without one nothing is sent. Events are made from records alone: an event's time is the `as_of` of
its step, and the id of its run is a hash of its subject, so sending a lineage again adds nothing.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml import artifacts
from ml.config import Config
from ml.features.history import folder
from ml.lake import schema
from ml.lake.tables import Lake
from ml.lineage.trace import READMISSION, Batch, Lineage
from ml.training import dataset

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent

PRODUCER = "urn:perennial"
RUNS = uuid.UUID("6c3f1c0e-7b7e-5f0e-9d6c-1d5a3f0f6b1e")
VARIABLES = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT", "OPENLINEAGE__TRANSPORT__TYPE")
FILES = (Path("openlineage.yml"), Path("~/.openlineage/openlineage.yml"))


def configured() -> bool:
    """Whether an OpenLineage transport is configured."""
    return any(os.environ.get(name) for name in VARIABLES) or any(file.expanduser().is_file() for file in FILES)


def send(config: Config, lineage: Lineage) -> int:
    """Send a version's lineage and return the number of events; 0 without a transport.

    A transport that fails is a warning in the log; no step fails because of it.
    """
    if not configured():
        return 0
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import set_producer

    set_producer(PRODUCER)
    run_events = events(config, lineage)
    try:
        client = OpenLineageClient()
        for event in run_events:
            client.emit(event)
    except Exception as error:  # noqa: BLE001  a transport may raise any error
        logging.getLogger(__name__).warning("the lineage of version %s was not sent: %s", lineage.version, error)
        return 0
    return len(run_events)


def events(config: Config, lineage: Lineage) -> list[RunEvent]:
    """One completed run per loaded batch, and one per step from features to the last promotion."""
    frozen, fitted = lineage.training_set, lineage.fitted
    as_of = dt.datetime.fromisoformat(frozen.as_of)
    lake = {table: _table(config, table, str(version)) for table, version in frozen.lake.items()}
    views = {w.view: _folder(folder(config, w), _newest(frozen.features[w.view])) for w in config.snapshot_windows}
    kept = artifacts.local(config).path(dataset.KIND, f"{frozen.training_set}.parquet")
    rows = _folder(kept, frozen.training_set)
    model = ("mlflow", f"{config.name}/{fitted.model}", fitted.model)
    version = ("mlflow", f"models:/{config.name}", lineage.version)
    run_events = [_loaded(config, batch) for batch in lineage.batches]
    run_events.append(_completed(config, "publish_features", frozen.training_set, as_of, [*lake.values()], [*views.values()]))
    inputs = [*lake.values(), *views.values()]
    run_events.append(_completed(config, "build_training_set", frozen.training_set, as_of, inputs, [rows], frozen.rows))
    run_events.append(_completed(config, "fit", fitted.model, as_of, [rows], [model]))
    run_events.append(_completed(config, "register", lineage.version, as_of, [model], [version]))
    for move in lineage.promotions:
        if move.to_version == lineage.version:
            champion = ("mlflow", f"models:/{config.name}@champion", lineage.version)
            run_events.append(_completed(config, move.action, str(move.sequence), move.as_of, [version], [champion]))
    return run_events


Reference = tuple[str, str, str | None]


def _folder(path: Path, version: str | None) -> Reference:
    return "file", str(path), version


def _table(config: Config, table: str, version: str | None) -> Reference:
    """A table of the lake, named as the naming rules of OpenLineage name what lies in a folder or in a bucket."""
    scheme, separator, rest = Lake(config.lake).uri(table).partition("://")
    bucket, _, path = rest.partition("/")
    return (f"{scheme}://{bucket}", path, version) if separator else ("file", scheme, version)


def _newest(published: list[dict[str, str]]) -> str | None:
    return published[-1]["last"] if published else None


def _loaded(config: Config, batch: Batch) -> RunEvent:
    """The run that loaded a batch into the lake."""
    events, labels, quarantine = (_table(config, table, None) for table in (schema.EVENTS, schema.LABELS, schema.QUARANTINE))
    if batch.kind == READMISSION:
        return _completed(config, "readmit", batch.batch_id, batch.known_at, [quarantine], [events, labels])
    landed = _folder(config.landing / batch.file, batch.batch_id)
    written = [labels, quarantine] if batch.kind == "labels" else [events, labels, quarantine]
    return _completed(config, "load_batch", batch.batch_id, batch.known_at, [landed], written)


def _completed(
    config: Config,
    step: str,
    subject: str,
    as_of: dt.datetime,
    read: list[Reference],
    written: list[Reference],
    rows: int | None = None,
) -> RunEvent:
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import nominal_time_run

    instant = as_of.astimezone(dt.UTC).isoformat()
    return RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=instant,
        run=Run(
            str(uuid.uuid5(RUNS, f"{config.name}/{step}/{subject}")),
            facets={"nominalTime": nominal_time_run.NominalTimeRunFacet(instant)},
        ),
        job=Job(namespace="perennial", name=f"{config.name}.{step}"),
        inputs=[_input(reference) for reference in read],
        outputs=[_output(reference, rows) for reference in written],
    )


def _input(reference: Reference) -> InputDataset:
    from openlineage.client.event_v2 import InputDataset

    namespace, name, version = reference
    return InputDataset(namespace, name, facets=_facets(version))


def _output(reference: Reference, rows: int | None) -> OutputDataset:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    namespace, name, version = reference
    counted: dict[str, Any] = {}
    if rows is not None:
        counted["outputStatistics"] = statistics.OutputStatisticsOutputDatasetFacet(rows)
    return OutputDataset(namespace, name, counted, facets=_facets(version))


def _facets(version: str | None) -> dict[str, Any]:
    from openlineage.client.facet_v2 import dataset_version_dataset

    return {} if version is None else {"version": dataset_version_dataset.DatasetVersionDatasetFacet(version)}
