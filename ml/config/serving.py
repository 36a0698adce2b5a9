"""The section on the scoring service."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ml.config.thresholds import Megabytes, Milliseconds, Minutes, PerSecond, Rows, Section, ShareOfAlerts, Threshold


class Serving(Section):
    """The scoring service; everything has a default.

    Attributes:
        deadline: how long a request waits for the online store; then it is scored with the features of an unknown entity.
        log_wait: how long a request waits until its prediction is on disk.
        without_log: whether a request is refused or answered when its prediction cannot be written in that time.
        log_size: predictions on disk that are not in the lake yet, at most; beyond it they count as not written.
        ahead: how far an event may lie in the future, for clocks differ.
        batch: events of one request, at most.
        body: size of a request, at most.
        rate: requests of one client, at most; a client is a key, or an address where there are no keys.
        explore: share of the alerts that are let through all the same, so that some labels depend on no alert; null for none.
    """

    deadline: Milliseconds = Threshold(
        value=50, unit="milliseconds", reason="a payment is authorized within a tenth of a second, half of which is ours"
    )
    log_wait: Milliseconds = Threshold(
        value=200, unit="milliseconds", reason="a disk that takes longer is broken or busy with something else"
    )
    without_log: Literal["refuse", "answer"] = "refuse"
    log_size: Megabytes = Threshold(
        value=2000, unit="megabytes", reason="some million predictions: a night in which nothing reaches the lake"
    )
    ahead: Minutes = Threshold(value=5, unit="minutes", reason="clocks of well-kept machines differ by less")
    batch: Rows = Threshold(value=1000, unit="rows", reason="more belongs into batch scoring, which is faster for them")
    body: Megabytes = Threshold(value=2, unit="megabytes", reason="a thousand events of a hundred short columns")
    rate: PerSecond = Threshold(value=2000, unit="per second", reason="more than one process can answer")
    explore: Annotated[ShareOfAlerts | None, Field(exclude_if=lambda explore: explore is None)] = None
