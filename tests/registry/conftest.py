from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml.ledger.ledger import Ledger
from ml.registry.versions import Registry
from tests.servers import Servers

NAMES = (f"model_{number}" for number in itertools.count())


@pytest.fixture
def ledger_url(tmp_path: Path, servers: Servers | None) -> str:
    """URL of an empty database."""
    return servers.new("ledger") if servers else f"sqlite:///{tmp_path}/ledger/ledger.db"


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    return Ledger(ledger_url)


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory, servers: Servers | None) -> Iterator[str]:
    """One MLflow database for all tests, because making its tables takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("DO_NOT_TRACK", "true")
        yield servers.new("mlflow") if servers else f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def registry(tracking: str) -> Registry:
    """A registry of a model that no other test has used."""
    return Registry(tracking, next(NAMES))


@pytest.fixture
def add_version(registry: Registry, tmp_path: Path) -> Callable[[], str]:
    """Registers one more version, whose files differ from those of every other version."""
    numbers = itertools.count(1)

    def add() -> str:
        number = next(numbers)
        folder = tmp_path / f"model_{number}"
        folder.mkdir()
        (folder / "MLmodel").write_text(f"model_uuid: {registry.model}_{number}\n")
        (folder / "model.onnx").write_bytes(bytes(range(256)) * number)
        experiment = registry.experiment(registry.model, str(tmp_path / "artifacts"))
        return registry.register(folder, registry.run(experiment, f"key_{number}"), {"rows": "1000"}, "a test's model")

    return add


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.fixture(params=[_flip, _truncate, Path.unlink], ids=["flipped bit", "cut short", "lost"])
def damage(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """A way in which a file breaks."""
    return request.param
