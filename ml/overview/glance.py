"""A model at a glance, read from the ledger and the lake's table of batches alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.decisions import Decision
from ml.ledger.moves import Promotion
from ml.monitoring.words import SEVERITY
from ml.overview.past import past


@dataclass(frozen=True)
class Glance:
    """What a person wants to know of a model first; None, or empty, for what there is not yet.

    Parameters:
        move: that made the champion.
        newest_event: instant of the newest event in the lake.
        drift: state of the drift on the newest monitored day, `monitored`.
        verdict: the gate's last answer.
        open_requests: for a training, that nothing has answered.
    """

    move: Promotion | None
    newest_event: dt.datetime | None
    drift: str
    monitored: dt.date | None
    verdict: Decision | None
    open_requests: int


def glance(config: Config) -> Glance:
    """A deployment's model until now."""
    known = past(config)
    ledger, moves, verdicts = known.ledger, known.moves(), known.verdicts()
    move = moves[-1] if moves else None
    monitored = ledger.signals.newest_day(config.name, move.to_version) if move else None
    severity = ledger.signals.of_day(config.name, move.to_version, monitored, [SEVERITY]) if move and monitored else []
    return Glance(
        move=move,
        newest_event=_newest_event(config),
        drift=severity[0].state if severity else "",
        monitored=monitored,
        verdict=verdicts[-1] if verdicts else None,
        open_requests=sum(each.is_open for each in ledger.requests.all(config.name)),
    )


def _newest_event(config: Config) -> dt.datetime | None:
    with Lake(config.lake).connect({schema.BATCHES: schema.BATCHES_SCHEMA}) as connection:
        (newest,) = connection.execute("SELECT max(last_event) FROM batches").fetchone() or (None,)
    return newest
