"""Policies of retraining over history, for the person who asks which of them a deployment should have."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ml.commands.command import Command
from ml.commands.terminal import say, stdout_to_stderr, table
from ml.config import Config
from ml.records import to_record

if TYPE_CHECKING:
    from ml.replay.replay import Replay


def replay(config: Config, asked: argparse.Namespace) -> None:
    """Replay policies of retraining over history, day by day, through the very steps that the deployment runs.

    A policy is TRIGGERS[:PROTOCOL][:KEY=VALUE…]. Triggers, joined by `+`: never, weekly, nightly, new_data, drift, performance,
    and any, which is the last three. Protocols: judged ships the judged model, refit its refit, early a refit that learns from
    early answers too; without one the deployment file decides. A key is one of that file, such as retraining.cooldown=7. A run
    that was stopped goes on where it was.
    """
    from ml.replay import scenario
    from ml.replay.policy import Policy
    from ml.replay.replay import replay

    policies = [Policy.parse(name) for name in asked.policies.split(",")]
    if asked.scenario is not None:
        config = scenario.applied(config, scenario.read(asked.scenario))
    with stdout_to_stderr():
        found = replay(
            config,
            policies,
            asked.folder or config.home / "replay",
            asked.first,
            asked.last,
            workers=asked.workers,
            trials=asked.trials,
            lake=asked.lake,
            say=lambda text: print(text, file=sys.stderr, flush=True),  # noqa: T201
        )
    if asked.json:
        say(json.dumps(_plain(found), indent=1))
        return
    _table(found)


def _plain(found: Replay) -> dict[str, object]:
    """The replay as plain values; days as text."""
    record: dict[str, object] = json.loads(json.dumps(_by_text(to_record(found))))
    return record


def _by_text(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _by_text(inner) for key, inner in value.items()}
    return [_by_text(inner) for inner in value] if isinstance(value, list) else value


def _table(found: Replay) -> None:
    say(f"{found.first} to {found.last}: {len(found.days)} matured days, of which all policies have scores")
    if found.drift:
        say(f"the world changed on {found.drift}")
    table(
        [
            "policy",
            "average precision",
            "regret",
            "95 % interval",
            "days to 90 %",
            "trainings",
            "promoted",
            "refreshed",
            "worse",
            "refused",
            "seconds",
        ],
        [
            [
                course.policy,
                _figure(course.mean),
                _figure(course.regret),
                "-" if course.interval is None else f"{course.interval[0]:+.3f} to {course.interval[1]:+.3f}",
                "-" if course.days_to_90 is None else str(course.days_to_90),
                *map(str, (course.trainings, course.promotions, course.refreshes, course.worse, course.refused)),
                f"{course.seconds:.0f}",
            ]
            for course in found.courses
        ],
    )
    if found.oracle_mean is not None:
        say(f"oracle, of the same trees with all labels at once, fitted weekly: {found.oracle_mean:.3f}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it like 2025-05-02") from None


COMMANDS = {
    "replay": Command(
        replay,
        arguments=(
            (("--policies",), {"required": True, "help": "policies, by commas: never,weekly,any:judged,any:refit"}),
            (("--from",), {"dest": "first", "type": _day, "default": None, "help": "first night (default: of the live feed)"}),
            (("--to",), {"dest": "last", "type": _day, "required": True, "help": "last night"}),
            (("--workers",), {"type": int, "default": 1, "help": "policies at a time (default: %(default)s)"}),
            (("--trials",), {"type": int, "default": 10, "help": "trials of a search for settings (default: %(default)s)"}),
            (
                ("--scenario",),
                {"type": Path, "default": None, "help": "file of what happens in a simulated world, see config/scenarios"},
            ),
            (("--lake",), {"action": "store_true", "help": "replay what the lake holds, also where the feed could be played"}),
            (("--folder",), {"type": Path, "default": None, "help": "for what is replayed (default: replay in the home)"}),
            (("--json",), {"action": "store_true", "help": "print JSON"}),
        ),
    )
}
