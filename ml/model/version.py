"""A version of the model as it is released: published as an artifact, opened by whoever scores, and by nothing but its files.

A version is released under the hash of its files, so that a number that a new registry gives again is another version.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ml import artifacts
from ml.artifacts.store import digest
from ml.config import Config
from ml.errors import Refused
from ml.model.copies import COPY_TOLERANCE, check_copy, sample_of
from ml.model.formats import ParityError
from ml.model.inputs import Columns, feeds, onnx_feeds
from ml.model.model import Model

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

KIND, RECORD = "versions", "fit.json"


class BrokenVersion(Refused, RuntimeError):
    """The files of a released version are not the ones that became champion."""


@dataclass(frozen=True, eq=False)
class Version:
    """A released version, ready to score.

    Attributes:
        number: its number in the registry.
        sha256: hash of all its files.
        threshold: scores from here on are alerted.
    """

    number: str
    sha256: str
    model: Model
    threshold: float

    @classmethod
    def open(cls, config: Config, number: str, hashes: Mapping[str, str]) -> Version:
        """Open a released version, after comparing its files with their hashes and its scores with those at its export.

        Args:
            hashes: SHA-256 of each file by its path, as the ledger's move has them.

        Raises:
            Missing: it is not released.
            BrokenVersion, ParityError: its files or its scores are others.
        """
        sha256 = hash_of(hashes)
        folder = artifacts.of(config).get(KIND, sha256)
        for name, expected in hashes.items():
            file = folder / name
            found = digest(file) if file.is_file() else "none, for the file is missing"
            if found != expected:
                raise BrokenVersion(f"version {number}: {file} has SHA-256 {found}, expected {expected}; release it again")
        check_copy(folder)
        record = json.loads((folder / RECORD).read_text())
        return cls(number, sha256, Model(folder), float(record["threshold"]))

    @property
    def names(self) -> list[str]:
        """The columns that it takes."""
        return self.model.inputs.names

    @cached_property
    def record(self) -> dict[str, Any]:
        """The record of its fit."""
        record: dict[str, Any] = json.loads((self.model.folder / RECORD).read_text())
        return record

    @cached_property
    def session(self) -> InferenceSession:
        """The ONNX session of its graph."""
        return self.model.session()

    def score_few(self, columns: Columns) -> np.ndarray:
        """Probabilities by the ONNX graph, shape (n_rows,): the fastest way for single rows.

        Args:
            columns: arrays by name, shape (n_rows,): numbers as float64, NaN if missing; categories as text, empty if missing.
        """
        probabilities: np.ndarray = self.session.run(None, feeds(self.model.inputs, columns))[0]
        return probabilities

    def score_many(self, columns: Columns) -> np.ndarray:
        """Probabilities by the estimator, shape (n_rows,): the fastest way for many rows.

        Args:
            columns: as of `score_few`.
        """
        return self.model.score(pd.DataFrame({name: columns[name] for name in self.names}))

    def check_row(self) -> None:
        """Score one row of the sample again by the open graph.

        Raises:
            ParityError: its score is another one than at export.
        """
        row, expected = self._golden
        difference = abs(float(self.session.run(None, row)[0][0]) - expected)
        if not difference <= COPY_TOLERANCE:
            raise ParityError(
                f"version {self.number} scores a row of its sample {difference:g} away from what it scored at export"
            )

    @cached_property
    def _golden(self) -> tuple[dict[str, np.ndarray], float]:
        sample, expected = sample_of(self.model.folder)
        return onnx_feeds(self.model.inputs, sample.head(1)), float(expected.iloc[0])


def publish(config: Config, folder: Path, hashes: Mapping[str, str]) -> Path:
    """Release the files of a registered version; a second call finds them.

    Args:
        folder: the version's files, as the registry verified them.
    """
    return artifacts.of(config).put(KIND, hash_of(hashes), lambda path: shutil.copytree(folder, path))


def hash_of(hashes: Mapping[str, str]) -> str:
    """SHA-256 over the hashes of a version's files."""
    return hashlib.sha256(json.dumps(dict(hashes), sort_keys=True).encode()).hexdigest()
