"""One step back: the version before the champion is champion again, and people are notified."""

from __future__ import annotations

import datetime as dt

from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message
from ml.ledger.moves import Promotion
from ml.model import copies
from ml.model import version as versions
from ml.registry import promotion
from ml.training import fit


def roll_back(config: Config, as_of: dt.datetime, actor: str, reason: str, run_id: str) -> Promotion:
    """Make the version before the current champion the champion again; what it replaced stays registered.

    Args:
        run_id: the same id again changes nothing.

    Raises:
        NothingToRollBackTo: no version was champion before.
        BrokenModel: the files of the version before are not the ones that were promoted.
        ChampionMoved: somebody else moved the champion at the same time.
    """
    ledger, registry = Ledger(config.ledger), fit.registry(config)
    moved = promotion.rollback(
        ledger,
        registry,
        as_of=as_of,
        actor=actor,
        reason=reason,
        run_id=run_id,
        check=copies.check_copy,
    )
    versions.publish(config, registry.fetch(moved.to_version), registry.digests(moved.to_version))
    ledger.messages.post(
        Message(
            model=config.name,
            key=f"rollback {moved.sequence}",
            event="rollback",
            text=f"{sentence(moved)}: {moved.reason} ({moved.actor})",
            figure=f"move {moved.sequence} of the champion",
            as_of=moved.as_of,
            version=moved.to_version,
        )
    )
    return moved


def sentence(moved: Promotion) -> str:
    """What a rollback did."""
    return f"champion is version {moved.to_version} again, in place of version {moved.from_version}"
