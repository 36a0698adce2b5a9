"""What is being released: how far it is and why, and what a person may say about it."""

from __future__ import annotations

import argparse
from typing import Literal

from ml.commands.command import Command
from ml.commands.terminal import say, table
from ml.config import Config
from ml.ledger.run import Run


def show(config: Config, asked: argparse.Namespace) -> None:
    """Print the releases, newest first, and every look at them."""
    from ml.decision.release import share_of
    from ml.ledger.ledger import Ledger

    courses = Ledger(config.ledger).releases.all(config.name)[::-1]
    if not courses:
        say(
            "no version was released in steps"
            if config.release
            else "versions are promoted at once: there is no section release"
        )
    for course in courses[: asked.last]:
        opened, state = course.release, f"at {share_of(course):g} %" if course.is_open else course.moves[-1].word
        say(f"version {opened.version} in place of version {opened.champion}, since {opened.as_of:%Y-%m-%d %H:%M}: {state}")
        table(
            ["looked", "word", "requests", "reason"],
            [
                [f"{move.as_of:%Y-%m-%d %H:%M}", move.word, str(move.evidence.get("requests", "")), move.reason]
                for move in course.moves
            ],
        )


def approve(config: Config, asked: argparse.Namespace) -> None:
    """Agree to the next step of the release; its next look takes it."""
    _say(config, asked, "approved")


def stop(config: Config, asked: argparse.Namespace) -> None:
    """End the release, or else the competition: the champion answers everything again."""
    from ml.decision import competition
    from ml.ledger.competitions import NoCompetition
    from ml.ledger.ledger import Ledger

    if Ledger(config.ledger).releases.open(config.name) is None:
        try:
            say(competition.stop(config, asked.as_of, asked.reason, Run(actor=asked.actor)))
        except NoCompetition:
            pass
        else:
            return
    _say(config, asked, "stopped")


def _say(config: Config, asked: argparse.Namespace, word: Literal["approved", "stopped"]) -> None:
    from ml.decision.release import end

    say(end(config, asked.as_of, word, asked.reason, Run(actor=asked.actor)).note)


WHO_AND_WHY = (
    (("--actor",), {"required": True, "help": "who says so"}),
    (("--reason",), {"required": True, "help": "why, for the ledger"}),
)
COMMANDS = {
    "releases list": Command(show, arguments=((("--last",), {"type": int, "default": 5, "help": "how many, at most"}),)),
    "releases approve": Command(approve, needs_as_of=True, arguments=WHO_AND_WHY),
    "releases stop": Command(stop, needs_as_of=True, arguments=WHO_AND_WHY),
}
