"""The deployments of this Airflow: PERENNIAL_CONFIG names a file, several of them, or a folder of them.

One file has the DAGs `ingest`, `train`, `monitor`, `watch`, `messages`, `maintain` and `score`; with a section `release` also
`release` and `approve`. Of several files each has its own, with its name before them, such as `card_fraud_train`. A file that
cannot be loaded leaves the others alone: DAG file `broken_deployments.py` reports it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ml.config import Config

PROCESSES = ("ingest", "train", "monitor", "watch", "messages", "maintain", "score", "release", "approve")
ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class Deployment:
    """A deployment that could be loaded; `is_alone` if no other file is named."""

    file: Path
    config: Config
    is_alone: bool

    def dag_id(self, process: str) -> str:
        """The id of its DAG of a process."""
        return process if self.is_alone else f"{self.config.name}_{process}"


def files() -> list[Path]:
    """The files that PERENNIAL_CONFIG names, those of a folder by name; several are separated as in PATH."""
    found: list[Path] = []
    for named in map(Path, os.environ["PERENNIAL_CONFIG"].split(os.pathsep)):
        inside = sorted(path for path in named.iterdir() if path.suffix in ENDINGS) if named.is_dir() else [named]
        found += [path for path in inside if path not in found]
    return found


def deployments() -> list[Deployment]:
    """The deployments that can be loaded."""
    return _loaded()[0]


def broken() -> dict[Path, str]:
    """The files that cannot be loaded, each with its error."""
    return _loaded()[1]


def of_dag(dag_id: str) -> Deployment:
    """The deployment whose DAG this is.

    Raises:
        LookupError: no deployment that can be loaded has such a DAG.
    """
    named = {each.dag_id(process): each for each in deployments() for process in PROCESSES}
    if dag_id not in named:
        raise LookupError(f"no deployment has a DAG {dag_id!r}; there are {', '.join(named) or 'none'}. {_faults()}".strip())
    return named[dag_id]


def dag_id_of(model: str, process: str) -> str:
    """The id of a deployment's DAG of a process; that of the process if no deployment has the name."""
    return next((each.dag_id(process) for each in deployments() if each.config.name == model), process)


def _loaded() -> tuple[list[Deployment], dict[Path, str]]:
    from ml.config import load

    named, found, wrong = files(), list[Deployment](), dict[Path, str]()
    for file in named:
        try:
            config = load(file)
        except Exception as error:  # noqa: BLE001  whatever is wrong with one file, the others go on
            wrong[file] = str(error)
            continue
        same = next((other.file for other in found if other.config.name == config.name), None)
        if same is None:
            found.append(Deployment(file, config, is_alone=len(named) == 1))
        else:
            wrong[file] = f"{file}: its name, {config.name}, is that of {same} already; give each deployment its own"
    return found, wrong


def _faults() -> str:
    return " ".join(broken().values())
