"""Write the secrets of docker-compose.yaml to `.env`, made at random, readable for their owner only.

    python3 -m deploy.compose.secrets_file

A file that is there is left alone, but for secrets that it lacks. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def _word() -> str:
    """A password that needs no escaping in a URL."""
    return secrets.token_urlsafe(24)


def _key() -> str:
    return secrets.token_urlsafe(64)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


SECRETS: dict[str, tuple[Callable[[], str], str]] = {
    "AIRFLOW_FERNET_KEY": (_fernet_key, "encrypts connections and variables in Airflow's database"),
    "AIRFLOW_SECRET_KEY": (_key, "signs sessions; the same for all of Airflow's components"),
    "AIRFLOW_JWT_SECRET": (_key, "signs the tokens of tasks and clients; the same for all of Airflow's components"),
    "AIRFLOW_ADMIN_PASSWORD": (_word, "of Airflow's user admin"),
    "AIRFLOW_NOTES_PASSWORD": (_word, "of Airflow's user perennial, by whom steps write notes on their runs"),
    "POSTGRES_PASSWORD": (_word, "of the database server's superuser"),
    "AIRFLOW_DB_PASSWORD": (_word, "of the role airflow"),
    "MLFLOW_DB_PASSWORD": (_word, "of the role mlflow"),
    "FEAST_DB_PASSWORD": (_word, "of the role feast"),
    "LEDGER_DB_PASSWORD": (_word, "of the role ledger"),
    "REDIS_PASSWORD": (_word, "of the online store"),
    "SERVING_API_KEY": (_word, "of the first client of the scoring service"),
    "S3_ACCESS_KEY": (lambda: secrets.token_hex(10), "of the object store, with --profile s3"),
    "S3_SECRET_KEY": (_word, "of the object store, with --profile s3"),
    "GRAFANA_PASSWORD": (_word, "of Grafana's user admin, with --profile grafana"),
}
"""Each secret of docker-compose.yaml: how it is made, and what it is."""


def write(path: Path) -> list[str]:
    """Add what a file of secrets lacks; the names of what was added."""
    before = path.read_text() if path.exists() else ""
    known = {line.partition("=")[0] for line in before.splitlines()}
    added = [name for name in SECRETS if name not in known]
    lines = [f"# {SECRETS[name][1]}\n{name}={SECRETS[name][0]()}\n" for name in added]
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(before + ("\n" if before and not before.endswith("\n") else "") + "".join(lines))
    draft.replace(path)
    return added


def main() -> None:
    """`python3 -m deploy.compose.secrets_file`."""
    parser = argparse.ArgumentParser(prog="python3 -m deploy.compose.secrets_file", description=__doc__)
    parser.add_argument("--file", type=Path, default=PROJECT / ".env", help="default: .env of the project")
    file = parser.parse_args().file
    added = write(file)
    print(f"{file}: {len(added)} secrets added, mode 600" if added else f"{file} has them all")


if __name__ == "__main__":
    main()
