"""Records refused trainings in the ledger, and posts one message for a streak of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message
from ml.ledger.refusals import Refusal

SHOWN = 160  # characters of a reason in a message; the ledger and the run have the full text


@contextmanager
def record_refusal(
    config: Config,
    as_of: dt.datetime,
    step: str,
    run_id: str,
    refusal_type: type[Exception] | tuple[type[Exception], ...],
    except_for: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Record an error of the block in the ledger as a refused training; the error is raised again.

    Args:
        refusal_type: errors that are refusals.
        except_for: subclasses that are no refusals, because waiting resolves them.
    """
    try:
        yield
    except except_for:
        raise
    except refusal_type as error:
        refusals = Ledger(config.ledger).refusals
        refusals.record(Refusal(model=config.name, as_of=as_of, step=step, reason=str(error), run_id=run_id))
        streak = refusals.streak(config.name)
        if len(streak) >= config.monitoring.refused.value:
            Ledger(config.ledger).messages.post(_message(config, streak))
        raise


def retry_hint(as_of: dt.datetime, run_id: str) -> str:
    """How to retry a training: in Airflow if there is a run, else on the command line."""
    command = f"run `python -m ml train --as-of {as_of:%Y-%m-%dT%H:%M:%SZ}`"
    return "clear this task" if run_id else command


def _message(config: Config, streak: list[Refusal]) -> Message:
    first, last = streak[0], streak[-1]
    reason = " ".join(line.strip(" -") for line in last.reason.splitlines()[:2])
    nights = len(streak)
    return Message(
        model=config.name,
        key=f"refused training {first.as_of.isoformat()}",
        event="refused training",
        text=(
            f"training was refused on {nights} nights in a row, since {first.as_of:%Y-%m-%d}: {reason[:SHOWN]}; "
            f"mend that, then {retry_hint(last.as_of, '')}"
        ),
        figure=f"{nights} nights without a training",
        as_of=last.as_of,
        process="train" if last.run_id else "",
        run_id=last.run_id,
    )
