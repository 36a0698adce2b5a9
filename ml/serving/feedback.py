"""Answers of people by way of the service: on disk at once, and a file of the label feed soon after.

An answer becomes a line of the log of answers. `load_predictions` writes the sealed lines as a CSV file into the landing
folder, under a name that the label feed's pattern matches, so that ingest takes them in as any late answer.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from typing import Any

from ml.config import Config
from ml.errors import Refused
from ml.lake.segments import FEEDBACK
from ml.serving.log import LogUnavailable, PredictionLog


class NoFeedback(Refused, ValueError):
    """The deployment takes no answers in files, or not this one."""


class FeedbackLog:
    """Takes answers."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._log = PredictionLog(config, int(config.serving.log_size.value * 1e6), kind=FEEDBACK)

    def start(self) -> None:
        """Begin to take answers."""
        self._log.start()

    def stop(self) -> None:
        """Publish what was taken."""
        self._log.stop()

    async def take(self, given: dict[str, Any], now: dt.datetime) -> str:
        """Write an answer, and return its id.

        Raises:
            NoFeedback: see `must_be_possible`.
            LogUnavailable: it could not be written in time.
        """
        must_be_possible(self._config, given)
        reported = given.get("reported_at", now)
        answer = uuid.uuid4().hex
        record = {"id": answer, "event_id": given["event_id"], "label": given["label"], "reported_at": reported.isoformat()}
        record |= {"source": given["source"]} if "source" in given else {}
        try:
            await asyncio.wait_for(asyncio.wrap_future(self._log.append([record])), self._config.serving.log_wait.value / 1000)
        except TimeoutError:
            raise LogUnavailable(f"the disk took more than {self._config.serving.log_wait.value:g} ms") from None
        return answer


def must_be_possible(config: Config, given: dict[str, Any]) -> None:
    """Whether the label feed can carry an answer.

    Raises:
        NoFeedback: it cannot; the message says why.
    """
    labels = config.labels
    if labels.files is None:
        raise NoFeedback(f"{config.name} takes its labels from a column of its events: there is no feed for other answers")
    if "label" not in labels.columns and given["label"] != 1:
        raise NoFeedback(f"every answer of {config.name} says that its event is positive; a negative cannot be said")
    if "source" in labels.columns and labels.sources and given.get("source") not in labels.sources:
        raise NoFeedback(f"source is {given.get('source')!r}, expected one of {labels.sources}")
