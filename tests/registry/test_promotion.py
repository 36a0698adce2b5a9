"""Who becomes champion, who does not, and what is left after a crash."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.ledger.ledger import Ledger
from ml.ledger.moves import ChampionMoved, Move, NothingToRollBackTo, Promotion
from ml.registry.promotion import PromotionRefused, promote, rollback, sync
from ml.registry.versions import DIGESTS, BrokenModel, Registry

AS_OF = dt.datetime(2025, 5, 2, 2, tzinfo=dt.UTC)
PROJECT = Path(__file__).resolve().parents[2]


def loads(folder: Path) -> None:
    assert (folder / "model.onnx").is_file()


def verdict(registry: Registry, version: str, champion: str | None) -> dict[str, Any]:
    return {
        "outcome": "PROMOTE",
        "challenger_hash": registry.model_hash(version),
        "champion_hash": None if champion is None else registry.model_hash(champion),
    }


def move_up(ledger: Ledger, registry: Registry, version: str, champion: str | None, **other: Any) -> Promotion:
    told: dict[str, Any] = {
        "version": version,
        "judged_champion": champion,
        "verdict": verdict(registry, version, champion),
        "as_of": AS_OF,
        "actor": "gate",
        "reason": "better",
        "run_id": f"run_{version}",
        "check": loads,
    }
    return promote(ledger, registry, **{**told, **other})


def move_back(ledger: Ledger, registry: Registry, run_id: str, check: Callable[[Path], None] = loads) -> Promotion:
    return rollback(ledger, registry, as_of=AS_OF, actor="ann", reason="complaints", run_id=run_id, check=check)


@pytest.fixture
def champion(ledger: Ledger, registry: Registry, add_version: Callable[[], str]) -> str:
    version = add_version()
    move_up(ledger, registry, version, None)
    return version


@pytest.fixture
def challenger(champion: str, registry: Registry, add_version: Callable[[], str]) -> str:
    version = add_version()
    registry.set_aliases(challenger=version)
    return version


def assert_champion(ledger: Ledger, registry: Registry, version: str) -> None:
    assert ledger.moves.champion(registry.model) == version
    assert registry.aliases()["champion"] == version
    assert [v for v, stage in registry.stages().items() if stage == "champion"] == [version]


def test_a_promotion_moves_the_ledger_and_the_aliases_follow(
    ledger: Ledger, registry: Registry, champion: str, challenger: str
) -> None:
    promotion = move_up(ledger, registry, challenger, champion)
    assert (promotion.from_version, promotion.to_version, promotion.sequence) == (champion, challenger, 2)
    assert promotion.verdict == verdict(registry, challenger, champion)
    assert promotion.hashes == registry.digests(challenger)
    assert_champion(ledger, registry, challenger)
    assert "challenger" not in registry.aliases()
    assert registry.stages()[champion] == "retired"


@pytest.mark.parametrize("outcome", ["KEEP", "INCONCLUSIVE", "promote", None])
def test_nothing_but_promote_promotes(
    ledger: Ledger, registry: Registry, champion: str, challenger: str, outcome: str | None
) -> None:
    told = {**verdict(registry, challenger, champion), "outcome": outcome}
    with pytest.raises(PromotionRefused, match="only 'PROMOTE' promotes"):
        move_up(ledger, registry, challenger, champion, verdict=told)
    assert_champion(ledger, registry, champion)
    assert registry.aliases()["challenger"] == challenger


@pytest.mark.parametrize("key", ["challenger_hash", "champion_hash"])
@pytest.mark.parametrize("told", ["0" * 64, None, "left out"])
def test_a_verdict_on_other_models_promotes_nothing(
    ledger: Ledger, registry: Registry, champion: str, challenger: str, key: str, told: str | None
) -> None:
    wrong = {**verdict(registry, challenger, champion), key: told}
    if told == "left out":
        del wrong[key]
    with pytest.raises(PromotionRefused, match=key):
        move_up(ledger, registry, challenger, champion, verdict=wrong)
    assert_champion(ledger, registry, champion)


def test_a_verdict_without_a_champion_promotes_nothing_once_there_is_one(
    ledger: Ledger, registry: Registry, champion: str, challenger: str
) -> None:
    with pytest.raises(ChampionMoved):
        move_up(ledger, registry, challenger, None)
    assert_champion(ledger, registry, champion)


def test_a_version_that_was_judged_against_itself_is_refused(ledger: Ledger, registry: Registry, champion: str) -> None:
    with pytest.raises(PromotionRefused, match="against itself"):
        move_up(ledger, registry, champion, champion)
    assert_champion(ledger, registry, champion)


def test_a_champion_that_moved_after_the_gate_judged_is_not_replaced(
    ledger: Ledger, registry: Registry, champion: str, challenger: str, add_version: Callable[[], str]
) -> None:
    quicker = add_version()
    judged = verdict(registry, challenger, champion)
    move_up(ledger, registry, quicker, champion)
    with pytest.raises(ChampionMoved, match=f"version {quicker} is"):
        move_up(ledger, registry, challenger, champion, verdict=judged)
    assert_champion(ledger, registry, quicker)


def test_a_champion_that_moves_during_the_check_is_not_replaced(
    ledger: Ledger, registry: Registry, champion: str, challenger: str, add_version: Callable[[], str]
) -> None:
    quicker = add_version()

    def slow(_: Path) -> None:
        move_up(ledger, registry, quicker, champion)

    with pytest.raises(ChampionMoved, match=f"version {quicker} is"):
        move_up(ledger, registry, challenger, champion, check=slow)
    assert_champion(ledger, registry, quicker)


def test_a_broken_file_never_becomes_champion_and_is_not_even_loaded(
    ledger: Ledger, registry: Registry, champion: str, challenger: str, damage: Callable[[Path], None]
) -> None:
    damage(registry.fetch(challenger) / "model.onnx")
    loaded: list[Path] = []
    with pytest.raises(BrokenModel, match=r"model\.onnx"):
        move_up(ledger, registry, challenger, champion, check=loaded.append)
    assert loaded == []
    assert_champion(ledger, registry, champion)


def test_a_model_that_does_not_score_never_becomes_champion(
    ledger: Ledger, registry: Registry, champion: str, challenger: str
) -> None:
    def fails(folder: Path) -> None:
        raise RuntimeError(f"{folder.name}: scores are not probabilities")

    with pytest.raises(RuntimeError, match="not probabilities"):
        move_up(ledger, registry, challenger, champion, check=fails)
    assert_champion(ledger, registry, champion)


def test_the_same_promotion_by_the_same_run_is_made_once(
    ledger: Ledger, registry: Registry, champion: str, challenger: str
) -> None:
    first = move_up(ledger, registry, challenger, champion)
    assert move_up(ledger, registry, challenger, champion) == first
    assert len(ledger.moves.history(registry.model)) == 2


DIES = """
import datetime as dt, os, signal, sys
from ml.ledger.ledger import Ledger
from ml.registry.promotion import promote
from ml.registry.versions import Registry

