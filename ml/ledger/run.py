"""The run that takes a step."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ml.ledger.records import one_of
from ml.ledger.words import Trigger


@dataclass(frozen=True)
class Run:
    """One run of a process: its id, who started it, and by which trigger.

    Parameters:
        id: the orchestrator's; a retry comes with the same one. Empty on the command line.
        actor: person or component that started it.
        trigger: None for a run that asks for nothing itself and answers the requests that are open.
    """

    id: str = ""
    actor: str = "command line"
    trigger: Trigger | None = "on_demand"

    def __post_init__(self) -> None:
        if self.trigger is not None:
            one_of("trigger", self.trigger, Trigger)

    def id_at(self, as_of: dt.datetime) -> str:
        """The id in the ledger: a run without one is known by what it sees."""
        return self.id or f"command line {as_of.isoformat()}"


BY_HAND = Run()
