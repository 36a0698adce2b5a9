"""The nights of a deployment, one after the other, in one process, with a record that a stopped run goes on from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from ml import pipeline
from ml.artifacts import write_file
from ml.config import Config
from ml.errors import Refused
from ml.pipeline import RunStep

PLAYED = "nights.json"


@dataclass
class Nights:
    """What came of the nights: how many there were, the champion after each, and on which a training was refused.

    Attributes:
        trainings: that were admitted, the refused ones among them.
    """

    nights: int = 0
    champions: dict[dt.datetime, str] = field(default_factory=dict)
    trainings: int = 0
    refused: dict[dt.datetime, str] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def read(cls, home: Path) -> Self:
        """What was played in a home before."""
        file = home / PLAYED
        return TypeAdapter(cls).validate_json(file.read_text()) if file.is_file() else cls()

    def write(self, home: Path) -> None:
        """Keep it, so that a run that is stopped can go on."""
        write_file(home / PLAYED, lambda path: path.write_bytes(TypeAdapter(type(self)).dump_json(self, indent=1)))

    def train(self, config: Config, night: dt.datetime, given: Mapping[str, Any], run_step: RunStep | None = None) -> str:
        """One training if the arbiter admits it; what came of it in words.

        Args:
            given: the run, see `ml.steps.OF_RUN`.
        """
        try:
            records = pipeline.run(pipeline.training(config), config, night, given, explain=False, run_step=run_step)
        except Refused as refusal:
            self.trainings += 1
            self.refused[night] = f"{type(refusal).__name__}: {refusal}"
            return " ".join(self.refused[night].split())
        if "promote" not in records:
            return f"held back: {records['admit']['reason']}"
        self.trainings += 1
        return str(records["promote"]["note"]).split("\n")[0]
