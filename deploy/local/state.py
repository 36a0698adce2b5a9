"""What is written down about a stack, so that another process can find, ask and end it: the pid file, and a bit more."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from deploy.local.environment import write_private
from deploy.local.preflight import StackError
from deploy.local.processes import Process


@dataclass(frozen=True)
class State:
    """A stack as its supervisor last described it.

    Attributes:
        home: folder of the deployment.
        config: the deployment file, absolute.
        port: of Airflow's web server on 127.0.0.1.
        mlflow_port: of MLflow's pages on 127.0.0.1, None when the deployment uses a server elsewhere.
        serving_port: of the scoring service on 127.0.0.1, None when none was asked for.
        supervisor: leader of the session in which everything runs.
        phase: what the supervisor is doing, for people.
        components: the processes that it started, by name.
        exits: exit codes of those that have ended, negative for a signal.
    """

    home: Path
    config: Path
    port: int
    mlflow_port: int | None
    serving_port: int | None
    supervisor: Process
    phase: str = "starting"
    components: dict[str, Process] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def path(home: Path) -> Path:
        """Where a deployment's state lies."""
        return home / "airflow" / "stack.json"

    @classmethod
    def read(cls, home: Path) -> State | None:
        """The state of a deployment; None when there is none or it was not written by this version.

        Raises:
            StackError: it belongs to another user.
        """
        try:
            record = json.loads(cls.path(home).read_text())
            return cls(
                home=home,
                config=Path(record["config"]),
                port=record["port"],
                mlflow_port=record["mlflow_port"],
                serving_port=record["serving_port"],
                supervisor=Process(**record["supervisor"]),
                phase=record["phase"],
                components={name: Process(**process) for name, process in record["components"].items()},
                exits=record["exits"],
            )
        except FileNotFoundError:
            return None
        except PermissionError:
            raise StackError(f"{cls.path(home).parent} belongs to another user; use the user that started it") from None
        except (ValueError, KeyError, TypeError):
            return None

    def write(self) -> State:
        """Write it down in one step and return it."""
        write_private(self.path(self.home), json.dumps(asdict(self), default=str, indent=1))
        return self

    def in_phase(self, phase: str) -> State:
        """The same stack, doing something else."""
        return replace(self, phase=phase)

    def with_component(self, name: str, process: Process) -> State:
        """The same stack with one more process."""
        return replace(self, components={**self.components, name: process})

    def with_exit(self, name: str, code: int) -> State:
        """The same stack after one of its processes has ended."""
        return replace(self, exits={**self.exits, name: code})

    @property
    def dead(self) -> dict[str, int | None]:
        """Airflow components that have ended unasked, with their exit code where it is known."""
        gone = {name: self.exits.get(name) for name, process in self.components.items() if not process.alive}
        return {name: code for name, code in gone.items() if name not in {"migrate", "mlflow", "serving"}}
