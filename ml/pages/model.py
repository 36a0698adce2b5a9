"""The page Model: the champion and why, every version with its verdict, and the last challenger beside the champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml.config import Config
from ml.explanation.card import page_of
from ml.explanation.document import Drawing
from ml.overview.drift import drift
from ml.overview.model import Checked, Compared, Meeting, ModelStory, model
from ml.pages import curves, verdicts
from ml.pages.reader import Reader
from ml.pages.render import page, tone
from ml.pages.shapes import both

VERDICTS = 40
"""Verdicts in the table, the newest; all of them stand in the JSON."""


PRECISION = "The higher, the fewer false alerts at the same share of positives found. Dotted: alerts without a model."
CALIBRATION = "On the dotted line a score is the share of positives; the bars are 95 % intervals. Scales are powers of ten."


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
        timeline=both(lambda width: verdicts.timeline(story.verdicts, story.reigns, width)),
        metrics=_drawn(met.metrics if met else ()),
        guardrails=met.guardrails if met else (),
        slices=_drawn(met.slices if met else ()),
        curves=_curves(met) if met else (),
        moved=both(lambda width: curves.attributions(met.moved, width)) if met and met.moved else None,
        cards={version for version in versions if page_of(config, version) is not None},
        most=VERDICTS,
    )


def _curves(met: Meeting) -> tuple[tuple[str, str, Drawing], ...]:
    """Title, explanation and picture of each curve; none where the record holds none."""
    if not met.curves:
        return ()
    return (
        ("Precision and recall", PRECISION, curves.precision_recall(met.curves, met.rate)),
        ("Calibration", CALIBRATION, curves.calibration(met.curves)),
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
