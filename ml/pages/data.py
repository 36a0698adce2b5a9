"""The page Data: what came in, what was set aside and why, and the way back in."""

from __future__ import annotations

from ml.config import Config
from ml.explanation.card import exploration_of
from ml.overview.data import data
from ml.pages import charts
from ml.pages.reader import Reader
from ml.pages.render import page
from ml.pages.shapes import both

BATCHES = 20
"""Batches in the table, the newest, and of those in quarantine: what waits for a person comes first."""


def data_page(config: Config, reader: Reader) -> str:
    """The page as HTML."""
    story = data(config)
    last = story.status.last_verdict
    version = last.challenger_version if last else None
    explored = version if version is not None and exploration_of(config, version) else None
    landed = both(lambda width: charts.batches(story.batches, width))
    held = sorted(story.quarantine, key=lambda batch: bool(batch.open))[::-1]
    return page("data", config, reader, story=story, landed=landed, explored=explored, held=held, most=BATCHES)
