"""A thread that looks at the ledger or the lake again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

SECONDS = 1.0

log = logging.getLogger(__name__)


class Follower:
    """Calls `look` at the start, and every so many seconds until it is stopped; what it raises later is logged."""

    def __init__(self, look: Callable[[], None], name: str, seconds: float = SECONDS) -> None:
        self._look, self._seconds = look, seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=name, daemon=True)

    def start(self) -> None:
        """Look, and go on looking."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Look no longer; also if it was never started."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._look()
            except Exception:
                log.exception("%s: nothing could be read; what was read last stays", self._thread.name)
