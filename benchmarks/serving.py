"""The scoring service beside other model servers: the same graph, one generator of load, two cores for both.

Ours looks up its features in the online store and writes each prediction to the disk before it answers; the others are given
complete features and keep nothing. They are `mlflow models serve`, MLServer with a small runtime over the graph
(`benchmarks/peers/mlserver_runtime.py`) and LitServe, each in an environment of its own that is installed on the first run.
All have to answer the same rows with the same probabilities.

Each is asked 200 times a second in an open loop, which gives `p50_ms` and `p99_ms`, and then as fast as it answers 16 clients,
which gives `requests_per_second` and `p99_ms_of_16`. One server runs at a time, ours before and after all others, `--rounds`
times; figures are medians over the runs.

Keys of the last line: `p50_ms`, `p99_ms`, `requests_per_second`, `p99_ms_of_16`, `vs_mlflow`, `vs_mlserver`, `vs_litserve` (our
requests a second over theirs), `log_share_of_p50` (the log's median over the whole request's, from the service's own
histograms), `disk_ms` (median of what the disk takes to keep one line, while nothing else runs), `load` (of the machine, before
each run of ours), and by name `peers`.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import yaml

from benchmarks.load import Measured, closed_loop, open_loop, run
from benchmarks.peers.environment import interpreter
from benchmarks.serving_requests import Asked, requests
from deploy.local.preflight import free_port
from ml.__main__ import main as command
from ml.config import PROJECT, load
from ml.ledger.ledger import Ledger
from ml.model.model import ONNX
from ml.model.version import Version
from ml.simulate.feed import write_until

RATE, SECONDS, CLIENTS = 200.0, 20.0, 16
PEERS = ("mlflow", "mlserver", "litserve")
PATIENCE = 180.0
LINE, LINES = 1_600, 200
"""Bytes of a line of the log, and how many are written to time the disk."""


@dataclass(frozen=True)
class Run:
    """A server's latencies at the given rate and at full speed; of ours also the log's share, and the load before."""

    paced: Measured
    fastest: Measured
    log_share: float = 0.0
    load: float = 0.0

    def __str__(self) -> str:
        p50, p99, of_16 = self.paced.quantile(0.5), self.paced.quantile(0.99), self.fastest.quantile(0.99)
        more = f"  log {self.log_share:.3f} of p50, load {self.load:.1f}" if self.log_share else ""
        return f"p50 {p50:6.2f} ms  p99 {p99:7.2f} ms  {self.fastest.rate:7.0f} requests/s (p99 {of_16:6.1f} ms){more}"


def deployment(home: Path) -> Path:
    """The demo's deployment with a smaller bank and without a search, trained; its file."""
    told = yaml.safe_load((PROJECT / "config/demo.yaml").read_text())
    told["home"] = str(home)
    told["feed"] |= {"customers": 3000, "terminals": 6000, "drift": []}
    told["training"]["tuning"] = None
    told["gate"] |= {"golden": None, "ancestor": None}
    patience = {"value": 5000, "unit": "milliseconds", "reason": "what stalls counts as time, and is not answered otherwise"}
    told["serving"] = {"log_wait": patience, "deadline": patience}
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


def measured(url: str, asked: Asked) -> Run:
    """A server's figures, after it was checked and warmed up."""
    asked.check(url)
    run(closed_loop(url, asked.bodies, CLIENTS, 3.0))
    paced = run(open_loop(url, asked.bodies, RATE, SECONDS))
    fastest = run(closed_loop(url, asked.bodies, CLIENTS, SECONDS / 2))
    if failed := paced.failed + fastest.failed:
        raise SystemExit(f"{url}: {failed} requests failed")
    return Run(paced, fastest)


