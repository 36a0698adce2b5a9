"""The page Model: the champion and why, every version with its verdict, and the last challenger beside the champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml.config import Config
from ml.explanation.card import page_of
from ml.explanation.document import Drawing
from ml.overview.drift import drift
from ml.overview.model import Checked, Compared, ModelStory, model
from ml.pages import verdicts
from ml.pages.reader import Reader
from ml.pages.render import page, tone

VERDICTS = 40
"""Verdicts in the table, the newest; all of them stand in the JSON."""


@dataclass(frozen=True)
class Standing:
    """The champion's figure on the rows of the last verdict."""

    metric: str
    value: float


def model_page(config: Config, reader: Reader) -> str:
    """The page as HTML."""
    story = model(config)
    met = story.meeting
    versions = {reign.version for reign in story.reigns} | {each.challenger_version for each in story.verdicts[-VERDICTS:]}
    return page(
        "model",
        config,
        reader,
        story=story,
        drift=drift(config, days=1),
        standing=_standing(story),
        timeline=verdicts.timeline(story.verdicts, story.reigns),
        metrics=_drawn(met.metrics if met else ()),
        guardrails=met.guardrails if met else (),
        slices=_drawn(met.slices if met else ()),
        cards={version for version in versions if page_of(config, version) is not None},
        most=VERDICTS,
    )


def _standing(story: ModelStory) -> Standing | None:
    last, champion = story.status.last_verdict, story.status.champion
    if last is None or champion is None:
        return None
    values = {last.champion_version: last.champion_value, last.challenger_version: last.challenger_value}
    value = values.get(champion.version)
    return None if value is None else Standing(last.metric, value)


def _drawn(rows: Sequence[Compared] | Sequence[Checked]) -> list[tuple[Compared | Checked, Drawing]]:
    """Each row with the picture of its gain, all on one scale if they are of one metric, else each on its own."""
    known = [row for row in rows if row.low is not None and row.high is not None]
    reach = (min([row.low or 0.0 for row in known], default=0.0), max([row.high or 0.0 for row in known], default=0.0))
    drawn = []
    for row in rows:
        own = (row.low or 0.0, row.high or 0.0) if isinstance(row, Compared) else reach
        kind = tone(row.status) if isinstance(row, Checked) else "good" if row.decides else "quiet"
        name = row.name if isinstance(row, Compared) else f"{row.name} {row.group}"
        drawn.append((row, verdicts.gain(row.gain, row.low, row.high, own, kind, f"gain in {name}")))
    return drawn
