"""Two models, a window and rows: what a meeting at the gate is made of."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from ml.evaluation.gate import Contender, Holdout, Rows, Rules

START, END = datetime(2025, 6, 2, tzinfo=UTC), datetime(2025, 6, 16, tzinfo=UTC)
HOLDOUT = Holdout(START, END, datetime(2025, 6, 23, tzinfo=UTC), digest="rows")
CHAMPION = Contender("fraud 12", "aaaa", datetime(2025, 5, 20, tzinfo=UTC), datetime(2025, 5, 27, tzinfo=UTC), 0.9)
CHALLENGER = Contender("fraud 13", "bbbb", datetime(2025, 5, 25, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC), 0.9)
RULES = Rules("average precision", alpha=0.05, worthwhile_gain=0.02, margins={}, limits={}, cards_a_day=20)


def probabilities(logits):
    return 1 / (1 + np.exp(3 - logits))


def scored(gain=0.0, rows=6000, clusters=600, seed=0):
    """Rows on which the challenger's frauds score higher by `gain`."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.04).astype(int)
    common = 1.5 * labels + 0.8 * rng.normal(size=rows)
    return Rows(
        labels=labels,
        champion=probabilities(common + 0.4 * rng.normal(size=rows)),
        challenger=probabilities(common + 0.4 * rng.normal(size=rows) + gain * labels),
        clusters=rng.integers(0, clusters, rows),
        event_times=np.datetime64("2025-06-02") + rng.integers(0, 14 * 86_400, rows).astype("timedelta64[s]"),
    )


def meeting(rows=None, rules=None, **changes):
    """Arguments of `judge`, without guardrails or slices."""
    return {
        "champion": CHAMPION,
        "challenger": CHALLENGER,
        "holdout": HOLDOUT,
        "rows": rows or scored(),
        "rules": replace(RULES, **(rules or {})),
        "replicates": 300,
        "seed": 1,
        "trigger": "schedule",
        "slices": (),
        "attributes": {},
        "meetings": (),
        "footprint": None,
        "notes": (),
        "spend": lambda: None,
    } | changes
