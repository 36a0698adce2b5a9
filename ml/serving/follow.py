"""A thread that looks at the ledger again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

SECONDS = 1.0

log = logging.getLogger(__name__)


class Follower:
    """Calls `look` every second until it is stopped; what it raises is logged."""

    def __init__(self, look: Callable[[], None], name: str) -> None:
        self._look = look
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=name, daemon=True)

    def start(self) -> None:
        """Look, and go on looking."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Look no longer."""
        self._stopped.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopped.wait(SECONDS):
            try:
                self._look()
            except Exception:
                log.exception("the ledger cannot be read; what it last said about the %s stays", self._thread.name)
