"""The smallest deployment that runs the whole way: six weeks of a village's simulated payments."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from ml.config import Config, load
from ml.features.publish import publish_features
from ml.quality.load import load_batch
from ml.quality.validate import validate_batch
from ml.simulate.feed import write_until
from tests import deployments

DAY = dt.timedelta(days=1)
FIRST_DAY = dt.date(2025, 1, 1)
ARCHIVE_UNTIL = dt.datetime(2025, 2, 7, 2, tzinfo=dt.UTC)


def village(folder: Path) -> Config:
    """Its deployment, with nothing landed yet."""
    told = deployments.raw()
    told["archive_until"] = ARCHIVE_UNTIL.isoformat()
    told["feed"] |= {"customers": 40, "terminals": 60, "first_day": FIRST_DAY, "first_as_of": ARCHIVE_UNTIL.isoformat()}
    for window in told["windows"]:
        window["days"] = [1, 7]
        if window["column"] == "label":
            window["publish"] = {"value": 6, "unit": "hours", "reason": "a label becomes known at any hour"}
    told["request"]["ratios"] = ["customer_amount_mean_7d"]
    told["training"]["train"]["value"], told["training"]["validation"]["value"] = 7, 2
    told["training"]["holdout"]["value"], told["training"]["tuning"] = 5, None
    told["events"]["volume_low"]["value"] = 0.1
    return load(deployments.write(folder, told))


def ingest(config: Config, as_of: dt.datetime) -> None:
    """Check and load what has landed."""
    load_batch(config, as_of, validate_batch(config, as_of).staged)


def live_until(config: Config, as_of: dt.datetime) -> None:
    """Let time pass: the archive first, then each day's files and features as they would have come."""
    day = ARCHIVE_UNTIL
    while day <= as_of:
        write_until(config, (day - DAY).date())
        ingest(config, day)
        publish_features(config, day)
        day += DAY
