"""The present of a deployment whose feed is played: its time is that of its files, and not the clock's."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

from ml.config import Config
from ml.errors import BadInput

REPORTS = "fraud_reports"
DAILY = re.compile(r"(?P<stem>[^.].*)_(?P<day>\d{4}-\d{2}-\d{2})\.(parquet|csv)")


def present(config: Config) -> dt.datetime:
    """The simulated current time of a deployment: the instant after the newest landed day."""
    if config.feed is None:
        raise BadInput(f"deployment {config.name} has no 'feed': its time is the clock's")
    first, last = config.feed.first_as_of, last_written_day(config.landing)
    return first if last is None else dt.datetime.combine(last + dt.timedelta(days=1), first.timetz())


def last_written_day(landing: Path) -> dt.date | None:
    """Return the last day that is complete in `landing`, going by the names of its files, or None if there is none.

    Reports alone do not make a day: they are written before the payments of the same day.
    """
    if not landing.is_dir():
        return None
    matches = [match for path in landing.iterdir() if (match := DAILY.fullmatch(path.name))]
    return max((dt.date.fromisoformat(match["day"]) for match in matches if match["stem"] != REPORTS), default=None)