def ours(path: Path, asked: Asked) -> Run:
    """Our service; the log's share is that of all requests of the run."""
    port, load_before = free_port(), os.getloadavg()[0]
    base = f"http://127.0.0.1:{port}"
    with running([sys.executable, "-m", "ml", "serve", "--config", str(path), "--port", str(port)], f"{base}/readyz"):
        asked.check(f"{base}/v1/score")
        run(closed_loop(f"{base}/v1/score", asked.bodies, CLIENTS, 3.0))
        before = httpx.get(f"{base}/metrics").text
        paced = run(open_loop(f"{base}/v1/score", asked.bodies, RATE, SECONDS))
        after = httpx.get(f"{base}/metrics").text
        fastest = run(closed_loop(f"{base}/v1/score", asked.bodies, CLIENTS, SECONDS / 2))
    if failed := paced.failed + fastest.failed:
        raise SystemExit(f"{failed} requests to our service failed")
    return Run(paced, fastest, stage_median(before, after, "log") / stage_median(before, after, "all"), load_before)


def stage_median(before: str, after: str, stage: str) -> float:
    """The median of a stage between two readings of its histogram, in seconds, linear within a bucket."""

    def buckets(text: str) -> list[tuple[float, float]]:
        found = re.findall(rf'perennial_seconds_bucket{{le="([^"]+)",stage="{stage}"}} ([0-9.e+]+)', text)
        return [(float(edge), float(count)) for edge, count in found]

    counts = np.array([late - early for (_, early), (_, late) in zip(buckets(before), buckets(after), strict=True)])
    edges = np.array([0.0] + [edge for edge, _ in buckets(after)])
    below = np.concatenate([[0.0], counts])
    return float(np.interp(counts[-1] / 2, below, np.where(np.isinf(edges), edges[-2] * 2, edges)))


def peer(name: str, version: Version, asked: Asked, folder: Path) -> Run:
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


def disk_ms(folder: Path) -> float:
    """Median of the milliseconds that the disk takes to keep a line, one every 5 ms."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(LINES):
            begun = time.perf_counter()
            os.write(file.fileno(), bytes(LINE))
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
            time.sleep(1 / RATE)
    return float(np.median(taken) * 1000)


def figures(runs: Sequence[Run]) -> dict[str, float]:
    """Medians over the runs of one server."""
    return {
        "p50_ms": round(float(np.median([each.paced.quantile(0.5) for each in runs])), 2),
        "p99_ms": round(float(np.median([each.paced.quantile(0.99) for each in runs])), 2),
        "requests_per_second": round(float(np.median([each.fastest.rate for each in runs]))),
        "p99_ms_of_16": round(float(np.median([each.fastest.quantile(0.99) for each in runs])), 2),
    }


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="folder with a trained deployment, or to train one in (default: a new one)")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="other servers (default: all)")
    parser.add_argument("--rounds", type=int, default=1, help="how often all of them are run (default: %(default)s)")
    told = parser.parse_args()
    for name in told.peers:
        interpreter(name)
    with tempfile.TemporaryDirectory(prefix="serving-") as temporary:
        home = (told.home or Path(temporary) / "home").resolve()
        home.mkdir(parents=True, exist_ok=True)
        path = deployment(home)
        config = load(path)
        move = Ledger(config.ledger).moves.history(config.name)[-1]
        version = Version.open(config, move.to_version, move.hashes)
        asked, disk = requests(config, version), disk_ms(home)
        mine, peers = list[Run](), {name: list[Run]() for name in told.peers}

        def run_ours() -> None:
            mine.append(ours(path, asked["ours"]))
            print(f"{'ours':10} {mine[-1]}", flush=True)

        for _ in range(told.rounds):
            run_ours()
            for name, runs in peers.items():
                runs.append(peer(name, version, asked[name], Path(temporary)))
                print(f"{name:10} {runs[-1]}", flush=True)
        run_ours()
    found, theirs = figures(mine), {name: figures(runs) for name, runs in peers.items()}
    rate = found["requests_per_second"]
    ratios = {f"vs_{name}": round(rate / of_peer["requests_per_second"], 2) for name, of_peer in theirs.items()}
    share = {"log_share_of_p50": round(float(np.median([each.log_share for each in mine])), 3), "disk_ms": round(disk, 2)}
    load_of = {"load": [round(each.load, 1) for each in mine]}
    print(json.dumps(found | ratios | share | load_of | {"runs": len(mine), "peers": theirs}))


if __name__ == "__main__":
    main()
