"""Nights on which a training is refused are recorded, and people are told once of a streak of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message
from ml.ledger.refusals import Refusal

SHOWN = 160  # characters of a reason in a message; the ledger and the run have the whole


@contextmanager
def recorded(
    config: Config, as_of: dt.datetime, step: str, run_id: str, refused: type[Exception], but: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Record it in the ledger when a step refuses a training with an error of a kind, which goes on to the caller.

    Args:
        but: kinds of it that waiting mends.
    """
    try:
        yield
    except but:
        raise
    except refused as error:
        refusals = Ledger(config.ledger).refusals
        refusals.record(Refusal(model=config.name, as_of=as_of, step=step, reason=str(error), run_id=run_id))
        streak = refusals.streak(config.name)
        if len(streak) >= config.monitoring.refused.value:
            Ledger(config.ledger).messages.post(_message(config, streak))
        raise


def again(as_of: dt.datetime, run_id: str) -> str:
    """How a training is tried again: where Airflow runs it, and on the command line."""
    command = f"run `python -m ml train --as-of {as_of:%Y-%m-%dT%H:%M:%SZ}`"
    return "clear this task" if run_id else command


def _message(config: Config, streak: list[Refusal]) -> Message:
    first, last = streak[0], streak[-1]
    why = " ".join(line.strip(" -") for line in last.reason.splitlines()[:2])
    nights = len(streak)
    return Message(
        model=config.name,
        key=f"refused training {first.as_of.isoformat()}",
        event="refused training",
        text=(
            f"training was refused on {nights} nights in a row, since {first.as_of:%Y-%m-%d}: {why[:SHOWN]}; "
            f"mend that, then {again(last.as_of, '')}"
        ),
        figure=f"{nights} nights without a training",
        as_of=last.as_of,
        process="train" if last.run_id else "",
        run_id=last.run_id,
    )
