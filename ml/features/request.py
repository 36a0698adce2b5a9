"""Request features, computed from the event itself: clock features, and ratios of measures to the entity's averages."""

from __future__ import annotations

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
    """Compute the request features.

    Args:
        inputs: columns `event_time` (UTC), the measures by their names in Feast, and the averages of `compared`.
        clock: whether to add the features of `CLOCK`.
        timezone: the IANA time zone of the clock features.
        compared: pairs (measure, average).

    Returns:
        One float64 column per name in `names`; a ratio over a missing or zero average is missing.
    """
    computed: dict[str, pd.Series] = {}
    if clock:
        time = pd.to_datetime(inputs["event_time"], utc=True).dt.tz_convert(timezone)
        readings = (time.dt.hour + time.dt.minute / 60, time.dt.weekday, time.dt.hour < NIGHT_ENDS, time.dt.weekday >= SATURDAY)
        computed |= dict(zip(CLOCK, readings, strict=True))
    for measure, average in compared:
        denominator = inputs[average].astype("float64")
        computed[ratio(measure, average)] = inputs[in_feast(measure)].astype("float64") / denominator.where(
            denominator > 0, np.nan
        )
    return pd.DataFrame({name: values.astype("float64") for name, values in computed.items()}, index=inputs.index)
