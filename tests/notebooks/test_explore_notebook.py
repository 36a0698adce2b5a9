"""The notebook runs on a deployment with a past, and changes nothing."""

from __future__ import annotations

import runpy
from pathlib import Path

import jupytext
import pytest

from ml.config import PROJECT, load

NOTEBOOK = PROJECT / "notebooks" / "explore.py"


def test_the_notebook_opens_lake_training_set_and_champion(four_versions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_CONFIG", str(four_versions))
    ledger = load(four_versions).home / "ledger.db"
    before = ledger.read_bytes()
    told = runpy.run_path(str(NOTEBOOK))
    assert len(told["days"]) > 60
    assert told["scored"]["score"].between(0, 1).all()
    assert len(told["scored"]) == 2000
    assert ledger.read_bytes() == before


def test_it_is_a_notebook_of_text_and_code() -> None:
    cells = jupytext.read(NOTEBOOK).cells
    assert {cell.cell_type for cell in cells} == {"markdown", "code"}
    assert all(cell.source.strip() for cell in cells)
