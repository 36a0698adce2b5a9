"""docs/keys.md lists every key of the deployment file, as the code has them."""

from __future__ import annotations

import pytest
from pydantic import Field

from ml.__main__ import main
from ml.config import PROJECT, Section
from ml.config.keys import Part, _meaning, in_words, parts
from ml.config.thresholds import Cadence, Days, Delay, Money
from ml.errors import BadInput


@pytest.fixture(scope="module")
def sections() -> dict[str, Part]:
    return {part.place: part for part in parts()}


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys"]) == 0
    printed = capsys.readouterr().out
    assert (PROJECT / "docs" / "keys.md").read_text() == printed, "run: python -m ml keys > docs/keys.md"


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

    assert _meaning(Undocumented, "known") == "a key."
    with pytest.raises(BadInput, match=r"Undocumented\.forgotten: its docstring has no entry"):
        _meaning(Undocumented, "forgotten")
