"""When to try again what has failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

FIRST, LONGEST = 1.0, 60.0
"""Seconds until something is tried again: after its first failure, and at most."""


class Backoff:
    """Lets what has failed wait for one second, then for two, four and so on; something else is tried at once.

    Args:
        now: a clock in seconds that never goes back.

    >>> backoff = Backoff(now=lambda: 100.0)
    >>> backoff.failed("version 7")
    >>> backoff.is_due("version 7"), backoff.is_due("version 8")
    (False, True)
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failed: Hashable | None = None
        self._wait, self._next = 0.0, 0.0

    def is_due(self, what: Hashable) -> bool:
        """Whether to try it now."""
        return what != self._failed or self._now() >= self._next

    def failed(self, what: Hashable) -> None:
        """It was tried, and failed."""
        self._wait = min(2 * self._wait, LONGEST) if what == self._failed else FIRST
        self._failed, self._next = what, self._now() + self._wait
