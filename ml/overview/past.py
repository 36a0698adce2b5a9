"""What has happened, remembered: rows of the ledger never change, so a process that shows pages reads each of them once.

What is remembered of a verdict or a move is what tables and pictures tell; the whole record of one is asked of the ledger.
"""

from __future__ import annotations

import threading
from functools import lru_cache

from ml.config import Config
from ml.ledger.decisions import Decision
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Promotion

LEDGERS = 64
"""Deployments whose past is remembered."""


class Past:
    """The moves and verdicts of one model.

    Attributes:
        ledger: that they are read from.
    """

    def __init__(self, url: str, model: str) -> None:
        self.ledger = Ledger(url)
        self._model, self._lock = model, threading.Lock()
        self._moves: list[Promotion] = []
        self._verdicts: list[Decision] = []
        self._last_verdict = 0

    def moves(self) -> list[Promotion]:
        """All moves of the champion, oldest first, without the verdicts that they follow from."""
        with self._lock:
            self._moves += self.ledger.moves.since(self._model, len(self._moves))
            return list(self._moves)

    def verdicts(self) -> list[Decision]:
        """All answers of the gate, oldest first; of the evidence, the figures of the deciding metric alone."""
        with self._lock:
            for number, verdict in self.ledger.decisions.since(self._model, self._last_verdict):
                self._verdicts.append(verdict)
                self._last_verdict = number
            return list(self._verdicts)


def past(config: Config) -> Past:
    """What has happened to a deployment's model."""
    return _past(config.ledger, config.name)


@lru_cache(maxsize=LEDGERS)
def _past(url: str, model: str) -> Past:
    return Past(url, model)
