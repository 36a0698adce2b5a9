"""The scoring service beside other model servers: the same graph, one generator of load, two cores for both.

Ours looks up its features in the online store and writes each prediction to the disk before it answers; the others are given
complete features and keep nothing. They are `mlflow models serve`, MLServer with a small runtime over the graph
(`benchmarks/peers/mlserver_runtime.py`) and LitServe, each in an environment of its own that is installed on the first run.

Each is asked 200 times a second in an open loop, which gives `p50_ms` and `p99_ms`, and then as fast as it answers 16 clients,
which gives `requests_per_second`. One server runs at a time, ours before and after all others; its slower run counts.

Keys of the last line: `p50_ms`, `p99_ms`, `requests_per_second`, `vs_mlflow`, `vs_mlserver`, `vs_litserve` (our requests a
second over theirs), `log_share_of_p50` (the log's median over the whole request's, from the service's own histograms), and by
name `peers`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import yaml

from benchmarks.load import Measured, closed_loop, open_loop, run
from benchmarks.peers.environment import interpreter
from deploy.local.preflight import free_port
from ml.__main__ import main as command
from ml.config import PROJECT, Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.model.model import ONNX
from ml.model.version import Version
from ml.simulate.feed import write_until
from ml.store.feast import retrieve_online

RATE, SECONDS, CLIENTS = 200.0, 20.0, 16
EVENTS = 2_000
PEERS = ("mlflow", "mlserver", "litserve")
PATIENCE = 180.0


def deployment(home: Path) -> Path:
    """The demo's deployment with a smaller bank and without a search, trained; its file."""
    told = yaml.safe_load((PROJECT / "config/demo.yaml").read_text())
    told["home"] = str(home)
    told["feed"] |= {"customers": 3000, "terminals": 6000, "drift": []}
    told["training"]["tuning"] = None
    told["gate"] |= {"golden": None, "ancestor": None}
    path = home / "deployment.yaml"
    path.write_text(yaml.safe_dump(told))
    config = load(path)
    assert config.feed is not None
    as_of = config.feed.first_as_of
    if not Ledger(config.ledger).moves.champion(config.name):
        write_until(config, (as_of - dt.timedelta(days=1)).date())
        for word in ("ingest", "train"):
            if command([word, "--config", str(path), "--as-of", as_of.isoformat()]):
                raise SystemExit(f"{word} failed; see above")
    return path


def requests(config: Config) -> list[dict[str, Any]]:
    """Events of the newest day as events of the day after."""
    names = ["event_id", "event_time", *config.entities.values(), *config.measures, *config.categories]
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        query = f"SELECT {', '.join(names)} FROM events ORDER BY event_time DESC, event_id LIMIT {EVENTS}"
        rows = connection.execute(query).df()
    rows["event_time"] += dt.timedelta(days=1)
    values = rows.astype(object).where(rows.notna(), None)
    return [dict(zip(names, row, strict=True)) for row in values.to_numpy()]


def bodies(config: Config, events: list[dict[str, Any]], version: Version) -> dict[str, list[bytes]]:
    """The same events as each server takes them."""
    rows = pd.concat([pd.DataFrame(events), retrieve_online(config, events)], axis=1)[version.names]
    complete = json.loads(rows.to_json(orient="records", double_precision=15))
    numbers = set(version.model.inputs.fill)

    def value(name: str, row: dict[str, Any]) -> Any:
        return row[name] if row[name] is not None else (float("nan") if name in numbers else "")

    def tensors(row: dict[str, Any]) -> bytes:
        kinds = {name: "FP32" if name in numbers else "BYTES" for name in row}
        inputs = [{"name": n, "shape": [1], "datatype": kinds[n], "data": [value(n, row)]} for n in row]
        return json.dumps({"inputs": inputs}).encode()

    ours = [json.dumps({"event": event | {"event_time": event["event_time"].isoformat()}}).encode() for event in events]
    return {
        "ours": ours,
        "mlflow": [json.dumps({"dataframe_records": [row]}).encode() for row in complete],
        "mlserver": [tensors(row) for row in complete],
        "litserve": [json.dumps({name: value(name, row) for name in row}).encode() for row in complete],
    }


@contextmanager
def running(command: list[str], ready: str, cwd: Path = PROJECT, **environ: str) -> Iterator[None]:
    """A server, once it answers at an address; it finds the programs of its own environment first, as MLflow needs to."""
    environ = os.environ | {"PATH": os.pathsep.join([str(Path(command[0]).parent), os.environ["PATH"]])} | environ
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=cwd, env=environ, stdout=log, stderr=log, start_new_session=True)
        try:
            end = time.monotonic() + PATIENCE
            while not _answers(ready):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise SystemExit(f"{' '.join(command)} does not come up:\n{log.read().decode()[-3000:]}")
                time.sleep(0.3)
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def measured(url: str, asked: list[bytes]) -> tuple[Measured, Measured]:
    """A server's latencies at the given rate, and its throughput; both after it was warmed up."""
    run(closed_loop(url, asked, CLIENTS, 3.0))
    paced = run(open_loop(url, asked, RATE, SECONDS))
    fastest = run(closed_loop(url, asked, CLIENTS, SECONDS / 2))
    for each in (paced, fastest):
        if each.failed:
            raise SystemExit(f"{url}: {each.failed} requests failed")
    return paced, fastest


