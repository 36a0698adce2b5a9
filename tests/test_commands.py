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
    assert ("--config" in told) != (command in ("init", "keys", "schema"))
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
    assert main(["status", "--config", "config/absent.yaml"]) == 3
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
    assert main(["discard", "--config", str(path), "--file", name]) == 3
    assert "is not a file directly in" in capsys.readouterr().err
    assert main(["discard", "--config", str(path), "--file", "payments_x.csv"]) == 0
    assert (tmp_path / "home" / "discarded" / "payments_x.csv").exists()


def test_a_step_writes_its_record_to_a_file_and_nothing_else_to_stdout(tmp_path) -> None:
    import json

    from tests.deployments import FIRST_AS_OF, small_file

    words = [
        "--config",
        str(small_file(tmp_path)),
        "--as-of",
        FIRST_AS_OF.isoformat(),
        "--record",
        str(tmp_path / "record.json"),
    ]
    step = [sys.executable, "-m", "ml", "admit", "--trigger", "schedule", "--run-id", "r1", *words]
    ended = subprocess.run(step, cwd=PROJECT, capture_output=True, text=True, check=True)
    record = json.loads((tmp_path / "record.json").read_text())
    assert (ended.stdout, record["admitted"]) == ("", False)
    assert "the lake holds no events" in record["reason"]
    assert [path.name for path in tmp_path.glob(".record*")] == []


def test_a_training_by_cron_is_recorded_as_scheduled(tmp_path) -> None:
    from ml.config import load
    from ml.ledger.ledger import Ledger
    from tests.deployments import FIRST_AS_OF, small_file

    path = small_file(tmp_path)
    for number, words in enumerate(([], ["--trigger", "schedule"])):
        as_of = FIRST_AS_OF.replace(hour=2 + number).isoformat()
        assert main(["train", "--config", str(path), "--as-of", as_of, *words]) == 0
    config = load(path)
    assert [request.trigger for request in Ledger(config.ledger).requests.all(config.name)] == ["on_demand", "schedule"]


def test_a_refusal_has_an_exit_code_and_a_record_of_its_own_and_an_accident_has_not(tmp_path, monkeypatch) -> None:
    import json

    from ml import steps
    from ml.errors import EXIT_REFUSED
    from tests.deployments import FIRST_AS_OF, small_file

    record = tmp_path / "record.json"
    words = ["--config", str(small_file(tmp_path)), "--as-of", FIRST_AS_OF.isoformat(), "--record", str(record)]
    assert main(["build_training_set", *words]) == EXIT_REFUSED
    assert json.loads(record.read_text())["error"] == "NotEnoughHistory"
    record.unlink()

    def lost(*_: object) -> None:
        raise ConnectionError("the database is lost")

    monkeypatch.setattr(steps, "run", lost)
    assert main(["build_training_set", *words]) == 1
    assert not record.exists()


def test_what_libraries_and_native_code_print_is_not_in_the_record(tmp_path, capfd, monkeypatch) -> None:
    import json
    import os

    from ml import steps
    from tests.deployments import FIRST_AS_OF, small_file

    def noisy(*_: object) -> dict[str, str]:
        print("a library prints")
        os.write(1, b"native code prints\n")
        return {"model": "m"}

    monkeypatch.setattr(steps, "run", noisy)
    words = ["--config", str(small_file(tmp_path)), "--as-of", FIRST_AS_OF.isoformat()]
    assert main(["build_training_set", *words]) == 0
    printed = capfd.readouterr()
    assert json.loads(printed.out) == {"model": "m"}
    assert "a library prints" in printed.err
    assert "native code prints" in printed.err
