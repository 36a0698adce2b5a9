"""The steps `plan_tuning`, `search` and `choose_settings`: parallel workers tune the settings of the model.

Workers share one study. A trial fits its sampled settings on every fold and evaluates them on the days after; its value is the
mean average precision. The settings of the deployment file are the first trial and are never pruned, so the chosen settings
were at least as good on the same folds. The value of the best of many trials is biased upwards; the gate evaluates the model on
other days.

With `training.refit` the champion's settings are tried too, never pruned, and kept unless others are better by `settings_gain`:
by chance some trial is always a little better, and a champion is only refreshed by a challenger of its own recipe.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml import artifacts
from ml.config import Config, ModelSettings, Tuning
from ml.errors import Refused
from ml.evaluation.metrics import average_precision
from ml.ledger.ledger import Ledger
from ml.ledger.run import BY_HAND, Run
from ml.model import copies
from ml.training import chosen, dataset, fit, folds, trials
from ml.training.candidates import fit_own_trees
from ml.training.chosen import CHOSEN, ChosenSettings, FoldValue
from ml.training.code import code_version
from ml.training.folds import Fold, NoFold
from ml.training.refused import record_refusal
from ml.training.split import Split

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

PLAN = "plan.json"
FILE, CHAMPION = "deployment file", "champion"
NEVER_PRUNED = (FILE, CHAMPION)
FIRST_FAILURES = 3


class TuningOff(Refused, ValueError):
    """The deployment has no section `training.tuning`."""


class StudyMismatch(Refused, ValueError):
    """A study was planned for another deployment file or by other code."""


class SearchFailed(Refused, RuntimeError):
    """The first trials all failed."""


@dataclass(frozen=True)
class Plan:
    """A planned search: its study, the numbers of its workers, and the settings to try first.

    `warm_starts` has the values of the tuned settings by their origin.
    """

    study: str
    as_of: str
    training_set: str
    workers: list[int]
    warm_starts: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Search:
    """The result of one worker: its trials by outcome, and their seconds."""

    study: str
    worker: int
    complete: int
    pruned: int
    failed: int
    seconds: float


def plan_tuning(config: Config, as_of: dt.datetime, training_set: str, run: Run = BY_HAND) -> Plan:
    """Create the study of a training set and queue its first trials: the file's settings, with `training.refit` the champion's,
    and the best ones of the last search.

    The name of a study is a hash of the training set, settings, space, folds and code.

    Args:
        run: the training run; it is recorded with a refusal.

    Raises:
        TuningOff: the deployment has no section `training.tuning`.
        NoFold: the training set cannot be split into these folds.
    """
    tuning, model = _tuning(config), config.training.model
    study = _name(config, training_set)
    store = artifacts.of(config)
    if store.has(chosen.KIND, chosen.key_of(study, PLAN)):
        return describe(config, study)
    with record_refusal(config, as_of, "plan_tuning", run.id, NoFold):
        _folds(config, training_set)
    warm_starts = {FILE: trials.nearest(tuning, model, model.model_dump())}
    if (champions := _settings_of_champion(config)) is not None:
        warm_starts[CHAMPION] = trials.nearest(tuning, model, champions)
    for past_as_of, best in _last(config, as_of):
        warm_starts[f"search as of {past_as_of}"] = trials.nearest(tuning, model, best)
    queue = trials.open_study(_journal_folder(config, study), study)
    for origin, values in warm_starts.items():
        queue.enqueue_trial(values, user_attrs={trials.ORIGIN: origin}, skip_if_exists=True)
    plan = Plan(study, as_of.isoformat(), training_set, list(range(tuning.workers)), warm_starts)
    store.put_text(chosen.KIND, chosen.key_of(study, PLAN), json.dumps(asdict(plan), indent=1))
    return plan


def search(config: Config, as_of: dt.datetime, study: str, worker: int | str) -> Search:
    """Run trials until the worker's budget is spent or the study has all its trials; a second call continues the first.

    No trial begins after the budget is spent; a running one is pruned at its next fold. A trial that a killed process of this
    worker left unfinished is repeated once.

    Args:
        worker: number of the worker, from 0; no two processes may be the same worker at once.

    Raises:
        NoStudy: there is no such study.
        StudyMismatch: it was planned with another deployment file or other code.
        SearchFailed: the first trials failed, and none succeeded.
    """
    tuning, plan, worker = _tuning(config), _current_plan(config, study), int(worker)
    folder = _journal_folder(config, study)
    seed = config.training.model.random_seed
    ended = sum(trials.counts(trials.open_study(folder, study), worker).values())
    journal = trials.open_study(folder, study, (seed, worker, ended))
    if not chosen.is_decided(config, study):
        space = trials.distributions(tuning, config.training.model)
        trials.reclaim(journal, folder, worker, len(space))
        deadline = time.monotonic() + tuning.budget.value * 60 - trials.seconds_spent(journal, worker)
        fold_rows = _folds(config, plan.training_set)
        while time.monotonic() < deadline:
            trial = trials.draw(journal, folder, worker, space, int(tuning.trials.value))
            if trial is None:
                break
            _run(config, journal, trial, fold_rows, deadline)
    counts = trials.counts(journal, worker)
    return Search(study, worker, **counts, seconds=trials.seconds_spent(journal, worker))


def choose_settings(config: Config, as_of: dt.datetime, study: str) -> ChosenSettings:
    """Choose the best settings if their mean average precision is above that of the file's settings, over the same folds.

    With `training.refit` the champion's settings are chosen unless the best ones are better by at least `settings_gain`.

    Raises:
        NoStudy: there is no such study.
        StudyMismatch: it was planned with another deployment file or other code.
    """
    if not chosen.is_decided(config, study):
        record = asdict(_choose(config, as_of, _current_plan(config, study)))
        artifacts.of(config).put_text(chosen.KIND, chosen.key_of(study, CHOSEN), json.dumps(record, indent=1))
    return chosen.describe(config, study)


def forget(config: Config, training_set: str) -> None:
    """Delete a study that is not decided, so that its search begins anew with the same trials.

    A worker that goes on after it was killed draws other trials than one that was not.
    """
    study = _name(config, training_set)
    if not chosen.is_decided(config, study):
        artifacts.of(config).delete(chosen.KIND, chosen.key_of(study, PLAN))
        shutil.rmtree(_journal_folder(config, study))


def _tuning(config: Config) -> Tuning:
    if config.training.tuning is None:
        raise TuningOff(f"deployment {config.name} has no section training.tuning; config/demo.yaml has one")
    return config.training.tuning


def _name(config: Config, training_set: str) -> str:
    hashed = [training_set, config.training.model_dump(), config.label_delay.total_seconds(), code_version()["sources"]]
    return hashlib.sha256(json.dumps(hashed).encode()).hexdigest()


def describe(config: Config, study: str) -> Plan:
    """The plan of a study.

    Raises:
        NoStudy: there is no such study.
    """
    return Plan(**json.loads(chosen.path_of(config, study, PLAN, "run `plan_tuning` first").read_text()))


def _journal_folder(config: Config, study: str) -> Path:
    """Folder of the journal of trials, which the workers of this machine share."""
    return artifacts.local(config).scratch(chosen.KIND, study)


def _current_plan(config: Config, study: str) -> Plan:
    """The plan of a study; an error if the deployment or the code changed since."""
    _tuning(config)
    plan = describe(config, study)
    if _name(config, plan.training_set) != study:
        raise StudyMismatch(
            f"study {study[:12]} was planned for another deployment file or by other code; run `plan_tuning` again"
        )
    return plan


def _last(config: Config, as_of: dt.datetime) -> list[tuple[str, dict[str, Any]]]:
    """Instant and best settings of the newest search decided at or before `as_of`; a list of none or one."""
    studies = [study for study in artifacts.of(config).list(chosen.KIND) if chosen.is_decided(config, study)]
    past = [(record.as_of, record.best) for record in (chosen.describe(config, study) for study in studies) if record.best]
    past = [(instant, best) for instant, best in past if dt.datetime.fromisoformat(instant) <= as_of]
    return sorted(past, key=lambda record: dt.datetime.fromisoformat(record[0]))[-1:]


def _settings_of_champion(config: Config) -> dict[str, Any] | None:
    """The settings that the champion's trees were fitted with; None without a champion, or where nothing is refreshed."""
    version = Ledger(config.ledger).moves.champion(config.name)
    if config.training.refit is None or version is None:
        return None
    return fit.settings_of(copies.judged_folder(fit.registry(config).fetch(version)))


