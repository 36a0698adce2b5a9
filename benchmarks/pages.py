"""How long the pages in Airflow's web UI take, over that of an empty page: on a deployment as it is, and after years.

Both are asked of Airflow's API server in this process, with a login, and take turns; a figure is the median of the rounds. The
empty page is the one that says that there is no such page: the same login, the same server, no data.

as_it_is
    The pages of the deployment, such as `make demo` leaves it.
after_years
    The same with a ledger of many versions, each judged, every tenth promoted but for the last weeks, and with a monitored day
    for each day of the years; in the lake two batches a day, of which one has rows in quarantine, and their files where they
    landed. Verdicts, readings and batches are copies of the deployment's own last ones under other numbers and days. The
    replay has eight policies over all days.
first
    Of a page after years, what the first one takes in a process that has shown none: it imports, and reads what has happened.

The last line is a JSON object: milliseconds and ratios by page.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from ml.config import PROJECT, Config, load
from ml.lake import schema
from ml.lake.maintenance import compact
from ml.lake.tables import Lake
from ml.ledger.decisions import Decision
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move
from ml.ledger.requests import Request
from ml.ledger.signals import Reading, ReadingOfDay
from ml.overview import replays
from ml.quality import quarantine

PAGES = ("model", "drift", "data", "requests", "replay")
EMPTY = "/perennial/nothing"
DAY = dt.timedelta(days=1)
WEEK = 7
PROMOTED = 10
"""Every so manyth version becomes champion."""
REIGN = 60
"""Days for which the last champion has stood, so that the page on drift is full."""
POLICIES = 8
ROWS, HELD = 3, "amount: expect_column_values_to_be_between (min_value 0), observed -1"
"""Rows that each day leaves in quarantine, and why."""


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
        elif each.name == "lake":
            shutil.copytree(each, home / "lake")
        elif each.name not in ("airflow", "landing", "replay"):
            (home / each.name).symlink_to(each.resolve())
    told = yaml.safe_load(path.read_text()) | {"home": str(home)}
    (folder / "aged.yaml").write_text(yaml.safe_dump(told))
    config = load(folder / "aged.yaml")
    first = _live_on(config, versions, days)
    _land_on(config, first, days)
    _replay(config, first, days)
    return folder / "aged.yaml"


def _live_on(config: Config, versions: int, days: int) -> dt.date:
    """Verdicts, moves and monitored days; returns the first of the days."""
    ledger, model = Ledger(config.ledger), config.name
    verdicts, champion = ledger.decisions.all(model), ledger.moves.champion(model)
    newest = ledger.signals.newest_day(model, champion) if champion else None
    if not verdicts or champion is None or newest is None:
        raise SystemExit(f"{model} has no verdict or no monitored day yet; run `make demo` first")
    last = verdicts[-1]
    readings = [_plain(reading) for reading in ledger.signals.readings(model, champion, newest)]
    first, step, day, until = int(last.challenger_version) + 1, days * DAY / versions, newest, last.as_of + days * DAY
    for version in range(first, first + versions):
        as_of, run = last.as_of + (version - first + 1) * step, f"scheduled__{version}"
        ledger.requests.submit(_asked(model, run, as_of))
        ledger.decisions.record(
            dataclasses.replace(last, challenger_version=str(version), champion_version=champion, as_of=as_of, run_id=run)
        )
        if version % PROMOTED == 0 and until - as_of > REIGN * DAY:
            ledger.moves.make(_promoted(last, champion, str(version), as_of, run))
            champion = str(version)
        while day < as_of.date() - DAY:
            day += DAY
            ledger.signals.record_day(model, champion, day, as_of, readings)
    return newest + DAY


def _land_on(config: Config, first: dt.date, days: int) -> None:
    """A file of events, with rows in quarantine, and one of labels for each day, and the files themselves, empty."""
    lake = Lake(config.lake)
    with quarantine.opened(config) as tables:
        batches = tables.sql("SELECT * FROM batches ORDER BY known_at DESC LIMIT 1").to_arrow_table().to_pylist()
    config.landing.mkdir()
    for n in range(days):
        known_at = dt.datetime.combine(first + (n + 1) * DAY, dt.time(), dt.UTC)
        files = {kind: f"{pattern}{first + n * DAY}.parquet" for kind, pattern in _patterns(config).items()}
        own = [
            batches[0] | {"batch_id": f"{kind} {n}", "kind": kind, "file": file, "last_event": known_at, "known_at": known_at}
            for kind, file in files.items()
        ]
        rows = [
            {"row": row, "reasons": [HELD], "content": "{}", "known_at": known_at}
            | {"batch_id": f"events {n}", "file": files["events"]}
            for row in range(ROWS)
        ]
        lake.append_batches(schema.BATCHES, pa.Table.from_pylist(own, schema.BATCHES_SCHEMA))
        lake.append_batches(schema.QUARANTINE, pa.Table.from_pylist(rows, schema.QUARANTINE_SCHEMA))
        for file in files.values():
            (config.landing / file).touch()
        if n % WEEK == 0:
            compact(lake, schema.BATCHES)
            compact(lake, schema.QUARANTINE)


def _patterns(config: Config) -> dict[str, str]:
    """How the names of files begin, by kind."""
    return {"events": config.events.files.partition("*")[0], "labels": config.labels.feeds[0].files.partition("*")[0]}


def _replay(config: Config, first: dt.date, days: int) -> None:
    """The record of a replay of all days."""
    by_day = {str(first + n * DAY): 0.5 + 0.1 * math.sin(n) for n in range(days)}
    counts = dict.fromkeys(("days_to_90", "trainings", "promotions", "refreshes", "worse", "refused"), days // WEEK)
    figures = {"mean": 0.5, "regret": 0.1, "seconds": 1.0, "average_precision": by_day}
    last = first + (days - 1) * DAY
    record = {
        "first": str(first),
        "last": str(last),
        "days": list(by_day),
        "drift": None,
        "oracle": by_day,
        "oracle_mean": 0.6,
        "courses": [{"policy": f"policy {n}"} | counts | figures for n in range(POLICIES)],
    }
    replays.place(config).parent.mkdir()
    replays.place(config).write_text(json.dumps(record))


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
    """Milliseconds of each page and its ratio to the empty one.

    Args:
        rounds: of which the median is taken, after one that imports and opens and is left out; 0 for that one alone.
    """
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
            if round_ or not rounds:
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
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "PERENNIAL_CONFIG": str(asked.config.resolve()),
        }
        sys.path.append(str(PROJECT / "plugins"))
        old = aged(asked.config.resolve(), folder, asked.versions, asked.days)
        client = serve()
        found = {
            "first": measure(client, old, 0),
            "after_years": measure(client, old, asked.rounds),
            "as_it_is": measure(client, asked.config.resolve(), asked.rounds),
        }
    for when, pages in found.items():
        print(f"{when}: " + ", ".join(f"{page} {told['ms']:.0f} ms ({told['ratio']:.1f} ×)" for page, told in pages.items()))
    print(json.dumps({"versions": asked.versions, "days": asked.days, **found}))


if __name__ == "__main__":
    main()
