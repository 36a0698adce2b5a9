"""Trainings that policies share: a search, a fit or a refit is made once, whichever policy asks for it first.

What a step makes lies under an address that follows from its inputs, so the result of one policy is that of any other with
the same inputs. Ledger and registry are of each policy alone: a model that is taken over gets an MLflow run of its own.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ml import artifacts, steps
from ml.artifacts import Folder
from ml.config import Config
from ml.decision import judgements
from ml.pipeline import Record
from ml.training import chosen, dataset, fit, refit, tune

KIND_OF_SEARCHES = "searches"


class Cache:
    """Runs steps; what was made once is taken from a folder.

    Args:
        folder: shared by all policies; processes take turns at one address.
    """

    def __init__(self, folder: Path) -> None:
        self._store = Folder(folder)

    def run(self, step: str, config: Config, as_of: dt.datetime, references: Mapping[str, Any]) -> Record:
        """Run a step; see `ml.steps.run`."""
        if step == "build_training_set":
            key = hashlib.sha256(f"{as_of.isoformat()} {config.fingerprint}".encode()).hexdigest()
            with self._store.lock(dataset.KIND, key):
                return steps.run(step, config, as_of, references)
        if step == "plan_tuning":
            tune.forget(config, references["training_set"])
        if step in ("search", "choose_settings"):
            return self._searched(step, config, as_of, references)
        if step == "fit":
            key = fit.key_of(config, references["training_set"], references.get("settings", ""))
            return self._fitted(step, config, as_of, references, key)
        if step == "refit":
            judged = judgements.describe(config, references["judgement"])
            return self._fitted(step, config, as_of, references, refit.key_of(judged.model))
        return steps.run(step, config, as_of, references)

    def _fitted(self, step: str, config: Config, as_of: dt.datetime, references: Mapping[str, Any], key: str) -> Record:
        with self._store.lock(fit.KIND, key):
            kept = self._store.has(fit.KIND, key)
            if kept and not fit.exists(config, key) and self._is_wanted(step, config, references):
                fit.adopt(config, self._store.get(fit.KIND, key))
            record = steps.run(step, config, as_of, references)
            if not kept and fit.exists(config, key):
                self._store.put(fit.KIND, key, lambda path: shutil.copytree(fit.folder_of(config, key), path))
            return record

    @staticmethod
    def _is_wanted(step: str, config: Config, references: Mapping[str, Any]) -> bool:
        """Whether the step would make the model: a refit is made of what may become champion alone."""
        if step != "refit":
            return True
        judged = judgements.describe(config, references["judgement"])
        return judged.outcome == "PROMOTE" or judged.refresh

    def _searched(self, step: str, config: Config, as_of: dt.datetime, references: Mapping[str, Any]) -> Record:
        study = references["study"]
        plan, tuning = tune.describe(config, study), config.training.tuning
        asked = [asdict(plan), tuning and tuning.model_dump(mode="json")]
        key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        with self._store.lock(KIND_OF_SEARCHES, key):
            if self._store.has(KIND_OF_SEARCHES, key) and not chosen.is_decided(config, study):
                text = self._store.get(KIND_OF_SEARCHES, key).read_text()
                artifacts.of(config).put_text(chosen.KIND, chosen.key_of(study, chosen.CHOSEN), text)
            record = steps.run(step, config, as_of, references)
            if chosen.is_decided(config, study):
                text = chosen.path_of(config, study, chosen.CHOSEN, "run `choose_settings` first").read_text()
                self._store.put_text(KIND_OF_SEARCHES, key, text)
            return record
