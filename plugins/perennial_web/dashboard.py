"""What the card on Airflow's dashboard says of a deployment, in words."""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.models.dag import DagModel
from perennial_deployments import Deployment

from ml.overview.glance import Glance, glance
from ml.pages.render import tone, when
from perennial_web.actions import now

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


def card_of(deployment: Deployment) -> dict[str, Any]:
    """Name, the DAG whose tab tells more, and the figures, each with its name, value, tone and what it is about."""
    seen = glance(deployment.config)
    return {
        "name": deployment.config.name,
        "dag_id": deployment.dag_id("train"),
        "figures": [
            *_model(seen, now(deployment.config)),
            _figure("next run of train", *_next_run(deployment.dag_id("train"))),
        ],
    }


def _model(seen: Glance, at: dt.datetime) -> list[dict[str, str]]:
    move, verdict = seen.move, seen.verdict
    champion = (f"version {move.to_version}", f"for {age(at - move.as_of)}") if move else ("none yet", "nothing was promoted")
    newest = (age(at - seen.newest_event), when(seen.newest_event)) if seen.newest_event else ("no rows yet", "")
    found = (
        (verdict.outcome, f"on version {verdict.challenger_version}, {when(verdict.as_of)}") if verdict else ("none yet", "")
    )
    asked = f"{seen.open_requests} open request{'' if seen.open_requests == 1 else 's'}"
    return [
        _figure("champion", *champion),
        _figure("age of the newest row", *newest),
        _figure("drift", seen.drift or "not judged", f"on {seen.monitored}" if seen.monitored else "", tone(seen.drift)),
        _figure("last verdict", *found, tone(verdict.outcome) if verdict else ""),
        _figure("waiting", asked, "for a training", "warn" if seen.open_requests else ""),
    ]


def _figure(name: str, value: str, about: str, colour: str = "") -> dict[str, str]:
    return {"name": name, "value": value, "about": about, "tone": colour}


def _next_run(dag_id: str) -> tuple[str, str]:
    """When the clock starts the DAG next, and what else does."""
    found = DagModel.get_dagmodel(dag_id)
    if found is None:
        return "unknown", f"Airflow has not read DAG {dag_id} yet"
    if found.is_paused:
        return "paused", f"DAG {dag_id} starts nothing until it is unpaused"
    planned = found.next_dagrun_create_after
    return (when(planned), "or when a request comes") if planned else ("on request", "no clock starts it")


def age(passed: dt.timedelta) -> str:
    """A time that has passed, in the unit that a person would use.

    >>> age(dt.timedelta(hours=30)), age(dt.timedelta(hours=1)), age(dt.timedelta(days=12)), age(dt.timedelta(minutes=2))
    ('30 hours', '1 hour', '12 days', 'under an hour')
    """
    count, unit = (passed // DAY, "day") if passed >= 2 * DAY else (passed // HOUR, "hour")
    return "under an hour" if passed < HOUR else f"{count} {unit}{'' if count == 1 else 's'}"