def _folds(config: Config, training_set: str) -> list[Fold]:
    tuning = _tuning(config)
    instants = dataset.describe(config, training_set).windows
    windows = Split(**{name: dt.datetime.fromisoformat(instant) for name, instant in instants.items()})
    rows = dataset.read(config, training_set, (dataset.TRAIN, dataset.VALIDATION))
    seed = config.training.model.random_seed
    return [folds.cut(window, rows, tuning.negatives.value, seed) for window in folds.windows(config, tuning, windows)]


def _run(config: Config, journal: Study, trial: Trial, fold_rows: list[Fold], deadline: float) -> None:
    """Evaluate a trial's settings fold by fold, and report its value, or that it was pruned or failed."""
    from catboost import CatBoostError
    from optuna.trial import TrialState

    model = trials.with_settings(config.training.model, trial.params)
    may_be_given_up = trial.user_attrs.get(trials.ORIGIN) not in NEVER_PRUNED
    started = time.monotonic()
    values: list[float] = []
    for number, fold in enumerate(fold_rows, start=1):
        try:
            values.append(_value(config, model, fold))
        except (CatBoostError, ValueError) as error:
            trial.set_user_attr(trials.ERROR, str(error))
            journal.tell(trial, state=TrialState.FAIL)
            _stop_if_all_failed(journal)
            return
        trial.set_user_attr(trials.SECONDS, time.monotonic() - started)
        trial.report(float(np.mean(values)), number)
        if number < len(fold_rows) and may_be_given_up and (time.monotonic() >= deadline or trial.should_prune()):
            journal.tell(trial, state=TrialState.PRUNED)
            return
    trial.set_user_attr(trials.FOLDS, values)
    journal.tell(trial, float(np.mean(values)))


