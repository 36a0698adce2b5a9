"""Any registered version, opened to score."""

from __future__ import annotations

from ml.config import Config
from ml.explanation.reasons import resolve
from ml.model.copies import check_copy
from ml.model.model import Model
from ml.model.version import Version
from ml.training.fit import record_of, registry


def open_registered(config: Config, version: str) -> Version:
    """Open a version, after comparing its files with their digests and its scores with those at its export.

    Args:
        version: a number, or `champion`.

    Raises:
        BadInput, NotThere: it is no number, or there is no such version.
        BrokenModel, ParityError: its files or its scores are others.
    """
    number, versions = resolve(config, version), registry(config)
    folder = versions.fetch(number)
    check_copy(folder)
    return Version(number, versions.model_hash(number), Model(folder), record_of(folder).threshold)
