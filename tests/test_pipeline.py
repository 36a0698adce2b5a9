"""A process hands records on, skips what follows a stage that holds back, and explains last."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from ml import pipeline, steps
from ml.config import PROJECT, Config, load
from ml.pipeline import Stage
from tests import deployments

AS_OF = dt.datetime(2025, 5, 2, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return load(deployments.small_file(tmp_path_factory.mktemp("pipeline")))


PROCESS = (
    Stage("one", skip_unless="goes_on"),
    Stage("two", {"a": "one.x"}),
    Stage("three"),
    Stage("four", {"b": "two.y"}, explains=True),
    Stage("five", each="three.workers", each_as="worker", needs=("two",)),
)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The steps that were run with their references; `one` holds back what follows it if it is given no seed."""
    runs: list[tuple[str, dict[str, Any]]] = []
    takes = {"one": ["seed", "run_id"], "two": ["a", "run_id"], "three": [], "four": ["b"], "five": ["worker"]}

    def describe(step: str) -> steps.Description:
        return steps.Description("", tuple(steps.Reference(name, False, False) for name in takes[step]), False)

    def run(step: str, config: Config, as_of: dt.datetime, references: dict[str, Any]) -> dict[str, Any]:
        runs.append((step, references))
        return {
            "one": {"goes_on": bool(references.get("seed")), "x": 1},
            "two": {"y": 2},
            "three": {"workers": [0, 1]},
        }.get(step, {})

    monkeypatch.setattr(steps, "describe", describe)
    monkeypatch.setattr(steps, "run", run)
    return runs


def test_records_are_handed_on_and_what_explains_comes_last(config: Config, taken: list[Any]) -> None:
    records = pipeline.run(PROCESS, config, AS_OF, {"seed": 7, "run_id": "r1"})
    assert taken == [
        ("one", {"seed": 7, "run_id": "r1"}),
        ("two", {"run_id": "r1", "a": 1}),
        ("three", {}),
        ("five", {"worker": 0}),
        ("five", {"worker": 1}),
        ("four", {"b": 2}),
    ]
    assert set(records) == {"one", "two", "three", "four", "five"}


def test_what_follows_a_stage_that_holds_back_is_skipped_and_all_else_runs(config: Config, taken: list[Any]) -> None:
    seen: list[str] = []
    records = pipeline.run(PROCESS, config, AS_OF, on_record=lambda step, _: seen.append(step))
    assert [step for step, _ in taken] == seen == ["one", "three"]
    assert set(records) == {"one", "three"}


def test_without_what_explains(config: Config, taken: list[Any]) -> None:
    pipeline.run(PROCESS, config, AS_OF, {"seed": 7}, explain=False)
    assert "four" not in {step for step, _ in taken}


def test_a_process_names_steps_that_exist_and_references_that_they_take(tmp_path: Path) -> None:
    demo = load(PROJECT / "config" / "demo.yaml")
    for process in (pipeline.INGEST, pipeline.MONITOR, pipeline.MAINTAIN, pipeline.SCORE, pipeline.training(demo)):
        known: set[str] = set()
        for stage in process:
            takes = {reference.name for reference in steps.describe(stage.step).references}
            assert {*stage.takes, *([stage.each_as] if stage.each else [])} <= takes
            assert stage.after <= known, f"{stage.step} comes before what it takes"
            known.add(stage.step)
