"""The charts in a world whose base rate moves: a thin version of the benchmark."""

from __future__ import annotations

from benchmarks.base_rate import WITHIN, year
from ml.config import load


def test_a_season_of_low_base_rates_is_no_loss_and_a_loss_is_found() -> None:
    """Half a year in which the base rate falls from 34 % to 3 % would raise a hundred alarms of what is not at its rate."""
    config = load("config/demo.yaml")
    still = [year(number, config, "season", lost=False, days=120)[0] for number in range(2)]
    found = [year(number, config, "daily", lost=True, days=WITHIN + 1)[1] <= WITHIN for number in range(4)]
    assert sum(still) <= 2
    assert sum(found) >= 3
