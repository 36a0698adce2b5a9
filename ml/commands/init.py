"""Proposes a deployment file for data that nobody here has seen."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ml.commands.command import Command
from ml.commands.terminal import say
from ml.config import PROJECT
from ml.errors import BadInput


def init(config: None, asked: argparse.Namespace) -> None:
    """Propose a deployment file and its suites for a file of past events: names, types, entities, windows, delays.

    What only a person can say is left as TODO, and the deployment is refused until that is written. Without --to the proposal
    is printed.
    """
    from ml.commands import skeleton
    from ml.quality import propose

    name = re.sub(r"[^a-z0-9]+", "_", (asked.to or asked.data).name.split(".")[0].lower()).strip("_") or "yours"
    name = name if name[0].isalpha() else f"model_{name}"
    rows = propose.read(asked.data)
    stream = propose.stream_of(rows, labelled=asked.labels is not None)
    answers = None if asked.labels is None else propose.answers_of(propose.read(asked.labels), rows, stream)
    folder = _expectations(asked.to)
    suites = {folder / f"{name}.yaml": skeleton.events_suite(stream, asked.labels is not None)}
    if answers is not None:
        suites[folder / f"{name}_answers.yaml"] = skeleton.labels_suite()
    paths = [_told(path) for path in suites]
    text = skeleton.deployment(name, asked.data, asked.labels, stream, answers, (paths[0], paths[1] if answers else None))
    if asked.to is None:
        say("\n".join([text, *(f"# ---- {_told(path)}\n{suite}" for path, suite in suites.items())]))
        return
    files = {asked.to: text, **suites}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise BadInput(f"{', '.join(there)}: there already; move it away, or give another --to")
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        say(f"wrote {_told(path)}")
    landing = PROJECT / "var" / name / "landing"
    copied = " ".join(map(str, filter(None, [asked.data, asked.labels])))
    last = f"{max(stream.days.index):%Y-%m-%d}"
    say(f"\nWrite a reason in place of each TODO ({sum(t.count('TODO ') for t in files.values())} of them), and then:")
    say(f"  mkdir -p {_told(landing)} && cp {copied} {_told(landing)}/")
    say("A feed of one file a day goes there as it is: let `files` be a pattern of its names.")
    as_of = re.search(r"archive_until: (\S+)", text)
    say(f"  python -m ml ingest --config {_told(asked.to)} --as-of {as_of[1] if as_of else last}")
    say(f"  python -m ml train  --config {_told(asked.to)} --as-of {as_of[1] if as_of else last}")


def _expectations(to: Path | None) -> Path:
    """Where the suites go: beside the project's own, or beside a deployment file that lies elsewhere."""
    inside = to is None or to.resolve().is_relative_to(PROJECT)
    return PROJECT / "expectations" if inside else to.resolve().parent / "expectations"  # type: ignore[union-attr]


def _told(path: Path) -> str:
    path = path.resolve()
    return str(path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path)


COMMANDS = {
    "init": Command(
        init,
        needs_config=False,
        arguments=(
            (("--data",), {"type": Path, "required": True, "help": "file of past events, CSV or Parquet"}),
            (("--labels",), {"type": Path, "default": None, "help": "file of their labels, where those come by themselves"}),
            (("--to",), {"type": Path, "default": None, "help": "deployment file to write, such as config/yours.yaml"}),
        ),
    )
}
