"""What is printed keeps to the terminal's width, breaks between words alone, and can be cut off by whoever reads it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ml.__main__ import main
from ml.commands.terminal import table
from ml.config import PROJECT
from ml.ledger.moves import Moves
from tests.deployments import small_file

HEAD = ["event", "why"]
ROWS = [["a" * 30, "because of unmistakable reasons that take a while to be told"], ["b", "no"]]


def _words(told: str) -> set[str]:
    return {word.strip("│┃").rstrip(":") for word in told.split()}


@pytest.mark.parametrize("width", [20, 40, 60, 80, 160])
def test_no_word_is_broken_at_any_width(width: int, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert table(HEAD, ROWS) == 2
    told = capsys.readouterr().out
    assert {word for row in ROWS for cell in row for word in cell.split()} <= _words(told)
    assert max(map(len, told.splitlines())) <= max(width, 2 + 30 + len("event: "))


def test_a_table_that_would_be_longer_than_its_rows_as_paragraphs_is_printed_as_those(monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    head = [f"column {number}" for number in range(5)]
    table(head, [["2025-05-02 02:00"] * 4 + ["a long sentence " * 12]])
    assert "column 0: 2025-05-02 02:00" in capsys.readouterr().out


@pytest.mark.parametrize("width", ["40", "160"])
def test_only_the_first_rows_are_printed_where_lines_are_few(width: str, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert table(HEAD, ROWS * 20, lines=20) < 40
    assert len(capsys.readouterr().out.splitlines()) <= 21
    assert table(HEAD, ROWS, lines=1) == 1


def test_a_file_s_text_cannot_move_the_cursor(monkeypatch, capsys) -> None:
    table(HEAD, [["\x1b[2J", "[red]"]])
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "[red]" in told


def test_whoever_has_read_enough_ends_it_quietly() -> None:
    asked = f"{sys.executable} -m ml features | head -1"
    run = subprocess.run(["bash", "-c", asked], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert len(run.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lineage", "--version", "99"], "has no version '99'; none is registered yet"),
        (["lineage", "--version", "abc"], "has no version 'abc'"),
        (["judge", "--model", "nope", "--as-of", "2025-05-02"], "judge --model nope:"),
        (["card"], "has no champion yet"),
        (["feed", "--until", "2024-01-01"], "first day 2025-01-01 is after last day 2024-01-01"),
    ],
)
def test_bad_input_is_answered_in_a_sentence(words: list[str], told: str, tmp_path, capsys) -> None:
    assert main([*words, "--config", str(small_file(tmp_path))]) == 3
    error = capsys.readouterr().err
    assert "error: " in error
    assert told in error
    assert "Traceback" not in error


@pytest.mark.parametrize("words", [["admit", "--as-of", "tomorrow"], ["feed", "--until", "soon"]])
def test_a_day_that_is_none_says_how_one_is_written(words: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "write it like 2025-05-02" in capsys.readouterr().err


def test_what_nobody_expected_says_where_it_was(tmp_path, monkeypatch, capsys) -> None:
    from ml.ledger.ledger import Ledger

    def broken(self: Ledger, model: str, sequence: int) -> None:
        {}.missing  # noqa: B018

    monkeypatch.setattr(Moves, "since", broken)
    assert main(["status", "--config", str(small_file(tmp_path))]) == 1
    assert "no attribute 'missing' (AttributeError, at ml/overview/past.py:" in capsys.readouterr().err
