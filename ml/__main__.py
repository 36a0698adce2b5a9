"""Every step as a command, and the words that a person on call needs.

`python -m ml STEP --as-of … --config …` runs one step of the pipeline and prints its record.
"""

from __future__ import annotations

import argparse
import datetime as dt
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path

from ml import commands, steps
from ml.config import Config, ConfigError, load

Run = Callable[[Config, argparse.Namespace], int | None]


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 when it did what was asked, 1 when it refused with a message, 2 for words that it does not know."""
    asked = _parser().parse_args(arguments)
    try:
        config = load(asked.config)
        if asked.home is not None:
            config = config.model_copy(update={"home": asked.home.resolve()})
        return int(asked.run(config, asked) or 0)
    except (ConfigError, ValueError, LookupError, RuntimeError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _instant(text: str) -> dt.datetime:
    instant = dt.datetime.fromisoformat(text)
    return instant.replace(tzinfo=dt.UTC) if instant.tzinfo is None else instant.astimezone(dt.UTC)


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__, formatter_class=form)
    words = {"": parser.add_subparsers(title="commands", required=True, metavar="COMMAND")}

    def add(name: str, told: str, run: Run, needs_as_of: bool) -> argparse.ArgumentParser:
        group, _, last = name.rpartition(" ")
        if group not in words:
            members = ", ".join(c.removeprefix(group).strip() for c in commands.COMMANDS if c.startswith(f"{group} "))
            within = words[""].add_parser(group, help=members, description=f"One of: {members}.")
            words[group] = within.add_subparsers(title="commands", required=True, metavar="COMMAND")
        word: argparse.ArgumentParser = words[group].add_parser(
            last, help=told.split("\n\n")[0].replace("\n", " "), description=told.replace("%", "%%"), formatter_class=form
        )
        word.add_argument("--config", default="config/demo.yaml", help="deployment file (default: %(default)s)")
        word.add_argument("--home", type=Path, default=None, help="folder of its data (default: what the file says)")
        if needs_as_of:
            word.add_argument(
                "--as-of", type=_instant, required=True, help="instant, UTC; nothing that became known later is seen"
            )
        word.set_defaults(run=run)
        return word

    for name, command in commands.COMMANDS.items():
        word = add(name, inspect.getdoc(command.run) or "", command.run, command.needs_as_of)
        for flags, options in command.arguments:
            word.add_argument(*flags, **options)
    for step in steps.STEPS:
        description = steps.describe(step)
        word = add(step, description.told, _step(step, description), needs_as_of=True)
        for reference in description.references:
            flag = "--" + reference.name.replace("_", "-")
            if reference.is_flag:
                word.add_argument(flag, action="store_true")
            else:
                word.add_argument(flag, required=reference.required, default=argparse.SUPPRESS)
    return parser


def _step(step: str, description: steps.Description) -> Run:
    def run(config: Config, asked: argparse.Namespace) -> None:
        given = {r.name: getattr(asked, r.name) for r in description.references if hasattr(asked, r.name)}
        print(json.dumps(steps.run(step, config, asked.as_of, given), indent=1))

    return run


if __name__ == "__main__":
    sys.exit(main())