def _value(config: Config, model: ModelSettings, fold: Fold) -> float:
    """Average precision of settings on a fold's evaluation days.

    Raises:
        CatBoostError, ValueError: the fit failed, or the model does not rank.
    """
    tuning = _tuning(config)
    # A fold has only a share of the negatives, so the positive weight is scaled to keep the ratio of the classes. The workers
    # share the threads of one fit, because more threads than cores slow all of them.
    adjusted = {
        "positive_weight": model.positive_weight * tuning.negatives.value,
        "thread_count": max(1, model.thread_count // tuning.workers),
    }
    estimator, inputs = fit_own_trees(chosen.with_model(config, trials.with_settings(model, adjusted)), fold.fitted)
    margins = estimator.margins(inputs.matrix(fold.evaluated))
    return float(average_precision(fold.evaluated["label"].to_numpy(np.int8), margins))


def _stop_if_all_failed(shared: Study) -> None:
    past = shared.get_trials(deepcopy=False)
    errors = [trial.user_attrs[trials.ERROR] for trial in past if trials.ERROR in trial.user_attrs]
    if len(errors) >= FIRST_FAILURES and not any(trials.FOLDS in trial.user_attrs for trial in past):
        raise SearchFailed(f"{len(errors)} trials could not be fitted and none has worked; the last one: {errors[-1]}")


def _choose(config: Config, as_of: dt.datetime, plan: Plan) -> ChosenSettings:
    journal = trials.open_study(_journal_folder(config, plan.study), plan.study)
    ended = trials.finished(journal)
    file = _trial_of(ended, FILE)
    best = ended[0] if ended else None
    winner = best if file is not None and best is not None and _value_of(best) > _value_of(file) else file
    incumbent = _incumbent(plan, ended)
    if incumbent is not None and winner is not None and not _is_worth_a_change(config, winner, incumbent):
        winner = incumbent
    file_settings = config.training.model
    model = file_settings if winner is None else trials.with_settings(file_settings, winner.params)
    counts, seconds = trials.counts(journal), trials.seconds_spent(journal)
    return ChosenSettings(
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
        importance=trials.importance(journal),
        note=_stays(config, incumbent, counts, seconds)
        if incumbent is not None and winner is incumbent
        else _note(file_settings, model, winner, file, counts, seconds),
    )


def _incumbent(plan: Plan, ended: list[FrozenTrial]) -> FrozenTrial | None:
    """The trial of the champion's settings, which are the file's where both are the same; None without one."""
    if (settings := plan.warm_starts.get(CHAMPION)) is None:
        return None
    return _trial_of(ended, FILE if settings == plan.warm_starts[FILE] else CHAMPION)


def _trial_of(ended: list[FrozenTrial], origin: str) -> FrozenTrial | None:
    return next((trial for trial in ended if trial.user_attrs.get(trials.ORIGIN) == origin), None)


def _is_worth_a_change(config: Config, winner: FrozenTrial, incumbent: FrozenTrial) -> bool:
    refit = config.training.refit
    return refit is None or _value_of(winner) - _value_of(incumbent) >= refit.settings_gain.value


def _stays(config: Config, incumbent: FrozenTrial, counts: dict[str, int], seconds: float) -> str:
    gain = config.training.refit.settings_gain.value if config.training.refit else 0.0
    return (
        f"**CHAMPION'S SETTINGS** kept: none of {_effort(counts, seconds)} was better than their average precision of "
        f"{_value_of(incumbent):.4f} by {gain:g}."
    )


def _compared(config: Config, plan: Plan, winner: FrozenTrial, file: FrozenTrial) -> list[FoldValue]:
    values = zip(_folds(config, plan.training_set), winner.user_attrs[trials.FOLDS], file.user_attrs[trials.FOLDS], strict=True)
    return [
        FoldValue(
            start=fold.window.holdout_start.isoformat(),
            end=fold.window.holdout_end.isoformat(),
            rows=len(fold.evaluated),
            positives=int(fold.evaluated["label"].sum()),
            chosen=winner_value,
            file=file_value,
        )
        for fold, winner_value, file_value in values
    ]


def _value_of(trial: FrozenTrial) -> float:
    return float(np.mean(trial.user_attrs[trials.FOLDS]))


def _note(
    file_settings: ModelSettings,
    model: ModelSettings,
    winner: FrozenTrial | None,
    file: FrozenTrial | None,
    counts: dict[str, int],
    seconds: float,
) -> str:
    effort = _effort(counts, seconds)
    if winner is None or file is None:
        return f"**FILE'S SETTINGS** kept: {effort}, and theirs did not come to an end; raise training.tuning.budget."
    if winner is file:
        return f"**FILE'S SETTINGS** kept: none of {effort} was above their average precision of {_value_of(file):.4f}."
    pairs = list(zip(winner.user_attrs[trials.FOLDS], file.user_attrs[trials.FOLDS], strict=True))
    changed = {
        name: (value, getattr(model, name))
        for name, value in file_settings.model_dump().items()
        if value != getattr(model, name)
    }
    moves = ", ".join(f"{name} {_short(old)} → {_short(new)}" for name, (old, new) in changed.items())
    return (
        f"**TUNED** in {effort}: average precision {_value_of(winner):.4f}, {_value_of(file):.4f} with the file's settings, "
        f"better on {sum(new > old for new, old in pairs)} of {len(pairs)} folds. {moves}."
    )


def _effort(counts: dict[str, int], seconds: float) -> str:
    return f"{sum(counts.values())} trials ({counts['pruned']} given up, {counts['failed']} failed) in {seconds:.0f} s"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
