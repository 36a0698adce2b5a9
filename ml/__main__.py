"""Every step as a command: `python -m ml STEP --as-of … --config …`, and the words that a person on call needs."""

from __future__ import annotations

import argparse
import datetime as dt
import inspect
import json
import sys
from collections.abc import Callable

from ml import commands, steps
from ml.config import Config, ConfigError, load


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 when it did what was asked, 1 when it refused with a message, 2 for words that it does not know."""
    asked = _parser().parse_args(arguments)
    try:
        config = load(asked.config)
        return int(asked.run(config, asked) or 0)
    except (ConfigError, ValueError, LookupError, RuntimeError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _instant(text: str) -> dt.datetime:
    instant = dt.datetime.fromisoformat(text)
    return instant.replace(tzinfo=dt.UTC) if instant.tzinfo is None else instant.astimezone(dt.UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    words = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for step in steps.STEPS:
        _add_step(words, step)
    for name, command in commands.COMMANDS.items():
        told = inspect.getdoc(command.run) or ""
        word = _add(words, name, told.splitlines()[0], told, command.run, as_of=command.needs_as_of)
        for flags, options in command.arguments:
            word.add_argument(*flags, **options)
    return parser


def _add(
    words: argparse._SubParsersAction, name: str, help_line: str, told: str, run: Callable, as_of: bool
) -> argparse.ArgumentParser:
    word: argparse.ArgumentParser = words.add_parser(name, help=help_line, description=told)
    word.add_argument("--config", default="config/demo.yaml", help="deployment file (default: %(default)s)")
    if as_of:
        word.add_argument("--as-of", type=_instant, required=True, help="UTC instant; nothing that became known later is seen")
    word.set_defaults(run=run)
    return word


def _add_step(words: argparse._SubParsersAction, step: str) -> None:
    """A step's options are its references; they are looked up when the command runs, so that `--help` imports nothing heavy."""

    def run(config: Config, asked: argparse.Namespace) -> None:
        parameters = steps.references_of(step)
        given = dict(pair.split("=", 1) for pair in asked.references)
        unknown, lacking = set(given) - set(parameters), {n for n, p in parameters.items() if p.default is p.empty} - set(given)
        if unknown or lacking:
            takes = ", ".join(n if p.default is p.empty else f"[{n}]" for n, p in parameters.items()) or "nothing"
            raise ValueError(f"step {step} takes {takes}; not known: {sorted(unknown)}, missing: {sorted(lacking)}")
        print(json.dumps(steps.run(step, config, asked.as_of, given), indent=1))

    word = _add(
        words, step, f"step of the pipeline, in {steps.STEPS[step]}", f"See {steps.STEPS[step]}.{step}.", run, as_of=True
    )
    word.add_argument("references", nargs="*", metavar="NAME=VALUE", help="references that the step takes, such as model=…")


if __name__ == "__main__":
    sys.exit(main())
