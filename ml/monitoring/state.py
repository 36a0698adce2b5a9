"""State machine of one daily signal: OK → WARN → CONFIRMED, advanced one day at a time.

One day over the threshold is a warning; two of three days are a confirmation. A confirmed signal stays confirmed until it falls
below 0.7 of its threshold (hysteresis), and is not confirmed again before the cooldown is over. The state is stored with each
day; replaying the same days gives the same state.

Example: two days over the threshold confirm; the signal returns to OK only below 0.7.
    >>> machine, phases = SignalStateMachine(), []
    >>> for number, ratio in enumerate([0.5, 1.2, 1.3, 0.8, 0.6], start=1):
    ...     machine = advance(machine, dt.date(2025, 6, number), ratio, cooldown=14)
    ...     phases.append(machine.phase.value)
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

WINDOWS, NEEDED = 3, 2
REARM = 0.7
"""Share of the threshold below which a signal returns to OK."""


class Phase(StrEnum):
    """State of a signal; its value is the word that the ledger stores."""

    OK = "OK"
    WARN = "WARN"
    CONFIRMED = "CONFIRMED"


@dataclass(frozen=True)
class SignalStateMachine:
    """State of one signal after a day.

    Attributes:
        day: the last day that was processed; None at the beginning.
        exceeded: days over the threshold among the last `WINDOWS` days.
        confirmed: the day of the last confirmation.
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
    def from_dict(cls, record: Mapping[str, Any]) -> SignalStateMachine:
        """Restore from the record that `to_dict` returned."""
        exceeded = tuple(dt.date.fromisoformat(day) for day in record["exceeded"])
        return cls(Phase(record["phase"]), _date(record["day"]), exceeded, _date(record["confirmed"]))


def advance(state: SignalStateMachine, day: dt.date, ratio: float | None, *, cooldown: int) -> SignalStateMachine:
    """The state after one more day.

    Args:
        state: after the days before; `SignalStateMachine()` at the beginning.
        day: later than the state's.
        ratio: size of the signal divided by its threshold, at least 0; None for a day without data, which leaves the phase.
        cooldown: days from one confirmation to the earliest next one.

    Raises:
        ValueError: the day is not later than the last one, or the ratio is negative or NaN.
    """
    if state.day is not None and day <= state.day:
        raise BadInput(f"{day} was to follow {state.day}: replay the days in their order, each once")
    if ratio is not None and not ratio >= 0:
        raise BadInput(f"the ratio of {day} is {ratio}, expected at least 0")
    exceeded = tuple(earlier for earlier in state.exceeded if (day - earlier).days < WINDOWS)
    if ratio is None:
        return SignalStateMachine(state.phase, day, exceeded, state.confirmed)
    if ratio > 1:
        exceeded = (*exceeded, day)
    phase = Phase.OK if ratio < REARM else state.phase
    if phase is not Phase.CONFIRMED and ratio > 1:
        cooled = state.confirmed is None or (day - state.confirmed).days >= cooldown
        phase = Phase.CONFIRMED if len(exceeded) >= NEEDED and cooled else Phase.WARN
    return SignalStateMachine(phase, day, exceeded, day if phase is Phase.CONFIRMED is not state.phase else state.confirmed)


def _text(day: dt.date | None) -> str | None:
    return None if day is None else day.isoformat()


def _date(text: str | None) -> dt.date | None:
    return None if text is None else dt.date.fromisoformat(text)
