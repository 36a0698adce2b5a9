"""What the buttons do: the same functions as the command line's, under the name of who pressed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import HTTPException
from perennial_deployments import Deployment

from ml.config import Config
from perennial_web.access import may

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Action:
    """A button: what it does with a deployment, the DAG whose editor or starter may press it, and where he is led."""

    run: Callable[[Config, str, Fields], None]
    process: str
    method: Literal["PUT", "POST"]
    page: str


def act(deployment: Deployment, user: BaseUser, what: str, fields: Fields) -> str:
    """Do what a person asks for, and return the place on the pages where it is recorded.

    Raises:
        HTTPException: 404 for an action that there is not, 403 for one that his role forbids, 422 without a reason.
        Refused: the ledger, the registry or the quarantine refuses; nothing was changed.
    """
    action = ACTIONS.get(what)
    if action is None:
        raise HTTPException(404, f"there is no action {what!r}; there are {', '.join(ACTIONS)}")
    if not allowed(deployment, user, what):
        raise HTTPException(403, f"your role may not {'edit' if action.method == 'PUT' else 'start'} DAG {action.process}")
    if not fields.get("reason", "").strip():
        raise HTTPException(422, "give a reason; it stands in the ledger")
    action.run(deployment.config, user.get_name(), fields)
    return action.page


def allowed(deployment: Deployment, user: BaseUser, what: str) -> bool:
    """Whether a person's role lets him press a button."""
    action = ACTIONS[what]
    return may(user, action.method, deployment.dag_id(action.process), of_runs=action.method == "POST")


def _roll_back(config: Config, actor: str, fields: Fields) -> None:
    from ml.decision.rollback import roll_back
    from ml.ledger.ledger import Ledger

    moves, after = Ledger(config.ledger).moves.history(config.name), fields.get("after", "")
    run_id = f"pages, after move {after}"
    if after != str(len(moves)) and not (moves and moves[-1].run_id == run_id):
        raise HTTPException(409, "the champion has moved since the page was shown: look again, then decide")
    roll_back(config, now(config), actor, fields["reason"], run_id)


def _approve(config: Config, actor: str, fields: Fields) -> None:
    from ml.decision.release import end
    from ml.ledger.run import Run

    end(config, now(config), "approved", fields["reason"], Run(actor=actor))


def _stop(config: Config, actor: str, fields: Fields) -> None:
    from ml.decision.release import end
    from ml.ledger.run import Run

    end(config, now(config), "stopped", fields["reason"], Run(actor=actor))


def _readmit(config: Config, actor: str, fields: Fields) -> None:
    from ml.quality import quarantine

    quarantine.readmit(config, now(config), fields.get("batch", ""), fields["reason"], actor, None, None)


def _ask(config: Config, actor: str, fields: Fields) -> None:
    from ml.decision.request import ask

    ask(config, now(config), actor, fields["reason"], fields.get("once", ""))


def now(config: Config) -> dt.datetime:
    """The present of a deployment: the clock's, or that of its files where a feed plays time."""
    from ml.clock import present

    return dt.datetime.now(dt.UTC) if config.feed is None else present(config)


ACTIONS = {
    "rollback": Action(_roll_back, "train", "PUT", "model#moves"),
    "approve": Action(_approve, "train", "PUT", "model#release"),
    "stop": Action(_stop, "train", "PUT", "model#release"),
    "readmit": Action(_readmit, "ingest", "PUT", "data#quarantine"),
    "ask": Action(_ask, "train", "POST", "requests"),
}
