"""A stream of card payments of any length, drawn by numpy in chunks: a bank whose customers grow with its payments.

It has the files of `config/demo.yaml`'s feed: payments by day, and the frauds that were reported on that day. What it lacks of
`ml.simulate` is its world; what it has is speed, and memory that does not grow with the stream. Terminals are compromised for a
week, and their payments are frauds more often, so that a model finds something.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ml.clock import REPORTS
from ml.simulate.landing import PAYMENTS, PAYMENTS_SCHEMA, REPORTS_SCHEMA

FIRST_DAY = dt.date(2025, 1, 1)
DAY = dt.timedelta(days=1)
MICROSECONDS = 86_400_000_000
CHUNK = 500_000
PAYMENTS_A_DAY = 2
"""Payments of a customer a day; a terminal has twice as many."""
WEEK, COMPROMISED = 7, 50
"""In each week one terminal of so many is compromised."""
FRAUD, FRAUD_THERE = 0.001, 0.25
"""Share of frauds among the payments, and among those at a compromised terminal."""
SLOWEST = 7
"""Days within which a fraud is reported."""
CATEGORIES = pa.array(["grocery", "fuel", "travel", "electronics", "restaurant", "clothing"])
CHANNELS = pa.array(["chip", "contactless", "online"])
COUNTRIES = pa.array(["DE", "FR", "NL", "AT", "CH", "IT", "ES"])
SOURCES = pa.array(["chargeback", "analyst", "customer"])


@dataclass(frozen=True)
class Stream:
    """Payments over some days, as many each day.

    Attributes:
        rows: payments of all days together.
        days: number of days.
    """

    rows: int
    days: int

    @property
    def rows_a_day(self) -> int:
        """Payments of a day."""
        return self.rows // self.days

    def write(self, folder: Path) -> None:
        """The files of all days."""
        folder.mkdir(parents=True, exist_ok=True)
        waiting: dict[int, list[pa.Table]] = {}
        for day in range(self.days):
            with pq.ParquetWriter(folder / f"{PAYMENTS}_{date(day)}.parquet", PAYMENTS_SCHEMA) as file:
                for chunk, first in enumerate(range(0, self.rows_a_day, CHUNK)):
                    rows = min(CHUNK, self.rows_a_day - first)
                    payments, delays = self._chunk(day, chunk, first, rows)
                    file.write_table(payments)
                    for delay in range(SLOWEST):
                        waiting.setdefault(day + delay, []).append(_reports(payments, delays, delay))
            reports = pa.concat_tables(waiting.pop(day)).sort_by("reported_at")
            pa.csv.write_csv(reports, folder / f"{REPORTS}_{date(day)}.csv")

    def _chunk(self, day: int, chunk: int, first: int, rows: int) -> tuple[pa.Table, np.ndarray]:
        """Payments in the order of time, and the days after which each is reported as a fraud, -1 for never."""
        dice = np.random.default_rng([day, chunk])
        begin, end = (MICROSECONDS * (first + offset) // self.rows_a_day for offset in (0, rows))
        time = np.datetime64(date(day), "us") + np.sort(dice.integers(begin, end, rows))
        customers = max(self.rows_a_day // PAYMENTS_A_DAY, 1)
        terminals = max(customers // 2, 1)
        # Some pay more often than others, and some terminals are busier.
        customer = (customers * dice.random(rows) ** 1.3).astype(np.int64)
        terminal = (terminals * dice.random(rows) ** 1.3).astype(np.int64)
        compromised = (terminal + day // WEEK) % COMPROMISED == 0
        is_fraud = dice.random(rows) < np.where(compromised, FRAUD_THERE, FRAUD)
        amount = np.round(np.exp(dice.normal(3 + 0.2 * (customer % 5) + 0.5 * is_fraud, 0.8)), 2)
        columns = {
            "payment_id": _named(f"p{day:03d}", np.arange(first, first + rows)),
            "paid_at": time,
            "customer_id": _named("c", customer),
            "terminal_id": _named("t", terminal),
            "amount": np.minimum(amount, 20_000.0),
            "merchant_category": CATEGORIES.take(pa.array(terminal % len(CATEGORIES))),
            "channel": CHANNELS.take(pa.array(dice.integers(0, len(CHANNELS), rows))),
            "country": COUNTRIES.take(pa.array(dice.integers(0, len(COUNTRIES), rows))),
        }
        return pa.table(columns, PAYMENTS_SCHEMA), np.where(is_fraud, dice.integers(0, SLOWEST, rows), -1)


def date(day: int) -> dt.date:
    """The date of a day of a stream, from 0."""
    return FIRST_DAY + day * DAY


def _named(prefix: str, numbers: np.ndarray) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 9, "0")
    return pc.binary_join_element_wise(prefix, digits, "")


def _reports(payments: pa.Table, delays: np.ndarray, delay: int) -> pa.Table:
    """The frauds that are reported after so many days: on the same day at its last second, later at noon."""
    frauds = payments.filter(pa.array(delays == delay))
    day = pc.floor_temporal(frauds["paid_at"], unit="day")
    after = dt.timedelta(hours=12) if delay else DAY - dt.timedelta(seconds=1)
    reported = pc.add(day, pa.scalar(delay * DAY + after, pa.duration("us"))).cast(pa.timestamp("s"))
    columns = {
        "payment_id": frauds["payment_id"],
        "is_fraud": np.ones(len(frauds), dtype=np.int8),
        "reported_at": pc.strftime(reported, "%Y-%m-%dT%H:%M:%S"),
        "source": SOURCES.take(pa.array(np.arange(len(frauds)) % len(SOURCES))),
    }
    return pa.table(columns, REPORTS_SCHEMA)
