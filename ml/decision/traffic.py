"""What a release has seen so far: the scores of both versions from the prediction log, with the answers that have matured."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.config import Config
from ml.config.release import Release
from ml.evaluation.metrics import Integers
from ml.evaluation.release import Arm, Check, Limits, Pairs, arm_checks, early_check, errors_check, labels_check, scores_check
from ml.lake import schema
from ml.lake.labels import label_order
from ml.lake.sql import text
from ml.lake.tables import Lake, instant
from ml.ledger.releases import Course

UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Seen:
    """The events of a release, each with the scores of both versions.

    Attributes:
        rows: one row an event: `arm`, `key`, `day`, and by version (`new`, `old`) score, decision, milliseconds and error;
            `share` that the new version had then; `label`, -1 where none has matured; `positive`, by what was reported so
            far. The decision of an alert that was let through is `alert`.
    """

    rows: pd.DataFrame

    def requests(self, share: float) -> int:
        """Events that the new version has scored at a share of the traffic, at one above 0 those that it answered."""
        counted = (self.rows["share"] == share) & self.rows["new_score"].notna()
        return int((counted & (self.rows["arm"] == "canary")).sum() if share else counted.sum())

    def checks(self, plan: Release, number: int, expected: list[float]) -> list[Check]:
        """All checks that these events allow.

        Args:
            number: of the present step.
        """
        limits, rows, step = _limits(plan), self.rows, plan.steps[number]
        progress = max(len(rows), 1) / sum(each.requests for each in plan.steps)
        entity = pd.factorize(rows["key"])[0].astype(np.int64)
        day = pd.factorize(rows["day"])[0].astype(np.int64)
        at_step = rows["share"] == step.share / 100

        def arm(who: str, chosen: pd.Series) -> Arm:
            there = (chosen & rows[f"{who}_score"].notna()).to_numpy()
            of = rows[there]
            slow = of[f"{who}_milliseconds"].to_numpy() > plan.guardrails.latency.value
            alert = (of[f"{who}_decision"] == "alert").to_numpy()
            return Arm(entity[there], day[there], alert, slow, of["positive"].to_numpy(bool) & ~alert)

        canary, control = rows["arm"] == "canary", rows["arm"] == "control"
        new = arm("new", at_step & canary if step.share else at_step)
        old = arm("old", at_step & control if step.share else at_step)
        both = (rows["new_score"].notna() & rows["old_score"].notna()).to_numpy()
        here = both & at_step.to_numpy()
        matured = both & (rows["label"] != UNKNOWN).to_numpy()
        failed = rows["new_error"].notna()
        found = [
            errors_check(int(failed.sum()), int((failed | rows["new_score"].notna()).sum()), limits),
            *arm_checks(new, old, limits, max(len(new.entity), 1) / step.requests, len(plan.steps)),
            early_check(arm("new", canary), arm("old", control), limits),
            scores_check(_pairs(rows, entity, day, here), expected, limits, at_step.sum() / step.requests, len(plan.steps)),
            labels_check(_pairs(rows, entity, day, matured), _labels(rows, matured), progress),
        ]
        return [check for check in found if check is not None]


def seen(config: Config, as_of: dt.datetime, course: Course) -> Seen:
    """What the lake knows at an instant of the events of a release; of several scores of an event the first counts."""
    tables = {schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA, schema.LABELS: schema.LABELS_SCHEMA}
    versions = {"new": course.release.version, "old": course.release.champion}
    columns = {name: name for name in ("score", "milliseconds", "error")} | {"decision": schema.DECISION}
    sides = ", ".join(
        f"first({column} ORDER BY known_at, prediction_id) FILTER (version = {text(version)}) AS {who}_{name}"
        for who, version in versions.items()
        for name, column in columns.items()
    )
    matured = instant(as_of - config.label_delay)
    nothing = "NULL" if config.labels.complete else "0"
    with Lake(config.lake).connect(tables, as_of) as connection:
        rows: pd.DataFrame = connection.execute(
            f"""
            WITH scored AS (
                SELECT event_id, first(event_time) AS event_time, first(arm) AS arm,
                    coalesce(first("key"), 'event ' || event_id) AS "key", first(share) AS share, {sides}
                FROM predictions WHERE release = {course.release.id:d} GROUP BY event_id
            ),
            answer AS (
                SELECT event_id, first(labels.label ORDER BY {label_order(config)}) AS label
                FROM scored JOIN labels USING (event_id) GROUP BY event_id
            )
            SELECT scored.*, event_time::DATE AS day,
                coalesce(CASE WHEN event_time < {matured} THEN coalesce(answer.label, {nothing}) END, {UNKNOWN})::TINYINT
                    AS label,
                coalesce(answer.label, 0) = 1 AS positive
            FROM scored LEFT JOIN answer USING (event_id) ORDER BY event_time, event_id
            """
        ).df()
    return Seen(rows)


def _limits(plan: Release) -> Limits:
    limits = plan.guardrails
    return Limits(limits.errors.value, limits.alerts.value, limits.early.value, limits.scores.value)


def _pairs(rows: pd.DataFrame, entity: Integers, day: Integers, there: np.ndarray) -> Pairs:
    of = rows[there]
    return Pairs(entity[there], day[there], of["new_score"].to_numpy(np.float64), of["old_score"].to_numpy(np.float64))


def _labels(rows: pd.DataFrame, there: np.ndarray) -> Integers:
    return rows["label"].to_numpy(np.int64)[there]
