"""The champion moves if, and only if, the verdict says so. Ledger and registry are real, the judgement is made by hand."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml import artifacts
from ml.config import Config
from ml.decision import judgements
from ml.decision.promote import promote
from ml.evaluation import gate
from ml.evaluation.gate import GateError
from ml.ledger.ledger import Ledger
from ml.ledger.moves import ChampionMoved
from ml.ledger.run import Run
from ml.model import copies
from ml.registry.promotion import PromotionRefused
from ml.registry.versions import Registry
from ml.training import dataset, export, fit
from tests.deployments import small
from tests.evaluation.meetings import CHALLENGER, CHAMPION, meeting, scored
from tests.servers import Servers

AS_OF = dt.datetime(2025, 6, 23, 2, tzinfo=dt.UTC)
GAINS = {"PROMOTE": 1.0, "KEEP": -1.0, "INCONCLUSIVE": 0.1}
NAMES = (f"promoted_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory, servers: Servers | None) -> Iterator[str]:
    """One MLflow database for all tests, because making its tables takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield servers.new("mlflow") if servers else f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def config(tmp_path: Path, tracking: str) -> Config:
    """A deployment whose model no other test has used, with the record of one training."""
    config = small(tmp_path).model_copy(update={"name": next(NAMES), "mlflow_uri": tracking})
    frozen = {field.name: 0 for field in dataclasses.fields(dataset.TrainingSet)} | {"holdout_rows": 6000, "train_rows": 9000}
    fitted = {field.name: "" for field in dataclasses.fields(fit.Fit)} | {"training_set": "frozen"}
    store = artifacts.of(config)
    store.put_text(dataset.KIND, "frozen.json", json.dumps(frozen))
    store.put_text(fit.KIND, f"model/{fit.RECORD}", json.dumps(fitted))
    return config


