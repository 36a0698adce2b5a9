"""Every command explains itself, without paying for the libraries that it would use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ml import commands, steps
from ml.__main__ import main
from ml.config import PROJECT


@pytest.mark.parametrize("command", [*steps.STEPS, *commands.COMMANDS])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*command.split(), "--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert ("--config" in told) != (command == "init")
    assert len(told.splitlines()) > 5


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom ml.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'pandas', 'mlflow', 'feast', 'great_expectations', 'catboost', 'sklearn', 'duckdb', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_a_step_shows_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["promote", "--help"])
    told = capsys.readouterr().out
    assert "--judgement" in told
    assert "--version" in told


def test_a_deployment_file_that_is_not_there_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--config", "config/absent.yaml"]) == 1
    assert "no such file" in capsys.readouterr().err


def test_the_status_of_an_empty_deployment(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.deployments import small_file

    path = small_file(tmp_path)
    assert main(["status", "--config", str(path)]) == 0
    assert "champion      none yet" in capsys.readouterr().out
    assert main(["history", "--config", str(path)]) == 0


def test_what_is_due_is_published_although_nothing_has_landed(tmp_path) -> None:
    """Of the labels' view, six hours after the others; and the online store follows."""
    import datetime as dt

    from ml.features.history import history
    from ml.store.feast import materialize
    from tests import villages
    from tests.conftest import command

    config = villages.village(tmp_path)
    villages.live_until(config, villages.ARCHIVE_UNTIL)
    command(tmp_path / "deployment.yaml", villages.ARCHIVE_UNTIL + dt.timedelta(hours=6), "ingest")
    newest = {window.view: history(config, window)[-1] for window in config.windows}
    hours = {view: published.last.hour for view, published in newest.items()}
    assert hours == {"customer_amount": 0, "terminal_amount": 0, "terminal_label": 6}
    assert newest["terminal_label"].created == villages.ARCHIVE_UNTIL + dt.timedelta(hours=6)
    online = materialize(config, villages.ARCHIVE_UNTIL + dt.timedelta(hours=6)).views
    assert online == {view: published.last.isoformat() for view, published in newest.items()}


@pytest.mark.parametrize("name", ["../outside.csv", "/etc/passwd", "absent.csv"])
def test_only_files_of_the_landing_folder_can_be_discarded(tmp_path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.deployments import land_text, small, small_file

    land_text(small(tmp_path), "payments_x.csv", "")
    (tmp_path / "home" / "outside.csv").write_text("keep me")
    path = small_file(tmp_path)
    assert main(["discard", "--config", str(path), "--file", name]) == 1
    assert "is not a file directly in" in capsys.readouterr().err
    assert main(["discard", "--config", str(path), "--file", "payments_x.csv"]) == 0
    assert (tmp_path / "home" / "discarded" / "payments_x.csv").exists()
