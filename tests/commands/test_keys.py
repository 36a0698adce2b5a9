"""docs/keys.md lists every key of the deployment file, as the code has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import Field

from ml.__main__ import main
from ml.config import PROJECT, Section
from ml.config.keys import Part, in_words, meaning, parts
from ml.config.schema import schema
from ml.config.thresholds import Cadence, Days, Delay, Money
from ml.errors import BadInput


@pytest.fixture(scope="module")
def sections() -> dict[str, Part]:
    return {part.place: part for part in parts()}


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys"]) == 0
    printed = capsys.readouterr().out
    assert (PROJECT / "docs" / "keys.md").read_text() == printed, "run: python -m ml keys > docs/keys.md"


def test_the_published_schema_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert (PROJECT / "config" / "schema.json").read_text() == printed, "run: python -m ml schema > config/schema.json"


@pytest.mark.parametrize("file", sorted((PROJECT / "config").glob("*.yaml")), ids=lambda file: file.name)
def test_deployments_that_can_be_loaded_fit_the_schema(file: Path) -> None:
    validator = Draft202012Validator(schema())
    told = json.loads(json.dumps(yaml.safe_load(file.read_text()), default=str))
    assert [error.message for error in validator.iter_errors(told)] == []
    faulty = told | {"trainin": {}}
    assert any("trainin" in error.message for error in validator.iter_errors(faulty))


def test_each_key_of_the_schema_says_what_it_means() -> None:
    keys = [key for section in schema()["$defs"].values() for key in section.get("properties", {}).values()]
    assert len(keys) > 100
    assert all(key["description"] for key in keys)


def test_sections_within_lists_and_of_several_kinds_are_on_the_page(sections: dict[str, Part]) -> None:
    assert {
        "`windows[]` (Window)",
        "`windows[]` (EventWindow)",
        "`labels.files[]`",
        "`training.tuning.space.<name>` (Choices)",
        "`release.steps[]`",
        "`feed` (ReplayFeed)",
    } < set(sections)
    assert [key.name for key in sections["`windows[]` (EventWindow)"].keys][-3:] == ["minutes", "publish", "digits"]


def test_each_key_has_type_unit_default_and_meaning(sections: dict[str, Part]) -> None:
    keys = [key for part in sections.values() for key in part.keys]
    assert len(keys) > 150
    assert all(key.expected and key.default and len(key.meaning) > 3 for key in keys)
    cooldown = next(key for key in sections["`retraining`"].keys if key.name == "cooldown")
    assert cooldown.expected == "threshold: days, 0 to 3650"
    assert cooldown.default.startswith("14 days: ")


def test_limits_of_thresholds_are_told() -> None:
    assert [in_words(kind) for kind in (Days, Money, Delay, Cadence)] == [
        "threshold: days, 0 to 3650",
        "threshold: money, 0 or more",
        "threshold: days or hours, 0 to 3650 days",
        "threshold: hours: 1, 2, 3, 4, 6, 8, 12 or 24",
    ]


def test_a_key_that_no_docstring_explains_is_an_error() -> None:
    class Undocumented(Section):
        """A section.

        Attributes:
            known: a key.
        """

        known: int
        forgotten: int = Field(default=1)

    assert meaning(Undocumented, "known") == "a key."
    with pytest.raises(BadInput, match=r"Undocumented\.forgotten: its docstring has no entry"):
        meaning(Undocumented, "forgotten")
