"""The champion in place: a new one is opened beside the old one, checked, and switched between two requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ml import artifacts
from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Promotion
from ml.model import version as versions
from ml.model.version import BrokenVersion, Version
from ml.store.feast import feature_names

SECONDS = 1.0

log = logging.getLogger(__name__)


class Champion:
    """Follows the ledger. A version that cannot be opened is refused and named, and the one before goes on.

    Attributes:
        live: the version that scores; None before the first promotion.
        refused: the version that became champion and cannot be opened, with the reason.
    """

    def __init__(self, config: Config, changed: Callable[[Version], None] = lambda version: None) -> None:
        self.live: Version | None = None
        self.refused: tuple[str, str] | None = None
        self._config, self._changed = config, changed
        self._seen: int | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="champion", daemon=True)

    def start(self) -> None:
        """Open the champion of now, and follow it."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """Follow no longer."""
        self._stopped.set()
        self._thread.join()

    def look(self) -> None:
        """Read the ledger, and open the champion if it is another one."""
        history = Ledger(self._config.ledger).moves.history(self._config.name)
        if not history or history[-1].sequence == self._seen:
            return
        move = history[-1]
        try:
            opened = self._open(move)
        except Exception as error:  # whatever is wrong with it, the one before goes on
            if self.refused is None or self.refused[0] != move.to_version:
                log.exception("version %s is champion and cannot be opened; another one scores", move.to_version)
            self.refused = (move.to_version, f"{type(error).__name__}: {error}")
            return
        self.live, self.refused, self._seen = opened, None, move.sequence
        self._changed(opened)

    def _open(self, move: Promotion) -> Version:
        config = self._config
        if not artifacts.of(config).has(versions.KIND, versions.hash_of(move.hashes)):
            _release(config, move)
        opened = Version.open(config, move.to_version, move.hashes)
        there = {*config.measures, *config.categories, *feature_names(config)}
        if missing := [name for name in opened.names if name not in there]:
            raise BrokenVersion(f"version {move.to_version} needs {missing}, which the deployment file does not have")
        _ = opened.session
        return opened

    def _follow(self) -> None:
        while not self._stopped.wait(SECONDS):
            try:
                self.look()
            except Exception:
                log.exception("the ledger cannot be read; the champion stays")


def _release(config: Config, move: Promotion) -> None:
    """Release a version that became champion before versions were released."""
    from ml.registry.versions import Registry

    registry = Registry(config.tracking, config.name)
    versions.publish(config, registry.fetch(move.to_version), move.hashes)
