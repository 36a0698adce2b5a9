"""Defects that leak the future or blind the gate are planted into a copy of the code, one at a time; the suite finds each.

One defect of every kind is planted with all tests, the others by `make proofs`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml.config import PROJECT

COPIED = ("ml", "feature_repo", "expectations", "config", "deploy", "tests", "pyproject.toml", "requirements.txt")

NOT_ONE_BYTE = "tests/test_leakage.py::test_what_is_planted_in_the_future_does_not_change_one_byte"


@dataclass(frozen=True)
class Defect:
    """Code that is replaced by worse code, and the tests that must not let it pass."""

    file: str
    right: str
    wrong: str
    tests: str


DEFECTS = {
    "a window includes the label's own day": Defect(
        "ml/features/windows.py", "+ {1 + window.delay_span", "+ {window.delay_span", "tests/features/test_windows.py"
    ),
    "a window counts what was not known when it was published": Defect(
        "ml/features/windows.py",
        "ASOF JOIN (SELECT created, min(tick) AS seen FROM snapshot GROUP BY created) ON created >= known_at",
        "CROSS JOIN (SELECT min(tick) AS seen FROM snapshot)",
        "tests/features/test_windows.py",
    ),
    "features are joined on event time only": Defect(
        "ml/store/feast.py",
        "filter_by_created_timestamp=True",
        "filter_by_created_timestamp=False",
        f"{NOT_ONE_BYTE}[plant_future_feature_row]",
    ),
    "the split has no gap": Defect(
        "ml/training/split.py",
        "fitted_until = midnight(holdout_start - config.label_delay)",
        "fitted_until = midnight(holdout_start)",
        "tests/training/test_split.py",
    ),
    "fitted labels are taken as they are known today": Defect(
        "ml/training/dataset.py",
        "OR labels.known_at <= {instant(windows.holdout_start)}",
        "OR labels.known_at <= {instant(as_of)}",
        f"{NOT_ONE_BYTE}[plant_future_label]",
    ),
    "the lake shows what became known later": Defect(
        "ml/lake/tables.py", "WHERE known_at <= {instant(as_of)}", "WHERE true", f"{NOT_ONE_BYTE}[plant_backdated_file]"
    ),
    "self-compare: a model may meet itself": Defect(
        "ml/evaluation/holdout.py",
        "if champion.model_hash == challenger.model_hash:",
        "if champion is challenger:",
        "tests/evaluation/test_gate.py",
    ),
    "self-compare: scores that are all the same go unnoticed": Defect(
        "ml/evaluation/holdout.py",
        "if np.array_equal(scored[champion.name], scored[challenger.name]):",
        "if champion.name == challenger.name:",
        "tests/evaluation/test_gate.py",
    ),
    "self-compare: the challenger is scored twice": Defect(
        "ml/evaluation/gate.py",
        "statistics(champion, rows.champion)",
        "statistics(champion, rows.challenger)",
        "tests/evaluation/test_gate.py",
    ),
    "flag overwritten: the gate says PROMOTE whatever it found": Defect(
        "ml/evaluation/gate.py", "outcome=outcome,", "outcome=Outcome.PROMOTE,", "tests/evaluation/test_gate.py"
    ),
    "flag overwritten: a verdict may contradict its figures": Defect(
        "ml/evaluation/verdict.py", "if self.outcome != expected:", "if not self.outcome:", "tests/evaluation/test_gate.py"
    ),
    "flag overwritten: a guardrail that failed is forgotten": Defect(
        "ml/evaluation/verdict.py",
        "any(c.status is Status.FAILED for c in checks)",
        "all(c.status is Status.FAILED for c in checks)",
        "tests/evaluation/test_verdict.py",
    ),
    "flag overwritten: the step promote tells the registry what it wants to hear": Defect(
        "ml/decision/promote.py",
        "            verdict=verdict,",
        '            verdict=verdict | {"outcome": "PROMOTE"},',
        "tests/decision/test_promote.py",
    ),
    "flag overwritten: any outcome moves the champion": Defect(
        "ml/registry/promotion.py",
        'elif verdict.get("outcome") != "PROMOTE":',
        'elif "outcome" not in verdict:',
        "tests/registry/test_promotion.py",
    ),
    "tie promotes": Defect(
        "ml/evaluation/verdict.py",
        "Outcome.PROMOTE if primary.lower_bound > 0 and shown",
        "Outcome.PROMOTE if primary.lower_bound >= 0 and shown",
        "tests/evaluation/test_gate.py",
    ),
    "leaky split: the gate takes a model that has seen the holdout": Defect(
        "ml/evaluation/holdout.py",
        "if holdout.start <= contender.trained_until:",
        "if holdout.end <= contender.trained_until:",
        "tests/evaluation/test_gate.py",
    ),
    "leaky split: the gate takes labels that became known during the holdout": Defect(
        "ml/evaluation/holdout.py",
        "if holdout.start < contender.labels_known_until:",
        "if holdout.end < contender.labels_known_until:",
        "tests/evaluation/test_gate.py",
    ),
    "leaky split: only the champion is asked what it has seen": Defect(
        "ml/evaluation/holdout.py",
        "for contender in (champion, challenger):\n        _refuse_seen",
        "for contender in (champion,):\n        _refuse_seen",
        "tests/evaluation/test_gate.py",
    ),
    "flag overwritten: days that an earlier decision has used decide again": Defect(
        "ml/evaluation/gate.py",
        "checks += [used_up] if used_up else []",
        "checks += []",
        "tests/evaluation/test_gate.py",
    ),
    "leaky replay: an event is scored by the champion that came after it": Defect(
        "ml/replay/scores.py",
        'nights.searchsorted(pd.DatetimeIndex(times), side="right") - 1',
        'np.minimum(nights.searchsorted(pd.DatetimeIndex(times), side="right"), len(nights) - 1)',
        "tests/replay/test_replay.py::test_an_event_at_the_instant_of_a_move_is_scored_by_the_new_champion",
    ),
    "early answers: their speed is taken from events that have not matured": Defect(
        "ml/training/early.py",
        "event_time < {instant(as_of - config.label_delay)}",
        "event_time < {instant(as_of)}",
        "tests/decision/test_refit.py::test_young_rows_are_weighed_by_what_matured_rows_say_of_the_speed_of_answers",
    ),
    "self-compare: a refit is judged on rows that it was fitted on": Defect(
        "ml/decision/case.py",
        "folder = copies.judged_folder(registry.fetch(version))",
        "folder = registry.fetch(version)",
        "tests/decision/test_refit.py::test_the_champion_is_judged_as_what_had_not_seen_the_holdout",
    ),
    "dry run by default: the step promote moves nothing unless it is told to mean it": Defect(
        "ml/decision/promote.py",
        'if judged.outcome == "PROMOTE":',
        'if judged.outcome == "PROMOTE" and not getattr(config, "dry_run", True):',
        "tests/decision/test_promote.py",
    ),
    "dry run by default: the gate looks without using the holdout": Defect(
        "ml/evaluation/gate.py",
        "spend: Callable[[], GuardrailCheck | None],\n",
        "spend: Callable[[], GuardrailCheck | None] = lambda: None,\n",
        "tests/evaluation/test_gate.py",
    ),
}

ONE_OF_EACH_KIND = (
    "a window counts what was not known when it was published",
    "features are joined on event time only",
    "the split has no gap",
    "self-compare: the challenger is scored twice",
    "flag overwritten: any outcome moves the champion",
    "tie promotes",
    "leaky split: only the champion is asked what it has seen",
    "dry run by default: the gate looks without using the holdout",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's code in a folder of its own."""
    folder = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """A process that runs tests in forks of itself, which spares each of them the import of the libraries."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, str(PROJECT / "tests" / "forked_pytest.py")]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def _suite(server: subprocess.Popen[str], folder: Path, tests: str) -> tuple[int, str]:
    output = folder / "output.txt"
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps({"folder": str(folder), "tests": tests, "output": str(output)}) + "\n")
    server.stdin.flush()
    code = int(server.stdout.readline())
    return code, output.read_text()[-3000:]


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_a_planted_defect_is_found(name: str, copy: Path, server: subprocess.Popen[str]) -> None:
    _is_found(name, copy, server)


@pytest.mark.proof
@pytest.mark.parametrize("name", [name for name in DEFECTS if name not in ONE_OF_EACH_KIND])
def test_another_planted_defect_is_found(name: str, copy: Path, server: subprocess.Popen[str]) -> None:
    _is_found(name, copy, server)


def _is_found(name: str, copy: Path, server: subprocess.Popen[str]) -> None:
    defect = DEFECTS[name]
    file = copy / defect.file
    source = file.read_text()
    assert source.count(defect.right) == 1, f"{defect.file} no longer says {defect.right!r} once: plant this defect anew"
    file.write_text(source.replace(defect.right, defect.wrong))
    try:
        code, told = _suite(server, copy, defect.tests)
    finally:
        file.write_text(source)
    assert code == 1, told
    assert "1 failed" in told, f"nothing was found out, the copy is broken:\n{told}"