@pytest.fixture
def registry(config: Config) -> Registry:
    return fit.registry(config)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders that were checked; what the check does is tested with real models."""
    folders: list[Path] = []
    monkeypatch.setattr(copies, "check_copy", folders.append)
    return folders


@pytest.fixture
def add_version(config: Config, registry: Registry, tmp_path: Path) -> Callable[[], str]:
    """Registers one more version."""
    numbers = itertools.count(1)

    def add() -> str:
        folder = tmp_path / f"model_{(number := next(numbers))}"
        folder.mkdir()
        (folder / "MLmodel").write_text(f"model_uuid: {config.name}_{number}\n")
        (folder / "model.onnx").write_bytes(bytes(range(256)) * number)
        experiment = registry.experiment(config.name, str(tmp_path / "artifacts"))
        return registry.register(folder, registry.run(experiment, f"key_{number}"), {}, "a test's model")

    return add


@pytest.fixture
def champion(config: Config, registry: Registry, checked: list[Path], add_version: Callable[[], str]) -> str:
    version = add_version()
    promote(config, AS_OF, judged(config, registry, version, None, "PROMOTE"), version, run=Run(id="the first night"))
    checked.clear()
    return version


@pytest.fixture
def challenger(champion: str, add_version: Callable[[], str]) -> str:
    return add_version()


def judged(config: Config, registry: Registry, version: str, champion: str | None, outcome: str, told: str = "") -> str:
    """Make the folder of a judgement with a real verdict of this outcome; its record says `told` where that is given."""
    old = CHAMPION if champion is None else dataclasses.replace(CHAMPION, model_hash=registry.model_hash(champion))
    new = dataclasses.replace(CHALLENGER, model_hash=registry.model_hash(version))
    rows = scored(GAINS[outcome], rows=1500 if outcome == "INCONCLUSIVE" else 6000)
    verdict = gate.judge(**meeting(rows, champion=old, challenger=new))
    assert verdict.outcome == outcome
    name = f"{outcome}_{told}_{version}"
    evidence = {"challenger_hash": new.model_hash, "champion_hash": None if champion is None else old.model_hash}
    record = {
        "judgement": name,
        "model": "model",
        "champion_version": champion,
        "outcome": told or outcome,
        "reason": verdict.reason,
        "metrics": {},
    }
    store = artifacts.of(config)
    store.put_text(judgements.KIND, f"{name}/{judgements.VERDICT}", json.dumps(verdict.to_dict() | evidence))
    store.put_text(judgements.KIND, f"{name}/{judgements.RECORD}", json.dumps(record))
    return name


def assert_champion(config: Config, registry: Registry, version: str) -> None:
    assert Ledger(config.ledger).moves.champion(config.name) == version
    assert registry.aliases()["champion"] == version


def answers(config: Config) -> list[tuple[str, str]]:
    return [(d.challenger_version, d.outcome) for d in Ledger(config.ledger).decisions.all(config.name)]


def test_promote_promotes_without_being_asked_twice(
    config: Config, registry: Registry, champion: str, challenger: str, checked: list[Path]
) -> None:
    """No flag is needed to mean it: whoever calls the step has moved the champion."""
    told = promote(config, AS_OF, judged(config, registry, challenger, champion, "PROMOTE"), challenger, run=Run(id="a night"))
    assert (told.version, told.outcome, told.champion) == (challenger, "PROMOTE", challenger)
    assert told.note.startswith(f"**PROMOTE** version {challenger} against version {champion}. The challenger is better")
    assert len(checked) == 1
    assert_champion(config, registry, challenger)
    assert answers(config) == [(champion, "PROMOTE"), (challenger, "PROMOTE")]


@pytest.mark.parametrize("outcome", ["KEEP", "INCONCLUSIVE"])
def test_any_other_outcome_is_recorded_and_moves_nothing(
    config: Config, registry: Registry, champion: str, challenger: str, checked: list[Path], outcome: str
) -> None:
    told = promote(config, AS_OF, judged(config, registry, challenger, champion, outcome), challenger, run=Run(id="a night"))
    assert (told.outcome, told.champion) == (outcome, champion)
    assert f"Champion is version {champion}." in told.note
    assert checked == []
    assert_champion(config, registry, champion)
    assert answers(config)[1:] == [(challenger, outcome)]


def test_the_decision_carries_the_verdicts_figures(config: Config, registry: Registry, champion: str, challenger: str) -> None:
    name = judged(config, registry, challenger, champion, "KEEP")
    promote(config, AS_OF, name, challenger, run=Run(id="a night"))
    decision = Ledger(config.ledger).decisions.all(config.name)[-1]
    verdict = judgements.verdict_of(config, name)
    assert decision.evidence == verdict
    assert (decision.difference, decision.lower_bound) == (verdict["primary"]["gain"], verdict["primary"]["lower_bound"])
    assert (decision.champion_version, decision.rows, decision.training_rows) == (champion, 6000, 9000)


@pytest.mark.parametrize("outcome", ["KEEP", "INCONCLUSIVE"])
def test_a_record_that_says_promote_over_a_verdict_that_does_not_promotes_nothing(
    config: Config, registry: Registry, champion: str, challenger: str, outcome: str
) -> None:
    """Somebody overwrote the flag of the judgement; the verdict with its figures is what counts."""
    name = judged(config, registry, challenger, champion, outcome, told="PROMOTE")
    with pytest.raises(PromotionRefused, match=f"the gate's outcome is '{outcome}', only 'PROMOTE' promotes"):
        promote(config, AS_OF, name, challenger, run=Run(id="a night"))
    assert_champion(config, registry, champion)
    assert answers(config)[1:] == [(challenger, outcome)]


def test_a_verdict_whose_outcome_was_edited_is_refused_before_it_is_recorded(
    config: Config, registry: Registry, champion: str, challenger: str
) -> None:
    name = judged(config, registry, challenger, champion, "KEEP", told="PROMOTE")
    path = judgements.folder_of(config, name) / judgements.VERDICT
    path.write_text(json.dumps(json.loads(path.read_text()) | {"outcome": "PROMOTE"}))
    with pytest.raises(GateError, match="outcome PROMOTE contradicts the figures, which say KEEP"):
        promote(config, AS_OF, name, challenger, run=Run(id="a night"))
    assert_champion(config, registry, champion)
    assert len(answers(config)) == 1


def test_a_retried_step_promotes_once(config: Config, registry: Registry, champion: str, challenger: str) -> None:
    name = judged(config, registry, challenger, champion, "PROMOTE")
    first = promote(config, AS_OF, name, challenger, run=Run(id="a night"))
    assert promote(config, AS_OF, name, challenger, run=Run(id="a night")) == first
    assert len(Ledger(config.ledger).moves.history(config.name)) == 2
    assert len(answers(config)) == 2


def test_a_copy_that_does_not_score_moves_nothing(
    config: Config, registry: Registry, champion: str, challenger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Path) -> None:
        raise export.ParityError("another score")

    monkeypatch.setattr(copies, "check_copy", fails)
    name = judged(config, registry, challenger, champion, "PROMOTE")
    with pytest.raises(export.ParityError, match="another score"):
        promote(config, AS_OF, name, challenger, run=Run(id="a night"))
    assert_champion(config, registry, champion)


def test_a_verdict_on_a_champion_that_is_gone_moves_nothing(
    config: Config, registry: Registry, champion: str, challenger: str, add_version: Callable[[], str]
) -> None:
    late = add_version()
    stale = judged(config, registry, late, champion, "PROMOTE")
    promote(config, AS_OF, judged(config, registry, challenger, champion, "PROMOTE"), challenger, run=Run(id="a night"))
    with pytest.raises(ChampionMoved):
        promote(config, AS_OF, stale, late, run=Run(id="the same night"))
    assert_champion(config, registry, challenger)


def test_people_are_told_of_every_decision_once_and_of_a_promotion_as_such(
    config: Config, registry: Registry, champion: str, challenger: str, add_version: Callable[[], str]
) -> None:
    kept = judged(config, registry, challenger, champion, "KEEP")
    better = add_version()
    promoted = judged(config, registry, better, champion, "PROMOTE")
    for _ in range(2):
        promote(config, AS_OF, kept, challenger, run=Run(id="night 2"))
        promote(config, AS_OF, promoted, better)
    first, second, third = Ledger(config.ledger).messages.all(config.name)
    assert [told.event for told in (first, second, third)] == ["promotion", "verdict", "promotion"]
    assert second.text.startswith(
        f"Version {challenger} stays out, KEEP; trained for schedule, judged against version {champion}. "
    )
    assert third.text.startswith(
        f"Version {better} is champion now; trained for schedule, judged against version {champion}. The challenger is better"
    )
    primary = judgements.verdict_of(config, promoted)["primary"]
    assert third.figure == f"average precision {primary['gain']:+.4g}, at least {primary['lower_bound']:+.4g}"
    assert [(told.process, told.run_id, told.version) for told in (first, second)] == [
        ("train", "the first night", champion),
        ("train", "night 2", challenger),
    ]
    assert (third.process, third.version) == ("", better)


@pytest.mark.parametrize("outcome", ["PROMOTE", "KEEP"])
def test_a_judgement_on_another_model_than_the_version_is_refused_and_leaves_no_trace(
    config: Config, registry: Registry, champion: str, challenger: str, add_version: Callable[[], str], outcome: str
) -> None:
    """Steps that are run by hand take ids by hand."""
    judgement, other = judged(config, registry, challenger, champion, outcome), add_version()
    before = answers(config)
    with pytest.raises(PromotionRefused, match=f"version {other} is model .*: give the version that `register` printed"):
        promote(config, AS_OF, judgement, other, run=Run(id="by hand"))
    assert answers(config) == before
    assert_champion(config, registry, champion)
