"""The state of a deployment: champion, last verdict, next decision, last batch, answers, and what waits for a person."""

from __future__ import annotations

import datetime as dt
from contextlib import nullcontext
from dataclasses import dataclass

import duckdb

from ml.config import Config
from ml.decision.budget import fresh_days_at, next_night
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Promotion
from ml.overview.decisions import Judged, judged
from ml.overview.past import past
from ml.quality import landing, quarantine
from ml.training.arrivals import arrivals


@dataclass(frozen=True)
class Champion:
    """The champion; `days` is its age at the newest instant of the deployment."""

    version: str
    since: dt.datetime
    days: int
    reason: str


@dataclass(frozen=True)
class NextDecision:
    """The earliest night of the next decision, and how many days of its holdout no decision has used."""

    night: dt.date
    fresh_days: int
    needed_days: int


@dataclass(frozen=True)
class Batch:
    """What the last ingest took in; rows = accepted + quarantined + rejected."""

    known_at: dt.datetime
    files: int
    rows: int
    accepted: int
    quarantined: int
    rejected: int


@dataclass(frozen=True)
class Answers:
    """Whether labels come within the declared delay."""

    state: str
    summary: str


@dataclass(frozen=True)
class RefusedNights:
    """Nights in a row without a training, and why the last one had none."""

    nights: int
    since: dt.datetime
    reason: str


@dataclass(frozen=True)
class Status:
    """The state of a deployment as of its newest batch or decision; None for what there is not yet."""

    model: str
    as_of: dt.datetime | None
    champion: Champion | None
    last_verdict: Judged | None
    next_decision: NextDecision | None
    last_batch: Batch | None
    answers: Answers | None
    refused: RefusedNights | None
    open_quarantine: int
    ignored_files: tuple[str, ...]


def status(config: Config, whole: bool = True, lake: duckdb.DuckDBPyConnection | None = None) -> Status:
    """The state of a deployment now.

    Args:
        whole: with the answers and the files that are not read, which take as long as all the rest.
        lake: what `ml.quality.quarantine.opened` gives, if it is open already.
    """
    known = past(config)
    ledger, moves, answers = known.ledger, known.moves(), known.verdicts()
    with nullcontext(lake) if lake else quarantine.opened(config) as tables:
        batch, waiting = _last_batch(tables), quarantine.count_open_in(tables)
    newest = max([answer.as_of for answer in answers] + ([batch.known_at] if batch else []), default=None)
    return Status(
        model=config.name,
        as_of=newest,
        champion=_champion(moves, newest),
        last_verdict=judged(answers[-1:], moves)[0] if answers else None,
        next_decision=_next_decision(config, ledger, newest) if newest and answers else None,
        last_batch=batch,
        answers=_answers(config, newest) if newest and whole else None,
        refused=_refused(config, ledger),
        open_quarantine=waiting,
        ignored_files=tuple(landing.ignored_files(config)) if whole else (),
    )


def newest_ingest(config: Config) -> dt.datetime | None:
    """When the last ingest was, by its `as_of`; None before the first."""
    with quarantine.opened(config) as tables:
        batch = _last_batch(tables)
    return batch.known_at if batch else None


def _champion(moves: list[Promotion], newest: dt.datetime | None) -> Champion | None:
    if not moves or newest is None:
        return None
    last = moves[-1]
    return Champion(version=last.to_version, since=last.as_of, days=(newest - last.as_of).days, reason=last.reason)


def _next_decision(config: Config, ledger: Ledger, newest: dt.datetime) -> NextDecision:
    days = fresh_days_at(config, newest, ledger.holdouts.all(config.name))
    return NextDecision(night=next_night(days, newest), fresh_days=days.fresh, needed_days=days.needed)


def _last_batch(lake: duckdb.DuckDBPyConnection) -> Batch | None:
    row = lake.execute(
        "SELECT known_at, count(*), sum(rows), sum(accepted), sum(quarantined), sum(rejected) FROM batches "
        "GROUP BY known_at ORDER BY known_at DESC LIMIT 1"
    ).fetchone()
    return None if row is None else Batch(row[0], *(int(count) for count in row[1:]))


def _answers(config: Config, newest: dt.datetime) -> Answers | None:
    curve = arrivals(config, newest)
    return Answers(state=curve.state(config), summary=curve.summary) if curve.events else None


def _refused(config: Config, ledger: Ledger) -> RefusedNights | None:
    streak = ledger.refusals.streak(config.name)
    return RefusedNights(nights=len(streak), since=streak[0].as_of, reason=streak[-1].reason) if streak else None
