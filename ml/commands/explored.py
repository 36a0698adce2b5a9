"""What alerts that are let through have cost, and what their labels say."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from ml.commands.command import Command
from ml.commands.terminal import say
from ml.config import Config
from ml.errors import BadInput
from ml.records import to_record

if TYPE_CHECKING:
    from ml.overview.explored import Explored, Precision


def explored(config: Config, asked: argparse.Namespace) -> None:
    """Print how many alerts were let through, what that has cost so far, and how precise alerts are by their labels."""
    from ml.overview import explored

    if asked.days < 1:
        raise BadInput(f"--days is {asked.days}, expected 1 or more")
    seen = explored.explored(config, asked.as_of, asked.days)
    if asked.json:
        say(json.dumps(to_record(seen), indent=1))
        return
    for row in _lines(config, seen, asked.days):
        say(row)


def _lines(config: Config, seen: Explored, days: int) -> list[str]:
    setting = config.serving.explore
    setting_text = f"serving.explore is {setting.value:.1%} now" if setting else "serving.explore is not set now"
    share = f" ({seen.let_through / seen.alerts:.1%})" if seen.alerts else ""
    lines = [
        f"let through   {seen.let_through:,} of {seen.alerts:,} alerts{share} in {days} days; {setting_text}",
        f"positive      {seen.positives:,} of them, by what was reported so far",
    ]
    if seen.cost is None:
        lines.append("cost          not known: the deployment file has no section costs")
    else:
        cost = seen.cost
        unpriced = f"; of {cost.unpriced:,} positives the event is not in the lake, so their amounts are not counted"
        lines.append(
            f"cost          {cost.missed - cost.saved:,.2f} so far: {cost.missed:,.2f} for positives that an alert would have "
            f"stopped, less {cost.saved:,.2f} for looking at these alerts{unpriced if cost.unpriced else ''}"
        )
    lines.append(f"precision     {_in_words(seen.unbiased)} that were let through, whose labels depend on no alert")
    lines.append(f"              {_in_words(seen.stopped)} that were stopped, whose labels may depend on the alert")
    return lines


def _in_words(found: Precision) -> str:
    if found.value is None:
        return "not known yet: nothing has matured of the alerts"
    return f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}] of {found.alerts:,} matured alerts"


JSON = (("--json",), {"action": "store_true", "help": "print JSON"})
COMMANDS = {
    "explored": Command(
        explored,
        needs_as_of=True,
        arguments=(
            (("--days",), {"type": int, "default": 30, "help": "events of so many days before (default: %(default)s)"}),
            JSON,
        ),
    )
}
