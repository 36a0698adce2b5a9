"""The lineage of a version leads from landing files to its promotion, and is sent to whoever listens."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ml import steps
from ml.__main__ import main
from ml.config import Config, load
from ml.ledger.ledger import Ledger
from ml.lineage import events
from ml.lineage.trace import READMISSION, trace
from tests.deployments import FIRST_AS_OF

DAY = dt.timedelta(days=1)


class Listener(ThreadingHTTPServer):
    """Takes OpenLineage events as a lineage server does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        assert self.path == "/api/v1/lineage"
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Variables as they were; OpenLineage's client sets some of its own."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A lineage server that the deployment's environment names."""
    with Listener() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ["OPENLINEAGE_URL"] = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()


def test_every_batch_of_the_training_set_is_named(four_versions: Path) -> None:
    config = load(four_versions)
    first, last = trace(config, "1"), trace(config, "4")
    landed = {path.name for path in config.landing.iterdir()}
    assert {batch.file for batch in last.batches} <= landed
    assert {batch.file for batch in first.batches} < {batch.file for batch in last.batches}
    accepted = sum(batch.accepted for batch in first.batches if batch.kind == "events")
    assert accepted >= first.training_set.rows > 0
    assert all(batch.rows == batch.accepted + batch.quarantined + batch.rejected for batch in last.batches)


def test_rows_that_were_readmitted_are_named_with_the_file_that_they_came_from(four_versions: Path) -> None:
    config = load(four_versions)
    [readmitted] = [batch for batch in trace(config, "4").batches if batch.kind == READMISSION]
    [spoiled] = [batch for batch in trace(config, "4").batches if batch.quarantined and batch.kind == "events"]
    assert (readmitted.file, readmitted.accepted, spoiled.quarantined) == (spoiled.file, 1, 1)
    assert READMISSION not in {batch.kind for batch in trace(config, "2").batches}


def test_the_champion_names_its_decision_and_its_promotion(four_versions: Path) -> None:
    config = load(four_versions)
    champion = Ledger(config.ledger).moves.champion(config.name)
    assert champion is not None
    told = trace(config, champion)
    assert told.promotions[0].to_version == champion
    assert told.decisions[0].outcome == "PROMOTE"
    assert told.tags["training_set"] == told.training_set.training_set == told.fitted.training_set


def test_it_prints_as_a_tree_as_files_and_as_json(four_versions: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["lineage", "--version", "1", "--config", str(four_versions)]
    assert main(words) == 0
    tree = capsys.readouterr().out
    assert [stage for stage in ("files", "lake", "features", "training set", "run", "decisions") if stage not in tree] == []
    assert main([*words, "--files"]) == 0
    assert "payments_" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "1"


def test_each_stage_reads_what_the_one_before_it_wrote(four_versions: Path, listener: Listener) -> None:
    """From any landing file a path of events leads to the champion's alias."""
    config = load(four_versions)
    champion = str(Ledger(config.ledger).moves.champion(config.name))
    told = trace(config, champion)
    assert events.send(config, told) == len(listener.received) > len(told.batches)
    reached = {str(config.landing / told.batches[0].file)}
    for event in listener.received:
        assert (event["eventType"], event["job"]["namespace"]) == ("COMPLETE", "perennial")
        if reached & {dataset["name"] for dataset in event["inputs"]}:
            reached |= {dataset["name"] for dataset in event["outputs"]}
    assert f"models:/{config.name}@champion" in reached
    versions = {
        dataset["name"]: dataset["facets"]["version"]["datasetVersion"]
        for event in listener.received
        for dataset in event["inputs"]
        if "version" in dataset["facets"]
    }
    assert versions[f"{config.lake}/events"] == str(told.training_set.lake["events"])


def test_sending_again_sends_the_same_runs(four_versions: Path, listener: Listener) -> None:
    config = load(four_versions)
    told = trace(config, "1")
    events.send(config, told)
    first = [event["run"]["runId"] for event in listener.received]
    assert len(set(first)) == len(first)
    events.send(config, told)
    assert [event["run"]["runId"] for event in listener.received[len(first) :]] == first


def test_nothing_is_sent_without_a_transport(four_versions: Path, capsys: pytest.CaptureFixture) -> None:
    config = load(four_versions)
    assert events.send(config, trace(config, "1")) == 0
    assert main(["lineage", "--version", "1", "--send", "--config", str(four_versions)]) == 3
    assert "no OpenLineage transport is configured" in capsys.readouterr().err


def test_a_listener_that_does_not_answer_is_a_warning(
    four_versions: Path, free_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENLINEAGE_CONFIG", str(four_versions.parent / "openlineage.yml"))
    (four_versions.parent / "openlineage.yml").write_text(
        json.dumps({"transport": {"type": "http", "url": f"http://127.0.0.1:{free_port}", "timeout": 1, "retry": {"total": 0}}})
    )
    config = load(four_versions)
    with caplog.at_level(logging.WARNING):
        assert events.send(config, trace(config, "1")) == 0
    assert "the lineage of version 1 was not sent" in caplog.text


def test_the_step_promote_sends_the_lineage_of_its_version(four_versions: Path, listener: Listener) -> None:
    """Run again for the last version, the step changes nothing in the ledger and tells the listener."""
    config = load(four_versions)
    before = Ledger(config.ledger).moves.history(config.name)
    [judged] = [told for told in _judgements(config) if told["model"] == trace(config, "4").fitted.model]
    references = {"judgement": judged["judgement"], "version": "4"}
    steps.run("promote", config, FIRST_AS_OF + 3 * DAY, references)
    assert Ledger(config.ledger).moves.history(config.name) == before
    jobs = {event["job"]["name"] for event in listener.received}
    assert {
        f"{config.name}.{step}" for step in ("load_batch", "publish_features", "build_training_set", "fit", "register")
    } <= jobs


def _judgements(config: Config) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in (config.home / "judgements").glob("*/judgement.json")]
