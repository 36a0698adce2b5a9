"""The Optuna study that the workers of a search share: its journal in one file, and the trials of each worker.

The journal is a file of JSON lines under the deployment's home, beside the training sets, so that every worker that can read
its rows can read the study. A killed process would leave Optuna's own lock files behind; the kernel releases the lock used here
when its process ends, and an incomplete last line of a killed process is removed.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.config import Choices, ModelSettings, Tuning

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

JOURNAL, TURN = "journal.jsonl", "turn.lock"
RANDOM_TRIALS = 5
TRIALS_BEFORE_PRUNING = 3

# User attributes of a trial: its worker, the origin of its settings, its value on each fold, its seconds so far, the error of
# its fit, and the number of the killed trial that it repeats.
WORKER, ORIGIN, FOLDS, SECONDS, ERROR, REPEATS = "worker", "origin", "folds", "seconds", "error", "again_of"


class FileLock:
    """A lock on a file; the kernel releases it when the holder is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._handle = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Release the lock."""
        os.close(self._handle)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _JournalLock(FileLock):
    """The lock of a journal; it removes the incomplete last line of a killed writer."""

    def __init__(self, journal: Path) -> None:
        super().__init__(journal.with_suffix(".lock"))
        self._journal = journal

    def acquire(self) -> bool:
        super().acquire()
        with self._journal.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - 1, 0))
            if file.read(1) not in (b"", b"\n"):
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        return True


def open_study(folder: Path, study: str, seed: tuple[int, ...] = ()) -> Study:
    """The study in a folder; it is created if it is missing.

    Trials are drawn with `seed` by the tree-structured Parzen estimator over all settings at once (Bergstra et al., Algorithms
    for Hyper-Parameter Optimization), where a running trial counts as bad, so that workers sample different settings. A trial
    is pruned if its mean over the folds so far is below the median of the other trials.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = folder / JOURNAL
    lock = _JournalLock(journal)
    storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))  # type: ignore[arg-type]
    return optuna.create_study(
        storage=storage,
        study_name=study,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(
            n_startup_trials=RANDOM_TRIALS,
            multivariate=True,
            constant_liar=True,
            seed=int(np.random.SeedSequence(seed).generate_state(1)[0]),
        ),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING),
    )


def distributions(tuning: Tuning, model: ModelSettings) -> dict[str, BaseDistribution]:
    """Optuna's distribution of each tuned setting; integers for integer settings."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    result: dict[str, BaseDistribution] = {}
    for name, searched in tuning.space.items():
        if isinstance(searched, Choices):
            result[name] = CategoricalDistribution(searched.choices)
        elif isinstance(getattr(with_settings(model, {name: searched.low}), name), int):
            result[name] = IntDistribution(int(searched.low), int(searched.high), log=searched.log)
        else:
            result[name] = FloatDistribution(searched.low, searched.high, log=searched.log)
    return result


def with_settings(model: ModelSettings, settings: dict[str, Any]) -> ModelSettings:
    """The model's settings with some of them replaced, checked as in a deployment file."""
    return type(model).model_validate(model.model_dump() | settings)


def nearest(tuning: Tuning, model: ModelSettings, settings: dict[str, Any]) -> dict[str, Any]:
    """The point of the space nearest to the settings; the deployment's own value if a setting has no such value any more."""
    result: dict[str, Any] = {}
    for name, searched in tuning.space.items():
        value, default = settings.get(name), getattr(model, name)
        if isinstance(searched, Choices):
            result[name] = value if name in settings and value in searched.choices else default
        else:
            result[name] = (
                type(default)(min(max(value, searched.low), searched.high)) if isinstance(value, int | float) else default
            )
    return result


def reclaim(study: Study, folder: Path, worker: int, settings_count: int) -> None:
    """Fail the trials that a killed process of this worker left running, and queue their settings again.

    Sampled settings are repeated only once, because they may have caused the crash.

    Args:
        settings_count: number of settings in the space; a trial that was killed before all were sampled is not repeated.
    """
    from optuna.trial import TrialState

    with FileLock(folder / TURN):
        trials = study.get_trials(deepcopy=False)
        repeated = {trial.user_attrs.get(REPEATS) for trial in trials}
        for trial in trials:
            # A trial without a worker was killed while it was sampled: we hold the lock, so no other process samples now.
            if trial.state != TrialState.RUNNING or trial.user_attrs.get(WORKER, worker) != worker:
                continue
            settings = trial.system_attrs.get("fixed_params") or trial.params
            may_repeat = ORIGIN in trial.user_attrs or REPEATS not in trial.user_attrs
            if may_repeat and trial.number not in repeated and len(settings) == settings_count:
                attributes = {ORIGIN: trial.user_attrs[ORIGIN]} if ORIGIN in trial.user_attrs else {}
                study.enqueue_trial(settings, user_attrs=attributes | {REPEATS: trial.number})
            study.tell(trial.number, state=TrialState.FAIL)


def draw(study: Study, folder: Path, worker: int, space: dict[str, BaseDistribution], limit: int) -> Trial | None:
    """The next trial of a worker, or None when the study has `limit` trials; repeats of killed trials do not count."""
    from optuna.trial import TrialState

    with FileLock(folder / TURN):
        trials = study.get_trials(deepcopy=False)
        started = [t for t in trials if t.state != TrialState.WAITING and REPEATS not in t.user_attrs]
        repeats = [t for t in trials if t.state == TrialState.WAITING and REPEATS in t.user_attrs]
        if len(started) >= limit and not repeats:
            return None
        trial = study.ask(fixed_distributions=space)
        trial.set_user_attr(WORKER, worker)
        return trial


def seconds_spent(study: Study, worker: int | None = None) -> float:
    """Seconds of a worker's trials, or of all trials, with those of killed processes."""
    return sum(trial.user_attrs.get(SECONDS, 0.0) for trial in _of(study, worker))


def counts(study: Study, worker: int | None = None) -> dict[str, int]:
    """Number of a worker's trials, or of all trials, by outcome."""
    states = [trial.state.name.lower() for trial in _of(study, worker)]
    return {"complete": states.count("complete"), "pruned": states.count("pruned"), "failed": states.count("fail")}


def finished(study: Study) -> list[FrozenTrial]:
    """Trials with a value on every fold, the best first."""
    complete = [trial for trial in study.get_trials() if trial.state.name == "COMPLETE"]
    return sorted(complete, key=lambda trial: (-float(trial.value or 0.0), trial.number))


def importance(study: Study) -> dict[str, float]:
    """Relative importance of each tuned setting, largest first; empty with fewer than two finished trials.

    Watanabe et al., PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces.
    """
    from optuna.importance import get_param_importances

    return dict(get_param_importances(study)) if len(finished(study)) > 1 else {}


def _of(study: Study, worker: int | None) -> list[FrozenTrial]:
    return [t for t in study.get_trials(deepcopy=False) if worker is None or t.user_attrs.get(WORKER) == worker]