def ours(path: Path, asked: list[bytes]) -> tuple[Measured, Measured, float]:
    """Our service, and the log's share of the median."""
    port = free_port()
    serve = [sys.executable, "-m", "ml", "serve", "--config", str(path), "--port", str(port)]
    with running(serve, f"http://127.0.0.1:{port}/readyz"):
        run(closed_loop(f"http://127.0.0.1:{port}/v1/score", asked, CLIENTS, 3.0))
        before = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        paced = run(open_loop(f"http://127.0.0.1:{port}/v1/score", asked, RATE, SECONDS))
        after = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        fastest = run(closed_loop(f"http://127.0.0.1:{port}/v1/score", asked, CLIENTS, SECONDS / 2))
    if paced.failed or fastest.failed:
        raise SystemExit(f"{paced.failed + fastest.failed} requests to our service failed")
    return paced, fastest, median(before, after, "log") / median(before, after, "all")


def median(before: str, after: str, stage: str) -> float:
    """The median of a stage between two readings of its histogram, in seconds, linear within a bucket."""

    def buckets(text: str) -> list[tuple[float, float]]:
        found = re.findall(rf'perennial_seconds_bucket{{le="([^"]+)",stage="{stage}"}} ([0-9.e+]+)', text)
        return [(float(edge), float(count)) for edge, count in found]

    counts = np.array([late - early for (_, early), (_, late) in zip(buckets(before), buckets(after), strict=True)])
    edges = np.array([0.0] + [edge for edge, _ in buckets(after)])
    below = np.concatenate([[0.0], counts])
    return float(np.interp(counts[-1] / 2, below, np.where(np.isinf(edges), edges[-2] * 2, edges)))


def peer(name: str, version: Version, asked: list[bytes], folder: Path) -> tuple[Measured, Measured]:
    """Another server with the same graph."""
    python, port, graph = interpreter(name), free_port(), version.model.folder / ONNX
    base = f"http://127.0.0.1:{port}"
    if name == "mlflow":
        words = ["-m", "mlflow", "models", "serve", "-m", str(version.model.folder), "--env-manager", "local"]
        with running([str(python), *words, "--host", "127.0.0.1", "--port", str(port)], f"{base}/ping"):
            return measured(f"{base}/invocations", asked)
    if name == "litserve":
        server = [str(python), "benchmarks/peers/litserve_server.py", str(graph), str(port)]
        with running(server, f"{base}/health"):
            return measured(f"{base}/predict", asked)
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings |= {"parallel_workers": 0, "debug": False}
    model = {"name": "graph", "implementation": "mlserver_runtime.Graph", "parameters": {"uri": str(graph)}}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    words = [str(python.with_name("mlserver")), "start", str(folder)]
    with running(words, f"{base}/v2/health/ready", cwd=folder, PYTHONPATH=str(PROJECT / "benchmarks/peers")):
        return measured(f"{base}/v2/models/graph/infer", asked)


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="folder with a trained deployment, or to train one in (default: a new one)")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="other servers (default: all)")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="serving-") as temporary:
        home = (told.home or Path(temporary) / "home").resolve()
        home.mkdir(parents=True, exist_ok=True)
        path = deployment(home)
        config = load(path)
        move = Ledger(config.ledger).moves.history(config.name)[-1]
        version = Version.open(config, move.to_version, move.hashes)
        asked = bodies(config, requests(config), version)
        for name in told.peers:
            interpreter(name)
        runs, peers = [ours(path, asked["ours"])], {}
        for name in told.peers:
            peers[name] = peer(name, version, asked[name], Path(temporary))
            print(_line(name, *peers[name]), flush=True)
        runs.append(ours(path, asked["ours"]))
        for each in runs:
            print(_line("ours", *each[:2]), flush=True)
    slowest = min(each[1].rate for each in runs)
    print(
        json.dumps(
            {
                "p50_ms": round(max(each[0].quantile(0.5) for each in runs), 2),
                "p99_ms": round(max(each[0].quantile(0.99) for each in runs), 2),
                "requests_per_second": round(slowest),
                **{f"vs_{name}": round(slowest / fastest.rate, 2) for name, (_, fastest) in peers.items()},
                "log_share_of_p50": round(max(each[2] for each in runs), 3),
                "peers": {
                    name: {
                        "p50_ms": round(paced.quantile(0.5), 2),
                        "p99_ms": round(paced.quantile(0.99), 2),
                        "requests_per_second": round(fastest.rate),
                    }
                    for name, (paced, fastest) in peers.items()
                },
            }
        )
    )


def _line(name: str, paced: Measured, fastest: Measured) -> str:
    return f"{name:10} p50 {paced.quantile(0.5):6.2f} ms  p99 {paced.quantile(0.99):7.2f} ms  {fastest.rate:7.0f} requests/s"


if __name__ == "__main__":
    main()
