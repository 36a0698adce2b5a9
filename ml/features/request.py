"""Request features, computed from the event itself: clock features, and ratios of measures to the entity's averages."""

from __future__ import annotations

from collections.abc import Mapping

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
    """Compute the request features of events in a frame; see `columns`.

    Args:
        inputs: columns `event_time` (UTC), the measures by their names in Feast, and the averages of `compared`.

    Returns:
        One float64 column per name in `names`.
    """
    needed = {name for measure, average in compared for name in (in_feast(measure), average)}
    numbers = {name: inputs[name].astype("float64").to_numpy() for name in needed}
    times = pd.DatetimeIndex(pd.to_datetime(inputs["event_time"], utc=True))
    computed = columns(times, numbers, clock, timezone, compared)
    return pd.DataFrame(computed, index=inputs.index)


def columns(
    times: pd.DatetimeIndex,
    numbers: Mapping[str, np.ndarray],
    clock: bool,
    timezone: str,
    compared: tuple[tuple[str, str], ...],
) -> dict[str, np.ndarray]:
    """Compute the request features.

    Args:
        times: when the events happened, UTC, shape (n_rows,).
        numbers: measures by their names in Feast and the averages of `compared`, float64, shape (n_rows,) each.
        clock: whether to add the features of `CLOCK`.
        timezone: the IANA time zone of the clock features.
        compared: pairs (measure, average).

    Returns:
        One float64 array of shape (n_rows,) per name in `names`; a ratio over a missing or zero average is missing.
    """
    computed: dict[str, np.ndarray] = {}
    if clock:
        local = times.tz_convert(timezone)
        hour, weekday = local.hour.to_numpy(), local.weekday.to_numpy()
        readings = (hour + local.minute.to_numpy() / 60, weekday, hour < NIGHT_ENDS, weekday >= SATURDAY)
        computed |= {name: np.asarray(reading, dtype=np.float64) for name, reading in zip(CLOCK, readings, strict=True)}
    for measure, average in compared:
        denominator = numbers[average]
        usable = np.where(denominator > 0, denominator, np.nan)
        computed[ratio(measure, average)] = numbers[in_feast(measure)] / usable
    return computed
