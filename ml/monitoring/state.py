"""When a daily signal counts as confirmed: OK → WARN → CONFIRMED, replayed a day at a time.

One day over the threshold warns; two of three confirm. A signal that has been confirmed stays so until it falls below seven
tenths of its threshold, and is not confirmed anew before the cooldown is over. The record is small, so that it can be kept
with each day; the same days give the same record.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

WINDOWS, NEEDED = 3, 2
REARM = 0.7
"""Share of the threshold below which a signal is at rest again."""


class Phase(StrEnum):
    """Where a signal stands."""

    OK = "OK"
    WARN = "WARN"
    CONFIRMED = "CONFIRMED"


@dataclass(frozen=True)
class State:
    """What must be known of the days before.

    Attributes:
        day: the last day that was seen.
        exceeded: days over the threshold among the last `WINDOWS` days.
        confirmed: the day of the last confirmation.
    """

    phase: Phase = Phase.OK
    day: dt.date | None = None
    exceeded: tuple[dt.date, ...] = ()
    confirmed: dt.date | None = None

    @property
    def alarm(self) -> bool:
        """Whether the signal was confirmed on the very day that was seen last."""
        return self.phase is Phase.CONFIRMED and self.confirmed == self.day

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "phase": self.phase.value,
            "day": _text(self.day),
            "exceeded": [day.isoformat() for day in self.exceeded],
            "confirmed": _text(self.confirmed),
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> State:
        """From what `to_dict` gave."""
        exceeded = tuple(dt.date.fromisoformat(day) for day in told["exceeded"])
        return cls(Phase(told["phase"]), _date(told["day"]), exceeded, _date(told["confirmed"]))


def advance(state: State, day: dt.date, ratio: float | None, *, cooldown: int) -> State:
    """The state after one more day.

    Args:
        state: after the days before; `State()` at the beginning.
        day: later than the state's.
        ratio: size of the signal over its threshold, at least 0; None for a day without data, which is evidence of nothing.
        cooldown: days from one confirmation to the earliest next one.

    Raises:
        ValueError: the day is not later than the last one, or the ratio is negative or NaN.
    """
    if state.day is not None and day <= state.day:
        raise ValueError(f"{day} was to follow {state.day}: replay the days in their order, each once")
    if ratio is not None and not ratio >= 0:
        raise ValueError(f"the ratio of {day} is {ratio}, expected at least 0")
    exceeded = tuple(earlier for earlier in state.exceeded if (day - earlier).days < WINDOWS)
    if ratio is None:
        return State(state.phase, day, exceeded, state.confirmed)
    if ratio > 1:
        exceeded = (*exceeded, day)
    phase = Phase.OK if ratio < REARM else state.phase
    if phase is not Phase.CONFIRMED and ratio > 1:
        cooled = state.confirmed is None or (day - state.confirmed).days >= cooldown
        phase = Phase.CONFIRMED if len(exceeded) >= NEEDED and cooled else Phase.WARN
    return State(phase, day, exceeded, day if phase is Phase.CONFIRMED is not state.phase else state.confirmed)


def _text(day: dt.date | None) -> str | None:
    return None if day is None else day.isoformat()


def _date(told: str | None) -> dt.date | None:
    return None if told is None else dt.date.fromisoformat(told)
