"""The order of several answers about one event: by the rank of their source, then the newest first."""

from __future__ import annotations

from ml.config import Config
from ml.lake.sql import text


def label_order(config: Config) -> str:
    """SQL of an ORDER BY over columns of `labels`; the first answer about an event counts.

    The newest answer is the one with the latest `reported_at`, so that the order of arrival does not matter; among answers of
    one source with equal `reported_at` it is the one that arrived last, a correction.
    """
    newest = "labels.reported_at DESC, labels.known_at DESC, labels.label DESC"
    sources = config.labels.sources
    rank = " ".join(f"WHEN labels.source = {text(source)} THEN {number}" for number, source in enumerate(sources))
    return f"CASE {rank} ELSE {len(sources)} END, {newest}" if rank else newest
