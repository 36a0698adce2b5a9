"""The ticks of a view: the instants that its snapshots describe, numbered from the beginning of 1970 UTC.

The view's `publish` is their interval; every midnight UTC is a tick.
"""

from __future__ import annotations

import datetime as dt

from ml.config import Window

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
MICROSECOND = dt.timedelta(microseconds=1)


def newest(window: Window, instant: dt.datetime) -> dt.datetime:
    """The newest tick that is not after an instant."""
    return EPOCH + number(window, instant) * window.interval


def number(window: Window, instant: dt.datetime) -> int:
    """The number of the newest tick that is not after an instant."""
    return (instant - EPOCH) // window.interval


def number_sql(window: Window, instant: str) -> str:
    """SQL of `number`."""
    return f"floor(epoch_us({instant}) / {window.interval // MICROSECOND})::BIGINT"


def in_days(window: Window, days: int) -> int:
    """Number of ticks in a number of days."""
    return days * (DAY // window.interval)
