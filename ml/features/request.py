"""Request features, computed from the event itself: clock features, and ratios of measures to the entity's averages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from ml.config import Config
from ml.config.names import CLOCK, in_feast, ratio

NIGHT_ENDS = 6
SATURDAY = 5
MEANINGS = (
    "hour of the event with its minutes as a fraction",
    "day of the week of the event, Monday is 0",
    f"1 if the event is before {NIGHT_ENDS} in the morning, else 0",
    "1 if the event is on a Saturday or Sunday, else 0",
)


def descriptions(config: Config) -> dict[str, str]:
    """Descriptions of a deployment's request features, by name, in the order of `compute`'s columns."""
    meanings = zip(CLOCK, MEANINGS, strict=True) if config.request.clock else ()
    clock = {name: f"{meaning}, {config.events.timezone} time" for name, meaning in meanings}
    compared = {ratio(m, average): f"{m} of the event over {average}, missing where that is 0" for m, average in ratios(config)}
    return clock | compared


def names(config: Config) -> list[str]:
    """Names of the request features of a deployment, in the order of `compute`'s columns."""
    return list(descriptions(config))


def ratios(config: Config) -> tuple[tuple[str, str], ...]:
    """Pairs (measure, average of it) that are compared."""
    measure_of = {feature: window.column for window in config.windows for feature in window.features}
    return tuple((measure_of[average], average) for average in config.request.ratios)


def compute(inputs: pd.DataFrame, clock: bool, timezone: str, compared: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    """Compute the request features of events.

    Args:
        inputs: columns `event_time` (UTC), the measures by their names in Feast, and the averages of `compared`.
        clock: whether to add the features of `CLOCK`.
        timezone: the IANA time zone of the clock features.
        compared: pairs (measure, average).

    Returns:
        One float64 column per name in `names`; a ratio over a missing or zero average is missing.
    """
    needed = {name for measure, average in compared for name in (in_feast(measure), average)}
    numbers = {name: inputs[name].astype("float64").to_numpy() for name in needed}
    local = pd.DatetimeIndex(pd.to_datetime(inputs["event_time"], utc=True)).tz_convert(ZoneInfo(timezone))
    readings = clock_features(local.hour.to_numpy(), local.minute.to_numpy(), local.weekday.to_numpy()) if clock else {}
    return pd.DataFrame(readings | ratio_features(numbers, compared), index=inputs.index)


def compute_few(
    times: Sequence[dt.datetime],
    numbers: Mapping[str, np.ndarray],
    clock: bool,
    timezone: str,
    compared: tuple[tuple[str, str], ...],
) -> dict[str, np.ndarray]:
    """The same for the few events of a request, without a frame.

    Args:
        times: when the events happened, with a time zone.
        numbers: measures by their names in Feast and the averages of `compared`, float64, shape (n_rows,) each.
    """
    readings: dict[str, np.ndarray] = {}
    if clock:
        zone = ZoneInfo(timezone)
        local = [time.astimezone(zone) for time in times]
        read = np.array([(time.hour, time.minute, time.weekday()) for time in local]).reshape(-1, 3)
        readings = clock_features(*read.T)
    return readings | ratio_features(numbers, compared)


def clock_features(hour: np.ndarray, minute: np.ndarray, weekday: np.ndarray) -> dict[str, np.ndarray]:
    """The features of `CLOCK` from local times, float64, shape (n_rows,) each."""
    readings = (hour + minute / 60, weekday, hour < NIGHT_ENDS, weekday >= SATURDAY)
    return {name: np.asarray(reading, dtype=np.float64) for name, reading in zip(CLOCK, readings, strict=True)}


def ratio_features(numbers: Mapping[str, np.ndarray], compared: tuple[tuple[str, str], ...]) -> dict[str, np.ndarray]:
    """Each measure over its average, float64, shape (n_rows,) each; missing where the average is missing or zero."""
    computed: dict[str, np.ndarray] = {}
    for measure, average in compared:
        denominator = numbers[average]
        usable = np.where(denominator > 0, denominator, np.nan)
        computed[ratio(measure, average)] = numbers[in_feast(measure)] / usable
    return computed
