"""A card is written of any record: whatever is missing, null or not a number is a dash on the page, and the rest stands."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.config import Config
from ml.explanation import render, sections, svg
from ml.explanation.reasons import _plain
from tests.explanation.test_card import evidence
from tests.explanation.verdicts import verdict


def _places(told: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of nested mappings and every place of nested lists."""
    entries = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from _places(value, (*path, key))


PLACES = sorted(_places(verdict()), key=str)


def _spoilt(told: Any, path: tuple[Any, ...], gone: bool) -> None:
    """Take one thing away, or leave null in its place; a verdict in the ledger is JSON, which has no NaN."""
    *above, last = path
    for key in above:
        told = told.get(key) if isinstance(told, dict) else told[key] if told else None
    if gone and isinstance(told, dict):
        told.pop(last, None)
    elif told:
        told[last] = None


@settings(max_examples=40, deadline=None)
@given(spoilt=st.lists(st.tuples(st.sampled_from(PLACES), st.booleans()), min_size=1, max_size=12))
def test_a_card_of_a_verdict_that_lacks_anything(config: Config, spoilt: list[tuple[tuple[Any, ...], bool]]) -> None:
    told = copy.deepcopy(verdict())
    for path, gone in spoilt:
        _spoilt(told, path, gone)
    document = sections.document(evidence(config, told, attributions=None), {})
    page = render.html(document) + render.markdown(document)
    assert not re.search(r"\b(nan|None)\b", page)


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_a_card_of_a_verdict_without_one_thing(config: Config, path: tuple[Any, ...]) -> None:
    told = copy.deepcopy(verdict())
    _spoilt(told, path, gone=True)
    assert "Verdict" in render.markdown(sections.document(evidence(config, told, attributions=None), {}))


@pytest.mark.parametrize("value", [None, float("nan"), np.nan, pd.NA, pd.NaT])
def test_a_reason_of_a_missing_value(value: object) -> None:
    assert _plain(value) is None


def test_drawings_of_nothing() -> None:
    nothing = svg.over_time(["2025-01-01"], [np.nan], [], "rates", percent=True, interval=([np.nan], [np.nan]))
    assert "nan" not in nothing.svg
    assert svg.heat_map([], np.zeros((0, 0)), "none").svg
