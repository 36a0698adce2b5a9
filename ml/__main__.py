"""Every step as a command, and the commands that a person on call needs.

`python -m ml STEP --as-of … --config …` runs one step of the pipeline and prints its record, or writes it to the file of
`--record`; everything else goes to stderr. Exit codes: 0 success; 1 temporary failure or stopped files, retry; 2 unknown
arguments; 3 refused: a retry without other data, settings, code or `--as-of` does not help.
"""

from __future__ import annotations

import argparse
import datetime as dt
import inspect
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml import commands, steps
from ml.artifacts import write_file
from ml.commands.command import instant
from ml.commands.terminal import DEFAULT_CONFIG, drop_output, say, stdout_to_stderr, with_deployment
from ml.config import PROJECT, Config, load
from ml.errors import EXIT_REFUSED, NotThere, Refused

Run = Callable[[Any, argparse.Namespace], int | None]


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; see the module."""
    parsed = _parser().parse_args(arguments)
    try:
        code = int(parsed.run(_deployment(parsed), parsed) or 0)
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
        return 0
    except KeyboardInterrupt:
        print("stopped; the same command again goes on where it was", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001
        print(f"error: {with_deployment(_sentence(error), parsed)}", file=sys.stderr)
        return EXIT_REFUSED if isinstance(error, Refused) else 1
    return code


def _deployment(parsed: argparse.Namespace) -> Config | None:
    if not parsed.needs_config:
        return None
    config = load(parsed.config)
    return config if parsed.home is None else config.model_copy(update={"home": parsed.home.resolve()})


def _sentence(error: Exception) -> str:
    """The sentence of an error; one that nobody wrote for people also says where it came from."""
    text = str(error.args[0]) if isinstance(error, KeyError) and len(error.args) == 1 else str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    written = isinstance(error, Refused | ValueError | LookupError | RuntimeError | OSError)
    foreign = not type(error).__module__.startswith(("ml.", "builtins"))
    if written and not foreign and text:
        return text
    where = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in where if "/ml/" in frame.filename] or where
    return f"{text.strip().splitlines()[0] if text.strip() else 'no message'} ({type(error).__name__}, {_place(ours[-1])})"


def _place(frame: traceback.FrameSummary) -> str:
    file = Path(frame.filename)
    return f"at {file.relative_to(PROJECT) if file.is_relative_to(PROJECT) else file}:{frame.lineno}"


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__, formatter_class=form)
    words = {"": parser.add_subparsers(title="commands", required=True, metavar="COMMAND")}

    def add(name: str, description: str, run: Run, needs_as_of: bool, needs_config: bool = True) -> argparse.ArgumentParser:
        group, _, last = name.rpartition(" ")
        if group not in words:
            members = ", ".join(c.removeprefix(group).strip() for c in commands.COMMANDS if c.startswith(f"{group} "))
            within = words[""].add_parser(group, help=members, description=f"One of: {members}.")
            words[group] = within.add_subparsers(title="commands", required=True, metavar="COMMAND")
        word: argparse.ArgumentParser = words[group].add_parser(
            last,
            help=description.split("\n\n")[0].replace("\n", " ").replace("%", "%%"),
            description=description,
            formatter_class=form,
        )
        if needs_config:
            word.add_argument("--config", default=DEFAULT_CONFIG, help="deployment file (default: %(default)s)")
            word.add_argument("--home", type=Path, default=None, help="folder of its data (default: what the file says)")
        if needs_as_of:
            word.add_argument(
                "--as-of", type=instant, required=True, help="instant, UTC; nothing that became known later is seen"
            )
        word.set_defaults(run=run, needs_config=needs_config)
        return word

    for name, command in commands.COMMANDS.items():
        word = add(name, inspect.getdoc(command.run) or "", command.run, command.needs_as_of, command.needs_config)
        for flags, options in command.arguments:
            word.add_argument(*flags, **options)
    for step in steps.STEPS:
        description = steps.describe(step)
        word = add(step, description.text, _step(step, description), needs_as_of=True)
        word.add_argument("--record", type=Path, help="file for the record, or for the refusal (default: stdout)")
        for reference in description.references:
            flag = "--" + reference.name.replace("_", "-")
            if reference.is_flag:
                word.add_argument(flag, action="store_true")
            else:
                word.add_argument(flag, required=reference.required, default=argparse.SUPPRESS)
    return parser


def _step(step: str, description: steps.Description) -> Run:
    def run(config: Config, parsed: argparse.Namespace) -> None:
        given = {r.name: getattr(parsed, r.name) for r in description.references if hasattr(parsed, r.name)}
        try:
            record = _record(step, config, parsed.as_of, given)
        except Refused as refusal:
            if parsed.record:
                _write(parsed.record, {"error": type(refusal).__name__, "refused": str(refusal)})
            raise
        if parsed.record:
            _write(parsed.record, record)
        else:
            say(json.dumps(record, indent=1))

    return run


def _record(step: str, config: Config, as_of: dt.datetime, given: dict[str, Any]) -> dict[str, Any]:
    """The record of a step; a file that is not there is a wrong id, and so a refusal."""
    try:
        with stdout_to_stderr():
            return steps.run(step, config, as_of, given)
    except FileNotFoundError as error:
        references = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in given.items())
        raise NotThere(
            f"{step} {references}: {error.filename or error} is not there; ids are those that steps print"
        ) from error


def _write(path: Path, record: dict[str, Any]) -> None:
    write_file(path, lambda made: made.write_text(json.dumps(record)))


if __name__ == "__main__":
    sys.exit(main())
