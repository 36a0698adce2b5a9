"""How the versions of a competition stand: what each of them answered, and average precision on labels that have matured."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pandas as pd

from ml.config import Config
from ml.evaluation.standings import Standings, standings
from ml.lake import schema
from ml.lake.labels import label_order
from ml.lake.sql import quoted, text
from ml.lake.tables import Lake, instant
from ml.ledger.competitions import Begun, Contest, NoCompetition
from ml.ledger.ledger import Ledger


@dataclass(frozen=True)
class Answered:
    """What a version did in a competition.

    Parameters:
        share: percent of the entities that it answers; of the champion what is left.
        requests: events that it answered.
        alerts: of these, those let through among them.
        failed: events that it could not score, whether it was to answer them or not.
    """

    version: str
    is_champion: bool
    share: float
    requests: int
    alerts: int
    failed: int


@dataclass(frozen=True)
class Table:
    """A competition as of an instant; the champion comes first.

    Parameters:
        decided: instant at which the labels of its last event have matured; a look before that is an interim one.
        events: matured events that every version has scored, of which `positives` are positive.
        quality: None while these are too few.
    """

    name: str
    since: dt.datetime
    until: dt.datetime
    stopped: dt.datetime | None
    decided: dt.datetime
    answered: tuple[Answered, ...]
    events: int
    positives: int
    quality: Standings | None


def table(config: Config, as_of: dt.datetime) -> Table:
    """The newest competition beside the present champion, or, if there is none, the newest one.

    Raises:
        NoCompetition: there never was one.
    """
    contest = _contest(config)
    competition = contest.competition
    versions = [competition.champion, *competition.contenders]
    tables = {schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA, schema.LABELS: schema.LABELS_SCHEMA}
    nothing = "NULL" if config.labels.complete else "0"
    with Lake(config.lake).connect(tables, as_of) as connection:
        counted = connection.execute(
            f"""
            SELECT version, count(DISTINCT event_id) FILTER (role <> 'shadow' AND score IS NOT NULL) AS requests,
                count(DISTINCT event_id) FILTER (role <> 'shadow' AND {schema.DECISION} = 'alert') AS alerts,
                count(DISTINCT event_id) FILTER (error IS NOT NULL) AS failed
            FROM predictions WHERE competition = {competition.id:d} GROUP BY version
            """
        ).df()
        scores = ", ".join(
            f"first(score ORDER BY known_at, prediction_id) FILTER (version = {text(version)}) AS {quoted(f'score {version}')}"
            for version in versions
        )
        rows: pd.DataFrame = connection.execute(
            f"""
            WITH scored AS (
                SELECT event_id, first(event_time) AS event_time, coalesce(first("key"), 'event ' || event_id) AS "key",
                    {scores}
                FROM predictions
                WHERE competition = {competition.id:d} AND event_time < {instant(as_of - config.label_delay)}
                GROUP BY event_id
            ),
            answer AS (
                SELECT event_id, first(labels.label ORDER BY {label_order(config)}) AS label
                FROM scored JOIN labels USING (event_id) GROUP BY event_id
            )
            SELECT scored.*, event_time::DATE AS day, coalesce(answer.label, {nothing}) AS label
            FROM scored LEFT JOIN answer USING (event_id) ORDER BY event_time, event_id
            """
        ).df()
    rows = rows.dropna(subset=["label", *(f"score {version}" for version in versions)])
    labels = rows["label"].to_numpy("int64")
    return Table(
        name=competition.name,
        since=competition.as_of,
        until=competition.until,
        stopped=contest.stop.as_of if contest.stop else None,
        decided=(contest.stop.as_of if contest.stop else competition.until) + config.label_delay,
        answered=_answered(competition, counted.set_index("version")),
        events=len(rows),
        positives=int(labels.sum()),
        quality=standings(
            labels,
            {version: rows[f"score {version}"].to_numpy("float64") for version in versions},
            pd.factorize(rows["key"])[0],
            pd.factorize(rows["day"])[0],
        ),
    )


def _contest(config: Config) -> Contest:
    ledger = Ledger(config.ledger)
    every = ledger.competitions.all(config.name)
    if not every:
        raise NoCompetition(f"no versions of {config.name} ever competed: `python -m ml releases compete` lets them")
    return ledger.competitions.newest(config.name, ledger.moves.champion(config.name)) or every[-1]


def _answered(competition: Begun, counted: pd.DataFrame) -> tuple[Answered, ...]:
    shares = {competition.champion: 100 - sum(competition.shares.values())} | competition.shares

    def of(version: str) -> Answered:
        row = counted.loc[version] if version in counted.index else dict.fromkeys(("requests", "alerts", "failed"), 0)
        requests, alerts, failed = (int(row[name]) for name in ("requests", "alerts", "failed"))
        return Answered(version, version == competition.champion, shares[version], requests, alerts, failed)

    return tuple(of(version) for version in shares)
