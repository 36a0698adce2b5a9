"""The study that the workers of a search share: Optuna's journal in one file, and which trial is whose.

The journal is a file of JSON lines under the deployment's home, where the training sets lie too, so that every worker that
can read its rows can read the study. Optuna's own locks are files that a killed process leaves behind; the lock here is the
kernel's, which goes with the process that held it, and a line that a killed process left half-written is cut off.
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
DRAWN_AT_RANDOM = 5
BEFORE_GIVING_UP = 3

# What is written on a trial: who runs it, why its settings were set, its value on each fold, its seconds so far, why it
# could not be fitted, and the number of the lost trial that it repeats.
WORKER, ORIGIN, FOLDS, SECONDS, ERROR, AGAIN = "worker", "origin", "folds", "seconds", "error", "again_of"


class Turn:
    """A lock file; who is killed while holding it holds it no longer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1

    def acquire(self) -> bool:
        """Wait until nobody else holds it."""
        self._handle = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._handle)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _JournalLock(Turn):
    """The lock of a journal; who comes after a writer that was killed cuts off its half line."""

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


def opened(folder: Path, study: str, seed: tuple[int, ...] = ()) -> Study:
    """The study in a folder, made when it is missing.

    Trials are drawn with `seed` by the tree-structured Parzen estimator over all settings at once (Bergstra et al., Algorithms
    for Hyper-Parameter Optimization), where a trial that still runs counts as a bad one, so that workers keep apart. A trial is
    given up when its mean over the folds so far is below the median of the others'.
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
            n_startup_trials=DRAWN_AT_RANDOM,
            multivariate=True,
            constant_liar=True,
            seed=int(np.random.SeedSequence(seed).generate_state(1)[0]),
        ),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=BEFORE_GIVING_UP),
    )


def distributions(tuning: Tuning, model: ModelSettings) -> dict[str, BaseDistribution]:
    """Optuna's distribution of each searched setting; whole numbers where the model reads one."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for name, searched in tuning.space.items():
        if isinstance(searched, Choices):
            found[name] = CategoricalDistribution(searched.choices)
        elif isinstance(getattr(with_settings(model, {name: searched.low}), name), int):
            found[name] = IntDistribution(int(searched.low), int(searched.high), log=searched.log)
        else:
            found[name] = FloatDistribution(searched.low, searched.high, log=searched.log)
    return found


def with_settings(model: ModelSettings, settings: dict[str, Any]) -> ModelSettings:
    """The model's settings with some of them replaced, checked as in a deployment file."""
    return type(model).model_validate(model.model_dump() | settings)


def within(tuning: Tuning, model: ModelSettings, settings: dict[str, Any]) -> dict[str, Any]:
    """The nearest point of the space to some settings; the deployment's own where a setting has no such value any more."""
    found: dict[str, Any] = {}
    for name, searched in tuning.space.items():
        value, own = settings.get(name), getattr(model, name)
        if isinstance(searched, Choices):
            found[name] = value if name in settings and value in searched.choices else own
        else:
            found[name] = type(own)(min(max(value, searched.low), searched.high)) if isinstance(value, int | float) else own
    return found


def reclaim(study: Study, folder: Path, worker: int, searched: int) -> None:
    """Give up the trials that a killed process of this worker left running, and put their settings back into the queue.

    Settings that were drawn are repeated once: they may be what killed it.

    Args:
        searched: how many settings the space has; a trial that was killed before it had drawn them all has none to repeat.
    """
    from optuna.trial import TrialState

    with Turn(folder / TURN):
        trials = study.get_trials(deepcopy=False)
        repeated = {trial.user_attrs.get(AGAIN) for trial in trials}
        for trial in trials:
            # One without a worker was killed while it was drawn: nobody else draws now.
            if trial.state != TrialState.RUNNING or trial.user_attrs.get(WORKER, worker) != worker:
                continue
            settings = trial.system_attrs.get("fixed_params") or trial.params
            may_repeat = ORIGIN in trial.user_attrs or AGAIN not in trial.user_attrs
            if may_repeat and trial.number not in repeated and len(settings) == searched:
                told = {ORIGIN: trial.user_attrs[ORIGIN]} if ORIGIN in trial.user_attrs else {}
                study.enqueue_trial(settings, user_attrs=told | {AGAIN: trial.number})
            study.tell(trial.number, state=TrialState.FAIL)


def draw(study: Study, folder: Path, worker: int, space: dict[str, BaseDistribution], most: int) -> Trial | None:
    """The next trial of a worker, or None when the study has `most` trials; lost ones that are repeated do not count."""
    from optuna.trial import TrialState

    with Turn(folder / TURN):
        trials = study.get_trials(deepcopy=False)
        begun = [t for t in trials if t.state != TrialState.WAITING and AGAIN not in t.user_attrs]
        repeats = [t for t in trials if t.state == TrialState.WAITING and AGAIN in t.user_attrs]
        if len(begun) >= most and not repeats:
            return None
        trial = study.ask(fixed_distributions=space)
        trial.set_user_attr(WORKER, worker)
        return trial


def spent(study: Study, worker: int | None = None) -> float:
    """Seconds that trials of a worker, or of all, have taken so far, also those of a process that was killed."""
    return sum(trial.user_attrs.get(SECONDS, 0.0) for trial in _of(study, worker))


def counts(study: Study, worker: int | None = None) -> dict[str, int]:
    """Trials of a worker, or of all, by how they ended."""
    states = [trial.state.name.lower() for trial in _of(study, worker)]
    return {"complete": states.count("complete"), "pruned": states.count("pruned"), "failed": states.count("fail")}


def finished(study: Study) -> list[FrozenTrial]:
    """Trials with a value on every fold, the best first."""
    complete = [trial for trial in study.get_trials() if trial.state.name == "COMPLETE"]
    return sorted(complete, key=lambda trial: (-float(trial.value or 0.0), trial.number))


def importance(study: Study) -> dict[str, float]:
    """Share of each searched setting in what tells good trials from bad ones, largest first; empty below two finished trials.

    Watanabe et al., PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces.
    """
    from optuna.importance import get_param_importances

    return dict(get_param_importances(study)) if len(finished(study)) > 1 else {}


def _of(study: Study, worker: int | None) -> list[FrozenTrial]:
    return [t for t in study.get_trials(deepcopy=False) if worker is None or t.user_attrs.get(WORKER) == worker]
