"""The planted bursts are what the benchmark says: several payments of one card within ten minutes, all of them fraud."""

from __future__ import annotations

import pandas as pd

from benchmarks.velocity import BURST, CARDS_A_DAY, DAYS, payments


def test_bursts_are_of_one_card_within_ten_minutes_at_prices_that_others_pay() -> None:
    rows = payments(customers=60, seed=3)
    assert rows["paid_at"].is_monotonic_increasing
    assert rows["payment_id"].is_unique
    bursts = rows[rows["scenario"] == BURST].assign(day=rows["paid_at"].dt.floor("D"))
    assert (bursts["label"] == 1).all()
    assert not (rows.loc[rows["scenario"] == 0, "label"]).any()
    of_a_card = bursts.groupby(["day", "customer_id"])["paid_at"]
    assert len(of_a_card) == DAYS * CARDS_A_DAY
    assert of_a_card.size().between(4, 7).all()
    assert (of_a_card.max() - of_a_card.min()).max() < pd.Timedelta(minutes=10)
    assert set(bursts["amount"]) <= set(rows.loc[rows["scenario"] != BURST, "amount"])
