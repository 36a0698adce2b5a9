"""Every step as a command, and the words that a person on call needs.

`python -m ml STEP --as-of … --config …` runs one step of the pipeline and prints its record.
"""

from __future__ import annotations

import argparse
import datetime as dt
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml import commands, steps
from ml.config import PROJECT, Config, ConfigError, load

Run = Callable[[Any, argparse.Namespace], int | None]


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 when it did what was asked, 1 when it refused with a message, 2 for words that it does not know."""
    asked = _parser().parse_args(arguments)
    try:
        code = int(asked.run(_deployment(asked), asked) or 0)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough; nothing is left to be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("stopped; the same command again goes on where it was", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001
        print(f"error: {_told(error)}", file=sys.stderr)
        return 1
    return code


def _deployment(asked: argparse.Namespace) -> Config | None:
    if not asked.needs_config:
        return None
    config = load(asked.config)
    return config if asked.home is None else config.model_copy(update={"home": asked.home.resolve()})


def _told(error: Exception) -> str:
    """The sentence of an error; one that nobody wrote for people also says where it came from."""
    text = str(error.args[0]) if isinstance(error, KeyError) and len(error.args) == 1 else str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    written = isinstance(error, ConfigError | ValueError | LookupError | RuntimeError | OSError)
    foreign = not type(error).__module__.startswith(("ml.", "builtins"))
    if written and not foreign and text:
        return text
    where = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in where if "/ml/" in frame.filename] or where
    return f"{text.strip().splitlines()[0] if text.strip() else 'no message'} ({type(error).__name__}, {_place(ours[-1])})"


def _place(frame: traceback.FrameSummary) -> str:
    file = Path(frame.filename)
    return f"at {file.relative_to(PROJECT) if file.is_relative_to(PROJECT) else file}:{frame.lineno}"


def _instant(text: str) -> dt.datetime:
    try:
        instant = dt.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no instant; write it like 2025-05-02T02:00:00Z") from None
    return instant.replace(tzinfo=dt.UTC) if instant.tzinfo is None else instant.astimezone(dt.UTC)


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__, formatter_class=form)
    words = {"": parser.add_subparsers(title="commands", required=True, metavar="COMMAND")}

    def add(name: str, told: str, run: Run, needs_as_of: bool, needs_config: bool = True) -> argparse.ArgumentParser:
        group, _, last = name.rpartition(" ")
        if group not in words:
            members = ", ".join(c.removeprefix(group).strip() for c in commands.COMMANDS if c.startswith(f"{group} "))
            within = words[""].add_parser(group, help=members, description=f"One of: {members}.")
            words[group] = within.add_subparsers(title="commands", required=True, metavar="COMMAND")
        word: argparse.ArgumentParser = words[group].add_parser(
            last,
            help=told.split("\n\n")[0].replace("\n", " ").replace("%", "%%"),
            description=told.replace("%", "%%"),
            formatter_class=form,
        )
        if needs_config:
            word.add_argument("--config", default="config/demo.yaml", help="deployment file (default: %(default)s)")
            word.add_argument("--home", type=Path, default=None, help="folder of its data (default: what the file says)")
        if needs_as_of:
            word.add_argument(
                "--as-of", type=_instant, required=True, help="instant, UTC; nothing that became known later is seen"
            )
        word.set_defaults(run=run, needs_config=needs_config)
        return word

    for name, command in commands.COMMANDS.items():
        word = add(name, inspect.getdoc(command.run) or "", command.run, command.needs_as_of, command.needs_config)
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
        try:
            print(json.dumps(steps.run(step, config, asked.as_of, given), indent=1))
        except FileNotFoundError as error:
            told = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in given.items())
            raise LookupError(
                f"{step} {told}: {error.filename or error} is not there; ids are those that steps print"
            ) from error

    return run


if __name__ == "__main__":
    sys.exit(main())