ledger_url, tracking, model, version, champion = sys.argv[1:]

class Dies(Registry):
    def set_aliases(self, **aliases):
        if aliases["champion"] == version:
            os.kill(os.getpid(), signal.SIGKILL)
        super().set_aliases(**aliases)

registry = Dies(tracking, model)
verdict = {"outcome": "PROMOTE", "challenger_hash": registry.model_hash(version),
           "champion_hash": registry.model_hash(champion)}
promote(Ledger(ledger_url), registry, version=version, judged_champion=champion, verdict=verdict,
        as_of=dt.datetime(2025, 5, 2, 2, tzinfo=dt.UTC), actor="gate", reason="better", run_id=f"run_{version}",
        check=lambda folder: None)
"""


def test_a_process_killed_between_ledger_and_alias_is_mended_by_running_it_again(
    ledger: Ledger, ledger_url: str, registry: Registry, champion: str, challenger: str
) -> None:
    died = subprocess.run(
        [
            sys.executable,
            "-c",
            DIES,
            ledger_url,
            registry.tracking_uri,
            registry.model,
            challenger,
            champion,
        ],
        cwd=PROJECT,
        env=dict(os.environ),
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    assert ledger.moves.champion(registry.model) == challenger
    assert registry.aliases() == {"champion": champion, "challenger": challenger}

    move_up(ledger, registry, challenger, champion)
    assert len(ledger.moves.history(registry.model)) == 2
    assert_champion(ledger, registry, challenger)
    assert registry.stages()[champion] == "retired"


def left_by_a_crash(ledger: Ledger, registry: Registry, champion: str, challenger: str) -> None:
    """What the killed process of the test above leaves: the ledger has moved, the alias has not."""
    ledger.moves.make(
        Move(
            model=registry.model,
            action="promote",
            expected_from=champion,
            to_version=challenger,
            as_of=AS_OF,
            actor="gate",
            reason="better",
            verdict=verdict(registry, challenger, champion),
            run_id=f"run_{challenger}",
            hashes=registry.digests(challenger),
        )
    )
    assert registry.aliases()["champion"] == champion


def test_sync_mends_the_alias_from_the_ledger(ledger: Ledger, registry: Registry, champion: str, challenger: str) -> None:
    left_by_a_crash(ledger, registry, champion, challenger)
    assert sync(ledger, registry) == challenger
    assert_champion(ledger, registry, challenger)


def test_the_next_promotion_mends_the_alias_even_if_it_is_refused_itself(
    ledger: Ledger, registry: Registry, champion: str, challenger: str, add_version: Callable[[], str]
) -> None:
    left_by_a_crash(ledger, registry, champion, challenger)
    late = add_version()
    with pytest.raises(ChampionMoved):
        move_up(ledger, registry, late, champion)
    assert_champion(ledger, registry, challenger)


def test_a_rollback_after_a_crash_goes_by_the_ledger(
    ledger: Ledger, registry: Registry, champion: str, challenger: str
) -> None:
    left_by_a_crash(ledger, registry, champion, challenger)
    assert move_back(ledger, registry, "by_hand").from_version == challenger
    assert_champion(ledger, registry, champion)


def test_an_alias_that_was_moved_by_hand_is_put_back(
    ledger: Ledger, registry: Registry, champion: str, challenger: str
) -> None:
    registry.set_aliases(champion=challenger)
    sync(ledger, registry)
    assert_champion(ledger, registry, champion)


def test_without_a_promotion_there_is_no_champion_whatever_the_alias_says(
    ledger: Ledger, registry: Registry, add_version: Callable[[], str]
) -> None:
    registry.set_aliases(champion=add_version())
    assert sync(ledger, registry) is None
    assert registry.aliases() == {}


def test_of_two_syncs_the_one_with_the_older_view_does_not_have_the_last_word(
    ledger: Ledger, registry: Registry, champion: str, challenger: str
) -> None:
    class Slow(Registry):
        """Another process promotes between this one's reading of the ledger and its writing of the alias."""

        overtaken = False

        def set_aliases(self, **aliases: str | None) -> None:
            if not self.overtaken:
                self.overtaken = True
                move_up(ledger, registry, challenger, champion)
            super().set_aliases(**aliases)

    assert sync(ledger, Slow(registry.tracking_uri, registry.model)) == challenger
    assert_champion(ledger, registry, challenger)


