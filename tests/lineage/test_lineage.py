"""The lineage of a version leads from landing files to its promotion, and is sent to whoever listens."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ml.__main__ import main
from ml.config import load
from ml.lineage import events
from ml.lineage.trace import trace
from ml.registry.ledger import Ledger


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


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """A lineage server that the deployment's environment names."""
    with Listener() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OPENLINEAGE_URL", f"http://127.0.0.1:{server.server_port}")
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


def test_the_champion_names_its_decision_and_its_promotion(four_versions: Path) -> None:
    config = load(four_versions)
    champion = Ledger(config.ledger).champion(config.name)
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
    champion = str(Ledger(config.ledger).champion(config.name))
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
    assert versions[str(config.lake / "events")] == str(told.training_set.lake["events"])


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
    assert main(["lineage", "--version", "1", "--send", "--config", str(four_versions)]) == 1
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


def test_a_promotion_sends_its_lineage(four_versions: Path, listener: Listener) -> None:
    """The step `promote` run again changes nothing in the ledger, and tells the listener."""
    config = load(four_versions)
    folder = next((config.home / "judgements").iterdir())
    version = json.loads((folder / "judgement.json").read_text())["model"]
    from ml.training.fit import registry

    registered = {registry(config).tags(v)["training_set"]: v for v in ("1", "2", "3", "4")}
    model = json.loads((config.home / "models" / version / "fit.json").read_text())
    words = [
        "promote",
        "--judgement",
        folder.name,
        "--version",
        registered[model["training_set"]],
        "--config",
        str(four_versions),
    ]
    assert main([*words, "--as-of", model["labels_known_until"]]) in (0, 1)
    assert listener.received
