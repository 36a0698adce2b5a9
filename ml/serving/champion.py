"""The champion in place: a new one is opened beside the old one, checked, and switched between two requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cached_property

from ml import artifacts
from ml.config import Config
from ml.explanation.reasons import CHAMPION, resolve
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Promotion
from ml.model import version as versions
from ml.model.version import BrokenVersion, Version
from ml.serving.backoff import Backoff
from ml.store.feast import feature_names

log = logging.getLogger(__name__)


class Champion:
    """Follows the ledger. A version that cannot be opened is refused and named, and the one before goes on.

    Args:
        changed: is called with each version that takes over.
        now: a clock in seconds that never goes back.

    Attributes:
        live: the version that scores; None before the first promotion.
        refused: the version that became champion and cannot be opened, with the reason.
    """

    def __init__(
        self,
        config: Config,
        changed: Callable[[Version], None] = lambda version: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.live: Version | None = None
        self.refused: tuple[str, str] | None = None
        self._config, self._changed = config, changed
        self._seen = 0
        self._backoff = Backoff(now)

    def look(self) -> None:
        """Read the ledger, and open the champion if it is another one; one that could not be opened, less and less often."""
        if self._ledger.moves.count(self._config.name) == self._seen:  # most looks end here, and read no verdict
            return
        move = self._ledger.moves.newest(self._config.name)
        if move is None or not self._backoff.is_due(move.sequence):
            return
        try:
            version = self._open(move)
        except Exception as error:  # whatever is wrong with it, the one before goes on
            if self.refused is None or self.refused[0] != move.to_version:
                log.exception("version %s is champion and cannot be opened; another one scores", move.to_version)
            self.refused = (move.to_version, f"{type(error).__name__}: {error}")
            self._backoff.failed(move.sequence)
            return
        self.live, self.refused, self._seen = version, None, move.sequence
        self._changed(version)

    @cached_property
    def _ledger(self) -> Ledger:
        """Opened once: that takes longer than a look, and requests would wait for the interpreter meanwhile."""
        return Ledger(self._config.ledger, keeps_connection=True)

    def _open(self, move: Promotion) -> Version:
        _ensure_released(self._config, move)
        return opened(self._config, move.to_version, move.hashes)


def open_champion(config: Config) -> Version:
    """Open the champion as it was released, without asking the registry, whose client takes seconds to import.

    Raises:
        NotThere: there is no champion.
        BrokenVersion, ParityError: its files or its scores are others.
    """
    resolve(config, CHAMPION)
    move = Ledger(config.ledger).moves.history(config.name)[-1]
    _ensure_released(config, move)
    return Version.open(config, move.to_version, move.hashes)


def opened(config: Config, number: str, hashes: Mapping[str, str]) -> Version:
    """Open a version for scoring.

    Raises:
        Missing, BrokenVersion, ParityError: its files or scores are others, or it needs columns that the deployment lacks.
    """
    version = Version.open(config, number, hashes)
    there = {*config.measures, *config.categories, *feature_names(config)}
    if missing := [name for name in version.names if name not in there]:
        raise BrokenVersion(f"version {number} needs {missing}, which the deployment file does not have")
    _ = version.session
    return version


def _ensure_released(config: Config, move: Promotion) -> None:
    """Release a version that became champion before versions were released."""
    if artifacts.of(config).has(versions.KIND, versions.hash_of(move.hashes)):
        return
    from ml.registry.versions import Registry

    registry = Registry(config.tracking, config.name)
    versions.publish(config, registry.fetch(move.to_version), move.hashes)
