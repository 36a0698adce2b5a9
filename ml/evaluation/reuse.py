"""How often a holdout day may be reused: repeated tests on the same rows promote by chance.

The rule: a decision needs a minimum number of fresh days, that is, days in its window that no earlier decision has used. A
window of 14 days of which 3 must be fresh decides every third night, and no day is used more than five times. The table shows
16 simulated years of a champion that loses .02 of average precision in 45 days, at alpha .05, and .20 once it is 21 nights old
(standard errors .1 to .2 and .0004). Quality is the champion's true average precision minus that of a gate that decides every
night, which promoted .50 worse models a year:

==========  ===========  ===============  =======
fresh days  promotions   to worse models  quality
==========  ===========  ===============  =======
2           12.8         .38              +.0019
**3**       12.4         .50              +.0015
4           11.2         .19              +.0005
5           10.8         .12              -.0001
7           10.1         .19              -.0008
==========  ===========  ===============  =======

Source: Dwork et al. 2015, The reusable holdout (the problem; the rule here is simpler).

Example: one day after a decision on the same window of four days, one day is fresh; three are needed.
    >>> start = datetime(2025, 6, 2)
    >>> freshness(start + DAY, start + 5 * DAY, used=[(start, start + 4 * DAY)], needed=3)
    Freshness(fresh=1, needed=3, nights_to_wait=2)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ml.errors import BadInput

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Freshness:
    """Number of fresh days of a window, number needed, and nights until there are enough."""

    fresh: int
    needed: int
    nights_to_wait: int

    @property
    def enough(self) -> bool:
        """Whether the window may decide now."""
        return self.nights_to_wait == 0


def freshness(start: datetime, end: datetime, used: Iterable[tuple[datetime, datetime]], needed: int) -> Freshness:
    """Fresh days of the window [start, end), and the nights until the window, moving by a day a night, has enough of them.

    Args:
        used: windows [start, end) of the earlier decisions.
        needed: fresh days that a decision needs, at least 1 and at most the window's length.

    Raises:
        ValueError: `needed` is out of range.
    """
    spent: set[date] = set().union(*(_days(first, last) for first, last in used))
    if not 1 <= needed <= len(_days(start, end)):
        raise BadInput(f"needed is {needed} fresh days, expected 1 to {len(_days(start, end))}, the days of the window")
    fresh = len(_days(start, end) - spent)
    wait = 0
    while len(_days(start + wait * DAY, end + wait * DAY) - spent) < needed:
        wait += 1
    return Freshness(fresh, needed, wait)


def _days(start: datetime, end: datetime) -> set[date]:
    return {(start + i * DAY).date() for i in range(max(round((end - start) / DAY), 0))}
