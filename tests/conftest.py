"""Fixtures for all tests. No library reports to its vendor while they run."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, settings

from deploy.local.preflight import free_port as some_free_port
from deploy.local.stack import Stack
from ml.__main__ import main
from ml.config import load
from ml.registry import versions
from ml.simulate.feed import write_until
from tests import deployments
from tests.servers import Servers

if TYPE_CHECKING:
    from mlflow import MlflowClient

TOGETHER = {
    "servers": (
        "tests/deploy/test_stack.py",
        "tests/deploy/test_ready.py",
        "tests/dags/test_scheduler",
        "tests/dags/test_triggers",
        "tests/dags/test_storm",
        "tests/dags/test_side_by_side",
    ),
    "four versions": (
        "tests/training/test_reproduce",
        "tests/training/test_linear_version",
        "tests/explanation/test_explained_versions",
        "tests/lineage",
        "tests/dags/test_browser",
        "tests/notebooks",
    ),
    "monitoring": ("tests/monitoring",),
}
LONGEST_FIRST = ("tests/deploy", "tests/dags", "tests/test_kills", "tests/monitoring", "tests/test_planted")

# For who only asks whether a test fails: the first example that does is enough, it need not be made simple.
settings.register_profile("first_failure", phases=[Phase.explicit, Phase.generate], database=None)


THINNED = 36


def pytest_addoption(parser: pytest.Parser) -> None:
    """The slow proofs run thinner or not at all, unless they are asked for whole."""
    parser.addoption("--proofs", action="store_true", help="run the slow proofs whole, as `make proofs` does")
    parser.addoption("--pictures", default="", help="folder for what the browser shows of the pages; else it is thrown away")
    parser.addoption("--backend", choices=("files", "postgres"), default="files", help="postgres: PostgreSQL and Redis servers")
    parser.addoption(
        "--compose", action="store_true", help="run the tests that need a Docker engine, as `make test-compose` does"
    )


@pytest.fixture(scope="session", autouse=True)
def servers(request: pytest.FixtureRequest) -> Iterator[Servers | None]:
    """The servers that deployments of tests are on, with `--backend postgres`; else none."""
    if request.config.getoption("--backend") == "files":
        yield None
        return
    # Not below pytest's folder, which another session of the same user closes for all others: PostgreSQL runs as one of them.
    with TemporaryDirectory(prefix="perennial-servers-") as folder:
        Path(folder).chmod(0o711)
        deployments.servers = Servers(Path(folder))
        yield deployments.servers
        deployments.servers.close()


@pytest.fixture(scope="session")
def repetitions(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """How many of the repetitions of a proof to run: all with `--proofs`, else a thirty-sixth."""
    whole = request.config.getoption("--proofs")
    return lambda count: count if whole else -(-count // THINNED)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where processes share the tests, a file stays whole, and what shares a costly fixture or starts servers too."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return next((name for name, files in TOGETHER.items() if file.startswith(files)), file)

    config.option.loadscopereorder = False
    return Together(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked where it is asked for alone; the longest files first, lest one process work at the end alone."""
    for mark, option in (("proof", "--proofs"), ("compose", "--compose")):
        if not config.getoption(option):
            marked = [item for item in items if item.get_closest_marker(mark)]
            config.hook.pytest_deselected(items=marked)
            items[:] = [item for item in items if item not in marked]

    def place(item: pytest.Item) -> int:
        return next((i for i, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start)), len(LONGEST_FIRST))

    items.sort(key=place)


class TimeLeft:
    """Says after each tenth of the tests how long the rest takes at most; at most, because the longest tests come first."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._begun = say, time.monotonic()
        self._total, self._done, self._told = 0, set[str](), 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._total = len(ids)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._total = max(self._total, len(session.items))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._done.add(report.nodeid)
        tenths = 10 * len(self._done) // max(self._total, 1)
        if report.when == "teardown" and self._told < tenths < 10:
            self._told = tenths
            minutes = (time.monotonic() - self._begun) / 60
            left = minutes / len(self._done) * (self._total - len(self._done))
            self._say(f"\n{len(self._done):,} of {self._total:,} tests in {minutes:.0f} min, at most {left:.0f} min left")


def pytest_configure(config: pytest.Config) -> None:
    """Only the process that tells the results tells the time that is left."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(TimeLeft(terminal.write_line))


@pytest.fixture(scope="session", autouse=True)
def tables_of_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MLflow makes its tables by dozens of migrations, which takes seconds: a new registry copies those of the first."""
    first, opened = tmp_path_factory.mktemp("registry") / "mlflow.db", versions._opened

    def copied(uri: str) -> MlflowClient:
        file = Path(uri.removeprefix("sqlite:///"))
        if uri.startswith("sqlite:///") and not file.exists():
            if not first.exists():
                opened(f"sqlite:///{first}")
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(first, file)
        return opened(uri)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "_opened", copied)
        yield


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """URI of a bucket of a server that speaks S3."""
    port = some_free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    endpoint = f"http://127.0.0.1:{port}"
    environ = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            _until_created(f"{endpoint}/artifacts")
            yield "s3://artifacts/fraud"
    finally:
        server.terminate()
        server.wait()


def _until_created(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no server at {url}")


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens."""
    return some_free_port()


@pytest.fixture(scope="module")
def start_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Start Airflow in a folder of its own and wait until its DAGs can run; stopped after the module's last test.

    Call it with the folder of the DAG files, the deployment file, the ids of the DAGs to wait for, the deployment's home where
    its data matter, and whether its scoring service runs too.
    """
    stacks: list[Stack] = []

    def start(
        dags_folder: Path,
        config: Path,
        dag_ids: tuple[str, ...] = ("ingest", "train"),
        home: Path | None = None,
        serves: bool = False,
    ) -> Stack:
        home = home or tmp_path_factory.mktemp("stack")
        stack = Stack(home, config, some_free_port(), dags_folder=dags_folder, serves=serves)
        stacks.append(stack)
        stack.start()
        stack.wait_ready(timeout=300, dag_ids=dag_ids)
        return stack

    yield start
    for stack in stacks:
        stack.stop()


@pytest.fixture(scope="session")
def four_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a deployment that was trained on four nights; every night registered a version.

    On the second night a payment was set aside, on the third it was readmitted, on the fourth the lake was compacted.
    """
    told = deployments.small_told()
    told["feed"]["customers"], told["training"]["model"]["iterations"] = 800, 30
    path = deployments.write(tmp_path_factory.mktemp("versions"), told)
    config = load(path)
    for night in range(4):
        as_of = deployments.FIRST_AS_OF + dt.timedelta(days=night)
        write_until(config, (as_of - dt.timedelta(days=1)).date())
        if night == 1:
            deployments.spoil_newest(config)
        command(path, as_of, "ingest")
        if night == 2:
            deployments.readmit_mended(config, as_of)
        if night == 3:
            command(path, as_of, "maintain")
            command(path, as_of, "maintain")
        command(path, as_of, "train", "--force")
    return path


def command(path: Path, as_of: dt.datetime, *words: str) -> None:
    """Run a word of the command line to its end."""
    assert main([*words, "--config", str(path), "--as-of", as_of.isoformat()]) == 0
