"""State of one daily drift signal: OK → WARN → CONFIRMED, advanced one day at a time.

One day over the threshold is a warning; two of three days are a confirmation. A confirmed signal stays confirmed until it falls
below 0.7 of its threshold (hysteresis), and is not confirmed again before the cooldown is over. The state is stored with each
day; replaying the same days gives the same state.

Example: two days over the threshold confirm; the signal returns to OK only below 0.7.
    >>> state, phases = DriftState(), []
    >>> for number, ratio in enumerate([0.5, 1.2, 1.3, 0.8, 0.6], start=1):
    ...     state = advance(state, dt.date(2025, 6, number), ratio, cooldown=14)
    ...     phases.append(state.phase.value)
    >>> phases
    ['OK', 'WARN', 'CONFIRMED', 'CONFIRMED', 'OK']
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ml.errors import BadInput

CONFIRM_DAYS, CONFIRM_WITHIN_DAYS = 2, 3
"""So many days over the threshold within so many days are a confirmation."""
REARM = 0.7
"""Share of the threshold below which a signal returns to OK."""


class Phase(StrEnum):
    """Phase of a signal; its value is the word that the ledger stores."""

    OK = "OK"
    WARN = "WARN"
    CONFIRMED = "CONFIRMED"


@dataclass(frozen=True)
class DriftState:
    """State of one signal after a day.

    Attributes:
        phase: whether it is within its threshold, over it, or confirmed.
        day: the last day that was processed; None at the beginning.
        exceeded: days over the threshold among the last `CONFIRM_WITHIN_DAYS` days.
        confirmed: day of the last confirmation; None if there was none.
    """

    phase: Phase = Phase.OK
    day: dt.date | None = None
    exceeded: tuple[dt.date, ...] = ()
    confirmed: dt.date | None = None

    @property
    def alarm(self) -> bool:
        """Whether the signal was confirmed on the last day that was processed."""
        return self.phase is Phase.CONFIRMED and self.confirmed == self.day

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON."""
        return {
            "phase": self.phase.value,
            "day": _text(self.day),
            "exceeded": [day.isoformat() for day in self.exceeded],
            "confirmed": _text(self.confirmed),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> DriftState:
        """Restore from the record that `to_dict` returned."""
        exceeded = tuple(dt.date.fromisoformat(day) for day in record["exceeded"])
        return cls(Phase(record["phase"]), _date(record["day"]), exceeded, _date(record["confirmed"]))


def advance(state: DriftState, day: dt.date, ratio: float | None, *, cooldown: int) -> DriftState:
    """The state after one more day.

    Args:
        state: state after the days before; `DriftState()` at the beginning.
        day: the day to process, later than the state's.
        ratio: size of the signal divided by its threshold, at least 0; None for a day without data, which leaves the phase.
        cooldown: days from one confirmation to the earliest next one.

    Raises:
        ValueError: the day is not later than the last one, or the ratio is negative or NaN.
    """
    if state.day is not None and day <= state.day:
        raise BadInput(f"{day} was to follow {state.day}: replay the days in their order, each once")
    if ratio is not None and not ratio >= 0:
        raise BadInput(f"the ratio of {day} is {ratio}, expected at least 0")
    exceeded = tuple(earlier for earlier in state.exceeded if (day - earlier).days < CONFIRM_WITHIN_DAYS)
    if ratio is None:
        return DriftState(state.phase, day, exceeded, state.confirmed)
    if ratio > 1:
        exceeded = (*exceeded, day)
    phase = Phase.OK if ratio < REARM else state.phase
    if phase is not Phase.CONFIRMED and ratio > 1:
        cooled = state.confirmed is None or (day - state.confirmed).days >= cooldown
        phase = Phase.CONFIRMED if len(exceeded) >= CONFIRM_DAYS and cooled else Phase.WARN
    return DriftState(phase, day, exceeded, day if phase is Phase.CONFIRMED is not state.phase else state.confirmed)


def _text(day: dt.date | None) -> str | None:
    return None if day is None else day.isoformat()


def _date(text: str | None) -> dt.date | None:
    return None if text is None else dt.date.fromisoformat(text)
