"""The steps `plan_tuning`, `search` and `choose_settings`: settings for the model, searched by workers beside each other.

Workers share one study. A trial fits the settings that it has drawn on every fold and evaluates them on the days after; its
value is the mean of average precision. The settings of the deployment file are the first trial and are never given up, so
whatever wins was better than they were, on the same folds. It is the best of many and its value flatters it; what it is worth
on days that no trial saw is for the gate to say.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.config import Config, ModelSettings, Tuning
from ml.errors import Refused
from ml.evaluation.metrics import average_precision
from ml.training import chosen, dataset, folds, trials
from ml.training.chosen import CHOSEN, Chosen, FoldValue
from ml.training.code import code_version
from ml.training.folds import Fold
from ml.training.learn import learn
from ml.training.split import Split

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

PLAN = "plan.json"
FILE = "deployment file"
FIRST_FAILURES = 3


class TuningOff(Refused, ValueError):
    """The deployment has no section `training.tuning`."""


class OtherStudy(Refused, ValueError):
    """A study was planned for another deployment file or by other code."""


class SearchFailed(Refused, RuntimeError):
    """One trial after the other could not be fitted."""


@dataclass(frozen=True)
class Plan:
    """A search that can start: its study, the workers to start, and the settings that come before any that is drawn.

    `warm_starts` tells values of the searched settings by where they come from.
    """

    study: str
    as_of: str
    training_set: str
    workers: list[int]
    warm_starts: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Search:
    """What one worker did: its trials by how they ended, and the seconds that they took."""

    study: str
    worker: int
    complete: int
    pruned: int
    failed: int
    seconds: float


def plan_tuning(config: Config, as_of: dt.datetime, training_set: str) -> Plan:
    """Make the study of a training set and queue its first trials: the file's settings, and what the last search found best.

    A study is named by what it searches: training set, settings, space, folds and code.

    Raises:
        TuningOff: the deployment has no section `training.tuning`.
        NoFold: the training set cannot be cut into these folds.
    """
    tuning, model = _tuning(config), config.training.model
    study = _name(config, training_set)
    folder = chosen.folder_of(config, study)
    if (folder / PLAN).exists():
        return _plan(config, study)
    _folds(config, training_set)
    warm_starts = {FILE: trials.within(tuning, model, model.model_dump())}
    for told, best in _last(config, as_of):
        warm_starts[f"search as of {told}"] = trials.within(tuning, model, best)
    folder.mkdir(parents=True, exist_ok=True)
    queue = trials.opened(folder, study)
    for origin, values in warm_starts.items():
        queue.enqueue_trial(values, user_attrs={trials.ORIGIN: origin}, skip_if_exists=True)
    plan = Plan(study, as_of.isoformat(), training_set, list(range(tuning.workers)), warm_starts)
    _write(folder / PLAN, asdict(plan))
    return plan


def search(config: Config, as_of: dt.datetime, study: str, worker: int | str) -> Search:
    """Run trials until the worker's budget is spent or the study has all its trials; run again, it goes on where it was.

    No trial begins after the budget is spent; one that runs then is given up at its next fold. A trial that a killed process
    of this worker left behind is run again, once.

    Args:
        worker: number of the worker, from 0; no two processes may be the same worker at once.

    Raises:
        NoStudy: there is no such study.
        OtherStudy: it was planned for another deployment file or by other code.
        SearchFailed: the first trials could not be fitted, and none has worked.
    """
    tuning, plan, worker = _tuning(config), _checked(config, study), int(worker)
    folder = chosen.folder_of(config, study)
    seed = config.training.model.random_seed
    behind = sum(trials.counts(trials.opened(folder, study), worker).values())
    shared = trials.opened(folder, study, (seed, worker, behind))
    if not (folder / CHOSEN).exists():
        space = trials.distributions(tuning, config.training.model)
        trials.reclaim(shared, folder, worker, len(space))
        deadline = time.monotonic() + tuning.budget.value * 60 - trials.spent(shared, worker)
        cut = _folds(config, plan.training_set)
        while time.monotonic() < deadline:
            trial = trials.draw(shared, folder, worker, space, int(tuning.trials.value))
            if trial is None:
                break
            _run(config, shared, trial, cut, deadline)
    counts = trials.counts(shared, worker)
    return Search(study, worker, **counts, seconds=trials.spent(shared, worker))


def choose_settings(config: Config, as_of: dt.datetime, study: str) -> Chosen:
    """Decide for the best settings if their mean average precision is above that of the file's, over the same folds.

    Raises:
        NoStudy: there is no such study.
        OtherStudy: it was planned for another deployment file or by other code.
    """
    folder = chosen.folder_of(config, study)
    if not (folder / CHOSEN).exists():
        _write(folder / CHOSEN, asdict(_choose(config, as_of, _checked(config, study))))
    return chosen.describe(config, study)


def _tuning(config: Config) -> Tuning:
    if config.training.tuning is None:
        raise TuningOff(f"deployment {config.name} has no section training.tuning; config/demo.yaml has one")
    return config.training.tuning


def _name(config: Config, training_set: str) -> str:
    told = [training_set, config.training.model_dump(), config.label_delay.total_seconds(), code_version()["sources"]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _plan(config: Config, study: str) -> Plan:
    path = chosen.folder_of(config, study) / PLAN
    if not path.is_file():
        raise chosen.NoStudy(f"{path} is not there; run `plan_tuning` first")
    return Plan(**json.loads(path.read_text()))


def _checked(config: Config, study: str) -> Plan:
    """The plan of a study, if this deployment as it stands would plan the same."""
    _tuning(config)
    plan = _plan(config, study)
    if _name(config, plan.training_set) != study:
        raise OtherStudy(
            f"study {study[:12]} was planned for another deployment file or by other code; run `plan_tuning` again"
        )
    return plan


def _last(config: Config, as_of: dt.datetime) -> list[tuple[str, dict[str, Any]]]:
    """The instant of the newest search that was decided as of this one or before, and what was best in it; none or one."""
    records = [json.loads(path.read_text()) for path in sorted((config.home / "tuning").glob(f"*/{CHOSEN}"))]
    past = [(told["as_of"], told["best"]) for told in records if told["best"]]
    past = [(told, best) for told, best in past if dt.datetime.fromisoformat(told) <= as_of]
    return sorted(past, key=lambda record: dt.datetime.fromisoformat(record[0]))[-1:]


def _folds(config: Config, training_set: str) -> list[Fold]:
    tuning = _tuning(config)
    told = dataset.describe(config, training_set).windows
    whole = Split(**{name: dt.datetime.fromisoformat(instant) for name, instant in told.items()})
    rows = dataset.read(config, training_set, (dataset.TRAIN, dataset.VALIDATION))
    seed = config.training.model.random_seed
    return [folds.cut(window, rows, tuning.negatives.value, seed) for window in folds.windows(config, tuning, whole)]


def _run(config: Config, shared: Study, trial: Trial, cut: list[Fold], deadline: float) -> None:
    """Evaluate a trial's settings fold by fold and tell its value, or that it was given up or refused."""
    from catboost import CatBoostError
    from optuna.trial import TrialState

    model = trials.with_settings(config.training.model, trial.params)
    may_be_given_up = trial.user_attrs.get(trials.ORIGIN) != FILE
    begun = time.monotonic()
    values: list[float] = []
    for number, fold in enumerate(cut, start=1):
        try:
            values.append(_value(config, model, fold))
        except (CatBoostError, ValueError) as error:
            trial.set_user_attr(trials.ERROR, str(error))
            shared.tell(trial, state=TrialState.FAIL)
            _refuse_hopeless(shared)
            return
        trial.set_user_attr(trials.SECONDS, time.monotonic() - begun)
        trial.report(float(np.mean(values)), number)
        if number < len(cut) and may_be_given_up and (time.monotonic() >= deadline or trial.should_prune()):
            shared.tell(trial, state=TrialState.PRUNED)
            return
    trial.set_user_attr(trials.FOLDS, values)
    shared.tell(trial, float(np.mean(values)))


