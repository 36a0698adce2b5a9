"""Promotion and rollback: the only place that moves the champion.

A move is checked, written to the ledger, and then MLflow's alias follows. The ledger is the truth: if the process dies
between the two, the next `promote`, `rollback` or `sync` sets the alias from the ledger.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from ml.errors import Refused
from ml.ledger.database import Also
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move, Promotion, rollback_target
from ml.ledger.words import Action
from ml.registry.versions import BrokenModel, Registry, model_hash

CHAMPION = "champion"
CHALLENGER = "challenger"
RETIRED = "retired"


class PromotionRefused(Refused, RuntimeError):
    """The verdict does not allow this promotion, so nothing was moved."""


def promote(
    ledger: Ledger,
    registry: Registry,
    *,
    version: str,
    judged_champion: str | None,
    verdict: Mapping[str, Any],
    as_of: dt.datetime,
    actor: str,
    reason: str,
    run_id: str,
    check: Callable[[Path], None],
    action: Literal["promote", "refresh"] = "promote",
    also: Also = lambda connection: None,
) -> Promotion:
    """Make a version the champion, in place of the champion that the gate judged it against.

    A refit takes office by the verdict on its judged model.

    Parameters:
        judged_champion: the champion in the gate's comparison, None if there was none.
        verdict: the gate's verdict, with `outcome`, and the `Registry.judged_hash` of the two versions that it compared
            as `challenger_hash` and `champion_hash` (None without a champion).
        run_id: the orchestrator's run; the same run may promote the same version again, which changes nothing.
        check: loads the version from its folder and scores a sample; what it raises stops the promotion.
        action: `refresh` for a refit of the champion's own recipe, which needs no PROMOTE but `refresh` in the verdict: both
            models have one recipe, and the gate found no harm.
        also: what the ledger records with the move, both or neither.

    Raises:
        PromotionRefused: the verdict does not allow it, or was passed on other models.
        BrokenModel: the version's files are not the ones that were registered.
        ChampionMoved: another version became champion after the gate judged.
    """
    sync(ledger, registry)
    _require(registry, action, version, judged_champion, verdict)
    check(registry.fetch(version))
    promotion = ledger.moves.make(
        Move(
            model=registry.model,
            action=action,
            expected_from=judged_champion,
            to_version=version,
            as_of=as_of,
            actor=actor,
            reason=reason,
            verdict=verdict,
            run_id=run_id,
            hashes=registry.digests(version),
        ),
        also,
    )
    sync(ledger, registry)
    return promotion


def rollback(
    ledger: Ledger,
    registry: Registry,
    *,
    as_of: dt.datetime,
    actor: str,
    reason: str,
    run_id: str,
    check: Callable[[Path], None],
) -> Promotion:
    """Undo the current champion's promotion or refresh: the version before it is champion again.

    A run rolls back once: the same `run_id` again changes nothing, so that a retry does not undo a second promotion.

    Parameters:
        check: loads the version from its folder and scores a sample; what it raises stops the rollback.

    Raises:
        NothingToRollBackTo: no version was champion before.
        BrokenModel: the files of the version before are not the ones that were promoted.
        ChampionMoved: somebody else moved the champion at the same time.
    """
    sync(ledger, registry)
    history = ledger.moves.history(registry.model)
    if history and history[-1].action == "rollback" and history[-1].run_id == run_id:
        return history[-1]
    target = rollback_target(history)
    promoted = next(move.hashes for move in reversed(history) if move.to_version == target)
    if registry.digests(target) != promoted:
        raise BrokenModel(
            f"{registry.model} version {target}: its recorded digests are not those of its promotion "
            f"({registry.model_hash(target)}, expected {model_hash(dict(promoted))}); restore the tag from the ledger"
        )
    check(registry.fetch(target))
    move = ledger.moves.make(
        Move(
            model=registry.model,
            action="rollback",
            expected_from=history[-1].to_version,
            to_version=target,
            as_of=as_of,
            actor=actor,
            reason=reason,
            verdict={},
            run_id=run_id,
            hashes=promoted,
        )
    )
    sync(ledger, registry)
    return move


def sync(ledger: Ledger, registry: Registry) -> str | None:
    """Set the registry's aliases and stages from the ledger and return the champion, None if there is none.

    A version that has become champion loses the alias `challenger`. The ledger is read again afterwards, so that of two
    processes that do this at once the one with the older view does not have the last word.
    """
    while True:
        history = ledger.moves.history(registry.model)
        champion = history[-1].to_version if history else None
        aliases: dict[str, str | None] = {CHAMPION: champion}
        if champion is not None and registry.aliases().get(CHALLENGER) == champion:
            aliases[CHALLENGER] = None
        registry.set_aliases(**aliases)
        stages = registry.stages()
        for version in {move.to_version for move in history}:
            stage = CHAMPION if version == champion else RETIRED
            if stages.get(version) != stage:
                registry.set_stage_tag(version, stage)
        if ledger.moves.champion(registry.model) == champion:
            return champion


def _require(registry: Registry, action: Action, version: str, judged_champion: str | None, verdict: Mapping[str, Any]) -> None:
    asked = f"{registry.model} version {version}"
    if action == "refresh":
        _require_refresh(registry, asked, version, verdict)
    elif verdict.get("outcome") != "PROMOTE":
        raise PromotionRefused(f"{asked}: the gate's outcome is {verdict.get('outcome')!r}, only 'PROMOTE' promotes")
    if version == judged_champion:
        raise PromotionRefused(f"{asked}: it was judged against itself; a challenger is another version")
    judged = {"challenger_hash": version, "champion_hash": judged_champion}
    for key, of_version in judged.items():
        if key not in verdict:
            raise PromotionRefused(f"{asked}: the verdict has no {key!r}, so it does not say which models it judged")
        expected = None if of_version is None else registry.judged_hash(of_version)
        if verdict[key] != expected:
            raise PromotionRefused(
                f"{asked}: the verdict judged {key} {verdict[key]}, but version {of_version} has {expected}; "
                "run the gate on the versions that are registered"
            )


def _require_refresh(registry: Registry, asked: str, version: str, verdict: Mapping[str, Any]) -> None:
    if verdict.get("refresh") is not True:
        raise PromotionRefused(f"{asked}: the gate did not find that it has the champion's recipe and does no harm")
    if not registry.is_refit(version):
        raise PromotionRefused(f"{asked} is no refit, and only a refit refreshes the champion")
