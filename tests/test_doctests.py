"""The examples in the docstrings of `ml` run, and give what they say."""

from __future__ import annotations

import doctest
import importlib

from ml.config import PROJECT

FEWEST = 12
MODULES = [
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((PROJECT / "ml").rglob("*.py"))
    if ">>>" in path.read_text()
]


def test_the_examples_of_the_docstrings_run() -> None:
    results = {name: doctest.testmod(importlib.import_module(name)) for name in MODULES}
    assert {name: result.failed for name, result in results.items() if result.failed} == {}
    assert sum(result.attempted for result in results.values()) >= FEWEST
    assert [name for name, result in results.items() if not result.attempted] == []
