"""The words that the ledger's columns may hold. Each list is a table of the database, so a migration can add a word."""

from __future__ import annotations

from typing import Any, Literal, get_args

from ml.config.monitoring import MessageKind

Trigger = Literal["on_demand", "schedule", "new_data", "performance", "drift"]
Outcome = Literal["PROMOTE", "KEEP", "INCONCLUSIVE"]
Action = Literal["promote", "refresh", "rollback"]
AnswerWord = Literal["started", "joined", "waits", "refused"]
ReleaseWord = Literal["held", "advanced", "waits", "approved", "finished", "stepped back", "stopped", "expired", "superseded"]
SignalKind = Literal["drift", "performance", "estimate", "feed"]
SignalState = Literal["OK", "WARN", "CONFIRMED"]

VOCABULARIES: dict[str, Any] = {
    "trigger_words": Trigger,
    "outcome_words": Outcome,
    "action_words": Action,
    "answer_words": AnswerWord,
    "signal_kind_words": SignalKind,
    "signal_state_words": SignalState,
    "release_words": ReleaseWord,
    "event_words": MessageKind,
}


def table_of(literal: Any) -> str:
    """The table that holds the words of a literal type."""
    return next(name for name, words in VOCABULARIES.items() if get_args(words) == get_args(literal))
