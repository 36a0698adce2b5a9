"""Replays policies over a history, several at a time, and says what each of them came to."""

from __future__ import annotations

import datetime as dt
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Promotion
from ml.model.model import Model
from ml.replay.history import DAY, History, prepare
from ml.replay.intervals import interval
from ml.replay.nights import Nights
from ml.replay.oracle import drifts, oracle
from ml.replay.play import play
from ml.replay.policy import Policy
from ml.replay.scores import Figures, daily, mean, scored
from ml.training import fit

Say = Callable[[str], None]
WEEK = 7
NEARLY = 0.9
WITHIN = 14
"""Days after a move on which the version that came is compared with the one that went."""


@dataclass(frozen=True)
class Course:
    """What a policy came to.

    Attributes:
        average_precision: of each matured day, by the answers that have come; None on a day without positives.
        mean: over the days that all policies have.
        regret: mean of the oracle less that of the policy; None where the true labels are not known.
        interval: the 95 % interval of the regret, or of the mean where there is no oracle, by `ml.replay.intervals`; None with
            fewer than two weeks of days.
        days_to_90: see `days_to`; None where there was no drift or the policy has not come so far.
        promotions, refreshes: moves of the champion after the first one.
        worse: of these, those to a version of lower average precision on the 14 days after than the one it replaced.
        refused: nights on which a training was refused.
        seconds: that the nights took.
    """

    policy: str
    average_precision: Figures
    mean: float | None
    regret: float | None
    interval: tuple[float, float] | None
    days_to_90: int | None
    trainings: int
    promotions: int
    refreshes: int
    worse: int
    refused: int
    seconds: float


@dataclass(frozen=True)
class Replay:
    """Courses of policies over the same nights.

    Attributes:
        days: matured days on which all of them have a figure; means are over these.
        drift: first day of the first drift that the simulated world has.
        oracle: average precision of the oracle on each day; see `ml.replay.oracle`.
    """

    first: dt.date
    last: dt.date
    days: tuple[dt.date, ...]
    drift: dt.date | None
    oracle: Figures
    oracle_mean: float | None
    courses: tuple[Course, ...]


def replay(
    config: Config,
    policies: Sequence[Policy],
    folder: Path,
    first: dt.date | None,
    last: dt.date,
    *,
    workers: int = 1,
    trials: int = 10,
    lake: bool = False,
    say: Say = lambda text: None,
) -> Replay:
    """Replay policies from a day to another one; what was replayed before in the folder is taken from there.

    Args:
        folder: for the homes of the policies and for what they share.
        trials: of a search for settings, which ends by them and not by the clock.
        lake, first, last: see `ml.replay.history.prepare`.

    Raises:
        BadInput: a policy is none that the deployment file could have, or the history does not reach from first to last.
    """
    for policy in policies:
        policy.applied(config)
    history = prepare(config, folder, first, last, lake, say)
    if workers > 1 and len(policies) > 1:
        with ProcessPoolExecutor(min(workers, len(policies)), multiprocessing.get_context("spawn")) as pool:
            waiting = [pool.submit(_play, history, policy, trials) for policy in policies]
            configs = [each.result() for each in waiting]
    else:
        configs = [play(history, policy, trials, say) for policy in policies]
    say("scoring what every policy would have scored")
    return _compared(history, policies, configs)


def _play(history: History, policy: Policy, trials: int) -> Config:
    return play(history, policy, trials, lambda text: print(text, flush=True))  # noqa: T201


def _compared(history: History, policies: Sequence[Policy], configs: Sequence[Config]) -> Replay:
    records = [Nights.read(config.home) for config in configs]
    figures = [_figures(history, config, record) for config, record in zip(configs, records, strict=True)]
    begun = [min(record.champions).date() + DAY for record in records if record.champions]
    bound = oracle(history, min(begun)) if begun else {}
    everyone = [*figures, bound] if bound else figures
    days = sorted(set.intersection(*({day for day, value in of.items() if value is not None} for of in everyone)))
    drift = next((day for day in drifts(history.config) if days and day <= days[-1]), None)
    level = mean(bound, days)
    courses = []
    for policy, config, record, of_policy in zip(policies, configs, records, figures, strict=True):
        ledger, own = Ledger(config.ledger), mean(of_policy, days)
        moves = ledger.moves.history(config.name)
        courses.append(
            Course(
                policy=policy.name,
                average_precision=of_policy,
                mean=own,
                regret=None if own is None or level is None else level - own,
                interval=interval([(bound.get(day) or 0.0) - value if bound else value for day, value in _on(of_policy, days)]),
                days_to_90=days_to(NEARLY, of_policy, bound, drift, days) if drift else None,
                trainings=len({training.run_id for training in ledger.trainings.all(config.name) if training.admitted}),
                promotions=sum(move.action == "promote" for move in moves[1:]),
                refreshes=sum(move.action == "refresh" for move in moves[1:]),
                worse=_worse(history, config, moves, days),
                refused=len(record.refused),
                seconds=round(record.seconds, 1),
            )
        )
    first, last = history.nights[0].date(), history.nights[-1].date()
    return Replay(first, last, tuple(days), drift, bound, level, tuple(courses))


def _on(figures: Figures, days: Sequence[dt.date]) -> list[tuple[dt.date, float]]:
    return [(day, value) for day in days if (value := figures[day]) is not None]


def _figures(history: History, config: Config, record: Nights) -> Figures:
    if not record.champions:
        return {}
    return daily(history, min(record.champions).date() + DAY, lambda rows: scored(config, record.champions, rows))


def _worse(history: History, config: Config, moves: Sequence[Promotion], days: Sequence[dt.date]) -> int:
    """Moves after which the new version had a lower mean on the next days than the old one has on the same days."""
    registry, worse = fit.registry(config), 0
    for move in moves[1:]:
        begin = move.as_of.date() + DAY
        after = [day for day in days if begin <= day < begin + WITHIN * DAY]
        if after and move.from_version is not None:
            new, old = (Model(registry.fetch(version)) for version in (move.to_version, move.from_version))
            gain = [mean(_of(history, model, after), after) for model in (new, old)]
            worse += gain[0] is not None and gain[1] is not None and gain[0] < gain[1]
    return worse


def _of(history: History, model: Model, days: Sequence[dt.date]) -> Figures:
    def score(rows: pd.DataFrame) -> np.ndarray:
        return model.score(rows)

    return {day: value for day, value in daily(history, days[0], score).items() if day <= days[-1]}


def days_to(share: float, figures: Figures, bound: Figures, drift: dt.date, days: Sequence[dt.date]) -> int | None:
    """Days from the drift to the first day from which on every week has a mean of at least so much of the bound's mean.

    A week is of seven days with figures, and begins with any of them. None if the last week has less, or if there is none.

    Example: nothing for a week, and then all; the first week with more than half of it begins four days after the drift.
        >>> days = [dt.date(2025, 5, 1) + number * DAY for number in range(20)]
        >>> figures = {day: float(day.day >= 8) for day in days}
        >>> days_to(0.5, figures, dict.fromkeys(days, 1.0), dt.date(2025, 5, 1), days)
        4
    """
    since = [day for day in days if day >= drift]
    weeks = [since[number : number + WEEK] for number in range(len(since) - WEEK + 1)]
    reached: int | None = None
    for week in weeks:
        own, best = mean(figures, week), mean(bound, week)
        enough = own is not None and best is not None and own >= share * best
        if not enough:
            reached = None
        elif reached is None:
            reached = (week[0] - drift).days
    return reached
