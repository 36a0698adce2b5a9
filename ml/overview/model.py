"""The story of a model: its champions in turn, and the last challenger beside the champion that it met."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml.config import Config
from ml.decision.release import share_of
from ml.evaluation.sketch import Sketch
from ml.ledger.decisions import Decision
from ml.ledger.moves import NothingToRollBackTo, Promotion, rollback_target
from ml.ledger.releases import Course
from ml.overview.decisions import Judged, judged
from ml.overview.past import past
from ml.overview.status import Status, status
from ml.records import attributes_of


@dataclass(frozen=True)
class Reign:
    """The time for which one version was champion; `until` is None for the champion of now."""

    version: str
    since: dt.datetime
    until: dt.datetime | None
    action: str
    actor: str
    reason: str
    run_id: str


@dataclass(frozen=True)
class Compared:
    """One metric of both models on the same rows; a gain above 0 means that the challenger is better.

    Parameters:
        champion_interval, challenger_interval: 95 %, of each model's own figure; None in older records.
        low, high: 95 % interval of the gain.
    """

    name: str
    decides: bool
    champion: float | None
    champion_interval: tuple[float, float] | None
    challenger: float | None
    challenger_interval: tuple[float, float] | None
    gain: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Checked:
    """A guardrail, or one group of a slice: its gain with bounds, what is allowed to be lost, and how it stands.

    Parameters:
        group: of the slice; empty for a guardrail.
        margin: of a guardrail; None for a slice.
        status: `passed`, `vetoed`, `failed` or `unknown`.
    """

    name: str
    group: str
    rows: int | None
    champion: float | None
    challenger: float | None
    gain: float | None
    low: float | None
    high: float | None
    margin: float | None
    unit: str
    status: str
    sentence: str


@dataclass(frozen=True)
class Moved:
    """The share of an input in all attribution of both models; None where a model does not have it."""

    feature: str
    champion: float | None
    challenger: float | None
    difference: float


@dataclass(frozen=True)
class Meeting:
    """The last answer of the gate on a version: metrics, guardrails and slices of both models.

    Parameters:
        rate: share of positives among the rows; None if the record does not say.
        curves: of `champion` and `challenger` on the same rows; without a champion, and in older records, not all are there.
        moved: the inputs whose share has changed, the largest change first; empty without a champion.
        moved_in_words: how much of the attribution has moved, in a sentence.
        notes: what the gate remarked.
        worthwhile: gain of the deciding metric that is worth a change; None if the record does not say.
    """

    champion_version: str | None
    challenger_version: str
    metrics: tuple[Compared, ...]
    guardrails: tuple[Checked, ...]
    slices: tuple[Checked, ...]
    rate: float | None
    curves: Mapping[str, Sketch]
    moved: tuple[Moved, ...]
    moved_in_words: str
    notes: tuple[str, ...]
    worthwhile: float | None


@dataclass(frozen=True)
class Step:
    """A release that is under way: the version answers `share` percent of the requests at step `step` of `steps`."""

    version: str
    champion: str
    since: dt.datetime
    share: float
    step: int
    steps: int
    last_word: str
    last_reason: str


@dataclass(frozen=True)
class ModelStory:
    """What there is to tell of a model; None for what there is not.

    Parameters:
        reigns, verdicts: oldest first.
        rollback_to: the version that one step back leads to.
    """

    status: Status
    reigns: tuple[Reign, ...]
    verdicts: tuple[Judged, ...]
    meeting: Meeting | None
    release: Step | None
    rollback_to: str | None


def model(config: Config) -> ModelStory:
    """The story of a deployment's model until now."""
    known = past(config)
    moves, last = known.moves(), known.ledger.decisions.newest(config.name)
    return ModelStory(
        status=status(config, whole=False),
        reigns=tuple(reigns(moves)),
        verdicts=tuple(judged(known.verdicts(), moves)),
        meeting=_meeting(last) if last else None,
        release=under_way(config),
        rollback_to=_before(moves),
    )


def under_way(config: Config) -> Step | None:
    """The release that is open, None if there is none."""
    course = past(config).ledger.releases.open(config.name)
    return _step(course) if course else None


def reigns(moves: list[Promotion]) -> list[Reign]:
    """The champions in turn; `moves` are all of one model, oldest first."""
    ends = [move.as_of for move in moves[1:]]
    return [
        Reign(move.to_version, move.as_of, until, move.action, move.actor, move.reason, move.run_id)
        for move, until in zip(moves, [*ends, None], strict=False)
    ]


def _before(moves: list[Promotion]) -> str | None:
    try:
        return rollback_target(moves)
    except NothingToRollBackTo:
        return None


def _step(course: Course) -> Step:
    last = course.moves[-1] if course.moves else None
    return Step(
        version=course.release.version,
        champion=course.release.champion,
        since=course.release.as_of,
        share=share_of(course),
        step=course.step,
        steps=len(course.release.plan["steps"]),
        last_word=last.word if last else "begun",
        last_reason=last.reason if last else course.release.reason,
    )


def _meeting(answer: Decision) -> Meeting:
    verdict = answer.evidence
    primary = verdict.get("primary")
    metrics = [_compared(each, each is primary) for each in (primary, *(verdict.get("others") or ())) if each]
    drift = attributes_of(verdict.get("attribution_drift") or {})
    return Meeting(
        champion_version=answer.champion_version,
        challenger_version=answer.challenger_version,
        metrics=tuple(metrics),
        guardrails=tuple(_guardrail(attributes_of(each)) for each in verdict.get("guardrails") or () if each),
        slices=tuple(_slice(attributes_of(each)) for each in verdict.get("slices") or () if each),
        rate=verdict["positives"] / verdict["rows"] if verdict.get("positives") and verdict.get("rows") else None,
        curves={name: Sketch(**curve) for name, curve in (verdict.get("curves") or {}).items() if curve},
        moved=tuple(Moved(**each) for each in drift.get("movers") or ()),
        moved_in_words=str(drift.get("sentence") or ""),
        notes=tuple(str(note) for note in verdict.get("notes") or () if note),
        worthwhile=(verdict.get("rules") or {}).get("worthwhile_gain"),
    )


def _compared(metric: Mapping[str, Any], decides: bool) -> Compared:
    low, high = metric.get("interval") or (None, None)
    return Compared(
        name=str(metric.get("name", "")),
        decides=decides,
        champion=metric.get("champion"),
        champion_interval=_interval(metric.get("champion_interval")),
        challenger=metric.get("challenger"),
        challenger_interval=_interval(metric.get("challenger_interval")),
        gain=metric.get("gain"),
        low=low,
        high=high,
    )


def _interval(pair: Sequence[float] | None) -> tuple[float, float] | None:
    return (pair[0], pair[1]) if pair else None


def _guardrail(rail: Mapping[str, Any]) -> Checked:
    return _checked(rail, str(rail.get("name", "")), "", rail.get("lower_bound"), rail.get("upper_bound"))


def _slice(part: Mapping[str, Any]) -> Checked:
    low, high = part.get("interval") or (None, None)
    return _checked(part, str(part.get("slice", "")), str(part.get("group", "")), low, high)


def _checked(check: Mapping[str, Any], name: str, group: str, low: float | None, high: float | None) -> Checked:
    return Checked(
        name=name,
        group=group,
        rows=check.get("rows"),
        champion=check.get("champion"),
        challenger=check.get("challenger"),
        gain=check.get("gain"),
        low=low,
        high=high,
        margin=check.get("margin"),
        unit=str(check.get("unit") or ""),
        status=str(check.get("status") or "unknown"),
        sentence=str(check.get("sentence") or ""),
    )