def _value(config: Config, model: ModelSettings, fold: Fold) -> float:
    """Average precision of settings on a fold's evaluation days.

    Raises:
        CatBoostError, ValueError: the settings cannot be fitted, or what they gave ranks nothing.
    """
    tuning = _tuning(config)
    # The fold has a share of the negatives, which a positive counts against in the same ratio as where it has all of them; and
    # the threads of one fit are shared by the workers, who would wait for each other's.
    here = {
        "positive_weight": model.positive_weight * tuning.negatives.value,
        "thread_count": max(1, model.thread_count // tuning.workers),
    }
    learned, inputs = learn(chosen.with_model(config, trials.with_settings(model, here)), fold.fitted)
    margins = learned.margins(inputs.matrix(fold.evaluated))
    return float(average_precision(fold.evaluated["label"].to_numpy(np.int8), margins))


def _refuse_hopeless(shared: Study) -> None:
    found = shared.get_trials(deepcopy=False)
    errors = [trial.user_attrs[trials.ERROR] for trial in found if trials.ERROR in trial.user_attrs]
    if len(errors) >= FIRST_FAILURES and not any(trials.FOLDS in trial.user_attrs for trial in found):
        raise SearchFailed(f"{len(errors)} trials could not be fitted and none has worked; the last one: {errors[-1]}")


def _choose(config: Config, as_of: dt.datetime, plan: Plan) -> Chosen:
    shared = trials.opened(chosen.folder_of(config, plan.study), plan.study)
    ended = trials.finished(shared)
    file = next((trial for trial in ended if trial.user_attrs.get(trials.ORIGIN) == FILE), None)
    best = ended[0] if ended else None
    winner = best if file is not None and best is not None and _value_of(best) > _value_of(file) else file
    own = config.training.model
    model = own if winner is None else trials.with_settings(own, winner.params)
    counts, seconds = trials.counts(shared), trials.spent(shared)
    return Chosen(
        settings=plan.study,
        as_of=as_of.isoformat(),
        training_set=plan.training_set,
        tuned=winner is not file,
        model=model.model_dump(),
        best={} if best is None else best.params,
        value=None if winner is None else _value_of(winner),
        file_value=None if file is None else _value_of(file),
        folds=[] if winner is None or file is None else _compared(config, plan, winner, file),
        trials=counts,
        seconds=seconds,
        warm_starts=plan.warm_starts,
        importance=trials.importance(shared),
        note=_note(own, model, winner, file, counts, seconds),
    )


def _compared(config: Config, plan: Plan, winner: FrozenTrial, file: FrozenTrial) -> list[FoldValue]:
    values = zip(_folds(config, plan.training_set), winner.user_attrs[trials.FOLDS], file.user_attrs[trials.FOLDS], strict=True)
    return [
        FoldValue(
            start=fold.window.holdout_start.isoformat(),
            end=fold.window.holdout_end.isoformat(),
            rows=len(fold.evaluated),
            positives=int(fold.evaluated["label"].sum()),
            chosen=theirs,
            file=own,
        )
        for fold, theirs, own in values
    ]


def _value_of(trial: FrozenTrial) -> float:
    return float(np.mean(trial.user_attrs[trials.FOLDS]))


def _note(
    own: ModelSettings,
    model: ModelSettings,
    winner: FrozenTrial | None,
    file: FrozenTrial | None,
    counts: dict[str, int],
    seconds: float,
) -> str:
    took = f"{sum(counts.values())} trials ({counts['pruned']} given up, {counts['failed']} failed) in {seconds:.0f} s"
    if winner is None or file is None:
        return f"**FILE'S SETTINGS** kept: {took}, and theirs did not come to an end; raise training.tuning.budget."
    if winner is file:
        return f"**FILE'S SETTINGS** kept: none of {took} was above their average precision of {_value_of(file):.4f}."
    pairs = list(zip(winner.user_attrs[trials.FOLDS], file.user_attrs[trials.FOLDS], strict=True))
    changed = {name: (value, getattr(model, name)) for name, value in own.model_dump().items() if value != getattr(model, name)}
    moves = ", ".join(f"{name} {_short(old)} → {_short(new)}" for name, (old, new) in changed.items())
    return (
        f"**TUNED** in {took}: average precision {_value_of(winner):.4f}, {_value_of(file):.4f} with the file's settings, "
        f"better on {sum(new > old for new, old in pairs)} of {len(pairs)} folds. {moves}."
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write(path: Path, record: dict[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(record, indent=1))
    partial.replace(path)
