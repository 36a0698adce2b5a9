"""Features that were joined before, kept in a folder: replayed policies look at the same events night after night."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import pandas as pd

from ml.artifacts import Folder
from ml.config import Config
from ml.features import history

KIND = "joined"
_FOLDER: ContextVar[Folder | None] = ContextVar("folder of joined features", default=None)


@contextmanager
def keeping(folder: Folder) -> Iterator[None]:
    """Within this, `ml.store.feast.retrieve` joins the features of the same events once.

    Args:
        folder: where they are kept; processes may share it.
    """
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def once(
    config: Config,
    events: pd.DataFrame,
    as_of: dt.datetime | None,
    versions: Mapping[str, int] | None,
    join: Callable[[], pd.DataFrame],
) -> pd.DataFrame:
    """The features of events, as `join` gives them; see `ml.store.feast.retrieve` for the other arguments."""
    folder = _FOLDER.get()
    if folder is None:
        return join()
    key = f"{_key(config, events, as_of, versions)}.parquet"
    if not folder.has(KIND, key):
        joined = join()
        folder.put(KIND, key, lambda path: joined.to_parquet(path, index=False))
        return joined
    return pd.read_parquet(folder.get(KIND, key))


def _key(config: Config, events: pd.DataFrame, as_of: dt.datetime | None, versions: Mapping[str, int] | None) -> str:
    """Hash of what the features follow from: events, windows, what was published, and for windows up to each event the lake."""
    keys = events[["event_id", "event_time", *config.entities.values(), *config.measures]]
    settings = config.model_dump(mode="json", include={"windows", "request"})
    published = {window.view: history.digest(config, window) for window in config.snapshot_windows}
    at_events = [str(as_of), versions and dict(versions)] if config.event_windows else []
    hashed = hashlib.sha256(json.dumps([settings, list(keys), published, at_events], sort_keys=True).encode())
    hashed.update(pd.util.hash_pandas_object(keys, index=False).to_numpy().tobytes())
    return hashed.hexdigest()
