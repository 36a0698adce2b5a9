"""Which of several answers about one event counts: that of the source that ranks first, and of one source the newest."""

from __future__ import annotations

from ml.config import Config
from ml.lake.sql import text


def label_order(config: Config) -> str:
    """Answers about an event, the one that counts first, as SQL over columns of `labels`.

    Newest is what was reported last, so that the order in which files arrive does not matter; among answers that one source
    dates alike it is what arrived last, a correction.
    """
    newest = "labels.reported_at DESC, labels.known_at DESC, labels.label DESC"
    sources = config.labels.sources
    rank = " ".join(f"WHEN labels.source = {text(source)} THEN {number}" for number, source in enumerate(sources))
    return f"CASE {rank} ELSE {len(sources)} END, {newest}" if rank else newest
