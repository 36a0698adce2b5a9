"""Which columns and features a fault of the feed mutes, on its day and afterwards. A muted signal is not assessed.

On a day with lost rows, nothing is assessed. A column with broken values is muted on that day, with the ratios over it. On the
days after, windowed features contain the faulty day. They are muted as long as it is in their window:

- lost or duplicated rows affect the counts and sums of every window. Quarantined rows are not a random sample, so they affect
  means too. Rejected rows are duplicates of rows that were accepted before, so they affect nothing.
- missing values and values in another unit affect sums and means of windows over their column.
- unseen categories affect no window.

A window of w days with a delay of d contains a day from d days after it to d + w days after it, and one day longer where the
snapshot of the last midnight is not published yet; the day itself only if snapshots are published within a day. A window that
ends at each event contains the day itself and as many days after it as it is long. A ratio is muted with its average and with
its measure; the score and the alerts are muted with any input of the model.

Example: incidents of whole days make a day faulty, incidents of one column do not.
    >>> day = dt.date(2025, 6, 2)
    >>> lost = Incident(day=day, fault=NO_EVENTS, subject="events", reason="no event came", evidence={})
    >>> unit = Incident(day=day, fault=UNIT, subject="amount", reason="amount is in cents", evidence={})
    >>> is_faulty([lost]), is_faulty([unit])
    (True, False)
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable

from ml.config import AnyWindow, Config, EventWindow
from ml.config.names import ratio
from ml.features import request
from ml.ledger.signals import Incident
from ml.monitoring.faults import MISSING, NO_EVENTS, OF_THE_DAY, SET_ASIDE, UNIT, VOLUME
from ml.monitoring.traffic import DAY


def is_faulty(incidents: Iterable[Incident]) -> bool:
    """Whether a fault concerns all rows of the day, so that the day is not assessed at all."""
    return any(incident.fault in OF_THE_DAY for incident in incidents)


def muted(config: Config, incidents: Iterable[Incident], day: dt.date) -> set[str]:
    """Columns and features that a fault of `day`, or of an earlier day, affects; by the rules of this module."""
    incidents = list(incidents)
    columns = {incident.subject for incident in incidents if incident.day == day and incident.fault not in OF_THE_DAY}
    windowed = {
        window.feature(aggregate, length)
        for incident in incidents
        for window in config.windows
        for aggregate in window.aggregates
        for length in window.lengths
        if _is_in(window, length, incident.day, day) and _affects(config, incident, window, aggregate)
    }
    affected = columns | windowed
    return affected | {ratio(measure, average) for measure, average in request.ratios(config) if {measure, average} & affected}


def reach(config: Config) -> dt.timedelta:
    """Longest time that a faulty day can be in any window."""
    return max((_days(window, length)[1] for window in config.windows for length in window.lengths), default=0) * DAY


def _is_in(window: AnyWindow, length: int, faulty: dt.date, day: dt.date) -> bool:
    first, last = _days(window, length)
    return first <= (day - faulty).days <= last


def _days(window: AnyWindow, length: int) -> tuple[int, int]:
    """The first and the last number of days after a day on which it is in a window."""
    if isinstance(window, EventWindow):
        return 0, math.ceil(dt.timedelta(minutes=length) / DAY)
    first = max(window.delay_span // DAY, 0 if window.interval < DAY else 1)
    return first, math.ceil(window.delay_span / DAY) + length + 1


def _affects(config: Config, incident: Incident, window: AnyWindow, aggregate: str) -> bool:
    if incident.fault in (NO_EVENTS, VOLUME):
        return aggregate in ("count", "sum")
    if incident.fault == SET_ASIDE:
        return bool(incident.evidence["quarantined"])
    return incident.fault in (MISSING, UNIT) and incident.subject == window.column and aggregate in ("sum", "mean")
