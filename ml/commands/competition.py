"""Versions that compete beside the champion: how it begins, and how they stand."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from ml.commands.command import Command, instant
from ml.commands.releases import WHO_AND_WHY
from ml.commands.terminal import say, table
from ml.config import Config
from ml.errors import BadInput
from ml.ledger.run import Run
from ml.records import to_record

if TYPE_CHECKING:
    from ml.evaluation.standings import Comparison, Standing
    from ml.overview.standings import Answered


def compete(config: Config, asked: argparse.Namespace) -> None:
    """Let versions each answer a fixed share of the traffic beside the champion; nothing is promoted by it."""
    from ml.decision.competition import begin

    named = [version for version, _ in asked.version]
    if twice := sorted({version for version in named if named.count(version) > 1}):
        raise BadInput(f"--version: {', '.join(twice)} is given twice; give each version once, with its share")
    contest = begin(config, asked.as_of, dict(asked.version), asked.until, asked.reason, Run(actor=asked.actor))
    begun, stop = contest.competition, contest.stop
    ended = f"; it was stopped by {stop.actor}, and begins again only with another --as-of" if stop else ""
    say(f"{begun.name}, until {begun.until:%Y-%m-%d %H:%M}{ended}")


def standings(config: Config, asked: argparse.Namespace) -> None:
    """Print what each version of the competition answered, and how they compare on labels that have matured."""
    from ml.overview.standings import table as table_of

    seen = table_of(config, asked.as_of)
    if asked.json:
        say(json.dumps(to_record(seen), indent=1))
        return
    stopped = f", stopped at {seen.stopped:%Y-%m-%d %H:%M}" if seen.stopped else ""
    say(f"{seen.name}, from {seen.since:%Y-%m-%d %H:%M} until {seen.until:%Y-%m-%d %H:%M}{stopped}")
    quality = {each.version: each for each in seen.quality.versions} if seen.quality else {}
    table(
        ["version", "share", "answered", "alerts", "failed", "average precision [95 %]"],
        [[*_answered(each), _value(quality.get(each.version))] for each in seen.answered],
    )
    say(f"{seen.events:,} matured events that all of them have scored, {seen.positives:,} positive")
    if seen.quality is None:
        say("too few to compare, or all of one entity or one label")
    else:
        table(
            ["difference", "average precision [95 %]", "p (Holm)", ""], [_compared(each) for each in seen.quality.comparisons]
        )
        say(CORRECTED)
    if asked.as_of < seen.decided:
        say(f"an interim look: the level holds for one look, when all labels have matured, on {seen.decided:%Y-%m-%d %H:%M}")
    say("nothing is promoted by this: what shall be champion goes through the gate, and is released in steps where that is set")


def _answered(row: Answered) -> list[str]:
    name = f"{row.version}, champion" if row.is_champion else row.version
    return [name, f"{row.share:g} %", f"{row.requests:,}", f"{row.alerts:,}", f"{row.failed:,}"]


def _value(standing: Standing | None) -> str:
    return "-" if standing is None else f"{standing.value:.4f} [{standing.low:.4f}, {standing.high:.4f}]"


def _compared(row: Comparison) -> list[str]:
    better = row.second if row.gain > 0 else row.first
    return [
        f"{row.second} - {row.first}",
        f"{row.gain:+.4f} [{row.low:+.4f}, {row.high:+.4f}]",
        f"{row.p:.3g}",
        f"version {better} is better" if row.is_certain else "not certain",
    ]


def _share(text: str) -> tuple[str, float]:
    """A version with its percent, such as `7=5`."""
    version, _, percent = text.partition("=")
    try:
        return version.strip(), float(percent)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no version with its percent; write it like 7=5") from None


CORRECTED = (
    "every difference is tested with every other one (Holm): if no two versions differ, any is called better with a chance of "
    "at most 5 %; an interval is that of its difference alone"
)
COMMANDS = {
    "releases compete": Command(
        compete,
        needs_as_of=True,
        arguments=(
            (
                ("--version",),
                {
                    "required": True,
                    "action": "append",
                    "type": _share,
                    "metavar": "NUMBER=PERCENT",
                    "help": "a registered version, and the percent of the entities that it answers; once for each",
                },
            ),
            (("--until",), {"required": True, "type": instant, "help": "instant, UTC; later events are the champion's alone"}),
            *WHO_AND_WHY,
        ),
    ),
    "releases standings": Command(
        standings, needs_as_of=True, arguments=((("--json",), {"action": "store_true", "help": "print JSON"}),)
    ),
}
