"""The champion as monitoring needs it: its model, its training set, and its alert threshold."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ml.config import Config
from ml.model.copies import judged_folder
from ml.model.model import Model
from ml.registry.versions import model_hash
from ml.training import fit
from ml.training.dataset import TrainingSet


@dataclass(frozen=True)
class Champion:
    """A registered version.

    Attributes:
        version: number of the version.
        model_hash: hash of all its files; it differs if another model was registered under the same number.
        model: the model that scores.
        judged: the model that the gate judged, which has not seen the holdout; for a refit another one than `model`.
        fitted: record of the fit, with the alert threshold.
        frozen: record of the training set.
    """

    version: str
    model_hash: str
    model: Model
    judged: Model
    fitted: fit.Fit
    frozen: TrainingSet

    def window(self, name: str) -> dt.date:
        """Day on which a window of the training set begins or ends, such as `holdout_end`."""
        return dt.datetime.fromisoformat(self.frozen.windows[name]).astimezone(dt.UTC).date()


def champion_of(config: Config, version: str) -> Champion:
    """Fetch a version from the registry and verify its files by their digests.

    Raises:
        BrokenModel: the files are not the ones that were registered.
        NoOrigin: the version does not say what it was made from.
    """
    registry = fit.registry(config)
    folder = registry.fetch(version)
    frozen, _ = fit.origin_of(folder)
    return Champion(
        version,
        model_hash(registry.digests(version)),
        Model(folder),
        Model(judged_folder(folder)),
        fit.record_of(folder),
        frozen,
    )
