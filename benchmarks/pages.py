"""How long the pages in Airflow's web UI take, over that of an empty page: on a deployment as it is, and after years.

Both are asked of Airflow's API server in this process, with a login, and take turns; a figure is the median of the rounds. The
empty page is the one that says that there is no such page: the same login, the same server, no data.

as_it_is
    The pages of the deployment, such as `make demo` leaves it.
after_years
    The same with a ledger of many versions, each judged, every fifth promoted, and with a monitored day for each day of the
    years. Verdicts and readings are copies of the deployment's own last ones under other numbers and days.

The last line is a JSON object: milliseconds and ratios by page.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from ml.config import PROJECT, Config, load
from ml.ledger.decisions import Decision
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move
from ml.ledger.requests import Request
from ml.ledger.signals import Reading, ReadingOfDay

PAGES = ("model", "drift", "data", "requests", "replay")
EMPTY = "/perennial/nothing"
DAY = dt.timedelta(days=1)
PROMOTED = 5
"""Every so manyth version becomes champion."""


def aged(path: Path, folder: Path, versions: int, days: int) -> Path:
    """The file of the same deployment with a ledger of so many versions and monitored days; its home is below `folder`.

    Raises:
        SystemExit: it has no verdict or no monitored day yet.
    """
    config, home = load(path), folder / "home"
    home.mkdir()
    for each in config.home.iterdir():
        if each.name.startswith("ledger.db"):
            shutil.copy(each, home / each.name)
        elif each.name != "airflow":
            (home / each.name).symlink_to(each.resolve())
    told = yaml.safe_load(path.read_text()) | {"home": str(home)}
    (folder / "aged.yaml").write_text(yaml.safe_dump(told))
    _live_on(load(folder / "aged.yaml"), versions, days)
    return folder / "aged.yaml"


def _live_on(config: Config, versions: int, days: int) -> None:
    ledger, model = Ledger(config.ledger), config.name
    verdicts, champion = ledger.decisions.all(model), ledger.moves.champion(model)
    newest = ledger.signals.newest_day(model, champion) if champion else None
    if not verdicts or champion is None or newest is None:
        raise SystemExit(f"{model} has no verdict or no monitored day yet; run `make demo` first")
    last = verdicts[-1]
    readings = [_plain(reading) for reading in ledger.signals.readings(model, champion, newest)]
    first, step, day = int(last.challenger_version) + 1, days * DAY / versions, newest
    for version in range(first, first + versions):
        as_of, run = last.as_of + (version - first + 1) * step, f"scheduled__{version}"
        ledger.requests.submit(_asked(model, run, as_of))
        ledger.decisions.record(
            dataclasses.replace(last, challenger_version=str(version), champion_version=champion, as_of=as_of, run_id=run)
        )
        if version % PROMOTED == 0:
            ledger.moves.make(_promoted(last, champion, str(version), as_of, run))
            champion = str(version)
        while day < as_of.date() - DAY:
            day += DAY
            ledger.signals.record_day(model, champion, day, as_of, readings)


def _asked(model: str, run: str, as_of: dt.datetime) -> Request:
    return Request(
        model=model,
        key=f"{run} asks",
        trigger="schedule",
        as_of=as_of,
        requested_by="clock",
        reason="the night's training",
        evidence={},
    )


def _promoted(last: Decision, champion: str, version: str, as_of: dt.datetime, run: str) -> Move:
    return Move(
        model=last.model,
        action="promote",
        expected_from=champion,
        to_version=version,
        as_of=as_of,
        actor="scheduler",
        reason=last.reason,
        verdict=last.evidence,
        run_id=run,
        hashes={},
    )


def _plain(reading: ReadingOfDay) -> Reading:
    return Reading(**{field.name: getattr(reading, field.name) for field in dataclasses.fields(Reading)})


def serve() -> Any:
    """A client of Airflow's API server in this process, logged in as an administrator."""
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.utils.db import initdb
    from fastapi.testclient import TestClient

    initdb()
    client = TestClient(create_app(apps="core"), follow_redirects=False)
    client.cookies.set("_token", get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="admin", role="admin")))
    client.headers["accept"] = "text/html"
    return client


def measure(client: Any, path: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each page and its ratio to the empty one; the first round, which imports and opens, is left out."""
    os.environ["PERENNIAL_CONFIG"] = str(path)
    name = load(path).name
    places = {"empty": EMPTY} | {page: f"/perennial/deployments/{name}/{page}" for page in PAGES}
    taken: dict[str, list[float]] = {page: [] for page in places}
    for round_ in range(rounds + 1):
        for page, place in places.items():
            begun = time.perf_counter()
            answer = client.get(place)
            seconds = time.perf_counter() - begun
            if answer.status_code != (404 if page == "empty" else 200):
                raise SystemExit(f"{place} answers {answer.status_code}: {answer.text[:300]}")
            if round_:
                taken[page].append(1000 * seconds)
    medians = {page: statistics.median(times) for page, times in taken.items()}
    return {page: {"ms": round(ms, 1), "ratio": round(ms / medians["empty"], 1)} for page, ms in medians.items()}


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pages", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=PROJECT / "config" / "demo.yaml", help="a deployment with a past")
    parser.add_argument("--versions", type=int, default=1000, help="versions after years (default: %(default)s)")
    parser.add_argument("--days", type=int, default=730, help="monitored days after years (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="times that each page is asked (default: %(default)s)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ |= {
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
            "AIRFLOW__API_AUTH__JWT_SECRET": "of this benchmark alone " * 4,
            "PERENNIAL_CONFIG": str(asked.config.resolve()),
        }
        sys.path.append(str(PROJECT / "plugins"))
        old = aged(asked.config.resolve(), folder, asked.versions, asked.days)
        client = serve()
        found = {
            "as_it_is": measure(client, asked.config.resolve(), asked.rounds),
            "after_years": measure(client, old, asked.rounds),
        }
    for when, pages in found.items():
        print(f"{when}: " + ", ".join(f"{page} {told['ms']:.0f} ms ({told['ratio']:.1f} ×)" for page, told in pages.items()))
    print(json.dumps({"versions": asked.versions, "days": asked.days, **found}))


if __name__ == "__main__":
    main()