def test_rollbacks_walk_back_and_a_promotion_goes_on_from_there(
    ledger: Ledger, registry: Registry, champion: str, challenger: str, add_version: Callable[[], str]
) -> None:
    third = add_version()
    move_up(ledger, registry, challenger, champion)
    move_up(ledger, registry, third, challenger)
    move_back(ledger, registry, "first")
    assert_champion(ledger, registry, challenger)
    assert registry.stages()[third] == "retired"
    move_back(ledger, registry, "second")
    assert_champion(ledger, registry, champion)
    with pytest.raises(NothingToRollBackTo):
        move_back(ledger, registry, "third")
    fourth = add_version()
    move_up(ledger, registry, fourth, champion)
    assert_champion(ledger, registry, fourth)
    assert [m.action for m in ledger.moves.history(registry.model)] == ["promote"] * 3 + ["rollback"] * 2 + ["promote"]


def test_a_retried_rollback_goes_back_once(
    ledger: Ledger, registry: Registry, champion: str, challenger: str, add_version: Callable[[], str]
) -> None:
    third = add_version()
    move_up(ledger, registry, challenger, champion)
    move_up(ledger, registry, third, challenger)
    first = move_back(ledger, registry, "by_hand")
    assert move_back(ledger, registry, "by_hand") == first
    assert_champion(ledger, registry, challenger)


def test_a_broken_file_does_not_become_champion_by_a_rollback_either(
    ledger: Ledger, registry: Registry, champion: str, challenger: str, damage: Callable[[Path], None]
) -> None:
    move_up(ledger, registry, challenger, champion)
    damage(registry.fetch(champion) / "model.onnx")
    with pytest.raises(BrokenModel, match=r"model\.onnx"):
        move_back(ledger, registry, "by_hand")
    assert_champion(ledger, registry, challenger)


def test_a_rollback_needs_the_very_files_that_the_ledger_saw_promoted(
    ledger: Ledger, registry: Registry, champion: str, challenger: str, tmp_path: Path
) -> None:
    move_up(ledger, registry, challenger, champion)
    from mlflow import MlflowClient

    (registry.fetch(champion) / "model.onnx").write_bytes(b"another model")
    client = MlflowClient(registry.tracking_uri, registry_uri=registry.tracking_uri)
    forged = {**registry.digests(champion), "model.onnx": hashlib.sha256(b"another model").hexdigest()}
    client.set_model_version_tag(registry.model, champion, DIGESTS, json.dumps(forged))
    assert registry.fetch(champion).is_dir()
    with pytest.raises(BrokenModel, match="not those of its promotion"):
        move_back(ledger, registry, "by_hand")
    assert_champion(ledger, registry, challenger)


def test_a_model_that_does_not_score_does_not_come_back(
    ledger: Ledger, registry: Registry, champion: str, challenger: str
) -> None:
    def fails(_: Path) -> None:
        raise RuntimeError("cannot be loaded")

    move_up(ledger, registry, challenger, champion)
    with pytest.raises(RuntimeError, match="cannot be loaded"):
        move_back(ledger, registry, "by_hand", fails)
    assert_champion(ledger, registry, challenger)
