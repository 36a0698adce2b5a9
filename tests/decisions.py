"""An answer of the gate, as it stands in the ledger."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from ml.ledger.decisions import Decision

AS_OF = dt.datetime(2025, 5, 2, 2, tzinfo=dt.UTC)


def decision(**other: Any) -> Decision:
    answer = Decision(
        model="fraud",
        as_of=AS_OF,
        trigger="drift",
        run_id="run_1",
        champion_version="1",
        challenger_version="2",
        outcome="KEEP",
        metric="average_precision",
        difference=0.01,
        lower_bound=-0.02,
        interval_low=-0.03,
        interval_high=0.05,
        minimum_detectable_effect=0.04,
        rows=20_000,
        training_rows=80_000,
        reason="the lower bound is below 0",
        evidence={"slices": [{"name": "abroad", "auc": None}]},
    )
    return dataclasses.replace(answer, **other)
