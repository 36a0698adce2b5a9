"""Small deployments for tests: the demo's configuration with a smaller bank and shorter windows."""

from __future__ import annotations

import copy
import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ml.config import PROJECT, Config, load
from ml.quality import quarantine
from tests.servers import Servers

FIRST_DAY = dt.date(2025, 1, 1)
FIRST_AS_OF = dt.datetime(2025, 3, 12, 2, tzinfo=dt.UTC)

servers: Servers | None = None
"""Where deployments of tests keep what otherwise lies in SQLite files, with `--backend postgres`."""

MORE_FRAUDS = {"customers": 1500, "terminals": 6000}
"""A feed with enough of them to tell three trees from no model, and many trees from three, in ten weeks."""


def raw(name: str = "demo") -> dict[str, Any]:
    """A deployment file as plain values, to be changed and written; requests are held back as they are by default.

    What is judged is promoted: only tests of the refit have one.
    """
    told = yaml.safe_load((PROJECT / "config" / f"{name}.yaml").read_text())
    told["training"].pop("refit", None)
    return {section: value for section, value in told.items() if section != "retraining"}


def write(folder: Path, told: dict[str, Any]) -> Path:
    """Write a deployment file whose home is `folder/home`."""
    told = copy.deepcopy(told) | {"home": str(folder / "home")}
    if servers is not None:
        told = servers.addresses(folder / "home") | told
    path = folder / "deployment.yaml"
    path.write_text(yaml.safe_dump(told))
    return path


def small_told() -> dict[str, Any]:
    """A deployment of a bank that ten weeks of simulated payments make worth judging in seconds, as plain values."""
    told = raw()
    told["archive_until"] = FIRST_AS_OF.isoformat()
    told["feed"] |= {"customers": 800, "terminals": 3200, "first_day": FIRST_DAY, "first_as_of": FIRST_AS_OF.isoformat()}
    # Ten weeks do not fill windows of 30 days before the training rows begin.
    for window in told["windows"]:
        window["days"] = [1, 7]
    told["request"]["ratios"] = ["customer_amount_mean_7d", "terminal_amount_mean_7d"]
    told["training"]["train"]["value"] = 21
    told["training"]["holdout"]["value"] = 14
    told["training"]["tuning"] = None
    told["training"]["model"] |= {"iterations": 40, "learning_rate": 0.15, "depth": 4}
    # What tests plant and expect is about trees; the choice among candidates and the linear one have tests of their own.
    told["training"]["candidates"] = ["boosted trees"]
    # Some hundred frauds decide nightly here; what guards them has tests of its own.
    told["gate"] |= {"golden": None, "ancestor": None}
    told["gate"]["fresh"]["value"] = 1
    told["gate"]["slices"]["by"] = [{"column": "amount", "edges": [50]}]
    wide = {"roc_auc": 0.1, "card_precision": 0.3, "calibration": 3, "expected_cost": 1e6, "latency": 1000}
    for name, margin in wide.items():
        told["gate"]["guardrails"][name]["value"] = margin
    return told


def small_file(folder: Path) -> Path:
    """The file of that deployment."""
    return write(folder, small_told())


def small(folder: Path) -> Config:
    """The deployment of `small_file`."""
    return load(small_file(folder))


def payments(rows: int, day: dt.date = dt.date(2025, 3, 10), start: int = 0) -> dict[str, list[Any]]:
    """Plausible payments of one day by the feed's column names."""
    midnight = dt.datetime.combine(day, dt.time())
    return {
        "payment_id": [f"P{start + i:07d}" for i in range(rows)],
        "paid_at": [midnight + dt.timedelta(seconds=60 + 86_000 * i // max(rows, 1)) for i in range(rows)],
        "customer_id": [f"C{i % 7:03d}" for i in range(rows)],
        "terminal_id": [f"T{i % 5:03d}" for i in range(rows)],
        "amount": [10.0 + i % 90 for i in range(rows)],
        "merchant_category": ["grocery"] * rows,
        "channel": ["chip"] * rows,
        "country": ["FR"] * rows,
    }


def land(config: Config, name: str, columns: dict[str, list[Any]]) -> Path:
    """Put a Parquet file with these columns into the landing folder."""
    config.landing.mkdir(parents=True, exist_ok=True)
    path = config.landing / name
    pq.write_table(pa.table(columns), path)
    return path


def land_text(config: Config, name: str, text: str) -> Path:
    """Put a text file into the landing folder."""
    config.landing.mkdir(parents=True, exist_ok=True)
    path = config.landing / name
    path.write_text(text)
    return path


def spoil_newest(config: Config) -> None:
    """Make the first payment of the newest file impossible."""
    path = max(config.landing.glob("payments_*"))
    rows = pq.read_table(path).to_pandas()
    rows.loc[rows.index[0], "amount"] *= -1
    rows.to_parquet(path, index=False)


def readmit_mended(config: Config, as_of: dt.datetime) -> None:
    """Mend the amounts that were set aside in the newest batch, and readmit them."""
    batch = quarantine.summary(config)[-1].batch_id
    mended = config.home / "mended.csv"
    quarantine.export(config, batch, mended)
    rows = pd.read_csv(mended, dtype=str)
    rows["amount"] = rows["amount"].str.removeprefix("-")
    rows.to_csv(mended, index=False)
    assert quarantine.readmit(config, as_of, batch, "the sign was wrong", "ann", None, mended).accepted == len(rows)
