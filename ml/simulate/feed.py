"""Plays a deployment's feed: writes the missing days into its landing folder."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

from ml.clock import last_written_day
from ml.config import Config, ReplayFeed, SimulationFeed
from ml.errors import BadInput
from ml.simulate.drift import drift_from_config
from ml.simulate.landing import replay_days, write_days
from ml.simulate.stream import PaymentStream


def write_until(
    config: Config, last: dt.date, data: Path | None = None, progress: Callable[[dt.date], None] | None = None
) -> list[Path]:
    """Write the days after the last written one, up to and including `last`.

    Args:
        data: file of past events; needed by a feed of kind `replay`.

    Returns:
        The written files; none if all days were written before.
    """
    written = last_written_day(config.landing)
    if config.feed is None:
        raise BadInput(f"deployment {config.name} has no 'feed': its files come from outside")
    if written is not None and written >= last:
        return []
    config.landing.mkdir(parents=True, exist_ok=True)
    next_day = written + dt.timedelta(days=1) if written else None
    if isinstance(config.feed, SimulationFeed):
        feed = config.feed
        stream = PaymentStream(feed.customers, feed.terminals, feed.seed, feed.first_day, drift_from_config(feed.drift))
        return write_days(stream, config.landing, next_day or feed.first_day, last, feed.format, progress)
    assert isinstance(config.feed, ReplayFeed)  # noqa: S101
    if data is None:
        raise BadInput(f"deployment {config.name} replays a file of past events: give it with --data (make demo DATA=…)")
    return replay_days(data, config.events.columns["event_time"], config.landing, next_day, last, progress=progress)
