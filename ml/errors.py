"""The one error that an orchestrator must not retry, and its exit code."""

from __future__ import annotations

EXIT_REFUSED = 3
"""Exit code of a command that ended in `Refused`; an accident, which may be retried, ends in 1."""


class Refused(Exception):
    """An answer about data, model or configuration, which is the same again tomorrow.

    A full disk, a lost database or a killed process is none: a runner retries those, and never a refusal.
    """


class BadInput(Refused, ValueError):
    """A value that was given cannot be used."""


class NotThere(Refused, LookupError):
    """What was asked for does not exist."""
