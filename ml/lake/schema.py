"""Schemas of the lake's tables. Two times matter: `event_time`, when an event happened, and `known_at`, when it was known."""

from __future__ import annotations

import pyarrow as pa

from ml.config import Config
from ml.lake.sql import stored

INSTANT = pa.timestamp("us", tz="UTC")

EVENTS, LABELS, QUARANTINE, READMISSIONS, BATCHES = "events", "labels", "quarantine", "readmissions", "batches"
PREDICTIONS, SCORES = "predictions", "scores"

# Outcomes of a row; a quarantined row is open until it is accepted or rejected.
ACCEPTED, QUARANTINED, REJECTED = "accepted", "quarantined", "rejected"


def events(config: Config) -> pa.Schema:
    """Schema of the accepted events of a deployment; an entity may be missing."""
    measures = [pa.field(stored(name), pa.float64()) for name in config.measures]
    texts = [pa.field(stored(name), pa.string()) for name in (*config.categories, *config.attributes)]
    keys = [pa.field(stored(name), pa.string()) for name in config.entities.values()]
    return pa.schema(
        [
            pa.field("event_id", pa.string(), nullable=False),
            pa.field("event_time", INSTANT, nullable=False),
            *keys,
            *measures,
            *texts,
            pa.field("known_at", INSTANT, nullable=False),
            pa.field("batch_id", pa.string(), nullable=False),
        ]
    )


LABELS_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("reported_at", INSTANT, nullable=False),
        pa.field("known_at", INSTANT, nullable=False),
        pa.field("batch_id", pa.string(), nullable=False),
    ]
)

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        pa.field("known_at", INSTANT, nullable=False),
        pa.field("batch_id", pa.string(), nullable=False),
    ]
)

# One row per quarantined row and attempt: `batch_id` is the attempt; `source` and `row` are batch and row that were tried.
READMISSIONS_SCHEMA = pa.schema(
    [
        pa.field("batch_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        pa.field("actor", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("known_at", INSTANT, nullable=False),
    ]
)

BATCHES_SCHEMA = pa.schema(
    [
        pa.field("batch_id", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("accepted", pa.int64(), nullable=False),
        pa.field("quarantined", pa.int64(), nullable=False),
        pa.field("rejected", pa.int64(), nullable=False),
        pa.field("first_event", INSTANT),
        pa.field("last_event", INSTANT),
        pa.field("known_at", INSTANT, nullable=False),
    ]
)

# One row per score; `known_at` is the time of scoring, `version` the model version, `inputs` the JSON of what it scored. A
# score that failed has an `error` in its place. The decision of an alert that was let through (`explored`) is `pass`. While
# versions score beside the champion, because one is released (`release`) or several compete (`competition`), `arm` says who
# answers the event, `key` by which entity that was decided, and `share` how much of the traffic these versions answered then.
PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event_time", INSTANT, nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("prediction_id", pa.string()),
        pa.field("role", pa.string()),
        pa.field("release", pa.int64()),
        pa.field("competition", pa.int64()),
        pa.field("arm", pa.string()),
        pa.field("key", pa.string()),
        pa.field("share", pa.float64()),
        pa.field("milliseconds", pa.float64()),
        pa.field("error", pa.string()),
        pa.field("decision", pa.string()),
        pa.field("explored", pa.bool_()),
        pa.field("features_from", pa.string()),
        pa.field("inputs", pa.string()),
        pa.field("known_at", INSTANT, nullable=False),
        pa.field("batch_id", pa.string(), nullable=False),
    ]
)

DECISION = "CASE WHEN explored THEN 'alert' ELSE decision END"
"""SQL of the decision that a prediction's score asks for: an alert that was let through is an alert."""

# One row per row of a table that was scored as a whole; `known_at` is the `as_of` of the run, `source` the table.
SCORES_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event_time", INSTANT, nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),
        pa.field("known_at", INSTANT, nullable=False),
        pa.field("batch_id", pa.string(), nullable=False),
    ]
)


def of(table: str, config: Config) -> pa.Schema:
    """Schema of a table of the lake by its name."""
    return {
        EVENTS: events(config),
        LABELS: LABELS_SCHEMA,
        QUARANTINE: QUARANTINE_SCHEMA,
        READMISSIONS: READMISSIONS_SCHEMA,
        BATCHES: BATCHES_SCHEMA,
        PREDICTIONS: PREDICTIONS_SCHEMA,
        SCORES: SCORES_SCHEMA,
    }[table]
