"""The history that policies are replayed over: one lake, and one set of published features, shared by all of them.

Of a simulated deployment the feed is played first, day by day, through the steps of an ingest; another one has its lake.
Policies read both under `as_of` and write to neither; each has a home with a ledger, a registry and artifacts of its own.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ml import pipeline
from ml.artifacts import write_file
from ml.config import Config, SimulationFeed
from ml.config.deployment import STORAGE
from ml.errors import BadInput
from ml.features import history as published
from ml.lake import schema
from ml.lake.tables import Lake, instant
from ml.simulate.feed import write_until
from ml.training import dataset

DAY = dt.timedelta(days=1)
TABLES = (schema.EVENTS, schema.LABELS, schema.BATCHES)
"""What policies read of a lake. What a service logged is of the versions of the deployment itself, so it is left out."""
FEATURES, LAKE, PLAYED = "features", "lake", "played"
WORLD = {"name", "events", "labels", "entities", "categories", "attributes", "windows", "request", "feed", "archive_until"}
"""Sections that say what comes into the lake and what is published from it."""
INGEST = tuple(stage for stage in pipeline.INGEST if stage.step not in ("materialize", "request_for_new_data"))
"""An ingest without what serves, and without a request: each policy makes its own."""


@dataclass(frozen=True)
class History:
    """What there is to replay.

    Attributes:
        config: the deployment, with the home that holds lake and features.
        folder: of the replay: homes of policies, shared trainings, and scored days.
        nights: instants at which a policy may train, oldest first.
    """

    config: Config
    folder: Path
    nights: tuple[dt.datetime, ...]

    def policy_config(self, config: Config, key: str) -> Config:
        """A deployment under a policy, with a home of its own that shares lake, features and training sets."""
        home = self.folder / "policies" / key
        (home / LAKE).mkdir(parents=True, exist_ok=True)
        shared = self.folder / "shared" / dataset.KIND
        shared.mkdir(parents=True, exist_ok=True)
        source = Path(str(self.config.lake))
        _link(home / FEATURES, self.config.features)
        _link(home / dataset.KIND, shared)
        for table in TABLES:
            _link(home / LAKE / table, source / table)
        return _at(config, home)

    def new_rows(self, since: dt.datetime | None, until: dt.datetime) -> int:
        """Events and answers that became known after one instant and by another."""
        tables = {schema.EVENTS: schema.events(self.config), schema.LABELS: schema.LABELS_SCHEMA}
        after = f" WHERE known_at > {instant(since)}" if since else ""
        with Lake(self.config.lake).connect(tables, until) as connection:
            counts = [connection.execute(f"SELECT count(*) FROM {table}{after}").fetchone() or (0,) for table in tables]
        return sum(int(count) for (count,) in counts)


def prepare(
    config: Config, folder: Path, first: dt.date | None, last: dt.date, lake: bool, say: Callable[[str], None]
) -> History:
    """The history from a day to another one; a feed that can be played is played up to the last.

    Args:
        first: day of the first night; by default the one with which the live feed begins, or on which the archive ends.
        lake: replay what the deployment's lake holds, also where its feed could be played.

    Raises:
        BadInput: the lake is not in a folder, or does not reach so far; or there are no days between the two.
    """
    begin = config.feed.first_as_of if config.feed is not None else config.archive_until
    start = begin if first is None else dt.datetime.combine(first, begin.timetz())
    nights = tuple(start + number * DAY for number in range((last - start.date()).days + 1))
    if not nights:
        raise BadInput(f"the first night is {start:%Y-%m-%d}, after the last one, {last}: give days in their order")
    if isinstance(config.feed, SimulationFeed) and not lake:
        if start < begin:
            raise BadInput(f"the live feed begins on {begin:%Y-%m-%d}, and {start:%Y-%m-%d} is before that")
        config = _played(config, folder, [begin + number * DAY for number in range((nights[-1] - begin).days + 1)], say)
    elif config.lake_uri is not None:
        raise BadInput("a replay reads a lake in a folder, and this deployment has a lake_uri: copy it, and give lake_folder")
    else:
        _require_lake(config, nights[-1])
        for window in config.snapshot_windows:
            published.files(config, window)  # from the object store, where there is one, to this machine
    return History(config, folder, nights)


def _require_lake(config: Config, last: dt.datetime) -> None:
    with Lake(config.lake).connect({schema.BATCHES: schema.BATCHES_SCHEMA}, last) as connection:
        (newest,) = connection.execute("SELECT max(known_at) FROM batches").fetchone() or (None,)
    if newest is None or newest < last - DAY:
        there = "nothing" if newest is None else f"what came until {newest:%Y-%m-%d %H:%M}"
        raise BadInput(
            f"the lake at {config.lake} holds {there}, and the last night is {last:%Y-%m-%d %H:%M}: ingest, or end earlier"
        )


def _played(config: Config, folder: Path, nights: list[dt.datetime], say: Callable[[str], None]) -> Config:
    """The deployment whose feed was played up to the last night; what was played before is not played again."""
    world = config.model_dump(mode="json", include=WORLD)
    key = hashlib.sha256(json.dumps(world, sort_keys=True).encode()).hexdigest()[:16]
    config = _at(config, folder / "streams" / key)
    marker = config.home / PLAYED
    done = dt.datetime.fromisoformat(marker.read_text()) if marker.exists() else None
    for night in nights:
        if done is None or night > done:
            write_until(config, (night - DAY).date())
            checked = pipeline.run(INGEST, config, night, {"run_id": f"ingest {night:%Y-%m-%d}"})["validate_batch"]
            write_file(marker, lambda path, night=night: path.write_text(night.isoformat()))  # type: ignore[misc]
            say("; ".join([f"{night:%Y-%m-%d} the feed: {checked['accepted']:,} rows", *checked["stopped"]]))
    return config


def _at(config: Config, home: Path) -> Config:
    return config.model_copy(update={**dict.fromkeys(STORAGE), "release": None, "home": home})


def _link(path: Path, target: Path) -> None:
    if not path.is_symlink():
        path.symlink_to(target.resolve(), target_is_directory=True)
