"""What a fault of the feed leaves behind: the columns and features that are not judged, on its day and afterwards.

On a day of which rows are lost, nothing is judged. A column whose values are broken is not judged on that day, nor are ratios
over it; all other columns are. Afterwards the day is in windows of features, and these are not judged as long as it stays
there, by the window's column, aggregate and length:

- rows that did not come, or that came too often, are in counts and sums of every window; rows that were quarantined were not
  lost by chance, and are in means as well; where rows were only rejected, because they were in already, nothing is lost;
- values that are missing or in another unit are in sums and means of windows over their column;
- categories that were never seen are in no window.

A window of w days with a delay of d holds a day from d days after it to d + w days after it, and a day longer where the
snapshot of the last midnight is not published yet; the day itself only where snapshots are published within a day. A ratio is
muted with its average and with its measure, the score and the alerts with any of the model's inputs.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable

from ml.config import Config, Window
from ml.config.names import ratio
from ml.features import request
from ml.ledger.signals import Incident
from ml.monitoring.faults import MISSING, NOTHING, OF_THE_DAY, SET_ASIDE, UNIT, VOLUME
from ml.monitoring.traffic import DAY


def is_faulty(incidents: Iterable[Incident]) -> bool:
    """Whether faults of a day are such that nothing of the day is compared with anything."""
    return any(incident.fault in OF_THE_DAY for incident in incidents)


def muted(config: Config, incidents: Iterable[Incident], day: dt.date) -> set[str]:
    """Columns and features in which a fault of `day`, or of a day before it, shows; by the rule of this module."""
    incidents = list(incidents)
    columns = {incident.subject for incident in incidents if incident.day == day and incident.fault not in OF_THE_DAY}
    windowed = {
        window.feature(aggregate, days)
        for incident in incidents
        for window in config.windows
        for aggregate in window.aggregates
        for days in window.days
        if _is_in(window, days, incident.day, day) and _spoils(config, incident, window, aggregate)
    }
    spoilt = columns | windowed
    return spoilt | {ratio(measure, average) for measure, average in request.ratios(config) if {measure, average} & spoilt}


def reach(config: Config) -> dt.timedelta:
    """How long a fault can stay in any window."""
    return max((math.ceil(window.delay_span / DAY) + max(window.days) + 1 for window in config.windows), default=0) * DAY


def _is_in(window: Window, days: int, faulty: dt.date, day: dt.date) -> bool:
    first = max(window.delay_span // DAY, 0 if window.interval < DAY else 1)
    return first <= (day - faulty).days <= math.ceil(window.delay_span / DAY) + days + 1


def _spoils(config: Config, incident: Incident, window: Window, aggregate: str) -> bool:
    if incident.fault in (NOTHING, VOLUME):
        return aggregate in ("count", "sum")
    if incident.fault == SET_ASIDE:
        return bool(incident.evidence["quarantined"])
    return incident.fault in (MISSING, UNIT) and incident.subject == window.column and aggregate in ("sum", "mean")
